"""Numbers far from the rest of their column, by Tukey's outer fences, from a histogram.

Prices and quantities have long tails that are no faults, and returns are negative. So numbers are judged on a scale that is
linear below the column's typical size and logarithmic beyond it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

OUTER_FENCE = 3.0  # interquartile ranges beyond a quartile


@dataclass(frozen=True, kw_only=True)
class Outliers:
    """What lies outside the outer fences.

    Attributes:
        lowest, highest: The fences, in the column's unit.
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
        Tukey, Exploratory Data Analysis (1977): outer fences lie three interquartile ranges beyond the quartiles. The scale
        is Johnson's inverse hyperbolic sine (1949) of the values over the median of their sizes.
    """
    bins = sorted((float(low), float(high), int(count)) for low, high, count in histogram if count)
    total = sum(count for _, _, count in bins)
    sizes = sorted((min(abs(low), abs(high)), max(abs(low), abs(high)), count) for low, high, count in bins)
    if not total or (typical := _quantile(sizes, total / 2)) <= 0:
        return None
    scaled = [(math.asinh(low / typical), math.asinh(high / typical), count) for low, high, count in bins]
    first, third = (_quantile(scaled, total * fraction) for fraction in (0.25, 0.75))
    spread = third - first
    if spread <= 0:
        return None
    lowest, highest = first - OUTER_FENCE * spread, third + OUTER_FENCE * spread
    count = sum(count for low, high, count in scaled if low > highest or high < lowest)
    return Outliers(lowest=_unscaled(lowest, typical), highest=_unscaled(highest, typical), count=count)


def _unscaled(value: float, typical: float) -> float:
    """The number at a place of the scale; infinite where it is beyond all numbers."""
    try:
        return typical * math.sinh(value)
    except OverflowError:
        return math.copysign(math.inf, value)


def _quantile(bins: Sequence[tuple[float, float, int]], rank: float) -> float:
    """The value below which `rank` values lie, those of a bin taken as spread evenly over it."""
    below = 0
    for low, high, count in bins:
        if below + count >= rank:
            return low + (high - low) * (rank - below) / count
        below += count
    return bins[-1][1]
