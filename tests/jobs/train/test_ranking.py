"""A solution version with a ranker, as the job publishes it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pyarrow.parquet as pq
import pytest
from called_jobs import recommend, train
from habitual_shop import habitual_shop
from one_rank import one_rank_here
from small_sequences import names_of_two_shards, publish_sequences

from hrnn.evaluation.metrics import HEADLINE
from hrnn.evaluation.settings.next_period import METRICS
from hrnn.explain.families import DUE, FAMILIES, LATELY, POPULAR
from hrnn.ranker.moments import COUNT
from jobs.platform.storage.folders import StepFolder
from jobs.train import ranking, states
from jobs.train.launch import Launch
from jobs.train.report.tables import ranker_tables
from schemas import columns
from schemas.errors import ConfigError, MachineError

SHOP = habitual_shop()
RIVALS = ("decayed popularity", "decayed own items", "TIFU-kNN", "blend3")
USER_IDS = names_of_two_shards(SHOP.num_users)
SMALL: dict[str, Any] = {
    "recipe": "aws-hrnn",
    "hyperparameters": {"hidden_dimension": "32", "bptt": "8"},
    "gru_baseline": False,
}


@pytest.fixture(autouse=True, scope="module")
def _trained_here() -> Iterator[None]:
    with one_rank_here():
        yield


@pytest.fixture(scope="module")
def sequences_uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("sequences")
    (folder / "parts").mkdir()
    return publish_sequences(SHOP, str(folder / "sequences"), folder / "parts", user_ids=USER_IDS)


@pytest.fixture(scope="module")
def version(tmp_path_factory: pytest.TempPathFactory, sequences_uri: str, _trained_here: None) -> StepFolder:
    output = str(tmp_path_factory.mktemp("version") / "version")
    train(sequences_uri=sequences_uri, output_uri=output, epochs=3, **SMALL)
    return StepFolder(output)


def test_the_ranker_serves_and_the_version_says_what_it_is_worth(version: StepFolder) -> None:
    manifest = version.require("solution_version")
    document = json.loads(version.read(manifest.file(manifest.metadata["metrics"])))["next_period"]
    assert document == manifest.metadata["next_period"]
    assert document["serves"] is True
    assert document["gain"][0] > 0
    assert len(document["moments"]) == COUNT
    assert document["horizon_days"] == 1
    for path, (objective, num_trees) in zip(manifest.metadata["ranker"], document["num_trees"].items(), strict=True):
        booster = lightgbm.Booster(model_str=version.read(manifest.file(path)).decode())
        assert (booster.params["objective"], booster.num_trees()) == (objective, num_trees)
    assert {name: set(rival["metrics"]) for name, rival in document["rivals"].items()} == {
        name: set(METRICS) for name in RIVALS
    }
    for rival in document["rivals"].values():
        assert rival["gain"][0] == pytest.approx(document["ranked"][HEADLINE] - rival["metrics"][HEADLINE])
        assert rival["gain"][1] > 0
    page = version.read(manifest.file(manifest.metadata["report"])).decode()
    for name in RIVALS:
        assert f"<td>{name}</td>" in page
    for title in ("Lists of the next day", "Where candidates come from", "What the ranker goes by"):
        assert title in page


def test_two_processes_and_another_run_give_the_same_bytes(
    tmp_path: Path, version: StepFolder, sequences_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(states, "_EVENTS_A_PROCESS", 100)
    other = StepFolder(str(tmp_path / "again"))
    monkeypatch.setattr(Launch, "cores", 2)
    train(sequences_uri=sequences_uri, output_uri=other.uri, launch=Launch(nproc_per_node=2), epochs=3, **SMALL)
    digests = []
    for folder in (version, other):
        manifest = folder.require("solution_version")
        of_states = [manifest.file(shard["states"]).sha256 for shard in manifest.metadata["shards"]]
        digests.append([*of_states, *(manifest.file(path).sha256 for path in manifest.metadata["ranker"])])
    assert digests[0] == digests[1]
    first, again = (folder.require("solution_version").metadata["next_period"] for folder in (version, other))
    assert first["rivals"] == again["rivals"]


def test_states_hold_the_scores_of_all_candidates(version: StepFolder, tmp_path: Path) -> None:
    manifest = version.require("solution_version")
    tables = [pq.read_table(version.uri_of(shard["states"])) for shard in manifest.metadata["shards"]]
    lengths = [len(items) for table in tables for items in table[columns.SPARSE_ITEM_ROWS].to_pylist()]
    assert len(lengths) == SHOP.num_users
    assert min(lengths) > 40


def test_without_a_ranker_there_is_none(tmp_path: Path, sequences_uri: str) -> None:
    folder = StepFolder(str(tmp_path / "version"))
    train(sequences_uri=sequences_uri, output_uri=folder.uri, epochs=1, ranker=False, **SMALL)
    manifest = folder.require("solution_version")
    assert "ranker" not in manifest.metadata
    assert manifest.metadata["next_period"] is None


def test_recency_mask_reaches_the_ranker(tmp_path: Path, sequences_uri: str) -> None:
    folder = StepFolder(str(tmp_path / "version"))
    hyperparameters = SMALL["hyperparameters"] | {"recency_mask": "false"}
    train(sequences_uri=sequences_uri, output_uri=folder.uri, epochs=3, **(SMALL | {"hyperparameters": hyperparameters}))
    manifest = folder.require("solution_version")
    gains = manifest.metadata["next_period"]["largest_gains"]
    assert not {name for name in gains if name.startswith("item_trend") or name in {"item_age", "item_idle"}}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"lag_hours": 24.0},
            r"lag_hours: lists would be read too late \(got 24\.0\)\. Allowed: less than the horizon, 24 hours",
        ),
        ({"lag_hours": -1.0}, "lag_hours"),
        ({"horizon_days": 0.0}, "horizon_days"),
        ({"horizon_days": "week"}, "horizon_days"),
        ({"ranker": "yes"}, "ranker"),
        ({"recipe": "aws-sims", "hyperparameters": {}, "horizon_days": 7.0}, "fitted in closed form"),
        ({"recipe": "aws-similar-items", "hyperparameters": {}, "lag_hours": 2.0}, "makes no lists for users"),
    ],
)
def test_wrong_settings_are_refused_by_name(tmp_path: Path, arguments: dict[str, Any], message: str) -> None:
    settings = {"sequences_uri": str(tmp_path), "output_uri": str(tmp_path / "version"), "recipe": "aws-hrnn", **arguments}
    with pytest.raises(ConfigError, match=message):
        train(**settings)


@pytest.mark.parametrize(
    ("serves", "gain", "sentence"),
    [
        (
            True,
            [0.02, 0.01],
            "The ranker makes the lists: their NDCG@25 is 0.0300 ± 0.0098 above that of the best plain list, C.",
        ),
        (
            False,
            [-0.02, 0.01],
            "The blend makes the lists: their NDCG@25 is 0.0300 ± 0.0098 above that of the best plain list, C.",
        ),
    ],
)
def test_the_page_says_which_lists_serve_and_how_far_ahead_they_are(serves: bool, gain: list[float], sentence: str) -> None:
    rivals = {
        name: {"settings": "", "metrics": {HEADLINE: value}, "gain": [0.2 - value, 0.005]}
        for name, value in (("B", 0.1), ("C", 0.17))
    }
    document = {
        "horizon_days": 1.0,
        "lag_hours": 0.0,
        "users": 500,
        "serves": serves,
        "num_trees": {"lambdarank": 20},
        "ranked": {HEADLINE: 0.2 if serves else 0.18},
        "blended": {HEADLINE: 0.18 if serves else 0.2},
        "gain": gain,
        "rivals": rivals,
        "candidate_recall": 0.5,
        "recall_of_sources": {},
        "largest_gains": {},
    }
    table = ranker_tables(document)[0]
    assert table.finding == sentence
    served, other = ("ranker", "blend") if serves else ("blend", "ranker")
    assert [(row.name, row.own, row.cells[-1].text) for row in table.rows] == [
        (served, True, ""),
        (other, False, "+0.0200"),
        ("B", False, "+0.1000"),
        ("C", False, "+0.0300"),
    ]
    rivals["C"]["gain"] = [-0.01, 0.005]
    assert "0.0100 ± 0.0098 below that of the best plain list, C." in ranker_tables(document)[0].finding


def test_of_too_few_users_the_page_says_so() -> None:
    nothing = {"horizon_days": 7.0, "users": 0, "lag_hours": 0.0, "serves": False}
    [table] = ranker_tables(nothing)
    assert table.title == "Lists of the next 7 days"
    assert "Too few users" in table.note


def test_several_processes_work_out_the_same_moments(
    tmp_path: Path, version: StepFolder, sequences_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranking, "_EVENTS_A_PROCESS", 100)
    monkeypatch.setattr(Launch, "cores", 2)
    other = StepFolder(str(tmp_path / "again"))
    train(sequences_uri=sequences_uri, output_uri=other.uri, epochs=3, **SMALL)
    found, expected = (folder.require("solution_version").metadata["next_period"] for folder in (other, version))
    assert found == expected


def test_a_process_that_dies_at_a_moment_is_one_clear_error(
    tmp_path: Path, sequences_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranking, "_EVENTS_A_PROCESS", 100)
    monkeypatch.setattr(ranking, "_begin", _die)
    monkeypatch.setattr(Launch, "cores", 2)
    with pytest.raises(MachineError, match="a process that worked out what was known at a moment died"):
        train(sequences_uri=sequences_uri, output_uri=str(tmp_path / "version"), epochs=1, **SMALL)


def _die() -> None:
    os._exit(3)


@pytest.fixture(scope="module")
def explained(version: StepFolder, tmp_path_factory: pytest.TempPathFactory, spark: object) -> list[dict[str, Any]]:
    """Outputs of lines of all users and of one nobody knows."""
    folder = tmp_path_factory.mktemp("explained")
    lines = [json.dumps({"userId": user}) for user in USER_IDS]
    (folder / "in.json").write_text("\n".join([*lines, '{"userId": "nobody"}']) + "\n")
    asked = {"solution_uri": version.uri, "input_uri": str(folder / "in.json"), "num_results": 10}
    outputs = []
    for name, options in (("plain", {}), ("told", {"explain": True})):
        recommend(**asked, output_uri=str(folder / name), **options)
        answers = (folder / name / "in.json.out").read_text().splitlines()
        outputs.append([json.loads(line)["output"] for line in answers])
    for plain, told in zip(*outputs, strict=True):
        assert {name: told[name] for name in plain} == plain
    return outputs[1]


def test_a_ranked_item_is_explained_by_families_that_add_up(explained: list[dict[str, Any]]) -> None:
    *known, nobody = explained
    assert not any("families" in each for each in nobody["explanations"])
    num_ranked = 0
    for output in known:
        ranked = [each for each in output["explanations"] if "logOdds" in each]  # the others were no candidates
        num_ranked += len(ranked)
        totals = [each["logOdds"] for each in ranked]
        for each in ranked:
            assert list(each) == ["popularityShare", "explored", "because", "logOdds", "families"]
            values = list(each["families"].values())
            assert set(each["families"]) <= set(FAMILIES)
            assert values == sorted(values, reverse=True)
            assert sum(values) == pytest.approx(each["logOdds"])
            popular = sum(max(0.0, each["families"].get(name, 0.0)) for name in (LATELY, POPULAR))
            assert each["popularityShare"] == pytest.approx(popular / sum(value for value in values if value > 0), abs=0.02)
            assert each["popularityShare"] + sum(reason["share"] for reason in each["because"]) <= 1.0003
        # The list is in the order of the trees' scores, of which these are the numbers: but for rounding they fall.
        assert all(one >= other - 0.11 for one, other in pairwise(totals)), totals
    assert num_ranked > 0.95 * sum(len(output["explanations"]) for output in known)


def test_what_is_taken_again_is_listed_because_it_is_due(explained: list[dict[str, Any]]) -> None:
    leading = []
    for row, output in enumerate(explained[:-1]):
        own = {f"item {item}" for item in SHOP.item_rows[SHOP.event_positions(np.asarray([row])).values]}
        of_items = zip(output["recommendedItems"][:3], output["explanations"], strict=False)
        leading += [next(iter(each["families"])) for item, each in of_items if item in own and "families" in each]
    assert len(leading) > SHOP.num_users
    assert leading.count(DUE) > 0.8 * len(leading)


def test_the_page_explains_the_nightly_list(version: StepFolder, explained: list[dict[str, Any]]) -> None:
    manifest = version.require("solution_version")
    [entry] = [file for file in manifest.files if file.shown == "explanations.json"]
    document, page = json.loads(version.read(entry)), version.read(manifest.file(manifest.metadata["report"])).decode()
    assert document["paths"] == FAMILIES
    assert len(document["users"]) == 10
    for user in document["users"]:
        told = explained[USER_IDS.index(user["user_id"])]
        listed = {item["item_id"]: item["paths"] for item in user["items"]}
        assert list(listed) == told["recommendedItems"]
        assert user["hidden_items"] == []
        for item, each in zip(told["recommendedItems"], told["explanations"], strict=True):
            for family, value in each.get("families", {}).items():
                assert listed[item][family] == pytest.approx(value, abs=0.0051)
    for words in FAMILIES.values():
        assert words in page
    assert "from the past: having had it" in page
    assert f"{DUE} <b>×" in page
