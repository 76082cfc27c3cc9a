from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from night_double import NDCG, measured
from published_versions import publish_untrained, tensors_of
from small_sequences import publish_sequences, random_histories, sequences_of

from hrnn.blend.item_statistics import ItemStatistics
from hrnn.blend.snapshots import BlendedModel, PerUserSnapshot, PlainSnapshot
from hrnn.blend.weights import BlendWeights
from hrnn.data.splits import evaluation_split, prepare
from hrnn.explain.engine import PATHS
from hrnn.models.popularity import PopularityCount
from hrnn.models.registry import restored
from jobs.platform.storage.folders import StepFolder
from jobs.solutions.staging import stage
from jobs.train.fit import FittedRecipe
from jobs.train.report.page import ReportInputs, solution_page
from jobs.train.report.tables import curves, metric_name, search_table, tables, verdict
from jobs.train.report.write import training_report
from schemas.manifest import FileEntry

SEQUENCES = sequences_of(random_histories(200, 30))
TITLE = '<b>Tea & "Sympathy"</b>'


class Page(HTMLParser):
    """What a browser would load or run, and the texts it would show."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loads += [
            str(value) for name, value in attrs if name in {"src", "href", "data", "action"} or name.startswith("on")
        ]

    def handle_data(self, data: str) -> None:
        self.texts += [data.strip()] if data.strip() else []


def with_titles(uri: str) -> None:
    """Give the items of published sequences a title each, the first one none."""
    folder = StepFolder(uri)
    manifest = folder.require("sequences")
    path = Path(uri) / manifest.metadata["catalogue"]
    table = pq.read_table(path)
    titles = pa.array([None, *(f"{TITLE} {row}" for row in range(1, len(table)))], pa.string())
    pq.write_table(table.append_column("TITLE", titles), path)
    catalogue = folder.put_file(path, folder.attempt_path("titled.parquet"))
    files = [*(file for file in manifest.files if file.path != manifest.metadata["catalogue"]), catalogue]
    facts = manifest.metadata | {"catalogue": catalogue.path}
    folder.publish("sequences", "b" * 64, {}, [], files, metadata=facts)


def written(tmp_path: Path, sequences_uri: str, *, explained: bool = True) -> tuple[StepFolder, list[FileEntry]]:
    """What training writes beside an untrained version; with `explained` a model that is blended, else a list for everybody."""
    source = StepFolder(sequences_uri)
    staged = stage(source, source.require("sequences"), tmp_path)
    version = StepFolder(publish_untrained(str(tmp_path / "version"), SEQUENCES, tmp_path, measured()))
    manifest = version.require("solution_version")
    facts, parameters, prepared = manifest.metadata, tensors_of(version.uri, tmp_path), prepare(SEQUENCES, 0)
    weights = BlendWeights.of_tensors(parameters)
    assert weights is not None
    model = restored("aws-hrnn", facts["training_outcome"]["shape"], parameters)
    blended = BlendedModel(model, weights, ItemStatistics.of(prepared.fit_and_calibration))
    plain = PlainSnapshot(PopularityCount.fit(SEQUENCES))
    inputs = ReportInputs(
        name="version",
        recipe=facts["recipe"],
        hyperparameters=facts["hyperparameters"],
        config=manifest.config,
        counts=manifest.counts,
        metrics=measured(),
        curve=pq.read_table(tmp_path / "version" / facts["training"]).to_pylist(),
        best_epoch=2,
    )
    fitted = FittedRecipe(plain, PerUserSnapshot(blended) if explained else plain, parameters, [])
    return version, training_report(version, inputs, fitted, SEQUENCES, prepared, staged)


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Any]]:
    """Page and explanations of an untrained version."""
    tmp_path = tmp_path_factory.mktemp("report")
    sequences = publish_sequences(SEQUENCES, str(tmp_path / "sequences"), tmp_path)
    with_titles(sequences)
    version, (page, explanations) = written(tmp_path, sequences)
    return version.read(page).decode(), json.loads(version.read(explanations))


def test_the_page_loads_nothing_and_runs_nothing(reported: tuple[str, dict[str, Any]]) -> None:
    page = Page(reported[0])
    assert page.loads == []
    assert not {"script", "link", "iframe", "img", "object"} & set(page.tags)
    assert not re.search(r"url\(|@import|https?://", reported[0])


def test_the_verdict_comes_first(reported: tuple[str, dict[str, Any]]) -> None:
    texts = Page(reported[0]).texts
    body = texts[texts.index("Solution version version · aws-hrnn") + 1 :]
    assert body[:2] == ["Ahead.", "Its lists are 50\u00a0% better than those of personal popularity, the best of 2 baselines."]


def test_what_was_learnt_from_is_said_plainly(reported: tuple[str, dict[str, Any]]) -> None:
    assert "which nothing was learnt from, and their newest tenth is the truth." in reported[0]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"split": "all_users"}, "those of these users too."),
        ({"split": "personalize", "segments": True}, "Of every user the newest fifth"),
        ({}, ""),
    ],
)
def test_each_split_has_its_sentence(settings: dict[str, Any], said: str) -> None:
    inputs = ReportInputs(
        name="v", recipe="r", hyperparameters={}, config={"settings": settings}, counts={}, metrics=measured(), curve=[],
        best_epoch=None,
    )  # fmt: skip
    page = solution_page(inputs, None)
    assert said in page["learnt"]
    assert bool(page["learnt"]) == bool(said)


def test_titles_are_shown_and_never_run(reported: tuple[str, dict[str, Any]]) -> None:
    assert "<b>Tea" not in reported[0]
    assert any(text.startswith(TITLE) for text in Page(reported[0]).texts)


def test_ten_test_users_are_explained_and_their_hits_are_marked(reported: tuple[str, dict[str, Any]]) -> None:
    html, document = reported
    users = document["users"]
    split = evaluation_split(SEQUENCES.history_lengths)
    fit = {f"user {row}": keep for row, keep in zip(split.user_rows, split.keep_counts, strict=True) if keep >= 5}
    chosen = {user["user_id"]: user["known_events"] for user in users}
    assert len(users) == 10
    assert len(fit.keys() & chosen.keys()) == min(10, len(fit))
    assert all(chosen[user] == keep for user, keep in fit.items() if user in chosen)
    items = [(user, item) for user in users for item in user["items"]]
    assert all(len(user["items"]) == 10 for user in users)
    assert all(item["hit"] == (item["item_id"] in user["hidden_items"]) for user, item in items)
    assert all(list(item["paths"]) == list(PATHS) and item["because"] for _, item in items)
    assert html.count('<span class="tag hit">taken next</span>') == sum(item["hit"] for _, item in items)
    assert html.count('<span class="tag">had it before</span>') == sum(item["had_before"] for _, item in items)
    assert html.count('class="parts"') == 100
    assert any(item["hit"] for _, item in items)
    assert "×" in html


def test_bars_stay_in_their_room(reported: tuple[str, dict[str, Any]]) -> None:
    pieces = re.findall(
        r'<i class="(?:sequence|popularity|recency|own-item)" style="left:([\d.]+)%;width:([\d.]+)%"', reported[0]
    )
    assert len(pieces) > 100
    assert all(float(left) >= 0 and float(left) + float(width) <= 100.02 for left, width in pieces)


def test_curves_mark_the_epoch_that_was_kept(reported: tuple[str, dict[str, Any]]) -> None:
    assert "The parameters after epoch 2 of 3 were kept; they are marked." in Page(reported[0]).texts
    assert "kept: 2: 2" in Page(reported[0]).texts


def test_settings_are_listed_for_people(reported: tuple[str, dict[str, Any]]) -> None:
    texts = Page(reported[0]).texts
    for name, value in {"hidden dimension": "6", "recency mask": "yes", "num lanes": "4,096", "momentum": "0.5"}.items():
        assert texts[texts.index(name) + 1] == value
    assert texts[texts.index("time limit seconds") + 1] == "none"


def test_the_same_version_gives_the_same_bytes(tmp_path: Path) -> None:
    sequences = publish_sequences(SEQUENCES, str(tmp_path / "sequences"), tmp_path)
    (_, first), (_, second) = (written(tmp_path, sequences) for _ in range(2))
    assert [(entry.shown, entry.sha256) for entry in first] == [(entry.shown, entry.sha256) for entry in second]


def test_histories_that_are_one_session_are_shown_by_day(tmp_path: Path) -> None:
    sequences = publish_sequences(SEQUENCES, str(tmp_path / "sequences"), tmp_path)
    folder = StepFolder(sequences)
    manifest = folder.require("sequences")
    folder.publish("sequences", "b" * 64, {}, [], manifest.files, metadata=manifest.metadata | {"gap_seconds": None})
    version, (page, _) = written(tmp_path, sequences)
    assert "Latest days, newest first" in version.read(page).decode()


def test_training_puts_the_files_under_its_own_names(tmp_path: Path) -> None:
    sequences = publish_sequences(SEQUENCES, str(tmp_path / "sequences"), tmp_path)
    version, entries = written(tmp_path, sequences)
    assert [entry.path for entry in entries] == [version.attempt_path("report.html"), version.attempt_path("explanations.json")]
    assert [entry.shown for entry in entries] == ["report.html", "explanations.json"]


def test_a_recipe_without_paths_has_a_page_that_says_so(tmp_path: Path) -> None:
    sequences = publish_sequences(SEQUENCES, str(tmp_path / "sequences"), tmp_path)
    version, [page] = written(tmp_path, sequences, explained=False)
    assert "no paths to tell apart" in version.read(page).decode()


def test_a_search_shows_its_trainings() -> None:
    trial = {"recipe": "aws-hrnn", "best_epoch": 3, "epochs": 4, "seconds": 1.0}
    trials = [
        trial | {"number": 0, "hyperparameters": {"bptt": 8}, "objective": 0.1},
        trial | {"number": 1, "hyperparameters": {"bptt": 4, "rate": 0.123456}, "objective": 0.2},
    ]
    found = search_table({"metric": NDCG, "best_trial": 1, "trials": trials})
    assert found.columns == ("", "bptt", "rate", "best epoch", "NDCG@25")
    assert [[cell.text for cell in row.cells] for row in found.rows] == [
        ["8", "", "3", "0.1000"],
        ["4", "0.1235", "3", "0.2000"],
    ]
    assert [row.own for row in found.rows] == [False, True]


@pytest.mark.parametrize(
    ("document", "state", "words"),
    [
        (measured(0.1, 0.05, 0.2), "bad", "Its lists are 50\u00a0% worse than those of personal popularity"),
        (measured(0.21, 0.05, 0.2), "even", "cannot be told apart"),
        (measured(0.3, 0.0, 0.0), "good", "Its lists are better than those of popularity"),
        ({**measured(), "test_users": 0}, "even", "not known"),
        ({}, "even", "not known"),
    ],
)
def test_verdicts_follow_the_best_baseline(document: dict[str, Any], state: str, words: str) -> None:
    found = verdict(document)
    assert found.state == state
    assert words in found.sentence


def test_a_verdict_without_standard_errors_compares_plain_numbers() -> None:
    document = measured(0.3, 0.1, 0.2)
    del document[f"gain_in_{NDCG}"]
    assert verdict(document).detail.startswith("NDCG@25 is 0.3000 against 0.2000 (+0.1000), on 40 users")


def test_tables_show_whatever_rows_intervals_slices_and_catalogue_there_are() -> None:
    rows = {"model": {"coverage": 0.5, NDCG: 0.3, "new_at_3": 0.1}, "Markov": {NDCG: 0.4, "recall_at_25": 12.0}}
    of_slice = {row: {NDCG: 0.2, "users": 7.0} for row in rows}
    document = {
        "table": rows,
        "intervals": {"Markov": {NDCG: [0.35, 0.45]}},
        "users": {"model": 1_000, "Markov": 10},
        "slices": {"new session": of_slice, "item_kind": {"tail": {"users": 3, "model": {NDCG: 0.1}}}, "empty": {}},
        "catalogue": {"model": {"coverage": 0.5, "gini": 0.9}},
    }
    comparison, kinds, item_kind, catalogue = tables(document)
    assert comparison.columns == ("", "users", "NDCG@25", "recall@25", "new@3")
    assert [[cell.text for cell in row.cells] for row in comparison.rows] == [
        ["1,000", "0.3000", "", "0.1000"],
        ["10", "0.4000", "12.00", ""],
    ]
    best = comparison.rows[1].cells[1]
    assert best.best
    assert best.interval == "0.350–0.450"
    assert (kinds.title, kinds.columns) == ("By part of what was hidden: NDCG@25", ("", "users", "model", "Markov"))
    assert [(row.name, [cell.text for cell in row.cells]) for row in kinds.rows] == [("new session", ["7", "0.2000", "0.2000"])]
    assert (item_kind.title, item_kind.rows[0].name) == ("By item kind: NDCG@25", "tail")
    assert [cell.text for cell in catalogue.rows[0].cells] == ["0.5000", "0.9000"]
    assert tables({}) == ()


def test_a_catalogue_of_the_model_alone_is_shown_too() -> None:
    [found] = tables({"catalogue": {"coverage": 0.5}})
    assert [row.name for row in found.rows] == ["model"]


def test_metrics_have_short_names() -> None:
    assert [metric_name(key) for key in (NDCG, "mean_reciprocal_rank_at_25", "hit_rate_at_20", "coverage")] == [
        "NDCG@25",
        "MRR@25",
        "hit rate@20",
        "coverage",
    ]


def test_a_single_epoch_makes_no_curve() -> None:
    assert curves([{"epoch": 1, "loss": 1.0, "validation": None}], 1) == ((), "")
