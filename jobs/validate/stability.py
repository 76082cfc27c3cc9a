"""The population stability index: how far one distribution lies from another, from figures of columns.

PSI = Σ (p − q) · ln(p / q) over bins; 0 where both are equal. Below 0.1 nothing happened, above 0.25 much did.
Half a value is added to every bin, so that an empty one does not make it infinite.

Source: Siddiqi, Credit Risk Scorecards (2006), ch. 10; the same index under this name is in common use for model inputs.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import log
from typing import Any

FEWEST_VALUES = 100  # on either side: fewer make the index noise
MOST_BINS = 10  # of numbers
MOST_CATEGORIES = 20  # with a bin of their own; each bin adds noise
OTHER = "\0other"
MISSING = "\0missing"


def population_stability(before: Mapping[str, Any], rows_before: int, now: Mapping[str, Any], rows_now: int) -> float | None:
    """The index of one column's figures in two imports.

    Args:
        before: Figures of the earlier import, as in statistics.json; `kind` is that of `now`.
        rows_before: Its rows.
        now: Figures of the later import.
        rows_now: Its rows.

    Returns:
        None where the kind of column has no such figures, or either import has fewer than FEWEST_VALUES rows.
    """
    if min(rows_before, rows_now) < FEWEST_VALUES:
        return None
    if now.get("kind") == "category":
        old, new = _categories(before, rows_before, now, rows_now)
    elif now.get("kind") == "number":
        old, new = _numbers(before.get("histogram") or [], now.get("histogram") or [])
    else:
        return None
    old[MISSING], new[MISSING] = int(before.get("missing") or 0), int(now.get("missing") or 0)
    return index(old, new)


def index(old: Mapping[str, int], new: Mapping[str, int]) -> float | None:
    """The index of counts by bin; a bin that is empty on both sides does not count. None where a side is too small."""
    bins = [name for name in {**old, **new} if old.get(name) or new.get(name)]
    total_old, total_new = (sum(side.get(name, 0) for name in bins) for side in (old, new))
    if min(total_old, total_new) < FEWEST_VALUES:
        return None
    total = 0.0
    for name in bins:
        p = (new.get(name, 0) + 0.5) / (total_new + 0.5 * len(bins))
        q = (old.get(name, 0) + 0.5) / (total_old + 0.5 * len(bins))
        total += (p - q) * log(p / q)
    return total


def _categories(
    before: Mapping[str, Any], rows_before: int, now: Mapping[str, Any], rows_now: int
) -> tuple[dict[str, int], dict[str, int]]:
    """Counts of the commonest categories of either side, and of all others together."""
    sides = [_values(before, rows_before), _values(now, rows_now)]
    totals = [sum(side.values()) or 1 for side in sides]
    # What one side keeps may be among the values that the other one had no room for.
    comparable = [
        name for name in {**sides[0], **sides[1]} if name != OTHER and all(name in side or OTHER not in side for side in sides)
    ]
    largest = sorted(
        comparable,
        key=lambda name: (-max(side.get(name, 0) / total for side, total in zip(sides, totals, strict=True)), name),
    )
    kept = set(largest[:MOST_CATEGORIES])
    merged: list[dict[str, int]] = []
    for side in sides:
        counts = {name: count for name, count in side.items() if name in kept}
        merged.append({**counts, OTHER: sum(side.values()) - sum(counts.values())})
    return merged[0], merged[1]


def _values(figures: Mapping[str, Any], rows: int) -> dict[str, int]:
    """Rows by category; where some categories were left out, their rows are OTHER's."""
    values = {str(name): int(count) for name, count in (figures.get("values") or {}).items()}
    if not figures.get("complete", True):
        values[OTHER] = max(0, rows - int(figures.get("missing") or 0) - sum(values.values()))
    return values


def _numbers(before: Sequence[Any], now: Sequence[Any]) -> tuple[dict[str, int], dict[str, int]]:
    """Counts by at most MOST_BINS bins that hold about as many of the earlier numbers each."""
    starts = _coarse(before)
    counts: list[dict[str, int]] = []
    for histogram in (before, now):
        side: dict[str, int] = {}
        for low, _, count in histogram:
            name = str(bisect_right(starts, float(low)))
            side[name] = side.get(name, 0) + int(count)
        counts.append(side)
    return counts[0], counts[1]


def _coarse(histogram: Sequence[Any]) -> list[float]:
    """Lower edges of all coarse bins but the first, ascending."""
    bins = sorted((float(low), float(high), int(count)) for low, high, count in histogram if count)
    total = sum(count for _, _, count in bins)
    starts: list[float] = []
    below = 0
    for (_, _, count), (low, _, _) in pairwise(bins):
        reached = below * MOST_BINS // total
        below += count
        if below * MOST_BINS // total > reached:
            starts.append(low)
    return starts
