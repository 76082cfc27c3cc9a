"""Configs of AWS's automations, in each shape that they have: loaded, and the plan is the written one.

tests/automation_configs holds small ones of our own making beside their plans; AWS's own are read where they lie beside the
project. A changed plan is written anew with `UPDATE_PLANS=1 pytest tests/jobs/nightly/test_automation.py`, and looked at.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from jobs.nightly.configs import load_config
from jobs.nightly.plan import Step, plan_night

CONFIGS = Path(__file__).parents[2] / "automation_configs"
SAMPLES = Path(__file__).parents[4] / "shared" / "personalize_samples" / "config"


def plan_of(config: str, folder: Path) -> list[str]:
    """What is left out, then every step, of a config that lies where AWS's solution keeps it."""
    train = folder / "train" / "group"
    for name in ("interactions", "items", "users"):
        _write(train / f"{name}.csv")
    for name in ("loans", "books", "readers", "pamphlets"):
        _write(folder / "raw" / f"{name}.csv")
    solutions = json.loads(config)["solutions"]
    for solution in solutions.values() if isinstance(solutions, dict) else solutions:
        _write(folder / "batch" / "group" / solution.get("serviceConfig", solution)["name"] / "job_config.json")
    for name in ("alike", "fans", "never"):
        _write(folder / "asked" / name / "lines.json")
    _write(train / "config.json", config.replace("PLACE", str(folder)))
    loaded, warnings = load_config(str(train / "config.json"), workspace=str(folder / "workspace"))
    told = [f"without {warning}" for warning in warnings]
    return [line.replace(str(folder), "…") for line in told + [_line(step) for step in plan_night(loaded).steps]]


def _line(step: Step) -> str:
    told = step.arguments
    if step.job == "validate":
        return f"{step.label} of {told['data_uri']}"
    if step.job == "train":
        asked = told["settings"].model_dump()
        searched = {key: asked[key] for key in ("hyperparameters", "hpo") if asked[key]}
        return f"{step.label} by {asked['recipe']}{f' {json.dumps(searched)}' if searched else ''}"
    if step.job in {"recommend", "segment"}:
        asked = told["settings"]
        filtered = f", {asked.filter_expression}" if asked.filter_expression else ""
        return f"{step.label} of {told['input_uri']} to {step.folder}, {asked.num_results} a line{filtered}"
    return step.label


def _write(path: Path, text: str = "any\n") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize("name", ["named_solutions", "schedules", "root_tags", "tags", "pipeline"])
def test_the_plan_of_each_shape_is_the_written_one(name: str, tmp_path: Path) -> None:
    told = "\n".join(plan_of((CONFIGS / f"{name}.json").read_text(), tmp_path)) + "\n"
    golden = CONFIGS / f"{name}.plan.txt"
    if os.environ.get("UPDATE_PLANS"):
        golden.write_text(told)
    assert told == golden.read_text()


@pytest.mark.data
@pytest.mark.parametrize(
    ("file", "batches"),
    [
        ("ml_ops_params.json", []),
        ("mpe_sample_config.json", ["unit_test_personalized_ranking_new_2", "affinity_item", "affinity_item_attribute"]),
        ("mpe_sample_config_root_tags.json", ["unit_test_personalized_ranking_new_2"]),
        ("mpe_sample_config_wtags.json", ["unit_test_personalized_ranking_new_2", "affinity_item", "affinity_item_attribute"]),
    ],
)
def test_awss_own_samples_are_planned(file: str, batches: list[str], tmp_path: Path) -> None:
    if not SAMPLES.is_dir():
        pytest.skip("AWS's samples are not beside the project; tests/automation_configs has their shapes")
    steps = [line for line in plan_of((SAMPLES / file).read_text(), tmp_path) if not line.startswith("without")]
    assert steps[-len(batches) - 1].startswith("evaluate")
    assert [line.split()[1] for line in steps if line.startswith(("recommend", "segment"))] == batches
