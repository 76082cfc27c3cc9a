"""Static plots as inline SVG: lines and bars, drawn by templates/plot.svg.j2."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date

from jobs.reports.axes import Axis, day_axis, linear_axis, log_axis, short_number

WIDTH, HEIGHT = 380, 215  # of the drawing, in SVG units
LEFT, RIGHT, TOP, BOTTOM = 42, 18, 10, 40  # margins for ticks and labels
CHARACTER = 6.2  # width of a digit of a tick, at most
MOST_POINTS = 400  # more cannot be told apart
MOST_MARKS = 20  # more would hide the line


@dataclass(frozen=True)
class Bar:
    """One bar: its rectangle in SVG units and what it says when pointed at."""

    x: float
    y: float
    width: float
    height: float
    title: str


@dataclass(frozen=True)
class Point:
    """One point of a line with few of them, in SVG units, and what it says when pointed at."""

    x: float
    y: float
    title: str


@dataclass(frozen=True, kw_only=True)
class Plot:
    """What the template draws; positions in SVG units.

    Attributes:
        title: What is shown, as a sentence a reader takes away.
        x_label, y_label: What the axes count, with units.
        x_ticks, y_ticks: (position, text) of each tick.
        lines: Points of each line, as SVG path data.
        points: Points that are marked, if any.
        bars: Bars, if any.
    """

    title: str
    x_label: str
    y_label: str
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    lines: tuple[str, ...] = ()
    points: tuple[Point, ...] = ()
    bars: tuple[Bar, ...] = ()
    width: int = field(default=WIDTH, init=False)
    height: int = field(default=HEIGHT, init=False)
    left: int = field(default=LEFT, init=False)
    right: int = field(default=WIDTH - RIGHT, init=False)
    base: int = field(default=HEIGHT - BOTTOM, init=False)


def line_plot(
    title: str,
    points: Sequence[tuple[float, float]],
    x_label: str,
    y_label: str,
    *,
    logarithmic: bool = False,
    from_zero: bool = False,
) -> Plot:
    """A line through points, in the order given.

    Args:
        title: What is shown.
        points: (x, y), at least one; above 0 where `logarithmic`.
        x_label: What x counts.
        y_label: What y counts.
        logarithmic: Both axes are.
        from_zero: The y axis starts at 0.
    """
    thinned = points[:: max(1, len(points) // MOST_POINTS)]
    thinned = [*thinned, points[-1]] if thinned[-1] != points[-1] else list(thinned)
    xs, ys = [x for x, _ in thinned], [y for _, y in thinned]
    x_axis = log_axis(xs) if logarithmic else linear_axis(xs, most_ticks=4)
    y_axis = log_axis(ys) if logarithmic else linear_axis(ys, from_zero=from_zero)
    path = "M" + " L".join(f"{_x(x_axis, x):.1f},{_y(y_axis, y):.1f}" for x, y in thinned)
    marked = thinned if len(thinned) <= MOST_MARKS else []
    marks = tuple(Point(_x(x_axis, x), _y(y_axis, y), f"{short_number(x)}: {y:.4g}") for x, y in marked)
    return Plot(
        title=title,
        x_label=x_label,
        y_label=y_label,
        x_ticks=_x_ticks(x_axis),
        y_ticks=_y_ticks(y_axis),
        lines=(path,),
        points=marks,
    )


def bar_plot(title: str, bars: Sequence[tuple[str, float]], x_label: str, y_label: str) -> Plot:
    """One bar for each (label, value), labels below."""
    y_axis = linear_axis([value for _, value in bars])
    each = (WIDTH - LEFT - RIGHT) / len(bars)
    middles = [LEFT + each * (number + 0.5) for number in range(len(bars))]
    drawn = tuple(_bar(y_axis, middle, each * 0.72, value, label) for middle, (label, value) in zip(middles, bars, strict=True))
    widest = max(len(label) for label, _ in bars) * CHARACTER + 6
    every = math.ceil(widest / each)
    ticks = tuple((middle, label) for middle, (label, _) in list(zip(middles, bars, strict=True))[::every])
    return Plot(title=title, x_label=x_label, y_label=y_label, x_ticks=ticks, y_ticks=_y_ticks(y_axis), bars=drawn)


def day_plot(title: str, counts: dict[date, int], y_label: str) -> Plot:
    """Bars over days, gaps included; weeks where there are too many days to tell apart.

    Args:
        title: What is shown.
        counts: Day -> how many; at least one day.
        y_label: What is counted; " a day" or " a week" is added.
    """
    first, last = min(counts), max(counts)
    width = 1 if (last - first).days < 120 else 7 if (last - first).days < 7 * 160 else 28
    sums: dict[int, int] = {}
    for day, count in counts.items():
        start = first.toordinal() + (day - first).days // width * width
        sums[start] = sums.get(start, 0) + count
    x_axis, y_axis = day_axis(first, date.fromordinal(last.toordinal() + width)), linear_axis([float(v) for v in sums.values()])
    span = (WIDTH - LEFT - RIGHT) * width / (x_axis.high - x_axis.low)
    bars = tuple(
        _bar(y_axis, _x(x_axis, start) + span / 2, max(span * 0.85, 0.5), value, date.fromordinal(start).isoformat())
        for start, value in sorted(sums.items())
    )
    unit = {1: "a day", 7: "a week", 28: "in 4 weeks"}[width]
    return Plot(
        title=title, x_label="", y_label=f"{y_label} {unit}", x_ticks=_x_ticks(x_axis), y_ticks=_y_ticks(y_axis), bars=bars
    )


def _bar(axis: Axis, middle: float, width: float, value: float, label: str) -> Bar:
    top = _y(axis, value)
    return Bar(
        middle - width / 2,
        top,
        width,
        HEIGHT - BOTTOM - top,
        f"{label}: {value:,.0f}" if value >= 100 else f"{label}: {value:g}",
    )


def _x(axis: Axis, value: float) -> float:
    return LEFT + axis.share(value) * (WIDTH - LEFT - RIGHT)


def _y(axis: Axis, value: float) -> float:
    return HEIGHT - BOTTOM - axis.share(value) * (HEIGHT - BOTTOM - TOP)


def _x_ticks(axis: Axis) -> tuple[tuple[float, str], ...]:
    return tuple((_x(axis, value), text) for value, text in axis.ticks)


def _y_ticks(axis: Axis) -> tuple[tuple[float, str], ...]:
    return tuple((_y(axis, value), text) for value, text in axis.ticks)
