"""The gate: on data whose popularity drifts, every recipe that can be trained makes better lists than popularity does.

What is taken moves from one group of items to the next every day, and each user has a taste: items of one half of each group.
ItemStatistics over all days every item is as popular as any other, so popularity knows nothing of tomorrow.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from called_jobs import train
from one_rank import one_rank_here
from small_sequences import DAY, publish_sequences, sequences_of

from hrnn.data.sequences import Sequences
from jobs.platform.storage.folders import StepFolder
from schemas.recipes import RECIPES

DAYS, GROUP = 8, 8
NDCG = "normalized_discounted_cumulative_gain_at_25"
GAIN = f"gain_in_{NDCG}"
SETTINGS: dict[str, dict[str, Any]] = {
    "aws-sims": {"max_item_interaction_count_percentile": 1},
    "aws-trending-now": {"trend_discovery_frequency": "1 day"},
    "aws-similar-items": {"item_id_hidden_dim": 32},
}
TRAINABLE = [recipe.name for recipe in RECIPES.values() if recipe.available and recipe.name != "aws-popularity-count"]


def drifting(num_users: int = 250) -> Sequences:
    """On two days of three a session of three different items of the day's group, all of the user's half of it."""
    random = np.random.default_rng(0)
    halves = [np.arange(half, GROUP, 2) for half in (0, 1)]
    days = [[day for day in range(DAYS) if random.random() < 2 / 3] for _ in range(num_users)]
    histories = [
        [(day * GROUP + random.permutation(halves[user % 2])[:3]).tolist() for day in active]
        for user, active in enumerate(days)
    ]
    sequences = sequences_of(histories, num_items=DAYS * GROUP)
    return replace(sequences, timestamps=np.repeat([day for active in days for day in active], 3) * DAY)


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("drifting")
    genres = ["ab"[item % 2] for item in range(DAYS * GROUP)]
    with one_rank_here():
        yield publish_sequences(drifting(), str(folder / "sequences"), folder, genres=genres)


@pytest.mark.parametrize("recipe", TRAINABLE)
def test_every_recipe_beats_popularity_where_popularity_drifts(uri: str, tmp_path: Path, recipe: str) -> None:
    output = str(tmp_path / "version")
    train(
        sequences_uri=uri,
        output_uri=output,
        recipe=recipe,
        hyperparameters=SETTINGS.get(recipe, {}),
        gru_baseline=False,
        **({} if RECIPES[recipe].closed_form else {"epochs": 4}),
    )
    found = StepFolder(output).require("solution_version").metadata["evaluation"]
    gain = found[GAIN]["popularity"]
    assert found["test_users"] >= 25
    assert found["table"]["model"][NDCG] > found["table"]["popularity"][NDCG]
    assert gain["difference"] > 1.96 * gain["standard_error"], found["table"]
