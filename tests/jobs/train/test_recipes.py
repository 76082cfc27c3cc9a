"""Every batch recipe is trained on a small circle of items, and leaves what its answers need."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from called_jobs import train
from one_rank import one_rank_here
from published_versions import tensors_of
from small_sequences import circular_histories, publish_sequences, sequences_of

from hrnn.evaluation.metrics import PERSONALIZE_METRICS
from hrnn.evaluation.segment_metrics import SEGMENT_METRICS
from jobs.evaluate.job import evaluate, table_lines
from jobs.platform.storage.folders import StepFolder
from schemas.errors import DataError
from schemas.recipes import RECIPES

CIRCLE = sequences_of(circular_histories(80, 15), num_items=17)  # the last two items have no events
SEGMENTS = ("aws-item-affinity", "aws-item-attribute-affinity")
SMALL: dict[str, dict[str, str]] = {
    "aws-similar-items": {"item_id_hidden_dim": "32"},
    "aws-user-personalization-v2": {},
    "aws-personalized-ranking-v2": {},
    "aws-popularity-count": {},
    "aws-trending-now": {"trend_discovery_frequency": "1 day"},
    "aws-sims": {"min_cointeraction_count": "1", "max_item_interaction_count_percentile": "1"},
}


@pytest.fixture(autouse=True, scope="module")
def _trained_here() -> Iterator[None]:
    """One rank in this process, in place of torchrun."""
    with one_rank_here():
        yield


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    tmp_path = tmp_path_factory.mktemp("sequences")
    return publish_sequences(CIRCLE, str(tmp_path / "sequences"), tmp_path, genres=["a", "a|b", "c"] * 5 + ["a", "d"])


def few_epochs(recipe: str, epochs: int = 1) -> dict[str, Any]:
    """The setting, for recipes that have epochs."""
    return {} if RECIPES[recipe].closed_form else {"epochs": epochs}


def trained(uri: str, tmp_path: Path, recipe: str, epochs: int = 1) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Facts and parameters of a solution version."""
    hyperparameters = SMALL.get(recipe, {"hidden_dimension": "32"})
    output = str(tmp_path / recipe)
    epochs_of = few_epochs(recipe, epochs)
    train(sequences_uri=uri, output_uri=output, recipe=recipe, hyperparameters=hyperparameters, **epochs_of)
    return StepFolder(output).require("solution_version").metadata, tensors_of(output, tmp_path)


def test_segments_find_who_takes_an_item_next(uri: str, tmp_path: Path) -> None:
    facts, _ = trained(uri, tmp_path, "aws-item-affinity", epochs=20)
    assert facts["evaluation"]["metrics"]["hits_at_1_percent"] > 0.5  # by lot, a fifth of the items or less
    assert facts["evaluation"]["test_users"] == 80
    told = table_lines(facts["evaluation"])
    assert any(line.startswith("segments of one user in a hundred: ") for line in told)


def test_attributes_are_needed_where_they_are_asked_for(tmp_path: Path) -> None:
    bare = publish_sequences(CIRCLE, str(tmp_path / "sequences"), tmp_path)
    with pytest.raises(DataError, match=r"needs an Items dataset with a column of strings or numbers.*aws-item-affinity"):
        trained(bare, tmp_path, "aws-item-attribute-affinity")


def test_items_with_numbers_alone_can_be_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    numbers = [{"name": "ITEM_ID", "type": "string"}, {"name": "CREATION_TIMESTAMP", "type": "long"}]
    document = {"type": "record", "name": "Items", "fields": [*numbers, {"name": "YEAR", "type": "int"}], "version": "1.0"}
    source = StepFolder(publish_sequences(CIRCLE, str(tmp_path / "sequences"), tmp_path, created=[7] * 17))
    manifest = source.require("sequences")
    catalogue = pq.read_table(source.fetch(manifest.file(manifest.metadata["catalogue"]), tmp_path))
    pq.write_table(catalogue.append_column("YEAR", pa.array([1990] * 17, pa.int32())), tmp_path / "catalogue")
    entry = source.put_file(tmp_path / "catalogue", source.attempt_path("with-years.parquet"))
    facts = manifest.metadata | {"catalogue": entry.path, "schemas": {"Items": document}}
    source.publish("sequences", "d" * 64, {}, [], [*manifest.files, entry], manifest.counts, facts)
    facts, _ = trained(source.uri, tmp_path, "aws-item-attribute-affinity")
    assert facts["evaluation"]["metrics"]["recall_at_1_percent"] >= 0
    assert "train: ITEMS.YEAR is the same for all 15 items" in capsys.readouterr().err


@pytest.mark.parametrize("recipe", [recipe.name for recipe in RECIPES.values() if recipe.available])
def test_every_batch_recipe_is_trained(uri: str, tmp_path: Path, recipe: str) -> None:
    facts, parameters = trained(uri, tmp_path, recipe)
    known = RECIPES[recipe]
    assert (facts["recipe"], facts["runs_on"]) == (recipe, known.runs_on or recipe)
    assert (facts["line_kind"], facts["scores"]) == (known.line_kind, known.has_scores)
    assert parameters["scoring.item_vectors"].shape == (17, facts["dimension"])
    if known.runs_on and recipe not in ("aws-user-personalization-v2", "aws-personalized-ranking-v2"):
        assert facts["training_outcome"]["shape"]["hidden_dimension"] == 32
    document = json.loads((tmp_path / recipe / facts["metrics"]).read_text())
    wanted = ("coverage", *SEGMENT_METRICS) if recipe in SEGMENTS else PERSONALIZE_METRICS
    assert tuple(document["metrics"]) == wanted
    assert all(0 <= value <= 1 for value in document["metrics"].values())  # 1 % of these few users is one user
    again = evaluate(solution_uri=str(tmp_path / recipe), sequences_uri=uri)
    assert again["metrics"] == document["metrics"]


def test_sims_stores_the_neighbours_of_every_item_and_no_user(uri: str, tmp_path: Path) -> None:
    facts, parameters = trained(uri, tmp_path, "aws-sims")
    offsets, item_rows = parameters["related.offsets"].numpy(), parameters["related.item_rows"].numpy()
    assert len(offsets) == 18
    assert offsets[15] == offsets[17] == len(item_rows) == len(parameters["related.scores"])
    assert facts["dimension"] == 0
    beside = [np.abs((item_rows[offsets[item]] - item + 7) % 15 - 7) for item in range(15)]
    assert np.mean(np.array(beside) == 1) > 0.5  # the nearest item of a circle is a neighbour of its own
    table = facts["evaluation"]["table"]
    assert table["model"]["mean_reciprocal_rank_at_25"] > table["popularity"]["mean_reciprocal_rank_at_25"]


def test_similar_items_are_cosines_of_learnt_vectors(uri: str, tmp_path: Path) -> None:
    _, parameters = trained(uri, tmp_path, "aws-similar-items", epochs=5)
    table = parameters["item_table"][:, :-1]
    assert torch.allclose(parameters["scoring.item_vectors"], torch.nn.functional.normalize(table, dim=1))
    assert not parameters["scoring.item_vectors"][15:].any()
    assert not parameters["scoring.item_bias"].any()


def test_a_search_measures_what_the_recipe_answers(uri: str, tmp_path: Path) -> None:
    for recipe in ("aws-sims", "aws-similar-items"):
        output = str(tmp_path / recipe)
        train(sequences_uri=uri, output_uri=output, recipe=recipe, hpo={"max_jobs": 2}, **few_epochs(recipe))
        facts = StepFolder(output).require("solution_version").metadata
        tunable = {parameter.name for parameter in RECIPES[recipe].hyperparameters.parameters() if parameter.tunable}
        assert set(facts["tunedHPOParams"]["algorithmHyperParameters"]) == tunable
        assert len(facts["search"]["trials"]) == 2


def test_cold_items_are_counted_and_too_few_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    created = [0] * 15 + [10 * 86_400] * 2
    dated = publish_sequences(CIRCLE, str(tmp_path / "sequences"), tmp_path, created=created)
    facts, _ = trained(dated, tmp_path, "aws-hrnn-coldstart")
    assert facts["cold_items"] == 2
    assert "2 cold items; Personalize trains this recipe with 100 to 80,000" in capsys.readouterr().err
