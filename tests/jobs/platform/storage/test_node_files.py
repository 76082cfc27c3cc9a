from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.platform.process import scratch
from jobs.platform.storage.folders import StepFolder
from jobs.platform.storage.node_files import fetch
from schemas.errors import IntegrityError
from schemas.manifest import FileEntry

DATA = b"tensors" * 1_000
ENTRY = FileEntry(path="serving.safetensors", size=len(DATA), sha256=hashlib.sha256(DATA).hexdigest())
WORKER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_node_files import ENTRY, Far
from jobs.platform.storage.node_files import fetch
print("ready", flush=True)
sys.stdin.readline()
print(fetch(Far(Path(sys.argv[2])), ENTRY))
"""


class Far(StepFolder):
    """A folder of a store that is not this machine: every download adds a byte to a count, and takes its time."""

    def __init__(self, place: Path, data: bytes = DATA) -> None:
        self.uri, self._place, self._data = "s3://bucket/version", place, data
        self._store = self  # type: ignore[assignment]

    def download(self, uri: str, local: Path) -> None:
        """Write the file, half of it at first."""
        with open(self._place / "count", "ab") as count:
            count.write(b".")
        with open(local, "wb") as file:
            file.write(self._data[: len(self._data) // 2])
            file.flush()
            subprocess.run(["sleep", "0.3"], check=True)
            file.write(self._data[len(self._data) // 2 :])


def downloads(place: Path) -> int:
    return len((place / "count").read_bytes())


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a run that processes share."""
    monkeypatch.setenv(scratch.RUN_FOLDER, str(tmp_path))
    return tmp_path


def test_processes_of_a_node_share_one_download(node: Path) -> None:
    command = [sys.executable, "-c", WORKER, str(Path(__file__).parent), str(node)]
    workers = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:  # all of them before the first has its file
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    told = {worker.communicate()[0].strip() for worker in workers}
    assert told == {str(node / "fetched" / ENTRY.sha256)}
    assert Path(told.pop()).read_bytes() == DATA
    assert downloads(node) == 1


def test_what_came_damaged_is_not_kept_for_others(node: Path) -> None:
    with pytest.raises(IntegrityError, match=r"s3://bucket/version/serving\.safetensors: the bytes differ"):
        fetch(Far(node, DATA[:-1] + b"S"), ENTRY)
    assert [path.suffix for path in (node / "fetched").iterdir()] == [".lock"]
    assert fetch(Far(node), ENTRY).read_bytes() == DATA
    assert downloads(node) == 3


def test_a_local_file_is_read_where_it_lies(node: Path) -> None:
    folder = StepFolder(str(node / "version"))
    entry = folder.put("serving.safetensors", DATA)
    assert fetch(folder, entry) == node / "version" / "serving.safetensors"
    assert not (node / "fetched").exists()
