"""A run of `hrnn` in a place of its own on a local S3 server, that can be killed and looked at."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import boto3
import warm_python
from fault_proxy import FaultProxy, Rule

from schemas.manifest import MANIFEST_NAME, Manifest

BUCKET = "hrnn"
GRACE_SECONDS = 15.0  # in which what a killed run started must end by itself
GIVE_UP_SECONDS = 900.0


class Broken(AssertionError):
    """A promise was not kept."""


@dataclass
class Place:
    """The S3 server, and the machine's folder for logs and scratch."""

    environment: dict[str, str]
    folder: Path
    client: Any = field(init=False)

    def __post_init__(self) -> None:
        self.client = boto3.client(
            "s3",
            endpoint_url=self.environment["AWS_ENDPOINT_URL_S3"],
            aws_access_key_id=self.environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.environment["AWS_SECRET_ACCESS_KEY"],
            region_name=self.environment["AWS_DEFAULT_REGION"],
        )

    def keys(self, prefix: str) -> list[str]:
        """All keys below a prefix."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        return [item["Key"] for page in pages for item in page.get("Contents", [])]

    def read(self, key: str) -> bytes | None:
        """An object's bytes, or None."""
        with suppress(self.client.exceptions.NoSuchKey):
            data: bytes = self.client.get_object(Bucket=BUCKET, Key=key)["Body"].read()
            return data
        return None

    def version(self, key: str) -> str | None:
        """An object's ETag, or None where there is none."""
        found = self.client.list_objects_v2(Bucket=BUCKET, Prefix=key, MaxKeys=1).get("Contents", [])
        return str(found[0]["ETag"]) if found and found[0]["Key"] == key else None

    def unfinished_uploads(self) -> list[str]:
        """Keys of multipart uploads that were begun and neither completed nor aborted."""
        return [upload["Key"] for upload in self.client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])]


class KilledRun:
    """One run in a place of its own: `begin`, perhaps `kill`, `begin` again, until `finish`.

    Attributes:
        place: Where.
        name: Its own; all that it writes lies below this key.
        command: What `begin` starts, of Python.
        modules: What it imports, more or less.
        whole: Its outputs as an undisturbed run has made them, key below `name` -> bytes; None: not known yet.
        proxy: Every request of the command passes it.
    """

    modules: tuple[str, ...] = ()

    def __init__(
        self, place: Place, name: str, command: Sequence[str], outputs: Sequence[str], rules: Sequence[Rule] = (), seed: int = 0
    ) -> None:
        self.place, self.name, self.command = place, name, list(command)
        self._outputs = list(outputs)
        self._seen: dict[str, tuple[str, bytes]] = {}
        self.whole: dict[str, bytes] | None = None
        self.proxy = FaultProxy(place.environment["AWS_ENDPOINT_URL_S3"], rules, seed)
        self.log = place.folder / f"{name}.log"
        self.scratch = place.folder / "scratch"
        self.scratch.mkdir(exist_ok=True)
        self.mark = f"{place.folder}/{name}"  # no other run on this machine bears it
        own = {
            "HRNN_CHAOS": self.mark,
            "HRNN_SCRATCH": str(self.scratch),
            "TMPDIR": str(self.scratch),
            "HRNN_DRIVER_MEMORY": "1g",
        }
        self.environment = os.environ | place.environment | own
        self.process: subprocess.Popen[bytes] | warm_python.Fork | None = None

    def __enter__(self) -> Self:
        self.environment["AWS_ENDPOINT_URL_S3"] = self.proxy.__enter__().endpoint
        return self

    def __exit__(self, *_: object) -> None:
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.proxy.__exit__()

    def begin(self, *, warm: bool = False) -> None:
        """Start the command, the leader of its own session; warm: with its modules imported already."""
        with open(self.log, "ab") as log:
            self.run_begins = log.tell()
            if warm:
                self.process = warm_python.start(self.command[1:], self.modules, self.environment, self.log)
                return
            self.process = subprocess.Popen(
                self.command,
                env=self.environment,
                stdout=log,
                stderr=log,
                cwd=Path(__file__).parents[2],
                start_new_session=True,
            )

    def wait(self, seconds: float = GIVE_UP_SECONDS, until: Callable[[], bool] = lambda: False) -> int | None:
        """Its exit status, or None where it still runs after that time or at that event."""
        assert self.process is not None
        deadline, looked = time.monotonic() + seconds, 0.0
        while (status := self.process.poll()) is None and time.monotonic() < deadline and not until():
            if time.monotonic() > looked + 0.2:
                self.check_output()
                looked = time.monotonic()
            time.sleep(0.005)
        return status

    def said(self) -> str:
        """What the newest run has said so far."""
        return self.log.read_bytes()[self.run_begins :].decode(errors="replace")

    def kill(self) -> None:
        """SIGKILL to the whole group; sees that nothing half-done is visible, and nobody left."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.check_output()
        self.check_manifests()
        self.check_processes()
        self.check_scratch(runs=1)

    def finish(self) -> float:
        """Wait for the end; gives the seconds that it took."""
        began = time.monotonic()
        status = self.wait()
        if status != 0:
            raise Broken(f"{self.name}: ended with {status}; its last words:\n{self.said()[-3000:]}")
        self.check_output()
        self.check_manifests()
        self.check_processes()
        self.check_scratch(runs=0)
        return time.monotonic() - began

    def outputs(self) -> dict[str, bytes]:
        """What a reader sees: the outputs that are there."""
        return {key: data for key in self._outputs if (data := self._output(key)) is not None}

    def _output(self, key: str) -> bytes | None:
        """An output's bytes, read where they are not those of the last look; None where it is absent."""
        full = f"{self.name}/{key}"
        version = self.place.version(full)
        if version is not None and (key not in self._seen or self._seen[key][0] != version):
            self._seen[key] = (version, self.place.read(full) or b"")
        return None if version is None else self._seen[key][1]

    def check_output(self) -> None:
        """Every output is absent or whole."""
        for key, seen in self.outputs().items() if self.whole is not None else ():
            assert self.whole is not None
            if seen != self.whole[key]:
                raise Broken(f"{self.name}: a reader sees {len(seen)} bytes of {key} that differ from the undisturbed run's")

    def check_manifests(self) -> None:
        """Every manifest is whole, and so is every file that it names."""
        for key in self.place.keys(self.name + "/"):
            if key.endswith("/" + MANIFEST_NAME):
                manifest = Manifest.from_bytes(self.place.read(key) or b"", key)
                for entry in manifest.files:
                    self._check_file(key.removesuffix(MANIFEST_NAME) + entry.path, entry.size, entry.sha256)
            elif key.endswith(".json") and "/nights/" in key:
                json.loads(self.place.read(key) or b"")

    def _check_file(self, key: str, size: int, sha256: str) -> None:
        data = self.place.read(key)
        if data is None or len(data) != size or hashlib.sha256(data).hexdigest() != sha256:
            raise Broken(f"{key}: a manifest names it, but it is {'missing' if data is None else 'other than promised'}")

    def check_processes(self) -> None:
        """Nothing that the run started is left."""
        assert self.process is not None
        deadline = time.monotonic() + GRACE_SECONDS
        while left := processes_with(f"HRNN_CHAOS={self.mark}") | processes_of(self.process.pid):
            if time.monotonic() > deadline:
                lines = [line[:200] for line in left.values()]
                raise Broken(f"{self.name}: processes are left {GRACE_SECONDS:.0f} s after the end: {lines}")
            time.sleep(0.2)

    def check_scratch(self, runs: int) -> None:
        """No temporary file is left but those of so many killed runs, which the next one removes."""
        left = [path for path in self.scratch.iterdir() if not path.name.startswith("hrnn-scratch-")]
        of_runs = list(self.scratch.glob("hrnn-scratch-*/*"))
        if left or len(of_runs) > runs:
            raise Broken(f"{self.name}: temporary files are left: {[*left, *of_runs][:20]}")

    def layout(self) -> list[str]:
        """Names of all objects, without what differs from attempt to attempt and from place to place."""
        keys = (key.removeprefix(self.name + "/") for key in self.place.keys(self.name + "/"))
        return sorted(re.sub(r"[0-9a-f]{12}(?=[-./])", "*", key) for key in keys)


def processes_with(marker: str) -> dict[int, str]:
    """Ids and command lines of the live processes whose environment holds a marker."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if marker.encode() in (folder / "environ").read_bytes().split(b"\0"):
                found[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
    return found


def processes_of(session: int) -> dict[int, str]:
    """Ids and command lines of the live processes of a session; a fork's environment does not show its marker."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            state, _, _, of = (folder / "stat").read_text().rpartition(") ")[2].split()[:4]
            if int(of) == session and state != "Z":
                found[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
    return found
