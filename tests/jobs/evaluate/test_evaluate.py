from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from called_jobs import train
from small_sequences import publish_sequences as published
from small_sequences import sequences_of

from hrnn.evaluation import metrics
from hrnn.evaluation.baselines.lists import NAMES
from jobs.evaluate.job import evaluate, table_lines
from jobs.nightly.wording import verdict
from jobs.platform.storage.folders import StepFolder
from schemas import columns
from schemas.errors import DataError, StorageError


def publish_sequences(uri: str, scratch: Path, seed: int = 0) -> str:
    """Histories of 60 users over 40 items, a few of which are far more popular; two shards."""
    random = np.random.default_rng(seed)
    histories = [np.minimum(random.geometric(0.1, random.integers(2, 30)) - 1, 39) for _ in range(60)]
    counts = np.bincount(np.concatenate(histories), minlength=40)
    order = np.lexsort((np.arange(40), -counts))
    row_of = np.argsort(order)
    histories = [row_of[history] for history in histories]
    folder, local, files, shards = StepFolder(uri), scratch / "file", [], []
    for number, (first, last) in enumerate(((0, 25), (25, 60))):
        lengths = [len(history) for history in histories[first:last]]
        items = np.concatenate(histories[first:last])
        events = {
            columns.USER_ROW: np.repeat(np.arange(first, last), lengths),
            columns.ITEM_ROW: items,
            columns.EVENT_TIME: np.arange(len(items)),
            columns.SESSION_START: np.ones(len(items), dtype=bool),
            columns.EVENT_TYPE_CODE: np.zeros(len(items), dtype=np.int32),
        }
        pq.write_table(pa.table(events), local)
        files.append(folder.put_file(local, folder.attempt_path(f"shards/part-{number:05d}.parquet")))
        users = {columns.USER_ID: [f"user {row}" for row in range(first, last)], columns.USER_ROW: np.arange(first, last)}
        pq.write_table(pa.table(users), local)
        files.append(folder.put_file(local, folder.attempt_path(f"users/part-{number:05d}.parquet")))
        of_shard = {"first_user_row": first, "num_users": last - first, "num_events": len(items), "num_sessions": len(items)}
        shards.append({"events": files[-2].path, "users": files[-1].path, **of_shard})
    catalogue = {
        columns.ITEM_ID: [f"item {row}" for row in range(40)],
        columns.ITEM_ROW: np.arange(40),
        columns.NUM_EVENTS: counts[order],
        columns.NUM_USERS: np.bincount(np.concatenate([np.unique(history) for history in histories]), minlength=40),
    }
    pq.write_table(pa.table(catalogue), local)
    files.append(folder.put_file(local, folder.attempt_path("catalogue.parquet")))
    facts = {"shards": shards, "catalogue": files[-1].path, "event_types": ["x"], "categories": {}, "hash_seed": 0}
    folder.publish("sequences", f"{seed:064d}", {}, [], files, metadata=facts)
    return folder.uri


@pytest.mark.parametrize("recipe", ["aws-popularity-count", "aws-sims"])
def test_users_with_one_event_each_are_not_measured_and_have_no_metrics(tmp_path: Path, recipe: str) -> None:
    (tmp_path / "parts").mkdir()
    alone = sequences_of([[[user % 3]] for user in range(9)])
    uri = published(alone, str(tmp_path / "sequences"), tmp_path / "parts")
    summary = train(sequences_uri=uri, output_uri=str(tmp_path / "version"), recipe=recipe)
    told = evaluate(solution_uri=str(tmp_path / "version"), output_uri=str(tmp_path / "metrics"))
    assert set(summary["metrics"].values()) == set(told["metrics"].values()) == {None}
    stored = StepFolder(str(tmp_path / "metrics")).require("evaluation").metadata["metrics"]
    assert set(stored["metrics"].values()) == {None}
    assert "NaN" not in json.dumps(told)
    assert table_lines(told)[-1] == "0 test users, 0 hidden events"
    assert verdict({"x": {**told, "recipe": recipe}}).word == "Not measured"
    report = StepFolder(str(tmp_path / "version")).require("solution_version").metadata["report"]
    assert "Not measured" in (tmp_path / "version" / report).read_text()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """URIs of sequences and of a solution version trained on them."""
    base = tmp_path_factory.mktemp("trained")
    sequences = publish_sequences(str(base / "sequences"), base)
    train(sequences_uri=sequences, recipe="aws-popularity-count", output_uri=str(base / "solution"))
    return sequences, str(base / "solution")


def test_measuring_again_gives_what_training_measured(trained: tuple[str, str], tmp_path: Path) -> None:
    sequences, solution = trained
    summary = evaluate(solution_uri=solution, sequences_uri=sequences, output_uri=str(tmp_path / "out"))
    manifest = StepFolder(solution).require("solution_version")
    stored = json.loads(StepFolder(solution).read(manifest.file(manifest.metadata["metrics"])))
    assert {name: summary[name] for name in stored} == stored
    assert tuple(summary["metrics"]) == metrics.PERSONALIZE_METRICS
    assert summary["test_users"] == 6
    written = StepFolder(str(tmp_path / "out"))
    published = written.require("evaluation")
    assert json.loads(written.read(published.files[0])) == stored


def test_popularity_count_is_its_own_baseline(trained: tuple[str, str]) -> None:
    table = evaluate(solution_uri=trained[1])["table"]
    assert table["model"] == table["popularity"]
    assert list(table) == ["model", "popularity", "personal popularity", *NAMES]


def test_a_second_evaluation_is_skipped(trained: tuple[str, str], tmp_path: Path) -> None:
    first = evaluate(solution_uri=trained[1], output_uri=str(tmp_path / "out"))
    second = evaluate(solution_uri=trained[1], output_uri=str(tmp_path / "out"))
    assert (first["skipped"], second["skipped"]) == (False, True)
    assert first["table"] == second["table"]


def test_the_table_reads_well(trained: tuple[str, str]) -> None:
    lines = table_lines(evaluate(solution_uri=trained[1]))
    assert lines[0].split()[:3] == ["coverage", "MRR@25", "NDCG@5"]
    assert [line.split("  ")[0] for line in lines[1:4]] == ["model", "popularity", "personal popularity"]
    assert len({len(line) for line in lines[:9]}) == 1
    assert [line.split("  ")[0] for line in lines[4:9]] == list(NAMES)
    assert lines[9] == "NDCG@25, model less popularity: +0.0000 (standard error 0.0000)"
    assert lines[-1].startswith("6 test users, ")
    assert any(line.startswith("head items ") for line in lines)
    assert any("95 % interval" in line for line in lines)


def test_other_sequences_are_refused(trained: tuple[str, str], tmp_path: Path) -> None:
    others = publish_sequences(str(tmp_path / "others"), tmp_path, seed=1)
    with pytest.raises(DataError, match="trained on other sequences"):
        evaluate(solution_uri=trained[1], sequences_uri=others)


@pytest.mark.parametrize("place", ["output_uri", "sequences_uri"])
def test_an_empty_place_is_not_none(trained: tuple[str, str], place: str) -> None:
    with pytest.raises(StorageError, match="the path is empty"):
        evaluate(solution_uri=trained[1], **{place: ""})


def test_a_folder_that_holds_no_solution_version_is_refused(trained: tuple[str, str], tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="no finished step lies here"):
        evaluate(solution_uri=str(tmp_path))
    with pytest.raises(StorageError, match=r"holds something else \(got 'sequences'\)"):
        evaluate(solution_uri=trained[0])
