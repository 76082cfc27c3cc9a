"""Scales of plots: where a value lies, and which values get a tick."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

Tick = tuple[float, str]  # value and its text


@dataclass(frozen=True)
class Axis:
    """Values of one direction of a plot.

    Attributes:
        low: Value at the start.
        high: Value at the end; above `low`.
        ticks: Values that are marked.
        logarithmic: Equal ratios, not differences, are equally far apart.
    """

    low: float
    high: float
    ticks: tuple[Tick, ...]
    logarithmic: bool = False

    def share(self, value: float) -> float:
        """How far along the axis a value lies: 0 at `low`, 1 at `high`."""
        if self.logarithmic:
            return (math.log(value) - math.log(self.low)) / (math.log(self.high) - math.log(self.low))
        return (value - self.low) / (self.high - self.low)


def linear_axis(
    values: Sequence[float], most_ticks: int = 5, from_zero: bool = True, text: Callable[[float], str] | None = None
) -> Axis:
    """An axis with ticks at round numbers, one at or beyond each end.

    Args:
        values: What must fit; at least one.
        most_ticks: Steps between ticks, at most.
        from_zero: Start at 0 where no value is negative.
        text: How a tick is written; None chooses as few decimals as tell the ticks apart.
    """
    low, high = min(values), max(values)
    if from_zero and low >= 0:
        low = 0.0
    if high <= low:
        high = low + (abs(low) or 1.0)
    step = _round_step((high - low) / most_ticks)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    power = math.floor(math.log10(step) + 1e-9)
    decimals = max(0, -power + (round(step / 10.0**power, 6) == 2.5))
    write = text or (lambda value: short_number(value, decimals))
    ticks = tuple((number * step, write(number * step)) for number in range(first, last + 1))
    return Axis(first * step, last * step, ticks)


def log_axis(values: Sequence[float]) -> Axis:
    """A logarithmic axis with ticks at powers of ten; values must be above 0."""
    first, last = math.floor(math.log10(min(values)) + 1e-9), math.ceil(math.log10(max(values)) - 1e-9)
    last = max(last, first + 1)
    ticks = tuple((10.0**power, short_number(10.0**power)) for power in range(first, last + 1))
    return Axis(10.0**first, 10.0**last, ticks, logarithmic=True)


def day_axis(first: date, last: date, most_ticks: int = 4) -> Axis:
    """An axis of days, as ordinals; ticks at month starts where months fit, else every few days."""
    low, high = first.toordinal(), max(last.toordinal(), first.toordinal() + 1)
    months = [day for day in map(date.fromordinal, range(low, high + 1)) if day.day == 1]
    if len(months) >= 3:
        step = next(
            step for step in (1, 2, 3, 4, 6, 12, 24, 60, 120, 1200, 12_000, 120_000) if len(months) / step <= most_ticks
        )
        marked = [day for day in months if (day.year * 12 + day.month - 1) % step == 0]
        pattern = "%b %Y"
    else:
        days = max(1, math.ceil((high - low) / most_ticks))
        marked = [first + timedelta(days=ahead) for ahead in range(0, high - low + 1, days)]
        pattern = "%d %b"
    return Axis(low, high, tuple((day.toordinal(), day.strftime(pattern)) for day in marked))


def day_of(timestamp: int) -> date:
    """The UTC day of epoch seconds."""
    return datetime.fromtimestamp(timestamp, UTC).date()


def short_number(value: float, decimals: int = 0) -> str:
    """`950`, `1.2k`, `35k`, `1.5M`, `2G`, `3T`; `decimals` only below a thousand."""
    for limit, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:.1f}".removesuffix(".0") + letter
    return f"{value:.{decimals}f}"


def _round_step(least: float) -> float:
    """The smallest of 1, 2, 2.5, 5 times a power of ten that is at least `least`."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= least * (1 - 1e-9))
