"""A night in a workspace of its own on a local S3 server, that can be killed and looked at."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import boto3
from fault_proxy import FaultProxy, Rule
from small_shop import night_config

from schemas.manifest import MANIFEST_NAME, Manifest

BUCKET = "hrnn"
OUT = "users.json.out"
GRACE_SECONDS = 15.0  # in which what a killed night started must end by itself
GIVE_UP_SECONDS = 900.0


class Broken(AssertionError):
    """A promise was not kept."""


@dataclass
class Place:
    """The S3 server, and what is known about the shop on it."""

    environment: dict[str, str]
    folder: Path
    whole: bytes | None = None  # the `.out` of the undisturbed night
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

    def unfinished_uploads(self) -> list[str]:
        """Keys of multipart uploads that were begun and neither completed nor aborted."""
        return [upload["Key"] for upload in self.client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])]


class Night:
    """One night in a workspace of its own: `begin`, perhaps `kill`, `begin` again, until `finish`."""

    def __init__(self, place: Place, name: str, rules: Sequence[Rule] = (), seed: int = 0) -> None:
        self.place, self.name = place, name
        self.proxy = FaultProxy(place.environment["AWS_ENDPOINT_URL_S3"], rules, seed)
        self.log = place.folder / f"{name}.log"
        self.config = place.folder / f"{name}.toml"
        self.config.write_text(night_config(f"s3://{BUCKET}/shop", f"s3://{BUCKET}/{name}/ws", f"s3://{BUCKET}/{name}/out"))
        scratch = place.folder / "scratch"
        scratch.mkdir(exist_ok=True)
        self.mark = f"{place.folder}/{name}"  # no other run on this machine bears it
        own = {"HRNN_CHAOS": self.mark, "HRNN_SCRATCH": str(scratch), "TMPDIR": str(scratch), "HRNN_DRIVER_MEMORY": "1g"}
        self.environment = os.environ | place.environment | own
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.environment["AWS_ENDPOINT_URL_S3"] = self.proxy.__enter__().endpoint
        return self

    def __exit__(self, *_: object) -> None:
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.proxy.__exit__()

    def begin(self) -> None:
        """Start `hrnn nightly`, the leader of its own process group."""
        command = [sys.executable, "-m", "jobs.nightly", "--config", str(self.config), "--master", "local[2]"]
        with open(self.log, "ab") as log:
            self.run_begins = log.tell()
            self.process = subprocess.Popen(
                command, env=self.environment, stdout=log, stderr=log, cwd=Path(__file__).parents[1], start_new_session=True
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

    def steps(self) -> list[str]:
        """The steps that the newest run has begun."""
        return re.findall(r"^(\w+ [\w-]+) …$", self.said(), re.MULTILINE)

    def kill(self) -> str:
        """SIGKILL to the whole group; gives the step it was in, and sees that nothing half-done is visible, nobody left."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.check_output()
        self.check_manifests()
        self.check_processes()
        return (self.steps() or ["before the first step"])[-1]

    def finish(self) -> float:
        """Wait for the end; gives the seconds that it took."""
        began = time.monotonic()
        status = self.wait()
        if status != 0:
            raise Broken(f"{self.name}: ended with {status}; its last words:\n{self.said()[-3000:]}")
        self.check_output()
        self.check_manifests()
        self.check_processes()
        return time.monotonic() - began

    def output(self) -> bytes | None:
        """What a reader sees."""
        return self.place.read(f"{self.name}/out/{OUT}")

    def check_output(self) -> None:
        """`.out` is absent or whole."""
        seen = self.output()
        if seen is not None and self.place.whole is not None and seen != self.place.whole:
            raise Broken(f"{self.name}: a reader sees {len(seen)} bytes of .out that differ from the undisturbed night's")

    def check_manifests(self) -> None:
        """Every manifest is whole, and so is every file that it names."""
        for key in self.place.keys(self.name + "/"):
            if key.endswith("/" + MANIFEST_NAME):
                manifest = Manifest.model_validate_json(self.place.read(key) or b"")
                for entry in manifest.files:
                    self._check_file(key.removesuffix(MANIFEST_NAME) + entry.path, entry.size, entry.sha256)
            elif key.endswith(".json") and "/nights/" in key:
                json.loads(self.place.read(key) or b"")

    def _check_file(self, key: str, size: int, sha256: str) -> None:
        data = self.place.read(key)
        if data is None or len(data) != size or hashlib.sha256(data).hexdigest() != sha256:
            raise Broken(f"{key}: a manifest names it, but it is {'missing' if data is None else 'other than promised'}")

    def check_processes(self) -> None:
        """Nothing that the night started is left."""
        deadline = time.monotonic() + GRACE_SECONDS
        while left := _processes_with(f"HRNN_CHAOS={self.mark}"):
            if time.monotonic() > deadline:
                raise Broken(f"{self.name}: processes are left {GRACE_SECONDS:.0f} s after the end: {left}")
            time.sleep(0.2)

    def layout(self) -> list[str]:
        """Names of all objects, without what differs from attempt to attempt and from place to place."""
        keys = (key.removeprefix(self.name + "/") for key in self.place.keys(self.name + "/"))
        return sorted(re.sub(r"[0-9a-f]{12}(?=[-./])", "*", key) for key in keys)


def _processes_with(marker: str) -> list[str]:
    """Command lines of the live processes whose environment holds a marker."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if marker.encode() in (folder / "environ").read_bytes().split(b"\0"):
                found.append(f"{folder.name}: " + (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()[:200])
    return found
