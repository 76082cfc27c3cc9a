"""SASRec beside a plain computation of one history after the other."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from small_sequences import random_histories, sequences_of
from torch import Tensor

from hrnn.models.contract import DataSpec
from hrnn.models.sasrec import SasRec
from hrnn.training.settings import TrainingSettings
from schemas.errors import ConfigError

HISTORIES = random_histories(25, 15)
SEQUENCES = sequences_of(HISTORIES)


def model_of(num_steps: int = 30, heads: int = 2, gated: bool = False) -> SasRec:
    config = {"hidden_dimension": 6, "num_blocks": 2, "num_heads": heads, "gated_residuals": gated}
    return SasRec.build(config, TrainingSettings(num_steps=num_steps), DataSpec.of(SEQUENCES, SEQUENCES)).double()


def normalised(values: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    mean = values.mean(-1, keepdim=True)
    return (values - mean) / torch.sqrt(((values - mean) ** 2).mean(-1, keepdim=True) + 1e-5) * scale + shift


def plain_query(model: SasRec, items: list[int], heads: int, gated: bool) -> Tensor:
    """One place after the other, one head after the other; no masks, since what comes later isn't there."""
    given = dict(model.named_parameters())
    inputs = [model.start, *(model.item_table[item, :-1] * math.sqrt(6) for item in items)]
    values = torch.stack(
        [vector + model.places[len(model.places) - len(inputs) + place] for place, vector in enumerate(inputs)]
    )
    for number in range(2):
        block = {name.split(".", 2)[2]: value for name, value in given.items() if name.startswith(f"blocks.{number}.")}
        entering = normalised(values, block["attention_scale"], block["attention_shift"]) @ block["entering"]
        query, key, value = entering[:, :6], entering[:, 6:12], entering[:, 12:]
        found = torch.zeros_like(values)
        for place in range(len(inputs)):
            for head in range(heads):
                part = slice(head * 6 // heads, (head + 1) * 6 // heads)
                weights = torch.softmax(key[: place + 1, part] @ query[place, part] / math.sqrt(6 / heads), dim=0)
                found[place, part] = weights @ value[: place + 1, part]
        found = found @ block["leaving"]
        values = values + (torch.sigmoid(values @ block["attention_gate"]) * found if gated else found)
        fed = normalised(values, block["feed_scale"], block["feed_shift"]) @ block["feed_in"] + block["feed_in_bias"]
        fed = 0.5 * fed * (1 + torch.erf(fed / math.sqrt(2)))
        fed = fed @ block["feed_out"] + block["feed_out_bias"]
        values = values + (torch.sigmoid(values @ block["feed_gate"]) * fed if gated else fed)
    return normalised(values[-1], model.scale, model.shift)


@pytest.mark.parametrize(("heads", "gated"), [(1, False), (2, True), (3, False)])
def test_queries_are_those_of_a_plain_computation(heads: int, gated: bool) -> None:
    model = model_of(heads=heads, gated=gated)
    queries = model.queries(SEQUENCES, np.arange(len(HISTORIES))).same_session
    for user, history in enumerate(HISTORIES):
        items = [item for session in history for item in session]
        torch.testing.assert_close(queries[user], plain_query(model, items, heads, gated), atol=1e-9, rtol=0)


def test_heads_that_do_not_divide_the_width_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"num_heads: heads must divide hidden_dimension \(got 4\)"):
        model_of(heads=4)
