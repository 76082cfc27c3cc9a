"""`make chaos-train`: kill a training with a ranker at random moments, on S3; it must end with the bytes of a calm one.

Buyers with habits on a real S3 server (SeaweedFS): trees serve, and two processes make the states. A training that nobody
disturbs, another one into a local folder, and trainings that lose their whole process group to SIGKILL again and again, most of
them while moments, trees and states are made. After every kill all that a manifest names is there, and no process is left; in
the end all have the same states, trees and metrics.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import re
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from habitual_shop import habitual_shop
from killed_run import BUCKET, Broken, KilledRun, Place
from small_sequences import publish_sequences

from infra.local_s3 import local_s3
from schemas.manifest import MANIFEST_NAME, Manifest

_JOBS = ("jobs.train.job", "jobs.train.__main__", "jobs.platform.storage.s3")
_BEFORE_MOMENTS = 0.55  # of a calm training's seconds: kills come later


class RankedTraining(KilledRun):
    """One training over the shop."""

    modules = _JOBS

    def __init__(self, place: Place, name: str, sequences: str) -> None:
        super().__init__(place, name, command_of(sequences, f"s3://{BUCKET}/{name}/version"), [])

    def made(self) -> dict[str, str]:
        """Digests of the states, the trees and the metrics."""
        key = f"{self.name}/version/{MANIFEST_NAME}"
        return digests_of(Manifest.from_bytes(self.place.read(key) or b"", key))


def command_of(sequences: str, output: str) -> list[str]:
    """The command line of a training."""
    settings = ["--recipe", "aws-hrnn", "--epochs", "3", "--hyperparameters", '{"hidden_dimension": "32", "bptt": "8"}']
    return [sys.executable, "-m", "jobs.train", "--sequences", sequences, "--output", output, "--no-gru-baseline", *settings]


def digests_of(manifest: Manifest) -> dict[str, str]:
    """Name without its attempt -> SHA-256, of what a training makes the same each time."""
    names = {re.sub(r"-?[0-9a-f]{12}(?=[-./])", "", entry.path): entry.sha256 for entry in manifest.files}
    return {name: digest for name, digest in names.items() if name.startswith(("states", "ranker", "metrics", "catalogue"))}


def chaos(kills: int, seed: int, folder: Path, num_users: int = 2_400) -> None:
    """Do all of it; prints what happened."""
    dice = random.Random(seed)
    with ExitStack() as stack:
        environment = stack.enter_context(local_s3(folder / "s3", [BUCKET]))
        place = Place(environment, folder)
        stack.callback(place.client.close)
        (folder / "parts").mkdir()
        local = publish_sequences(habitual_shop(num_users), str(folder / "sequences"), folder / "parts")
        for path in (path for path in Path(local).rglob("*") if path.is_file()):
            place.client.upload_file(str(path), BUCKET, f"sequences/{path.relative_to(local)}")
        calm = stack.enter_context(RankedTraining(place, "calm", f"s3://{BUCKET}/sequences"))
        calm.begin()
        seconds, whole = calm.finish(), calm.made()
        if not any(name.startswith("ranker") for name in whole):
            raise Broken("no ranker serves")
        subprocess.run(
            command_of(local, str(folder / "version")), check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        manifest = folder / "version" / MANIFEST_NAME
        if digests_of(Manifest.from_bytes(manifest.read_bytes(), str(manifest))) != whole:
            raise Broken("a training into a local folder made other bytes")
        print(f"undisturbed: {seconds:.1f} s, {len(calm.proxy.log)} requests, {len(whole)} files", flush=True)
        for number in itertools.count(1):
            if kills <= 0:
                break
            with RankedTraining(place, f"wild-{number}", f"s3://{BUCKET}/sequences") as wild:
                for _ in range(dice.randint(1, min(kills, 4))):
                    wild.begin(warm=True)
                    if wild.wait(dice.uniform(_BEFORE_MOMENTS, 1.0) * seconds) is not None:
                        break  # it came to its end before
                    wild.kill()
                    kills -= 1
                    print(f"{wild.name}: killed; it had said: {wild.said().splitlines()[-1:]}", flush=True)
                wild.begin(warm=True)
                wild.finish()
                if wild.made() != whole:
                    raise Broken(f"{wild.name}: other bytes than those of the undisturbed training")
                if wild.layout() != calm.layout():
                    raise Broken(f"{wild.name}: other files are left: {set(wild.layout()) ^ set(calm.layout())}")
        if left := place.unfinished_uploads():
            raise Broken(f"unfinished uploads: {left}")
    print("all trainings have the same bytes", flush=True)


def main() -> None:
    """Read the options; ends with status 1 where a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory(prefix="hrnn-chaos-") as folder:
        chaos(arguments.kills, arguments.seed, Path(folder))


if __name__ == "__main__":
    main()
