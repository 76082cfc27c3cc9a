"""Metrics as people read them: short names, four decimals."""

from __future__ import annotations

import re
from collections.abc import Mapping

MODEL = "model"  # the row of the solution itself in a table of metrics
HEADLINE = "normalized_discounted_cumulative_gain_at_25"  # the metric that verdicts and searches go by
SURE = 1.96  # standard errors either side of a 95 % interval

METRIC_NAMES = {"normalized_discounted_cumulative_gain": "NDCG", "mean_reciprocal_rank": "MRR"}  # others are called as they are


def metric_name(key: str, names: Mapping[str, str] = METRIC_NAMES) -> str:
    """`normalized_discounted_cumulative_gain_at_25` as `NDCG@25`; what `names` does not have, in its own words."""
    found = re.fullmatch(r"(\w+)_at_(\d+)", key)
    if found is None:
        return key.replace("_", " ")
    stem, depth = found.groups()
    return f"{names.get(stem, stem.replace('_', ' '))}@{depth}"


def metric_text(value: float | None) -> str:
    """Four decimals; a dash for what was not measured."""
    return "–" if value is None else f"{value:.4f}"


def percent_text(share: float | None) -> str:
    """`12.5%`; a dash for what was not measured."""
    return "–" if share is None else f"{share:.1%}"
