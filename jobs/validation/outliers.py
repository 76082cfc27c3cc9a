"""Numbers far from the rest of their column, by Tukey's outer fences, from a histogram."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

OUTER_FENCE = 3.0  # interquartile ranges beyond a quartile


@dataclass(frozen=True, kw_only=True)
class Outliers:
    """What lies outside the outer fences.

    Attributes:
        lowest, highest: The fences.
        count: Values that are certainly outside: bins that a fence cuts are not counted.
    """

    lowest: float
    highest: float
    count: int


def outliers(histogram: Sequence[Sequence[float]]) -> Outliers | None:
    """What lies far outside a histogram's middle half.

    Args:
        histogram: `[low, high, count]` of ascending half-open bins; a bin of one value has `low` = `high`.

    Returns:
        None where there are no values, or half of them lie in one place: then nothing tells what is far.

    Source:
        Tukey, Exploratory Data Analysis (1977): outer fences lie three interquartile ranges beyond the quartiles.
    """
    bins = sorted((float(low), float(high), int(count)) for low, high, count in histogram if count)
    total = sum(count for _, _, count in bins)
    if not total:
        return None
    first, third = (_quantile(bins, total * fraction) for fraction in (0.25, 0.75))
    spread = third - first
    if spread <= 0:
        return None
    lowest, highest = first - OUTER_FENCE * spread, third + OUTER_FENCE * spread
    count = sum(count for low, high, count in bins if low > highest or high < lowest)
    return Outliers(lowest=lowest, highest=highest, count=count)


def _quantile(bins: Sequence[tuple[float, float, int]], rank: float) -> float:
    """The value below which `rank` values lie, those of a bin taken as spread evenly over it."""
    below = 0
    for low, high, count in bins:
        if below + count >= rank:
            return low + (high - low) * (rank - below) / count
        below += count
    return bins[-1][1]
