"""The layers of docs/architecture.md hold, and the console script stays light."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from commands import heavy_modules
from hostile_surroundings import misleading_folder

from jobs.cli import JOBS
from schemas.recipes import RECIPES
from schemas.version import VERSION

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


def test_nothing_is_decided_by_the_name_of_a_recipe() -> None:
    named = {
        (str(path.relative_to(ROOT)), node.value)
        for layer in ("schemas", "hrnn", "jobs", "infra")
        for path in (ROOT / layer).rglob("*.py")
        if path.name != "recipes.py" and path.parent.name != "models"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and node.value in RECIPES
    }
    defaults = {
        ("schemas/solutions.py", "aws-hrnn"),
        ("jobs/train/fit.py", "hrnn-gru4rec"),
    }  # where none is named; the trained baseline
    assert named == defaults


def test_help_imports_nothing_heavy() -> None:
    assert heavy_modules(["--help"], *([job, "--help"] for job in JOBS)) == set()


@pytest.mark.parametrize("name", ["jobs", "schemas"])
def test_a_package_that_is_called_as_ours_is_named_and_not_run(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").write_text("raise SystemExit('executed')")
    answer = subprocess.run(
        [sys.executable, "-P", "-c", "import hrnn_start; hrnn_start.main()", "recipes"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": "."},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 1
    error = f"{tmp_path}/{name}/__init__.py: this package stands before the platform's own {name}."
    assert answer.stderr.startswith(f"hrnn: {error}")
    assert answer.stderr.count("\n") == 1
    document = json.loads(answer.stdout)
    assert document.pop("error").startswith(error)
    assert document == {"state": "failed", "kind": "MachineError"}


@pytest.mark.parametrize("redirected", ["> /dev/full", "| true", ">&-", ">&- 2>&-", "2> /dev/full"])
def test_its_refusal_needs_no_output(tmp_path: Path, redirected: str) -> None:
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs/__init__.py").write_text("raise SystemExit('executed')")
    script = f"set -o pipefail; {sys.executable} -P -c 'import hrnn_start; hrnn_start.main()' --help {redirected}"
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    answer = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert answer.returncode == 1
    assert "Traceback" not in answer.stderr
    assert answer.stderr.count("\n") == (0 if "2>" in redirected else 1), answer.stderr


def test_python_m_hrnn_is_the_command_wherever_one_stands(tmp_path: Path) -> None:
    there = misleading_folder(tmp_path)
    answer = subprocess.run([sys.executable, "-m", "hrnn", "--version"], cwd=there, capture_output=True, text=True, check=False)
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, f"hrnn-platform {VERSION}\n", "")
    assert not (there / "executed").exists()


def test_python_m_hrnn_begins_in_our_own_launcher(tmp_path: Path) -> None:
    (tmp_path / "hrnn_start.py").write_text("raise SystemExit('executed')")
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    answer = subprocess.run(
        [sys.executable, "-m", "hrnn", "--version"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, f"hrnn-platform {VERSION}\n", "")
