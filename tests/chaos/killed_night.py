"""A night in a workspace of its own on a local S3 server, that can be killed and looked at."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence

from fault_proxy import Rule
from killed_run import BUCKET, KilledRun, Place
from small_shop import night_config

OUT = "out/users.json.out"
_JOBS = tuple(f"jobs.{job}.job" for job in ("nightly", "validate", "sessionize", "train", "evaluate", "recommend"))


class Night(KilledRun):
    """One night over the shop."""

    modules = (
        *_JOBS,
        "jobs.nightly.__main__",
        "jobs.platform.storage.s3",
        "jobs.validate.page",
        "great_expectations",
        "pyspark.sql",
    )

    def __init__(self, place: Place, name: str, rules: Sequence[Rule] = (), seed: int = 0) -> None:
        config = place.folder / f"{name}.toml"
        config.write_text(night_config(f"s3://{BUCKET}/shop", f"s3://{BUCKET}/{name}/ws", f"s3://{BUCKET}/{name}/out"))
        command = [sys.executable, "-m", "jobs.nightly", "--config", str(config), "--master", "local[2]"]
        super().__init__(place, name, command, [OUT], rules, seed)

    def steps(self) -> list[str]:
        """The steps that the newest run has begun."""
        return re.findall(r"^(\w+ [\w-]+) …$", self.said(), re.MULTILINE)
