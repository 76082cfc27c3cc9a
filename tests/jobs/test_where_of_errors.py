"""An error of a setting is told as the setting was given: by its option, or by its key path in a night's config."""

from __future__ import annotations

from typing import Any

import pytest
import typer

from jobs.nightly.job import _in_config
from jobs.nightly.plan import Step
from jobs.options import with_settings
from jobs.sessionize import passes
from jobs.sessionize.plan import Plan
from jobs.sessionize.survey import Survey
from schemas.data_settings import SessionizeSettings
from schemas.errors import ConfigError, DataError, UserError


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (DataError("no event is of these types", where="event_types"), "--event-type: no event"),
        (ConfigError("nothing", where="event_types[0]"), "--event-type[0]: nothing"),
        (DataError("a broken line", where="event_types.csv"), "event_types.csv: a broken line"),
    ],
)
def test_an_error_of_a_setting_is_told_of_its_option(error: UserError, says: str) -> None:
    def run(*, settings: SessionizeSettings) -> None:
        raise error

    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(with_settings(run))
    with pytest.raises(UserError, match=f"^{says.replace('[', '.').replace(']', '.')}"):
        app(["--event-type", "nope"], standalone_mode=False)


@pytest.mark.parametrize(
    ("job", "where", "told"),
    [
        ("train", "event_type", "solutions.shop.training.event_type"),
        ("train", "events_config[0].event_type", "solutions.shop.training.events_config[0].event_type"),
        ("sessionize", "event_types", "sessions.event_types"),
        ("train", "s3://bucket/file", "s3://bucket/file"),
        ("evaluate", "event_type", "event_type"),
    ],
)
def test_an_error_of_a_step_is_told_of_its_key_in_the_config(job: Any, where: str, told: str) -> None:
    step = Step(job=job, name="shop", folder="f", fingerprint="0", settings={}, inputs={}, arguments={})
    error = _in_config(ConfigError("no interaction is of this type", where=where), step)
    assert str(error) == f"{told}: no interaction is of this type."


def test_types_that_no_event_has_are_refused_with_those_that_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    def survey(_: Any, plan: Plan) -> Survey:
        kinds = ["buy", "view"] if plan.event_types is None else []
        return Survey(items=passes.pa.table({"num_events": []}), categories={"EVENT_TYPE": kinds}, shard_users=(0,))

    monkeypatch.setattr(passes, "survey", survey)
    columns: Any = None
    plan = Plan(
        interactions_uri="a",
        output_uri="b",
        tasks=(),
        columns=columns,
        event_types=("nope",),
        gap_seconds=1800,
        tie_order="file",
        num_shards=1,
    )
    nothing: Any = None
    with pytest.raises(DataError, match=r"event_types: no event is of these types \(got \['nope'\]\)\. Allowed: buy, view\."):
        passes._attempt(nothing, plan, nothing, None)
