"""STAMP, STMP and STMO beside their equations, written out for one session after the other."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from small_sequences import random_histories, sequences_of
from torch import Tensor

from hrnn.models.contract import DataSpec
from hrnn.models.registry import model_for
from hrnn.models.stamp import Stamp
from hrnn.training.settings import TrainingSettings

HISTORIES = random_histories(25, 15)
SEQUENCES = sequences_of(HISTORIES)
RECIPES = ["hrnn-stamp", "hrnn-stmp", "hrnn-stmo"]


def model_of(recipe: str, num_steps: int = 10) -> Stamp:
    neural = model_for(recipe).neural
    assert neural is not None
    settings = TrainingSettings(num_steps=num_steps)
    model = neural.build({"hidden_dimension": 5}, settings, DataSpec.of(SEQUENCES, SEQUENCES))
    assert isinstance(model, Stamp)
    for name, values in model.named_parameters():
        if "bias" in name:  # they start at 0, where a forgotten one would not be seen
            values.copy_(torch.linspace(-1, 1, values.numel()).view(values.shape))
    return model.double()


def sigmoid(value: float) -> float:
    return 1.0 / (1.0 + math.exp(-value))


def plain_query(model: Stamp, session: list[int]) -> list[float]:
    """The equations of hrnn/models/stamp.py, number by number."""
    given: dict[str, Any] = {name: values.tolist() for name, values in model.named_parameters()}
    x = [given["item_table"][item][:-1] for item in session]
    width = range(5)

    def affine(vector: list[float], name: str, bias: bool = True) -> list[float]:
        weight = given[f"{name}_weight"]
        return [sum(vector[k] * weight[k][m] for k in width) + (given[f"{name}_bias"][m] if bias else 0.0) for m in width]

    of_last = [math.tanh(value) for value in affine(x[-1], "last")]
    if model.kind == "stmo":
        return of_last
    mean = [sum(vector[m] for vector in x) / len(x) for m in width]
    whole = list(mean)
    if model.kind == "stamp":
        context, centre = affine(x[-1], "context", bias=False), affine(mean, "centre", bias=False)
        for vector in x:
            event = affine(vector, "event", bias=False)
            told = [sigmoid(event[m] + context[m] + centre[m] + given["attention_bias"][m]) for m in width]
            share = sum(told[m] * given["attention"][m] for m in width)
            whole = [whole[m] + share * vector[m] for m in width]
    return [one * math.tanh(other) for one, other in zip(of_last, affine(whole, "mean"), strict=True)]


@pytest.mark.parametrize("recipe", RECIPES)
def test_queries_are_those_of_the_equations(recipe: str) -> None:
    model = model_of(recipe)
    queries: Tensor = model.queries(SEQUENCES, np.arange(len(HISTORIES))).same_session
    for user, history in enumerate(HISTORIES):
        expected = torch.tensor(plain_query(model, history[-1]), dtype=torch.float64)
        torch.testing.assert_close(queries[user], expected, atol=1e-9, rtol=0)


@pytest.mark.parametrize("recipe", RECIPES)
def test_of_a_long_session_the_newest_events_are_read(recipe: str) -> None:
    model = model_of(recipe, num_steps=3)
    long, short = sequences_of([[[1, 2, 3, 4, 5, 6]]], num_items=15), sequences_of([[[4, 5, 6]]], num_items=15)
    one, other = (model.queries(each, np.zeros(1, dtype=np.int64)).same_session for each in (long, short))
    torch.testing.assert_close(one, other)
