"""Damaged manifests, claims, summaries and trials: each is told in one clean error, or reads as it was written."""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from damaged_records import damage, records

from hrnn.training.search import Trial
from jobs.platform.storage.records import read_record
from jobs.workspace.generations import read_summary
from schemas.errors import IntegrityError
from schemas.manifest import Manifest
from schemas.nights import Claim

_READERS: dict[str, Callable[[Path], Any]] = {
    "manifest": lambda path: Manifest.from_bytes(path.read_bytes(), str(path)).model_dump(),
    "claim": lambda path: read_record(str(path), Claim, what="record of a night", remedy="move it away"),
    "summary": lambda path: read_summary(str(path)),
    "trial": lambda path: read_record(str(path), Trial, what="result of a trial", remedy="delete it"),
}


def attack(path: Path, kind: str, written: bytes, chance: random.Random) -> str:
    """What came of one damage: "refused", or "equal".

    Raises:
        AssertionError: It was read as something else, or the error does not say what it is about.
    """
    path.write_bytes(written)
    expected = json.dumps(_READERS[kind](path), sort_keys=True)
    path.write_bytes(damage(written, chance))
    try:
        found = _READERS[kind](path)
    except IntegrityError as error:
        told = str(error)
        assert told.startswith(f"{path}: damaged "), told
        assert "\n" not in told, told
        assert len(told) < 500, told
        return "refused"
    assert json.dumps(found, sort_keys=True) == expected, path.read_bytes()[:2000]
    return "equal"


def main() -> int:
    """Run as many as are asked for; the seed of one that fails stands in its message."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    told: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="hrnn-fuzz-") as folder:
        written = records()
        for number in range(asked.inputs):
            kind = list(written)[number % 2 * number // 2 % len(written)]  # every second one a manifest
            try:
                told[f"{kind} {attack(Path(folder) / kind, kind, written[kind], random.Random(asked.seed + number))}"] += 1
            except Exception as error:
                print(f"seed {asked.seed + number}, {kind}: {type(error).__name__}: {error}", file=sys.stderr)
                return 1
    print(json.dumps({"inputs": asked.inputs, **dict(sorted(told.items()))}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
