"""Runs of a batch job that publish to one folder, and what must hold whoever goes on when."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import botocore.exceptions
from interleaved import Killed, Run, current_run, sleeping
from memory_s3 import MemoryS3, conflict

import jobs.platform.storage.local
import jobs.platform.storage.s3
import jobs.platform.storage.s3_client
from jobs.batch import plain, publication
from jobs.batch.parts import Part, store_part
from jobs.batch.run import run_batch
from jobs.batch.tally import Tally
from jobs.delete_users.users import Users
from jobs.platform.storage import StoredFile, assembly, normalise
from jobs.platform.storage.folders import StepFolder
from schemas.errors import CommitLost, CommitUnknown, StorageError
from schemas.manifest import Manifest

FILES = ("a.json", "b.json", "c.json")
FAULTS = ("lost answer", "lost request", "repeated", "conflict", "killed after")
_CONDITIONAL = {"put_object", "complete_multipart_upload"}
_SOLUTION = Manifest(
    kind="solution_version", fingerprint="f", software="1", config={}, inputs=(), files=(), metadata={"recipe": "aws-hrnn"}
)


def answers(identity: int, name: str) -> bytes:
    """What runs of an identity publish for a file: several parts, or none."""
    return b"" if name == "c.json" else b"".join(_part(identity, name, number) for number in range(3))


def answers_without(identity: int, name: str, users: Users) -> bytes:
    """What is left of them when users were deleted."""
    return b"" if name == "c.json" else b"".join(_part(identity, name, n) for n in range(3) if str(n) not in users.ids)


def _part(identity: int, name: str, number: int) -> bytes:
    line = b'{"input":{"userId":"%d"},"a":"%d%s"}\n' % (number, identity, name[:1].encode())
    return line * (1 + number % 2)


@dataclass
class Begun:
    """A run, and the identity of its answers."""

    run: Run
    identity: int
    faults: int = 0
    token: str = ""


@dataclass
class Shop:
    """A place to publish to, and the runs that do.

    Attributes:
        output: The folder.
        memory: The S3 in memory, where it lies there.
        records: Every record that there was, in order.
        leaving: Users who may be gone from answers.
    """

    output: str
    input: str
    memory: MemoryS3 | None
    begun: list[Begun] = field(default_factory=list)
    records: list[Manifest] = field(default_factory=list)
    leaving: Users = field(default_factory=lambda: Users.of([]))

    def begin(self, identity: int) -> Begun:
        """Begin a run; it stands before its first step."""
        begun = Begun(Run(lambda: self._batch(begun)), identity)
        self.begun.append(begun)
        return begun

    def _batch(self, begun: Begun) -> dict[str, Any]:
        identity = begun.identity

        def answered(files: list[StoredFile], parts_uri: str, token: str) -> list[list[Part]]:
            begun.token = token
            return [
                [
                    store_part([_part(identity, file.name, n)], parts_uri, token, n, Tally(lines=1))
                    for n in range(3 if file.name != "c.json" else 0)
                ]
                for file in files
            ]

        solution = StepFolder(self.input + "/solution")
        config = {"identity": identity}
        return run_batch("recommend", solution, _SOLUTION, config, self.input + "/in", self.output, answered, None)

    def visible(self) -> dict[str, bytes]:
        """What a reader sees: `.out` files, and `_CHECK`."""
        if self.memory is not None:
            prefix = self.output.removeprefix("s3://bucket/") + "/"
            found = {key.removeprefix(prefix): each.data for key, each in self.memory.objects.items() if key.startswith(prefix)}
        else:
            folder = Path(self.output)
            found = {path.name: path.read_bytes() for path in folder.glob("*") if path.is_file()}
        return {name: data for name, data in found.items() if "/" not in name and not name.startswith(".hrnn-")}

    def record(self) -> Manifest | None:
        """The record as it is now."""
        data: bytes | None
        if self.memory is not None:
            found = self.memory.objects.get(self.output.removeprefix("s3://bucket/") + "/_hrnn/manifest.json")
            data = None if found is None else found.data
        else:
            path = Path(self.output, "_hrnn/manifest.json")
            data = path.read_bytes() if path.exists() else None
        record = None if data is None else Manifest.from_bytes(data, "record")
        if record is not None and (not self.records or self.records[-1] != record):
            self.records.append(record)
        return record

    def check(self) -> None:
        """What must hold at every moment."""
        seen, record = self.visible(), self.record()
        assert set(seen) <= {publication.CHECK, *(f"{name}.out" for name in FILES)}, sorted(seen)
        identities = range(max((each.identity for each in self.begun), default=0) + 1)
        for name in FILES:
            data = seen.get(f"{name}.out")
            assert data is None or any(self._is_of(identity, name, data) for identity in identities), f"{name}.out is not whole"
        if publication.CHECK in seen:
            whose = [i for i in identities if all(self._is_of(i, name, seen.get(f"{name}.out")) for name in FILES)]
            assert whose, "_CHECK is there, but not all answers, or of several runs"
            assert record is not None
            assert "publishing" in record.metadata or record.config["identity"] in whose, "the record tells of another run"

    def _is_of(self, identity: int, name: str, data: bytes | None) -> bool:
        """Whether a file holds the answers of a run, with or without the users who leave."""
        return data in (answers(identity, name), answers_without(identity, name, self.leaving))

    def settle(self) -> None:
        """Let all runs come to their ends, then one more; see what they were told and what they left."""
        for begun in self.begun:
            begun.run.finish()
            self.check()
        for begun in self.begun:
            self._check_told(begun)
        # A run that stands still inside the lock for longer than the others wait is as bad as a killed one: perhaps nobody
        # publishes, and each is told so.
        calm = all(each.faults == 0 and not each.run.is_killed and not _met_a_lock(each.run) for each in self.begun)
        if calm and self.begun:
            assert any(each.run.error is None for each in self.begun), "all runs lost"
            assert not self.leftovers(), self.leftovers()
            assert publication.CHECK in self.visible(), "_CHECK is gone, though a run has published"
        last = self.begin(max((each.identity for each in self.begun), default=0) + 1)
        last.run.finish()
        if last.run.error is not None:
            raise last.run.error
        self.check()
        seen = self.visible()
        assert seen == {publication.CHECK: b"", **{f"{name}.out": answers(last.identity, name) for name in FILES}}
        left = self.leftovers()
        if not calm:  # what runs had when they were killed is left for `hrnn gc`, but for what could become visible
            left = [name for name in left if "/_hrnn/" not in name]
        assert not left, left

    def _check_told(self, begun: Begun) -> None:
        run = begun.run
        if run.is_killed:
            return
        finished = [r for r in self.records if r.config.get("identity") == begun.identity and "outputs" in r.metadata]
        if run.error is None:
            assert finished, "a run was told that it had published, and nobody ever had"
        elif isinstance(run.error, CommitLost):
            newest = self.records[-1] if self.records else None
            assert newest is None or newest.metadata.get("run") != begun.token, "a run was told that it lost, and it had won"
        else:
            assert isinstance(run.error, StorageError | CommitUnknown), repr(run.error)
            assert begun.faults or _met_a_lock(run), f"without a fault: {run.error!r}"

    def leftovers(self) -> list[str]:
        """Parts, and whatever was staged."""
        if self.memory is not None:
            parts = [key for key in self.memory.objects if "/parts/" in key]
            return parts + [f"upload of {upload.key}" for upload in self.memory.pending.values()]
        folder = Path(self.output)
        return [
            str(path) for path in folder.rglob("*") if path.name.endswith(".tmp") or ("/parts/" in str(path) and path.is_file())
        ]

    def close(self) -> None:
        """End the threads."""
        for begun in self.begun:
            if not begun.run.ended:
                begun.run.kill()


@contextmanager
def shop(kind: str) -> Iterator[Shop]:
    """A place of its own: `s3` in memory, or `local`."""
    place = tempfile.mkdtemp(dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
    try:
        for name in FILES:
            Path(place, "in").mkdir(exist_ok=True)
            Path(place, "in", name).write_bytes(b"{}\n")
        Path(place, "solution").mkdir()
        Path(place, "solution", "manifest.json").write_bytes(_SOLUTION.to_bytes())
        with ExitStack() as stack:
            patch = lambda *names, **values: stack.enter_context(mock.patch.object(*names, **values))  # noqa: E731
            for module in (publication, plain):
                patch(module, "at_once", new=lambda function, given: [function(each) for each in given])
            patch(jobs.platform.storage.local.time, "sleep", new=sleeping)
            if kind == "s3":
                memory = MemoryS3(_struck)
                for module in (jobs.platform.storage.s3, jobs.platform.storage.s3_client):
                    patch(module, "client", new=lambda: memory)
                patch(
                    jobs.platform.storage.s3_client, "_within", new=lambda _, work: work()
                )  # else it works in a thread of its own
                for name, value in (("SMALLEST_PART", 40), ("SENT_PART", 60), ("LARGEST_COPY", 50)):
                    patch(assembly, name, new=value)
                made = Shop("s3://bucket/out", normalise(place), memory)
            else:
                patch(jobs.platform.storage.local, "_MOST_LOCKED_SECONDS", new=1.0)
                for module, name in ((os, "replace"), (os, "link"), (os, "unlink"), (os, "stat"), (fcntl, "flock")):
                    patch(module, name, new=_gated(name, getattr(module, name), place + "/out"))
                made = Shop(place + "/out", normalise(place), None)
            try:
                yield made
            finally:
                made.close()
    finally:
        shutil.rmtree(place)


def _met_a_lock(run: Run) -> bool:
    """Whether a run gave up since another held the lock of local files for too long."""
    return isinstance(run.error, StorageError) and "holds this folder" in str(run.error)


def _struck(operation: str, request: Callable[[], Any]) -> Any:
    """A request to the S3 in memory, or what becomes of it."""
    run = current_run()
    fault = None if run is None else run.step(operation)
    if run is None or fault is None:
        return request()
    if fault == "interrupted":
        raise KeyboardInterrupt
    if fault == "lost request":
        raise botocore.exceptions.ReadTimeoutError(endpoint_url="memory")
    if fault == "conflict" and operation in _CONDITIONAL:
        raise conflict()
    answer = request()
    if fault == "repeated":  # as boto3 does where it hears nothing
        return request()
    if fault == "lost answer":
        raise botocore.exceptions.ReadTimeoutError(endpoint_url="memory")
    if fault == "killed after":
        run.is_killed = True
        raise Killed
    return answer


def _gated(name: str, function: Callable[..., Any], place: str) -> Callable[..., Any]:
    """A call of the operating system; where it is about the output, others may go on before it."""

    def called(*args: Any, **kwargs: Any) -> Any:
        run = current_run()
        if run is not None and (name == "flock" or any(str(each).startswith(place) for each in args)):
            fault = run.step(f"{name} {' '.join(str(each)[-40:] for each in args)}")
            if fault == "interrupted":
                raise KeyboardInterrupt
            if fault == "killed after":
                function(*args, **kwargs)
                run.is_killed = True
                raise Killed
        return function(*args, **kwargs)

    return called
