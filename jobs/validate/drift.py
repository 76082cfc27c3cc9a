"""What changed since the last import: figures for insights, or None where the two cannot be compared."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

from jobs.validate.insight import Figures, InsightContext, counted, share
from jobs.validate.stability import population_stability

BASELINE_DAYS = 28  # before the new days
FEWEST_BASELINE_DAYS = 7
LEAST_NEW_DAYS = 0.25  # of a day; less tells nothing of its volume
VOLUME_RATIO = 2.0  # of events a day, more or fewer
SMALL_SHIFT = 0.1  # of the population stability index
LARGE_SHIFT = 0.25

_DAY = 86_400  # seconds

Days = dict[date, int]


def dataset_size(context: InsightContext) -> Figures | None:
    """Rows, against those of the last import."""
    before = int((context.previous or {}).get("rows") or 0)
    return {"before": before, "ratio": context.rows / before} if before else None


def changed_past(context: InsightContext) -> Figures | None:
    """Days that the last import had too, and those of them with other numbers of events, the most changed first."""
    before, now = _days(context.previous), _days(context.statistics)
    if not before or not now:
        return None
    # The last import may have seen half of its last day, and this one may begin amid a day.
    both = list(_range(max(min(before), min(now) + timedelta(days=min(now) > min(before))), max(before) - timedelta(days=1)))
    both = [day for day in both if day <= max(now)]
    events = sum(before.get(day, 0) for day in both)
    if not events:
        return None
    changes = {day: now.get(day, 0) - before.get(day, 0) for day in both}
    changed = sorted((day for day in changes if changes[day]), key=lambda day: -abs(changes[day]))
    # An INCREMENTAL import adds events to old days by design; that some are lost is still a change.
    lost = -sum(change for change in changes.values() if change < 0)
    moved = sum(map(abs, changes.values())) if context.import_mode == "FULL" else lost
    return {
        "days": len(both),
        "changed": [f"{day} ({changes[day]:+,})" for day in changed],
        "change": sum(changes.values()),
        "events": events,
        "fraction": share(moved, events),
    }


def no_later_day(context: InsightContext) -> Figures | None:
    """The newest events where no day is later than the last import's; whether they are newer within that day."""
    before, now = _days(context.previous), _days(context.statistics)
    if not before or not now or max(now) > max(before):
        return None
    newest, newest_before = context.statistics.get("last_timestamp"), (context.previous or {}).get("last_timestamp")
    is_newer = newest is not None and newest_before is not None and newest > newest_before
    return {"newest": max(now), "last": max(before), "is_newer": is_newer}


def event_volume(context: InsightContext) -> Figures | None:
    """Events a day since the last import, against the four weeks before."""
    before, now = _days(context.previous), _days(context.statistics)
    if not before or not now or max(now) <= max(before):
        return None
    last = max(before)
    baseline = [day for day in _range(last - timedelta(days=BASELINE_DAYS), last - timedelta(days=1)) if day > min(before)]
    usual = share(sum(before.get(day, 0) for day in baseline), len(baseline))
    new_days = list(_range(last + timedelta(days=1), max(now)))
    # The newest day is as long as it lasted until the newest event.
    newest = context.statistics.get("last_timestamp")
    length = len(new_days) - 1 + ((int(newest) % _DAY + 1) / _DAY if newest is not None else 1.0)
    if len(baseline) < FEWEST_BASELINE_DAYS or not usual or length < LEAST_NEW_DAYS:
        return None
    volume = sum(now.get(day, 0) for day in new_days) / length
    return {"volume": volume, "length": length, "usual": usual, "baseline": len(baseline), "ratio": volume / usual}


def new_items(context: InsightContext) -> Figures | None:
    """Shares of items that the last import did not have, and of those that are gone."""
    before, is_full_before = _sample(context, context.previous)
    now, is_full_now = _sample(context, context.statistics)
    if not before or not now:
        return None
    # A full sample holds the smallest hashes only: beyond the smaller of the two ends nothing can be told.
    ends = [sample[-1] for sample, is_full in ((before, is_full_before), (now, is_full_now)) if is_full]
    old, current = ({value for value in sample if not ends or value <= min(ends)} for sample in (before, now))
    if not old or not current:
        return None
    noun = context.target if context.is_events else context.schema.dataset_type.lower().removesuffix("s")
    about = f" (estimated from {counted(len(current), noun)})" if ends else ""
    new, gone = share(len(current - old), len(current)), share(len(old - current), len(old))
    return {"noun": noun, "new": new, "gone": gone, "about": about}


def column_drift(context: InsightContext) -> Figures | None:
    """How far the values of each column moved, by the population stability index, the farthest first."""
    if context.previous is None:
        return None
    moved = {name: index for name, index in _indices(context, context.previous) if index is not None}
    if not moved:
        return None
    ordered = sorted(moved.items(), key=lambda entry: -entry[1])
    largest = ordered[0][1]
    return {
        "largest": largest,
        "little": "" if largest > LARGE_SHIFT else " a little",
        "shifted": [f"{name} ({index:.2f})" for name, index in ordered if index >= SMALL_SHIFT],
        "indices": [f"{name} {index:.2f}" for name, index in ordered],
    }


def _indices(context: InsightContext, previous: dict[str, Any]) -> Iterator[tuple[str, float | None]]:
    """The index of every column that both imports have; of this import's own rows where they are kept apart."""
    current = context.added or context.statistics
    columns, columns_before = current.get("columns") or {}, previous.get("columns") or {}
    for name in context.schema.names:
        now, before = columns.get(name), columns_before.get(name)
        if now and before and now.get("kind") == before.get("kind"):
            yield name, population_stability(before, int(previous.get("rows") or 0), now, int(current.get("rows") or 0))


def _days(statistics: dict[str, Any] | None) -> Days:
    """Events by day; what is no day of this calendar is left out."""
    days: Days = {}
    for text, events in ((statistics or {}).get("events_per_day") or {}).items():
        try:
            days[date.fromisoformat(text)] = int(events)
        except ValueError:
            continue
    return days


def _range(first: date, last: date) -> Iterator[date]:
    """Every day from the first to the last."""
    for number in range((last - first).days + 1):
        yield first + timedelta(days=number)


def _sample(context: InsightContext, statistics: dict[str, Any] | None) -> tuple[list[str], bool]:
    """Hashes of item ids in ascending order, and whether there are more items than that."""
    table = (statistics or {}).get("items") or {} if context.is_events else statistics or {}
    sample = sorted(set(table.get("sample") or []))
    return sample, int(table.get("count" if context.is_events else "rows") or 0) > len(sample)
