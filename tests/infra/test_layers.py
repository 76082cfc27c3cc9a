"""The layers of docs/architecture.md hold, and the console script stays light."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_imports_point_downwards() -> None:
    answer = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports; raise SystemExit(lint_imports(no_cache=True))"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_help_needs_neither_torch_nor_spark() -> None:
    code = "import sys, jobs.cli; sys.exit(sorted({'torch', 'pyspark', 'pandas'} & set(sys.modules)) != [])"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_every_job_of_the_table_has_a_module_with_run() -> None:
    from jobs.cli import JOBS

    for name in JOBS:
        assert "\ndef run(" in (ROOT / "jobs" / f"{name.replace('-', '_')}.py").read_text(), name
