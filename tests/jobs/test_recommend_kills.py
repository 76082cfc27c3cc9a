"""The promises of `make chaos-recommend`, with fewer kills."""

from __future__ import annotations

from pathlib import Path

import pytest
from recommend_kills import recommend_kills

pytestmark = [pytest.mark.slow, pytest.mark.chaos, pytest.mark.cluster, pytest.mark.timeout(900)]


def test_killed_batch_inference_ends_with_the_same_bytes(tmp_path: Path) -> None:
    recommend_kills(kills=3, seed=2, folder=tmp_path, speculate=False)
