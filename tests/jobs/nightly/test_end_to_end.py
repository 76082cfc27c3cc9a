from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from small_shop import night_config, write_shop

pytestmark = pytest.mark.slow


def hrnn_nightly(config: Path, *options: str) -> tuple[dict[str, Any], str]:
    """Run the command; its last line on stdout and all of stderr."""
    command = [sys.executable, "-m", "jobs.nightly", "--config", str(config), "--master", "local[2]", *options]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"HRNN_DRIVER_MEMORY": "1g"}, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]), done.stderr


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A config over a small shop."""
    write_shop(tmp_path / "data")
    config = tmp_path / "shop.toml"
    config.write_text(night_config(str(tmp_path / "data"), str(tmp_path / "workspace"), str(tmp_path / "out"), epochs=2))
    return config


@pytest.mark.timeout(600)
def test_a_whole_night_and_the_same_night_again(shop: Path) -> None:
    planned, _ = hrnn_nightly(shop, "--plan")
    assert {step["runs"] for step in planned["steps"]} == {True}

    summary, said = hrnn_nightly(shop)
    lines = (shop.parent / "out" / "users.json.out").read_text().splitlines()
    assert len(lines) == 1000
    assert len(json.loads(lines[0])["output"]["recommendedItems"]) == 10
    page = Path(summary["report"]).read_text()
    assert "Three users, and what they are recommended" in page
    assert "How for-you learnt" in page
    [link] = re.findall(r'<a href="([^"]+)">for-you</a>', page)
    assert "shuffled GRU" in (Path(summary["report"]).parent / link).read_text()
    assert "personal popularity" in said
    assert "Page:" in said

    again, _ = hrnn_nightly(shop)
    assert again["skipped"] is True
    assert (again["generation"], again["report"]) == (summary["generation"], summary["report"])
    assert {step["runs"] for step in hrnn_nightly(shop, "--plan")[0]["steps"]} == {False}
