from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from kill_ranked_training import chaos

SCRIPT = Path(__file__).parent / "kill_training.py"


@pytest.mark.slow
@pytest.mark.chaos
@pytest.mark.parametrize(("ranks", "kills"), [(1, 20), (2, 6)])
def test_a_training_killed_at_random_steps_ends_with_the_bits_of_an_undisturbed_one(
    tmp_path: Path, ranks: int, kills: int
) -> None:
    arguments = ["--kills", str(kills), "--ranks", str(ranks), "--folder", str(tmp_path)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[1] / "support")}
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, timeout=280, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "the same bits" in done.stdout


@pytest.mark.slow
@pytest.mark.chaos
@pytest.mark.timeout(900)
def test_a_training_with_a_ranker_killed_on_s3_ends_with_the_same_bytes(tmp_path: Path) -> None:
    chaos(kills=1, seed=1, folder=tmp_path, num_users=400)
