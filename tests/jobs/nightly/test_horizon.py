"""The period that lists are made for, from the nights before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from small_shop import write_shop

from jobs.nightly.horizon import NIGHTS, usual_horizon_days
from jobs.nightly.plan import Step, plan_night
from jobs.platform.storage.records import write_record
from schemas.config import build_config
from schemas.errors import ConfigError

HOUR, DAY = 3_600, 86_400


def after(folder: Path, nights: list[tuple[str, int | None]], asked: str = "tonight") -> float:
    """The horizon after nights of these sequences (fingerprint, newest event), the oldest first."""
    for number, (fingerprint, newest) in enumerate(nights, 1):
        step: dict[str, Any] = {"job": "sessionize", "name": "sequences", "folder": "/x", "fingerprint": fingerprint}
        step |= {"settings": {}, "inputs": {}} | ({} if newest is None else {"newest_event": newest})
        write_record(f"{folder}/nights/gen-{number:06}/summary.json", {"steps": [step]})
    return usual_horizon_days(str(folder), asked)


@pytest.mark.parametrize(
    ("newest_events", "days"),
    [
        ([], 1.0),
        ([0], 1.0),
        ([0, 7 * DAY], 7.0),
        ([0, DAY + HOUR, 2 * DAY, 3 * DAY - HOUR], 1.0),
        ([0, 28 * DAY, 59 * DAY, 60 * DAY], 28.0),
        ([0, 6 * HOUR, 12 * HOUR + 60], 0.25),
        ([0, 60], 1 / 24),
        ([0, 0, 0], 1.0),
        ([0, 4_000 * DAY], 366.0),
        ([9 * DAY, 3 * DAY, 5 * DAY], 2.0),
    ],
)
def test_it_is_the_median_of_the_days_between_nights(tmp_path: Path, newest_events: list[int], days: float) -> None:
    assert after(tmp_path, [(str(number), newest) for number, newest in enumerate(newest_events)]) == days


def test_only_the_newest_nights_count(tmp_path: Path) -> None:
    yearly = [(f"old {number}", number * 300 * DAY) for number in range(20)]
    daily = [(f"new {number}", (6_000 + number) * DAY) for number in range(NIGHTS + 1)]
    assert after(tmp_path, yearly + daily) == 1.0


def test_the_same_night_finds_the_same_horizon_when_it_is_run_again(tmp_path: Path) -> None:
    before = [("a", 0), ("b", 7 * DAY)]
    assert after(tmp_path, before) == 7.0
    assert after(tmp_path, [*before, ("tonight", 9 * DAY), ("tonight", 9 * DAY), ("later", 300 * DAY)]) == 7.0


def test_nights_of_older_releases_say_nothing(tmp_path: Path) -> None:
    assert after(tmp_path, [("a", None), ("b", None)]) == 1.0


def trains(folder: Path, publish: dict[str, Any], **solutions: dict[str, Any]) -> dict[str, Step]:
    write_shop(folder, num_users=3)
    document = {
        "dataset_group": {"name": "shop", "workspace": str(folder / "workspace")},
        "datasets": {
            "interactions": {"schema": str(folder / "schemas/interactions.json"), "data": str(folder / "raw/interactions")}
        },
        "publish": publish,
        "solutions": solutions,
    }
    return {step.name: step for step in plan_night(build_config(document, "night")).of("train")}


def test_a_night_s_trainings_are_told_of_horizon_and_lag(tmp_path: Path) -> None:
    after(tmp_path / "workspace", [("a", 0), ("b", 7 * DAY)])
    steps = trains(
        tmp_path,
        {"lag_hours": 3},
        plain={"recipe": "aws-hrnn"},
        own={"recipe": "aws-hrnn", "training": {"horizon_days": 2, "lag_hours": 1}},
        counted={"recipe": "aws-popularity-count"},
    )
    told = {name: step.arguments["settings"] for name, step in steps.items()}
    assert (told["plain"].horizon_days, told["plain"].lag_hours) == (7.0, 3.0)
    assert (told["own"].horizon_days, told["own"].lag_hours) == (2.0, 1.0)
    assert (told["counted"].horizon_days, told["counted"].lag_hours) == (None, None)
    assert steps["plain"].settings["training"]["horizon_days"] == 7.0


def test_lists_that_would_be_read_too_late_are_refused_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"solutions\.plain\.training\.lag_hours: lists would be read too late"):
        trains(tmp_path, {"lag_hours": 24}, plain={"recipe": "aws-hrnn"})
