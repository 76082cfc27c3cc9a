"""Users are deleted while other runs are at work: what is COMPLETED stays true, and no manifest names a file that is gone."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from called_jobs import train
from small_sequences import publish_sequences, random_histories, sequences_of
from tiny_solution import publish_solution
from tiny_workspace import write_workspace
from typed_datasets import publish_interactions
from wrong_clock import set_clock

import jobs.delete_users.job
import jobs.export.job
import jobs.train.job
from jobs.batch.output_record import OutputRecord
from jobs.batch.parts import Part, store_part
from jobs.batch.publication import Publication
from jobs.batch.run import run_batch
from jobs.batch.tally import Tally
from jobs.cli import main
from jobs.delete_users.folders import drop_unfinished
from jobs.delete_users.job import delete_users
from jobs.export.job import export
from jobs.platform.storage import StoredFile, join, store_for
from jobs.platform.storage.folders import StepFolder
from jobs.platform.storage.local import LocalStore
from schemas.errors import DataError, StorageError


@pytest.fixture(params=["local", "moto"])
def workspace(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URI of a workspace that holds nothing yet."""
    return join(request.getfixturevalue("s3") if request.param == "moto" else str(tmp_path), "workspace")


@pytest.fixture
def leaving(tmp_path: Path) -> str:
    """A list of one user."""
    (tmp_path / "users.csv").write_text("USER_ID\nuser 7\n")
    return str(tmp_path / "users.csv")


def naming(workspace: str) -> list[str]:
    """Files of a workspace in which the user stands."""
    store = store_for(workspace)
    found = []
    for file in store.list(workspace + "/"):
        data = store.read(file.uri)
        told = str(pq.read_table(io.BytesIO(data)).to_pylist()) if file.name.endswith(".parquet") else data.decode("latin-1")
        if "user 7'" in told or "user 7," in told:
            found.append(file.uri)
    return found


def before(monkeypatch: pytest.MonkeyPatch, place: Any, name: str, happens: Callable[[], Any]) -> list[Any]:
    """Have something happen once, right before a function is called; gives what came of it."""
    function, told = getattr(place, name), list[Any]()

    def called(*arguments: Any, **named: Any) -> Any:
        if not told:
            told.append(None)
            told[0] = happens()
        return function(*arguments, **named)

    monkeypatch.setattr(place, name, called)
    return told


@pytest.mark.parametrize("moment", ["measure", "write_states", "copy_attributes", "training_report"])
def test_a_training_publishes_nothing_of_users_that_have_left_its_sequences(
    workspace: str, leaving: str, moment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sequences = join(workspace, "sessionize", "sequences", "c" * 12)
    publish_sequences(sequences_of(random_histories(40, 12)), sequences, tmp_path)
    version = join(workspace, "train", "for-you", "b" * 12)

    def deletion() -> dict[str, Any]:
        return delete_users(users_uri=leaving, workspace_uri=workspace, older_than=timedelta(0))

    told = before(monkeypatch, jobs.train.job, moment, deletion)
    with pytest.raises(StorageError, match=r"c{12}: this input changed, or went|a file that the step wrote was removed"):
        train(sequences_uri=sequences, recipe="aws-popularity-count", output_uri=version)
    assert told[0]["status"] == "COMPLETED"
    assert StepFolder(version).manifest() is None
    assert naming(workspace) == []


@pytest.mark.parametrize("by", [timedelta(hours=2), timedelta(days=-3650)])
def test_a_step_is_at_work_whatever_this_machine_takes_the_time_for(
    workspace: str, leaving: str, by: timedelta, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = StepFolder(join(workspace, "train", "for-you", "b" * 12))
    checkpoint = step.attempt_path("checkpoints/step-1.safetensors")
    step.put(checkpoint, b"of a training")
    set_clock(monkeypatch, by)
    with pytest.raises(StorageError, match="a step of the workspace is at work"):
        delete_users(users_uri=leaving, workspace_uri=workspace)
    assert store_for(step.uri).stat(step.uri_of(checkpoint)) is not None


def test_who_says_that_no_step_is_at_work_is_believed_though_a_clock_was_set_back(tmp_path: Path, leaving: str) -> None:
    step = StepFolder(str(tmp_path / "workspace" / "train" / "for-you" / ("b" * 12)))
    step.put("checkpoints/step-1.safetensors", b"of a training")
    for file in tmp_path.rglob("*.safetensors"):
        os.utime(file, (4e9, 4e9))
    done = delete_users(users_uri=leaving, workspace_uri=str(tmp_path / "workspace"), older_than=timedelta(0))
    assert done["unfinished_removed"] == [step.uri]


def test_an_export_publishes_nothing_of_users_that_have_left_its_dataset(
    workspace: str, leaving: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    typed = publish_interactions(
        join(workspace, "validate", "interactions", "a" * 12), [(f"user {n}", "i", n) for n in range(9)]
    )
    part = jobs.export.job._export_part

    def overtaken(*arguments: Any) -> Any:
        made = part(*arguments)
        assert delete_users(users_uri=leaving, workspace_uri=workspace, older_than=timedelta(0))["status"] == "COMPLETED"
        return made

    monkeypatch.setattr(jobs.export.job, "_export_part", overtaken)
    exported = join(workspace + "-apart", "exported")
    with pytest.raises(StorageError, match="this input changed"):
        export(dataset_uri=typed, output_uri=exported)
    assert StepFolder(exported).manifest() is None
    assert naming(workspace) == naming(workspace + "-apart") == []


def test_what_is_published_between_the_scans_is_found_by_the_second(
    tmp_path: Path, leaving: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = tmp_path / "workspace"
    write_workspace(workspace)
    typed, late = str(workspace / "validate/interactions" / ("a" * 12)), str(workspace / "late")
    before(monkeypatch, jobs.delete_users.job, "clean", lambda: export(dataset_uri=typed, output_uri=late))
    with pytest.raises(DataError, match=r"late: users are still there after the deletion.*Run it again"):
        delete_users(users_uri=leaving, workspace_uri=str(workspace))
    assert delete_users(users_uri=leaving, workspace_uri=str(workspace))["status"] == "COMPLETED"
    assert not Path(late, "manifest.json").exists()


def test_it_refuses_while_a_step_is_at_work_and_says_which(
    tmp_path: Path, leaving: str, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace = tmp_path / "workspace"
    write_workspace(workspace)
    working = workspace / "train" / "for-you" / ("e" * 12)
    working.mkdir()
    (working / "states-0.parquet").write_bytes(b"half")
    held = {path: path.read_bytes() for path in workspace.rglob("*") if path.is_file()}
    command = ["delete-users", "--users", leaving, "--workspace", str(workspace)]
    with pytest.raises(SystemExit) as ended:
        main(command)
    assert ended.value.code == 1
    assert f"hrnn: {working}: a step of the workspace is at work" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in workspace.rglob("*") if path.is_file()} == held
    with pytest.raises(SystemExit) as ended:
        main([*command, "--older-than", "0m"])
    assert ended.value.code == 0
    assert not (working / "states-0.parquet").exists()


def test_a_step_that_was_killed_an_hour_ago_is_not_at_work(tmp_path: Path, leaving: str) -> None:
    workspace = tmp_path / "workspace"
    write_workspace(workspace)
    killed = workspace / "train" / "for-you" / ("e" * 12) / "states-0.parquet"
    killed.parent.mkdir()
    killed.write_bytes(b"half")
    an_hour_ago = time.time() - 3700
    os.utime(killed, (an_hour_ago, an_hour_ago))
    assert delete_users(users_uri=leaving, workspace_uri=str(workspace))["status"] == "COMPLETED"
    assert not killed.exists()


@pytest.mark.parametrize("moment", ["before", "while its files go", "never"])
def test_an_unfinished_step_that_is_finished_meanwhile_is_whole_or_gone(
    tmp_path: Path, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = StepFolder(str(tmp_path / "step"))
    entry = run.put(run.attempt_path("data.parquet"), b"rows")
    files: list[StoredFile] = store_for(run.uri).list(run.uri + "/")

    def publish() -> None:
        StepFolder.publish(run, "sequences", "1" * 64, {}, [], [entry])

    if moment == "before":
        publish()
    elif moment != "never":
        before(monkeypatch, LocalStore, "delete", publish)
    drop_unfinished(run.uri, files)
    manifest = StepFolder(run.uri).manifest()
    assert (manifest is not None) == (moment == "before")
    assert Path(run.uri_of(entry.path)).exists() == (moment == "before")


@pytest.mark.parametrize(
    ("owner", "moment"),
    [(OutputRecord, "claim"), (Publication, "_take_check_away"), (Publication, "_reveal_answers")],
)
def test_lists_of_users_that_have_left_the_solution_version_are_not_published(
    workspace: str, leaving: str, owner: type, moment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    solution = publish_solution(join(workspace, "train", "for-you", "b" * 12), num_users=9, num_items=5)
    folder, output = StepFolder(solution.uri), join(workspace + "-apart", "out")
    (tmp_path / "users.json").write_text('{"userId": "user 7"}\n')

    def answered(files: list[StoredFile], parts_uri: str, token: str) -> list[list[Part]]:
        line = b'{"input":{"userId":"user 7"},"output":{"recommendedItems":[]},"error":null}\n'
        return [[store_part([line], parts_uri, token, 0, Tally(lines=1))]]

    def deletion() -> dict[str, Any]:
        """No night has published to the output yet, so that nothing tells of it."""
        return delete_users(users_uri=leaving, workspace_uri=workspace, older_than=timedelta(0))

    told = before(monkeypatch, owner, moment, deletion)
    given = (str(tmp_path / "users.json"), output)
    with pytest.raises(StorageError, match="this input changed"):
        run_batch("recommend", folder, folder.require("solution_version"), {}, *given, answered, None)
    assert told[0]["status"] == "COMPLETED"
    assert [file.name for file in store_for(output).list(output + "/") if file.name.endswith((".out", "_CHECK"))] == []
