"""Temporary files go with their run, whatever becomes of it, and are nobody else's."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from commands import hrnn

from jobs.platform.process import scratch
from jobs.platform.process.scratch import at_end_of_run, end_run, node_folder, run_folder, scratch_folder, sweep
from schemas.errors import StorageError

RUN = """
import sys
from jobs.platform.process.scratch import scratch_folder
with scratch_folder("left") as folder:
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """HRNN_SCRATCH, with no run in this process."""
    monkeypatch.setenv("HRNN_SCRATCH", str(tmp_path))
    monkeypatch.delenv(scratch.RUN_FOLDER, raising=False)
    monkeypatch.setattr(scratch, "_run", None)
    yield tmp_path
    end_run()


def started() -> tuple[subprocess.Popen[str], Path]:
    """Another run, and its folder of temporary files."""
    other = subprocess.Popen([sys.executable, "-c", RUN], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    return other, Path(other.stdout.readline().strip())


def test_a_run_has_one_folder_that_only_its_user_may_open_and_it_goes_with_it(place: Path) -> None:
    with scratch_folder("one") as one, scratch_folder("two") as two:
        assert Path(one).parent == Path(two).parent == run_folder()
        for folder in (run_folder(), run_folder().parent):
            assert folder.stat().st_mode & 0o777 == 0o700
        assert run_folder().parent.parent == place
    assert not Path(one).exists()
    end_run()
    assert list((place / f"hrnn-scratch-{os.getuid()}").iterdir()) == []


def test_a_folder_of_runs_that_others_could_open_is_closed_to_them(place: Path) -> None:
    (place / f"hrnn-scratch-{os.getuid()}").mkdir(mode=0o755)
    assert run_folder().parent.stat().st_mode & 0o777 == 0o700


def test_what_a_killed_run_left_goes_when_the_next_begins_and_a_living_one_keeps_its_own(place: Path) -> None:
    killed, left = started()
    with started()[0] as living, killed:
        killed.kill()
        killed.wait()
        assert left.is_dir()
        assert sweep(dry_run=True) == [left.parent]
        run_folder()
        assert not left.parent.exists()
        assert len(list(run_folder().parent.iterdir())) == 2
        assert living.stdin is not None
        living.stdin.close()
        assert living.wait() == 0
    assert list(run_folder().parent.iterdir()) == [run_folder()]


def test_a_command_without_temporary_files_removes_those_of_a_killed_run(place: Path) -> None:
    """As a rerun that finds all published."""
    unlocked = place / f"hrnn-scratch-{os.getuid()}" / "run-unlocked"
    unlocked.mkdir(parents=True, mode=0o700)
    hrnn("recipes")
    assert not unlocked.exists()
    (place / "workspace").mkdir()
    unlocked.mkdir()
    with pytest.raises(AssertionError):  # it is no workspace
        hrnn("gc", "--workspace", str(place / "workspace"), "--dry-run")
    assert unlocked.exists()


def test_a_folder_that_was_never_locked_is_swept(place: Path) -> None:
    unlocked = run_folder().parent / "run-unlocked"
    unlocked.mkdir()
    assert sweep() == [unlocked]


def test_what_a_run_started_ends_before_its_folder_goes(place: Path) -> None:
    seen = []
    at_end_of_run(lambda: seen.append(folder.exists()))
    folder = run_folder()
    end_run()
    assert (seen, folder.exists()) == ([True], False)


def test_a_process_that_a_run_starts_shares_its_folder(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(scratch.RUN_FOLDER, str(run_folder()))
    other, left = started()
    with other:
        assert left.parent == run_folder()
        other.kill()
    assert sweep() == []


def test_a_task_on_a_cluster_writes_where_spark_lets_it(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "blockmgr-1").mkdir()
    monkeypatch.setenv("PYTHON_WORKER_FACTORY_SECRET", "a secret")
    monkeypatch.setenv("SPARK_LOCAL_DIRS", str(place / "blockmgr-1"))
    with scratch_folder("part") as folder:
        assert Path(folder).parent == place / "blockmgr-1"


def test_tasks_of_an_executor_share_a_folder_and_on_yarn_those_of_the_application(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert node_folder() == run_folder()
    for disk in ("1", "2"):
        (place / disk / "blockmgr").mkdir(parents=True)
    monkeypatch.setenv("PYTHON_WORKER_FACTORY_SECRET", "a secret")
    monkeypatch.setenv("SPARK_LOCAL_DIRS", f"{place}/2/blockmgr,{place}/1/blockmgr")
    for process in (1, 2):
        with monkeypatch.context() as of_process:
            of_process.setattr(os, "getpid", lambda process=process: process)
            assert node_folder() == place / "1" / "blockmgr"
    monkeypatch.setenv("CONTAINER_ID", "container_1_0001_01_000002")
    monkeypatch.setenv("LOCAL_DIRS", f"{place}/2,{place}/1")
    assert node_folder() == place / "1"


def test_a_full_disk_is_named_by_its_folder(no_space: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HRNN_SCRATCH", str(no_space))
    noise = os.urandom(1 << 20).hex()
    rows = pa.table({"row": [noise[n : n + 64] for n in range(0, len(noise), 64)]})
    with (
        pytest.raises(StorageError, match=rf"^{no_space}/.*: no space is left on the disk\. .*HRNN_SCRATCH"),
        scratch_folder("a") as a,
    ):
        pq.write_table(rows, Path(a) / "rows.parquet")
    with pytest.raises(StorageError, match=rf"^{no_space}/.*: no space is left"), scratch_folder("b") as b:
        (Path(b) / "bytes").write_bytes(bytes(2 << 20))
    end_run()


@pytest.mark.parametrize(("name", "says"), [("nowhere", "No such file or directory"), ("file", "Not a directory")])
def test_a_place_that_cannot_be_written_is_named(place: Path, monkeypatch: pytest.MonkeyPatch, name: str, says: str) -> None:
    (place / "file").touch()
    monkeypatch.setenv("HRNN_SCRATCH", str(place / name))
    with pytest.raises(StorageError, match=rf"^HRNN_SCRATCH={place}/{name}: temporary files can't be written here: {says}"):
        run_folder()


def test_a_folder_that_somebody_else_put_there_is_refused(place: Path) -> None:
    root = place / f"hrnn-scratch-{os.getuid()}"
    (place / "elsewhere").mkdir()
    root.symlink_to(place / "elsewhere")
    with pytest.raises(StorageError, match="another user's"):
        run_folder()
