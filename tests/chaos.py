"""`make chaos`: kill a night at random moments, run it again, and see that nothing but time was lost.

A small shop on a real S3 server (SeaweedFS). First a night that nobody disturbs; then nights that lose their whole process
group to SIGKILL at seeded random moments, after some seconds or after some request to S3 in turn, again and again, until each
has come to its end; then one whose every request to S3 may be throttled, reset or answered in vain. At every moment the `.out`
object is absent or whole; after every kill all that a manifest names is there, byte for byte, and no process is left; in the
end all nights have the same `.out`, the same files, and no unfinished upload.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import boto3
from fault_proxy import FaultProxy, Rule
from small_shop import night_config, write_shop

from jobs.local_s3 import local_s3
from schemas.manifest import MANIFEST_NAME, Manifest

BUCKET = "hrnn"
OUT = "users.json.out"
GRACE_SECONDS = 15.0  # in which what a killed night started must end by itself
GIVE_UP_SECONDS = 900.0
FAULTS = [
    Rule("slow_down", probability=0.05),
    Rule("reset_before", probability=0.01),
    Rule("drop_response", method="PUT|POST|DELETE", probability=0.02),
    Rule("truncate_response", method="GET", probability=0.01),
    Rule("error_after_success", probability=0.01),
]


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
        own = {"HRNN_CHAOS": name, "HRNN_SCRATCH": str(scratch), "TMPDIR": str(scratch), "HRNN_DRIVER_MEMORY": "1g"}
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
            self.process = subprocess.Popen(
                command, env=self.environment, stdout=log, stderr=log, cwd=Path(__file__).parents[1], start_new_session=True
            )

    def wait(self, seconds: float = GIVE_UP_SECONDS, requests: int | None = None) -> int | None:
        """Its exit status, or None where it still runs after that time or so many more requests to S3."""
        assert self.process is not None
        deadline, looked = time.monotonic() + seconds, 0.0
        last = len(self.proxy.log) + requests if requests is not None else sys.maxsize
        while (status := self.process.poll()) is None and time.monotonic() < deadline and len(self.proxy.log) < last:
            if time.monotonic() > looked + 0.2:
                self.check_output()
                looked = time.monotonic()
            time.sleep(0.002)
        return status

    def kill(self) -> str:
        """SIGKILL to the whole group; gives the step it was in, and sees that nothing half-done is visible, nobody left."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.check_output()
        self.check_manifests()
        self.check_processes()
        steps = re.findall(r"^(\w+ [\w-]+) …$", self.log.read_text(errors="replace"), re.MULTILINE)
        return steps[-1] if steps else "before the first step"

    def finish(self) -> float:
        """Wait for the end; gives the seconds that it took."""
        began = time.monotonic()
        status = self.wait()
        if status != 0:
            raise Broken(f"{self.name}: ended with {status}; its last words:\n{self.log.read_text(errors='replace')[-3000:]}")
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
        while left := _processes_with(f"HRNN_CHAOS={self.name}"):
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


def chaos(kills: int, seed: int, folder: Path, lines: int) -> None:
    """Do all of it; prints what happened."""
    dice = random.Random(seed)
    with ExitStack() as stack:
        place = Place(stack.enter_context(local_s3(folder / "s3", [BUCKET])), folder)
        stack.callback(place.client.close)
        write_shop(folder / "shop", num_lines=lines)
        for path in (path for path in (folder / "shop").rglob("*") if path.is_file()):
            place.client.upload_file(str(path), BUCKET, f"shop/{path.relative_to(folder / 'shop')}")
        calm = stack.enter_context(Night(place, "calm"))
        calm.begin()
        seconds = calm.finish()
        place.whole = calm.output()
        assert place.whole, "the undisturbed night has no output"
        print(f"undisturbed: {seconds:.1f} s, {len(calm.proxy.log)} requests, .out of {len(place.whole):,} bytes", flush=True)
        for number in itertools.count(1):
            if kills <= 0:
                break
            with Night(place, f"wild-{number}") as night:
                kills -= _disturb(night, calm, min(kills, 3), seconds, dice)
        with Night(place, "faulty", FAULTS, seed) as night:
            _run_until_done(night, calm)
        if left := place.unfinished_uploads():
            raise Broken(f"unfinished uploads are left: {left}")
    print("all nights ended with the same bytes; nothing is left", flush=True)


def _disturb(night: Night, calm: Night, kills: int, seconds: float, dice: random.Random) -> int:
    """Kill a night up to so many times, then let it come to its end; gives how often it was killed."""
    for done in range(kills):
        share = dice.random() / (done + 1)  # less is left to do each time
        night.begin()
        if dice.random() < 0.5:
            moment = f"{share * seconds:.1f} s"
            status = night.wait(seconds=max(0.5, share * seconds))
        else:
            moment = f"request {share * len(calm.proxy.log):.0f}"
            status = night.wait(requests=int(share * len(calm.proxy.log)))
        if status == 0:
            break
        if status is not None:
            raise Broken(f"{night.name}: ended with {status}; its last words:\n{night.log.read_text(errors='replace')[-3000:]}")
        step = night.kill()
        print(f"{night.name}: killed after {moment}, in {step}; unfinished uploads: {len(night.place.unfinished_uploads())}")
    else:
        done = kills
    night.begin()
    print(f"{night.name}: came to its end in {night.finish():.1f} s more", flush=True)
    _compare(night, calm)
    return done


def _run_until_done(night: Night, calm: Night) -> None:
    """A night on a bad network: it may fail with a clear message, and is run again then."""
    for attempt in range(1, 6):
        night.begin()
        status = night.wait()
        said = night.log.read_text(errors="replace")
        if status == 0:
            struck = sum(seen.fault is not None for seen in night.proxy.log)
            night.finish()
            _compare(night, calm)
            return print(
                f"{night.name}: run {attempt} came to its end; {struck} of {len(night.proxy.log)} requests were struck"
            )
        if status != 1 or "Traceback" in said:
            raise Broken(f"{night.name}: ended with {status}:\n{said[-3000:]}")
    raise Broken(f"{night.name}: never came to its end:\n{said[-3000:]}")


def _compare(night: Night, calm: Night) -> None:
    if night.output() != night.place.whole:
        raise Broken(f"{night.name}: its .out differs from the undisturbed night's")
    extra, missing = set(night.layout()) - set(calm.layout()), set(calm.layout()) - set(night.layout())
    if extra or missing:
        raise Broken(f"{night.name}: files that should not be there: {sorted(extra)}; missing: {sorted(missing)}")


def main() -> None:
    """Run it on a folder that goes afterwards."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--lines", type=int, default=50_000, help="of the batch input; enough for an upload in parts")
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="hrnn-chaos-") as folder:
        try:
            chaos(options.kills, options.seed, Path(folder), options.lines)
        except Broken as broken:
            sys.exit(f"chaos: seed {options.seed}: {broken}")


if __name__ == "__main__":
    main()
