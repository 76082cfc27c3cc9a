"""The promise of `make chaos`, with fewer kills."""

from __future__ import annotations

from pathlib import Path

import pytest
from kill_nights import chaos


@pytest.mark.slow
@pytest.mark.chaos
@pytest.mark.timeout(1800)
def test_a_killed_night_ends_with_the_same_bytes(tmp_path: Path) -> None:
    chaos(kills=3, seed=4, folder=tmp_path, lines=30_000, warm=True)
