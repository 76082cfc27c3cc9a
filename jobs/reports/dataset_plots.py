"""Plots of a dataset, from its statistics.json."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from jobs.reports.axes import short_number
from jobs.reports.charts import Plot, bar_plot, day_plot, line_plot

MOST_COLUMNS = 12  # with missing values, and with categories
MOST_NUMBERS = 6  # columns whose numbers are drawn
MOST_BARS = 32  # with those of height 0
MOST_VALUES = 8  # of one column
COMMON = 0.05  # of the values are among the shown ones, where any are common
MOST_POINTS = 300  # of a line over ranks


@dataclass(frozen=True)
class BarRow:
    """One bar of a list: its label, how long it is in percent of the longest possible, and its value as text."""

    label: str
    percent: float
    text: str


@dataclass(frozen=True)
class BarList:
    """Bars under each other, each with a label of any length."""

    title: str
    note: str
    rows: tuple[BarRow, ...]


Drawing = Plot | BarList


def dataset_plots(statistics: Mapping[str, Any]) -> dict[str, Drawing]:
    """Every plot that the statistics have figures for, by name, in the order they are shown.

    Args:
        statistics: As in statistics.json.
    """
    return dict(_drawn(statistics))


def _drawn(statistics: Mapping[str, Any]) -> Iterator[tuple[str, Drawing]]:
    if days := _days(statistics.get("events_per_day") or {}):
        yield "days", day_plot(_period(min(days), max(days)), days, "events")
    sessions = statistics.get("sessions") or {}
    if lengths := _counts(sessions.get("lengths")):
        gap = sessions.get("gap_seconds")
        ended = f", ended by {_duration(gap)} without an event" if gap else ""
        title = f"Half of the sessions have {_median(lengths):,} events or fewer"
        yield "sessions", bar_plot(title, _doubling(lengths), "events, at most", f"sessions{ended}")
    if popularity := _counts((statistics.get("items") or {}).get("events")):
        yield "items", _popularity(popularity)
    users = statistics.get("users") or {}
    if visits := _counts(users.get("sessions")):
        title = f"Half of the users have {_median(visits):,} {'session' if _median(visits) == 1 else 'sessions'} or fewer"
        yield "users", bar_plot(title, _doubling(visits), "sessions, at most", "users")
    columns, rows = statistics.get("columns") or {}, int(statistics.get("rows") or 0)
    if rows and any(found.get("missing") for found in columns.values()):
        yield "missing", _missing(columns, rows)
    numbers = [(name, found) for name, found in columns.items() if found.get("kind") == "number" and found.get("histogram")]
    for name, found in numbers[:MOST_NUMBERS]:
        yield name, _numbers(name, found)


def category_bars(statistics: Mapping[str, Any]) -> dict[str, BarList]:
    """The commonest values of each column of categories, by column; of columns that have common values."""
    rows = int(statistics.get("rows") or 0)
    columns = [(name, found) for name, found in (statistics.get("columns") or {}).items() if found.get("kind") == "category"]
    drawn = {name: _commonest(name, found, rows) for name, found in columns if _has_common_values(found)}
    return dict(list(drawn.items())[:MOST_COLUMNS])


def columns_without_common_values(statistics: Mapping[str, Any]) -> list[str]:
    """Columns of categories whose values are almost as many as their rows, with how many values they have."""
    columns = (statistics.get("columns") or {}).items()
    rare = [(name, found) for name, found in columns if found.get("kind") == "category" and found.get("values")]
    return [f"{name} ({_num_values(found)})" for name, found in rare if not _has_common_values(found)]


def _has_common_values(found: Mapping[str, Any]) -> bool:
    counts = sorted((found.get("values") or {}).values(), reverse=True)
    return bool(counts) and (len(counts) <= MOST_VALUES or sum(counts[:MOST_VALUES]) >= COMMON * sum(counts))


def _num_values(found: Mapping[str, Any]) -> str:
    number = int(found.get("num_values") or len(found["values"]))
    return "1 value" if number == 1 else f"{number:,} values{'' if found.get('complete', True) else ' or more'}"


def _period(first: date, last: date) -> str:
    """`1 Oct to 4 Nov 2017`."""
    begin = f"{first.day} {first:%b}" + ("" if first.year == last.year else f" {first.year}")
    return f"{last.day} {last:%b} {last.year}" if first == last else f"{begin} to {last.day} {last:%b} {last.year}"


def _days(told: Mapping[str, int]) -> dict[date, int]:
    return {date.fromisoformat(day): count for day, count in told.items()}


def _counts(told: Mapping[str, int] | None) -> dict[int, int]:
    """Keys as numbers, ascending; nothing that nobody has."""
    return {key: count for key, count in sorted((int(key), int(count)) for key, count in (told or {}).items()) if count and key}


def _median(counts: Mapping[int, int]) -> int:
    """The lower median of values told as value -> how often, values ascending."""
    half, seen = (sum(counts.values()) + 1) // 2, 0
    for value, count in counts.items():
        seen += count
        if seen >= half:
            return value
    return 0


def _doubling(counts: Mapping[int, int]) -> list[tuple[str, float]]:
    """Counts of 1, 2, up to 4, up to 8, …, by the largest of each."""
    sums = [0] * (math.ceil(math.log2(max(counts))) + 1)
    for value, count in counts.items():
        sums[math.ceil(math.log2(value))] += count
    return [(f"{2**power:,}" if power < 14 else f"2^{power}", float(total)) for power, total in enumerate(sums)]


def _popularity(counts: Mapping[int, int]) -> Plot:
    """Events of an item over its rank, from events -> how many items have so many."""
    falling = sorted(counts.items(), reverse=True)
    num_items, num_events = sum(counts.values()), sum(events * items for events, items in falling)
    points: list[tuple[float, float]] = []
    rank, top, best = 0, max(1, num_items // 100), 0
    for events, items in falling:
        best += events * max(0, min(items, top - rank))
        ends = {rank + 1, rank + items}
        points += [(float(place), float(events)) for place in sorted(ends)]
        rank += items
    share = f"{100 * best / num_events:.0f} %"
    title = f"Top 1 % of items: {share} of events" if num_items >= 100 else f"The most frequent item: {share} of events"
    plot = line_plot(title, _thinned(points), "items, most frequent first", "", logarithmic=True)
    return replace(plot, y_label="events of an item, both axes logarithmic")


def _thinned(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Of many points those that can be told apart on a logarithmic axis; the first and the last stay."""
    if len(points) <= MOST_POINTS:
        return points
    step, kept = math.log(points[-1][0] + 1) / MOST_POINTS, [points[0]]
    for point in points[1:-1]:
        if math.log(point[0] / kept[-1][0]) >= step:
            kept.append(point)
    return [*kept, points[-1]]


def _missing(columns: Mapping[str, Any], rows: int) -> BarList:
    """The emptiest columns first."""
    shares = [(int(found.get("missing") or 0) / rows, name) for name, found in columns.items() if found.get("missing")]
    shares.sort(key=lambda pair: -pair[0])
    several = f"{len(shares)} of {len(columns)} columns lack some"
    shown = f", the {MOST_COLUMNS} emptiest are shown" if len(shares) > MOST_COLUMNS else ""
    rows_shown = tuple(BarRow(name, 100 * share, _percent(share)) for share, name in shares[:MOST_COLUMNS])
    return BarList("Missing values", f"share of the rows; {several}{shown}", rows_shown)


def _numbers(name: str, found: Mapping[str, Any]) -> Plot:
    """How numbers are spread: one bar for each doubling; zero and negative numbers stand apart."""
    sums: dict[tuple[int, int], float] = {}
    for low, high, count in found["histogram"]:
        sign, size = (1, low) if low > 0 else (-1, -high) if high < 0 else (0, 1)
        key = sign, math.floor(math.log2(size) + 1e-6)
        sums[key] = sums.get(key, 0.0) + count
    bars: list[tuple[str, float]] = []
    for sign in (-1, 0, 1):
        powers = sorted(power for each, power in sums if each == sign)
        if powers and powers[-1] - powers[0] < MOST_BARS:
            powers = list(range(powers[0], powers[-1] + 1))
        bars += [(_power(sign, power), sums.get((sign, power), 0.0)) for power in powers[:: -1 if sign < 0 else 1]]
    low, high = found["histogram"][0][0], found["histogram"][-1][1]
    span = " to ".join(_number(float(end)) for end in (found.get("min", low), found.get("max", high)))
    return bar_plot(f"{name}: {span}", bars, "value; each bar spans a doubling", "rows")


def _power(sign: int, power: int) -> str:
    """A power of two as a tick."""
    return _number(sign * 2.0 ** min(power, 1024 - 1e-12))  # the largest double is a little below 2^1024


def _number(value: float) -> str:
    """`0.25`, `12.5`, `35k`, `1e+18`."""
    return short_number(value) if 1000 <= abs(value) < 1e15 else f"{value:.3g}"


def _commonest(name: str, found: Mapping[str, Any], rows: int) -> BarList:
    """The commonest values of a column, as shares of the rows that have any."""
    values = sorted(found["values"].items(), key=lambda pair: -pair[1])[:MOST_VALUES]
    most, filled = max(values[0][1], 1), max(rows - int(found.get("missing") or 0), 1)
    shown = tuple(
        BarRow(str(value) or "(empty)", 100 * count / most, f"{short_number(count)} · {_percent(count / filled)}")
        for value, count in values
    )
    return BarList(name, _num_values(found) + (", the commonest first" if len(values) > 1 else ""), shown)


def _percent(share: float) -> str:
    return "<0.1 %" if 0 < share < 0.001 else f"{100 * share:.1f}".removesuffix(".0") + " %"


def _duration(seconds: float) -> str:
    """`30 minutes`, `2 hours`, `45 seconds`."""
    units = ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))
    size, noun = next((unit for unit in units if seconds >= unit[0] and seconds % unit[0] == 0), units[-1])
    number = seconds / size
    return f"{number:,.10g} {noun}{'' if number == 1 else 's'}"
