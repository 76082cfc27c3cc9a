from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from called_jobs import train
from one_rank import one_rank_here
from pretended_gpu import pretended_gpu
from published_versions import tensors_of
from small_sequences import circular_histories, publish_sequences, sequences_of

import jobs.train.fit
from hrnn.blend.trends import WINDOWS_DAYS
from hrnn.data.ragged import Ragged
from hrnn.data.sequences import Sequences
from hrnn.data.splits import evaluation_split
from hrnn.training.checkpoints import Checkpoint, save_checkpoint
from jobs.evaluate.job import evaluate, table_lines
from jobs.platform.storage import join
from jobs.platform.storage.folders import StepFolder
from jobs.train import fit, states
from jobs.train.checkpoints import WorkspaceCheckpoints
from jobs.train.launch import Launch
from schemas import columns
from schemas.errors import ConfigError, DataError, StorageError

CIRCLE = sequences_of(circular_histories(80, 15), num_items=17)  # the last two items have no events
SMALL: dict[str, Any] = {"recipe": "aws-hrnn", "hyperparameters": {"hidden_dimension": "32", "bptt": "8"}}


@pytest.fixture(autouse=True, scope="module")
def _trained_here() -> Iterator[None]:
    """One rank in this process, in place of torchrun; tests/jobs/train/test_ranks.py starts the real one."""
    with one_rank_here():
        yield


def published(tmp_path: Path, sequences: Sequences = CIRCLE, event_types: tuple[str, ...] = ("x",)) -> str:
    (tmp_path / "parts").mkdir()
    return publish_sequences(sequences, str(tmp_path / "sequences"), tmp_path / "parts", event_types=event_types)


@pytest.fixture(scope="module")
def version(tmp_path_factory: pytest.TempPathFactory, _trained_here: None) -> StepFolder:
    """A solution version of the circle, trained well."""
    tmp_path = tmp_path_factory.mktemp("train")
    train(sequences_uri=published(tmp_path), output_uri=str(tmp_path / "version"), epochs=30, **SMALL)
    return StepFolder(str(tmp_path / "version"))


def test_a_solution_version_holds_what_recommend_and_evaluate_need(version: StepFolder, tmp_path: Path) -> None:
    manifest = version.require("solution_version")
    facts = manifest.metadata
    model = tensors_of(version.uri, tmp_path)
    assert model["scoring.item_vectors"].shape == (17, facts["dimension"])
    assert model["scoring.item_bias"].shape == (17,)
    assert model["evaluation.item_vectors"].shape == (17, facts["evaluation"]["dimension"])
    assert {"item_table", "dense", "blend.same_session", "blend.next_session"} <= set(model)
    users = 0
    for shard in facts["shards"]:
        states = pq.read_table(version.fetch(manifest.file(shard["states"]), tmp_path))
        assert states.column_names == [
            columns.USER_ID, columns.USER_ROW, columns.QUERY, columns.SPARSE_ITEM_ROWS, columns.SPARSE_SCORES,
            columns.PAST_ITEM_ROWS, columns.PAST_EVENT_TYPES, columns.PAST_RANKS,
        ]  # fmt: skip
        for user_row, items, ranks in zip(
            *(states[name].to_pylist() for name in (columns.USER_ROW, columns.PAST_ITEM_ROWS, columns.PAST_RANKS)), strict=True
        ):
            newest_first = CIRCLE.item_rows[CIRCLE.event_positions(np.array([user_row])).values][::-1].tolist()
            assert dict(zip(items, ranks, strict=True)) == {item: newest_first.index(item) for item in set(newest_first)}
        assert states[columns.USER_ROW].to_pylist() == list(range(users, users + shard["num_users"]))
        assert states[columns.USER_ID][0].as_py() == f"user {users}"
        assert {len(query) for query in states[columns.QUERY].to_pylist()} == {facts["dimension"]}
        users += shard["num_users"]
    assert users == manifest.counts["users"] == 80
    curve = pq.read_table(version.fetch(manifest.file(facts["training"]), tmp_path))
    assert curve["epoch"].to_pylist() == list(range(1, facts["training_outcome"]["epochs"] + 1))
    best = facts["training_outcome"]["best_epoch"] - 1
    assert curve["validation"].to_pylist()[best] == min(curve["validation"].to_pylist())
    assert curve["loss"].to_pylist()[-1] < curve["loss"].to_pylist()[0]
    assert json.loads(version.read(manifest.file(facts["metrics"])))["metrics"] == facts["evaluation"]["metrics"]
    assert facts["scores"] is True
    assert facts["newest_event"] == CIRCLE.timestamps.max()
    assert pq.read_metadata(version.fetch(manifest.file(facts["catalogue"]), tmp_path)).num_rows == 17


def test_attributes_of_users_and_schemas_go_with_the_version(tmp_path: Path) -> None:
    sequences = StepFolder(published(tmp_path))
    manifest = sequences.require("sequences")
    entry = sequences.put(sequences.attempt_path("attributes/part-00000.parquet"), b"any bytes", 3)
    facts = manifest.metadata | {"attributes": [entry.path], "event_types": ["buy"], "schemas": {"Users": {"type": "record"}}}
    sequences.publish("sequences", "1" * 64, {}, [], [*manifest.files, entry], manifest.counts, facts)
    train(sequences_uri=sequences.uri, output_uri=str(tmp_path / "version"), recipe="aws-popularity-count")
    version = StepFolder(str(tmp_path / "version"))
    published_version = version.require("solution_version")
    (path,) = published_version.metadata["attributes"]
    assert version.read(published_version.file(path)) == b"any bytes"
    assert published_version.file(path).rows == 3
    assert published_version.metadata["event_types"] == ["buy"]
    assert published_version.metadata["schemas"] == {"Users": {"type": "record"}}


def test_the_model_beats_popularity_where_the_next_item_is_plain_to_see(version: StepFolder) -> None:
    table = version.require("solution_version").metadata["evaluation"]["table"]
    assert table["model"]["mean_reciprocal_rank_at_25"] > 0.8
    assert table["popularity"]["mean_reciprocal_rank_at_25"] < 0.5


def test_a_plain_gru_stands_in_the_table_unless_it_is_not_wanted(version: StepFolder, tmp_path: Path) -> None:
    table = version.require("solution_version").metadata["evaluation"]["table"]
    assert table["shuffled GRU"]["mean_reciprocal_rank_at_25"] > table["popularity"]["mean_reciprocal_rank_at_25"]
    told = evaluate(solution_uri=version.uri)
    assert told["table"] == table
    output = str(tmp_path / "without")
    train(sequences_uri=published(tmp_path), output_uri=output, epochs=1, gru_baseline=False, **SMALL)
    assert "shuffled GRU" not in StepFolder(output).require("solution_version").metadata["evaluation"]["table"]


def test_only_events_that_count_are_right_answers(tmp_path: Path) -> None:
    bought = replace(CIRCLE, event_types=(CIRCLE.item_rows % 3 == 0).astype(np.int32))
    output = str(tmp_path / "version")
    train(sequences_uri=published(tmp_path, bought, ("view", "buy")), output_uri=output, epochs=1, event_type="buy", **SMALL)
    told = evaluate(solution_uri=output, sequences_uri=str(tmp_path / "sequences"))
    split = evaluation_split(bought.history_lengths)
    hidden = Ragged.expand(bought.user_offsets[split.user_rows] + split.keep_counts, split.truth_counts)
    truth = bought.item_rows[hidden.values]
    assert 0 < told["truth_events"] == np.count_nonzero(truth % 3 == 0) < told["hidden_events"] == len(truth)
    assert told["truth"] == "hidden events that the solution's event rules count"
    assert f"{told['truth_events']:,} of them count by the solution's event rules, and alone were right answers" in table_lines(
        told
    )
    report = StepFolder(output).require("solution_version").metadata["report"]
    assert "hidden events count by the solution" in (tmp_path / "version" / report).read_text()


def test_nothing_but_the_version_is_left_behind(version: StepFolder) -> None:
    entries = version.require("solution_version").files
    named = {version.uri_of(path) for entry in entries for path in (*entry.places, ".hrnn.lock")}
    assert [entry.shown for entry in entries if entry.shown] == ["explanations.json", "report.html"]
    files = {str(path) for path in Path(version.uri).rglob("*") if path.is_file()}
    assert files == named | {version.uri_of("manifest.json")}


def test_checkpoints_of_another_training_stay_in_the_folder_where_one_is_published(tmp_path: Path) -> None:
    """It goes on from them when it is asked for again."""
    output = str(tmp_path / "version")
    others = WorkspaceCheckpoints(join(output, "checkpoints"))
    name = save_checkpoint(others, "another", 10**6, Checkpoint({"weights": torch.ones(3)}, {}))
    train(sequences_uri=published(tmp_path), output_uri=output, epochs=1, **SMALL)
    assert others.names() == [name]


@pytest.mark.parametrize("searched", [{}, {"auto_ml": True}])
def test_what_a_run_that_was_killed_once_it_had_published_leaves_goes_with_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, searched: dict[str, Any]
) -> None:
    uri, output = published(tmp_path), str(tmp_path / "version")
    settings = {"recipe": "aws-hrnn", "epochs": 1, "gru_baseline": False} | searched

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(jobs.train.job, "_clear_up", killed)
        with pytest.raises(KeyboardInterrupt):
            train(sequences_uri=uri, output_uri=output, **settings)
    left = list(Path(output).rglob("checkpoint-*"))
    assert left
    assert train(sequences_uri=uri, output_uri=output, **settings)["skipped"]
    assert not [path for path in left if path.exists()]
    assert not list(Path(output).rglob("result-*.json"))


def test_as_many_processes_make_states_as_there_are_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[int] = []
    begin = states.process_pool

    def watched(number: int, *given: Any) -> AbstractContextManager[ProcessPoolExecutor]:
        begun.append(number)
        return begin(number, *given)

    monkeypatch.setattr(states, "process_pool", watched)
    monkeypatch.setattr(states, "_EVENTS_A_PROCESS", 1)
    monkeypatch.setattr(Launch, "cores", 2)
    train(sequences_uri=published(tmp_path), output_uri=str(tmp_path / "version"), epochs=1, **SMALL)
    assert begun == [2]


def test_a_gru_is_trained_where_events_are_few_or_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit, "MOST_GRU_EVENTS", 10)
    uri = published(tmp_path)
    for number, (asked, trained) in enumerate([({}, False), ({"gru_baseline": True}, True)]):
        output = str(tmp_path / f"version {number}")
        train(sequences_uri=uri, output_uri=output, epochs=1, **SMALL, **asked)
        table = StepFolder(output).require("solution_version").metadata["evaluation"]["table"]
        assert ("shuffled GRU" in table) is trained


def test_the_same_training_is_done_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uri, output = published(tmp_path), str(tmp_path / "version")
    first = train(sequences_uri=uri, output_uri=output, epochs=1, **SMALL)
    monkeypatch.setattr(jobs.train.fit, "run_ranks", None)
    again = train(sequences_uri=uri, output_uri=output, epochs=1, **SMALL)
    assert (first["skipped"], again["skipped"]) == (False, True)
    assert again["metrics"] == first["metrics"]


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    uri = published(tmp_path)
    digests = []
    for name in ("one", "other"):
        train(sequences_uri=uri, output_uri=str(tmp_path / name), epochs=1, **SMALL)
        manifest = StepFolder(str(tmp_path / name)).require("solution_version")
        digests.append({shard["states"][:17]: manifest.file(shard["states"]).sha256 for shard in manifest.metadata["shards"]})
        digests.append({purpose: manifest.file(path).sha256 for purpose, path in manifest.metadata["model"].items()})
    assert digests[:2] == digests[2:]


@pytest.mark.parametrize("variant", ["init", "all"])
@pytest.mark.parametrize("recency_mask", ["true", "false"])
def test_variants_and_recency_can_be_chosen(tmp_path: Path, variant: str, recency_mask: str) -> None:
    hyperparameters = SMALL["hyperparameters"] | {"recency_mask": recency_mask}
    output = str(tmp_path / "version")
    summary = train(
        sequences_uri=published(tmp_path),
        output_uri=output,
        recipe="aws-hrnn",
        hyperparameters=hyperparameters,
        variant=variant,
        epochs=1,
    )
    assert summary["published"]
    model = tensors_of(output, tmp_path)
    assert bool(model["blend.same_session"][3 : 3 + len(WINDOWS_DAYS)].any()) == (recency_mask == "true")


def test_popularity_needs_no_ranks_and_writes_no_scores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs.train.fit, "run_ranks", None)
    output = str(tmp_path / "version")
    train(sequences_uri=published(tmp_path), output_uri=output, recipe="aws-popularity-count")
    facts = StepFolder(output).require("solution_version").metadata
    assert facts["scores"] is False
    assert facts["dimension"] == 0
    assert facts["evaluation"]["table"]["model"] == facts["evaluation"]["table"]["popularity"]


def test_a_whole_training_works_on_s3(tmp_path: Path, s3: str) -> None:
    uri = publish_sequences(CIRCLE, s3 + "/sequences", tmp_path)
    summary = train(sequences_uri=uri, output_uri=s3 + "/version", epochs=1, **SMALL)
    assert summary["published"]
    assert StepFolder(s3 + "/version").require("solution_version").counts["users"] == 80


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"hyperparameters": {"hidden_dimension": "7"}}, "hidden_dimension"),
        ({"hyperparameters": {"hidden_size": "64"}}, "hidden_size"),
        ({"recipe": "aws-hrn"}, "aws-hrn"),
        ({"variant": "both"}, "both"),
        ({"loss": "hinge"}, "hinge"),
        ({"epochs": 0}, "epochs"),
    ],
)
def test_wrong_settings_are_refused_by_name(tmp_path: Path, arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        train(**{"sequences_uri": str(tmp_path), "output_uri": str(tmp_path / "version"), "recipe": "aws-hrnn", **arguments})


def test_sequences_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="no finished step lies here"):
        train(sequences_uri=str(tmp_path / "nowhere"), output_uri=str(tmp_path / "version"), **SMALL)


@pytest.mark.parametrize("histories", [[[[0, 0, 0]], [[0, 0]]], [[[0]]], [[[0], [1]]]])
def test_one_item_ends_with_one_clear_message(tmp_path: Path, histories: list[list[list[int]]]) -> None:
    with pytest.raises(DataError, match="fewer than two items"):
        train(sequences_uri=published(tmp_path, sequences_of(histories)), output_uri=str(tmp_path / "version"), **SMALL)


@pytest.mark.parametrize("histories", [[[[0, 1, 2, 1]]], [[[0]], [[1]], [[2]]]])
def test_very_few_users_still_give_a_result(tmp_path: Path, histories: list[list[list[int]]]) -> None:
    sequences = sequences_of(histories, day_of_session=False)
    summary = train(sequences_uri=published(tmp_path, sequences), output_uri=str(tmp_path / "version"), epochs=1, **SMALL)
    assert summary["published"]


def test_percentiles_leave_users_out_of_training_but_not_out_of_the_version(tmp_path: Path) -> None:
    hyperparameters = SMALL["hyperparameters"] | {"max_user_history_length_percentile": 0.3}
    output = str(tmp_path / "version")
    train(sequences_uri=published(tmp_path), output_uri=output, recipe="aws-hrnn", hyperparameters=hyperparameters, epochs=1)
    folder = StepFolder(output)
    manifest = folder.require("solution_version")
    curve = pq.read_table(folder.fetch(manifest.file(manifest.metadata["training"]), tmp_path))
    assert curve["events"][0].as_py() < 0.5 * CIRCLE.num_events
    assert sum(shard["num_users"] for shard in manifest.metadata["shards"]) == 80
    assert np.isfinite(manifest.counts["test_users"])


@pytest.mark.parametrize("variant", ["init", "all"])
def test_a_whole_training_with_defaults_ends_where_ranks_are_on_a_gpu(tmp_path: Path, variant: str) -> None:
    sequences, output = published(tmp_path), str(tmp_path / "version")
    with pretended_gpu():
        summary = train(sequences_uri=sequences, output_uri=output, recipe="aws-hrnn", epochs=1, variant=variant)
    assert summary["published"]
    assert summary["metrics"]["normalized_discounted_cumulative_gain_at_25"] > 0
    assert evaluate(solution_uri=output)["metrics"] == summary["metrics"]
