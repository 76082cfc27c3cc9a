"""Event type and threshold reach every recipe: what is counted is what a plain count of those rows gives."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from called_jobs import train
from one_rank import one_rank_here
from published_versions import tensors_of
from small_sequences import circular_histories, publish_sequences, sequences_of

from hrnn.data.sequences import Sequences
from hrnn.data.splits import prepare
from hrnn.models.registry import model_for
from jobs.batch.options import Options
from jobs.platform.storage.folders import StepFolder
from jobs.recommend.line_kinds import open_solution
from jobs.recommend.lines import read_requests
from jobs.solutions.solution import Solution
from schemas.recipes import RECIPES, parse_hyperparameters

IN_CLOSED_FORM = ("aws-popularity-count", "aws-sims", "aws-trending-now")
HYPERPARAMETERS: dict[str, dict[str, Any]] = {
    "aws-hrnn": {"hidden_dimension": 32},
    "aws-personalized-ranking": {"hidden_dimension": 32},
    "aws-similar-items": {"item_id_hidden_dim": 32},
    "aws-popularity-count": {},
    "aws-sims": {"min_cointeraction_count": 1, "max_item_interaction_count_percentile": 1},
    "aws-trending-now": {"trend_discovery_frequency": "1 day"},
}
TYPES = ("view", "buy")
CIRCLE = sequences_of(circular_histories(60, 15), num_items=17)
EVENTS = replace(CIRCLE, event_types=np.random.default_rng(0).integers(0, 2, CIRCLE.num_events).astype(np.int32))
VALUES: list[float | None] = [[None, 0.5, 1.5, 2.5][place % 4] for place in range(EVENTS.num_events)]
USERS = np.repeat(np.arange(EVENTS.num_users), EVENTS.history_lengths).tolist()
ROWS = [
    (user, int(item), TYPES[kind], value)
    for user, item, kind, value in zip(USERS, EVENTS.item_rows, EVENTS.event_types, VALUES, strict=True)
]


def trained(tmp_path: Path, recipe: str, **rules: Any) -> dict[str, torch.Tensor]:
    """What a solution version serves and is measured by."""
    uri = publish_sequences(EVENTS, str(tmp_path / "sequences"), tmp_path, event_types=TYPES, values=VALUES)
    folder = StepFolder(str(tmp_path / recipe))
    train(sequences_uri=uri, output_uri=folder.uri, recipe=recipe, hyperparameters=HYPERPARAMETERS[recipe], **rules)
    return tensors_of(folder.uri, tmp_path)


def of_counted_rows(part: Sequences, recipe: str, counted: list[bool]) -> torch.Tensor:
    """The recipe's bias, fitted on histories from which other rows are gone."""
    positions = part.event_positions(np.arange(part.num_users))
    taken = [[at for at in positions.row(user).tolist() if counted[at]] for user in range(part.num_users)]
    rows = [at for of_user in taken for at in of_user]
    histories = [[[int(part.item_rows[at]) for at in of_user]] if of_user else [] for of_user in taken]
    alone = replace(sequences_of(histories, num_items=part.num_items), timestamps=part.timestamps[rows])
    fit = model_for(recipe).fit
    assert fit is not None
    return fit(alone, parse_hyperparameters(recipe, HYPERPARAMETERS[recipe])).items().bias


@pytest.mark.parametrize("recipe", IN_CLOSED_FORM)
@pytest.mark.parametrize(
    ("rules", "counts"),
    [
        ({"event_type": "buy"}, lambda kind, value: kind == "buy"),
        ({"event_value_threshold": "1.5"}, lambda kind, value: value is not None and value >= 1.5),
        ({"event_type": "view", "event_value_threshold": 2.5}, lambda kind, value: kind == "view" and value == 2.5),
        ({"events_config": [{"event_type": "buy", "weight": 0.1}]}, lambda kind, value: kind == "buy"),
    ],
)
def test_only_rows_that_count_are_counted(tmp_path: Path, recipe: str, rules: dict[str, Any], counts: Any) -> None:
    found = trained(tmp_path, recipe, **rules)
    counted = [counts(kind, value) for _, _, kind, value in ROWS]
    assert 0 < sum(counted) < len(counted)
    assert torch.equal(found["scoring.item_bias"], of_counted_rows(EVENTS, recipe, counted))
    assert torch.equal(found["evaluation.item_bias"], of_counted_rows(prepare(EVENTS, 0).fit_and_calibration, recipe, counted))
    assert not torch.equal(found["scoring.item_bias"], of_counted_rows(EVENTS, recipe, [True] * len(counted)))


def test_popularity_is_the_number_of_users_with_a_row_that_counts_and_an_equal_value_is_kept(tmp_path: Path) -> None:
    bias = trained(tmp_path, "aws-popularity-count", event_value_threshold="1.5")["scoring.item_bias"]
    users = {(user, item) for user, item, _, value in ROWS if value is not None and value >= 1.5}
    expected = [max(0.5, sum(item == row for _, item in users)) for row in range(17)]
    assert torch.exp(bias).round(decimals=2).tolist() == pytest.approx(expected)


def test_neighbours_share_users_who_bought_both(tmp_path: Path) -> None:
    found = trained(tmp_path, "aws-sims", event_type="buy")
    bought = {item: {user for user, taken, kind, _ in ROWS if kind == "buy" and taken == item} for item in range(17)}
    offsets, items = found["related.offsets"].tolist(), found["related.item_rows"].tolist()
    for item in range(17):
        neighbours = set(items[offsets[item] : offsets[item + 1]])
        assert neighbours == {other for other in range(17) if other != item and bought[item] & bought[other]}


@pytest.mark.parametrize("recipe", ["aws-popularity-count", "aws-hrnn", "aws-personalized-ranking", "aws-similar-items"])
def test_what_nobody_knows_is_answered_with_what_was_bought_most(tmp_path: Path, recipe: str) -> None:
    with one_rank_here():
        trained(tmp_path, recipe, event_type="buy", **({} if RECIPES[recipe].closed_form else {"epochs": 1}))
    folder = StepFolder(str(tmp_path / recipe))
    loaded = open_solution(Solution.of(folder, folder.require("solution_version")), Options(num_results=5))
    kind = RECIPES[recipe].line_kind
    listed = [f"item {item}" for item in range(15)]
    line = {"user": {"userId": "stranger"}, "item": {"itemId": "odd"}, "ranking": {"userId": "stranger", "itemList": listed}}[
        kind
    ]
    batch = loaded.batch(read_requests([json.dumps(line).encode()], kind, None))
    answers = loaded.answers(batch)
    bought = Counter(item for _, item, event, _ in ROWS if event == "buy")
    if recipe == "aws-popularity-count":
        bought = Counter(
            {item: len({user for user, taken, event, _ in ROWS if (taken, event) == (item, "buy")}) for item in bought}
        )
    expected = sorted(range(15), key=lambda item: (-bought[item], item))[:5]
    assert answers.entries[:5].tolist() == expected
