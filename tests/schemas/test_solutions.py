from __future__ import annotations

import pytest

from schemas.config import parse_config
from schemas.errors import ConfigError
from schemas.solutions import Solution

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
        ('recipe = "aws-hrnn"\n[solutions.for-you.training]\nevent_value_threshold = "much"', "no threshold"),
        ('recipe = "aws-hrnn"\n[solutions.for-you.training]\nevents_config = [{ event_type = "a", weight = 2 }]', "weight"),
        ('recipe = "aws-hrnn"\n[solutions.for-you.training]\nevents_config = []', "no such number of types"),
    ],
)
def test_what_makes_no_sense_is_refused_by_its_path(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        solution(text)
