from __future__ import annotations

from typing import Any

import pytest
from config_texts import parse_config

from schemas.batch_jobs import RecommendSettings, SegmentSettings
from schemas.data_settings import ValidateSettings
from schemas.errors import ConfigError
from schemas.settings import Settings
from schemas.solutions import Solution, TrainSettings

SHOP = """
[dataset_group]
name = "shop"
workspace = "s3://bucket/hrnn/shop"

[datasets.interactions]
schema = "s3://bucket/schemas/interactions.json"
data = "raw/interactions/"

[solutions.for-you]
"""


def solution(text: str) -> Solution:
    return parse_config(SHOP + text, "shop.toml").solutions["for-you"]


def test_a_solution_names_its_search_and_its_events() -> None:
    found = solution("""
        recipe = "aws-hrnn"
        hpo = { max_jobs = 8, ranges = { bptt = [4, 16], recency_mask = [true] } }
        [solutions.for-you.training]
        patience = 0
        events_config = [{ event_type = "buy", event_value_threshold = "10", weight = 0.3 }, { event_type = "view" }]
    """)
    assert found.hpo is not None
    assert (found.hpo.max_jobs, found.hpo.parallel_jobs) == (8, 1)
    assert found.training.patience == 0
    assert [rule.weight for rule in found.training.events_config or ()] == [0.3, 1.0]


def test_automl_needs_no_recipe() -> None:
    assert solution("auto_ml = true").auto_ml
    with pytest.raises(ConfigError, match="recipe"):
        solution("auto_ml = false")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('recipe = "aws-hrnn"\nhpo = { max_jobs = 41 }', "hpo.max_jobs"),
        ('recipe = "aws-hrnn"\nhpo = { parallel_jobs = 11 }', "hpo.parallel_jobs"),
        ('recipe = "aws-hrnn"\nhpo = { ranges = { bptt = [2, 33] } }', "hpo.ranges.bptt"),
        ('recipe = "aws-popularity-count"\nhpo = {}', "no hyperparameters that could be searched"),
        ("auto_ml = true\nhpo = {}", "neither hpo nor hyperparameters"),
        ('auto_ml = true\nrecipe = "aws-sims"', r"for-you\.auto_ml: AutoML chooses the recipe itself \(got 'aws-sims'\)"),
        ('recipe = "aws-hrnn"\n[solutions.for-you.training]\nevent_value_threshold = "much"', "no threshold"),
        ('recipe = "aws-hrnn"\n[solutions.for-you.training]\nevents_config = [{ event_type = "a", weight = 2 }]', "weight"),
        ('recipe = "aws-hrnn"\n[solutions.for-you.training]\nevents_config = []', "no such number of types"),
        (
            'recipe = "aws-hrnn"\n[solutions.for-you.training]\nevent_value_threshold = true',
            r"this is no threshold \(got True\)",
        ),
        (
            'recipe = "aws-sims"\n[solutions.for-you.training]\nepochs = 3',
            r"shop\.toml: solutions\.for-you\.training\.epochs: this has no effect: aws-sims is fitted in closed form",
        ),
        (
            'recipe = "hrnn-stamp"\n[solutions.for-you.training]\nvariant = "all"',
            r"solutions\.for-you\.training\.variant: this has no effect: hrnn-stamp is no HRNN",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_by_its_path(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        solution(text)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"event_value_threshold": "x"}, r"event_value_threshold: this is no threshold \(got 'x'\)"),
        ({"events_config": [1]}, r"events_config\[0\]: this is no rule of events"),
        ({"events_config": []}, "no such number of types"),
    ],
)
def test_events_that_make_no_sense_are_refused_where_settings_are_read(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TrainSettings.read(given)


@pytest.mark.parametrize(
    ("model", "name"),
    [
        (RecommendSettings, "max_error_fraction"),
        (SegmentSettings, "max_error_fraction"),
        (ValidateSettings, "max_rejected_fraction"),
    ],
)
@pytest.mark.parametrize("value", [float("nan"), True, -0.1, 1.5, "half", None, [0.5]])
def test_what_is_no_fraction_is_told_the_range(model: type[Settings], name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=r"fraction: must be between 0 and 1 \(got .*\)\.$"):
        model.read({name: value})
    assert getattr(model.read({name: "0.5"}), name) == 0.5
    assert getattr(model.read({name: 1}), name) == 1
