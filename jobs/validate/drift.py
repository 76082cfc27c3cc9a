"""Insights into what changed since the last import.

`consequence` and `remedy` are those of an insight that does not pass; jobs/validate/insights.py takes them out of the others.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

from jobs.validate.insight import Insight, InsightContext, counted, listed, percent, share
from jobs.validate.stability import population_stability

CHANGED_PAST = 0.01  # of the events of days that the last import had too
BASELINE_DAYS = 28  # before the new days
FEWEST_BASELINE_DAYS = 7
LEAST_NEW_DAYS = 0.25  # of a day; less tells nothing of its volume
VOLUME_RATIO = 2.0  # of events a day, more or fewer
MOST_NEW_ITEMS = 0.5  # of all items; and of the items that are gone
SMALL_SHIFT = 0.1  # of the population stability index
LARGE_SHIFT = 0.25

_DAY = 86_400  # seconds

Days = dict[date, int]


def changed_past(context: InsightContext) -> Insight | None:
    """Days that the last import had too, with other numbers of events."""
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
    lost = -sum(change for change in changes.values() if change < 0)
    moved = sum(map(abs, changes.values())) if context.import_mode == "FULL" else lost
    told = listed(f"{day} ({changes[day]:+,})" for day in changed)
    return Insight(
        name="changed_past",
        title=f"{counted(len(changed), 'day')} of {len(both):,} that the last import had too changed: {told}."
        if changed
        else f"{counted(len(both), 'day')} that the last import had too {'is' if len(both) == 1 else 'are'} unchanged.",
        status="warn" if share(moved, events) > CHANGED_PAST else "pass",
        value=f"{sum(changes.values()):+,} of {counted(events, 'event')} on {counted(len(both), 'day')}",
        threshold=f"warn where more than {percent(CHANGED_PAST)} of those days' events came or went",
        consequence="History was rewritten: lists and metrics of two nights cannot be compared, and lost events are forgotten.",
        remedy="Find out whether the export lost a source, filters otherwise, or counts its days in another time zone.",
    )


def dataset_size(context: InsightContext) -> Insight | None:
    """Far fewer rows, or far more, than the last import had."""
    before = int((context.previous or {}).get("rows") or 0)
    if not before:
        return None
    ratio = context.rows / before
    return Insight(
        name="dataset_size",
        title=f"The dataset has {counted(context.rows, 'row')}, {_times(ratio)} the {before:,} of the last import.",
        status="pass" if 1 / VOLUME_RATIO <= ratio <= VOLUME_RATIO else "warn",
        value=f"{context.rows:,} after {before:,}",
        threshold=f"warn below {1 / VOLUME_RATIO:g} times or above {VOLUME_RATIO:g} times the rows of the last import",
        consequence="A FULL import replaces all earlier rows: what is not in it is forgotten.",
        remedy="Check that the export is whole, that it covers the same period, and that it ran once only.",
    )


def event_volume(context: InsightContext) -> Insight | None:
    """Events a day since the last import, against the four weeks before."""
    before, now = _days(context.previous), _days(context.statistics)
    if not before or not now:
        return None
    last = max(before)
    if max(now) <= last:
        return _nothing_new(context, last)
    baseline = [day for day in _range(last - timedelta(days=BASELINE_DAYS), last - timedelta(days=1)) if day > min(before)]
    usual = share(sum(before.get(day, 0) for day in baseline), len(baseline))
    new_days = list(_range(last + timedelta(days=1), max(now)))
    newest = context.statistics.get("last_timestamp")
    length = len(new_days) - 1 + ((int(newest) % _DAY + 1) / _DAY if newest is not None else 1.0)
    if len(baseline) < FEWEST_BASELINE_DAYS or not usual or length < LEAST_NEW_DAYS:
        return None
    volume = sum(now.get(day, 0) for day in new_days) / length
    ratio = volume / usual
    is_far = not 1 / VOLUME_RATIO <= ratio <= VOLUME_RATIO
    return Insight(
        name="event_volume",
        title=f"Since the last import there are {volume:,.0f} events a day, {_times(ratio)} the {usual:,.0f} of the "
        f"{len(baseline)} days before.",
        status="warn" if is_far else "pass",
        value=f"{volume:,.0f} a day over {length:,.1f} days; {usual:,.0f} before",
        threshold=f"warn below {1 / VOLUME_RATIO:g} times or above {VOLUME_RATIO:g} times the mean of {BASELINE_DAYS} days",
        consequence="Models follow the newest events: a day that lacks a source, or has it twice, moves every list.",
        remedy="Compare the days' files with their sources: is one missing, or there twice? Was there a sale, or an outage?",
    )


def new_items(context: InsightContext) -> Insight | None:
    """Items that the last import did not have, and those that are gone."""
    before, is_full_before = _sample(context, context.previous)
    now, is_full_now = _sample(context, context.statistics)
    if not before or not now:
        return None
    # A full sample holds the smallest hashes only: beyond the smaller of the two ends nothing can be told.
    ends = [sample[-1] for sample, is_full in ((before, is_full_before), (now, is_full_now)) if is_full]
    known = {value for value in before if not ends or value <= min(ends)}
    found = {value for value in now if not ends or value <= min(ends)}
    if not known or not found:
        return None
    new, gone = share(len(found - known), len(found)), share(len(known - found), len(known))
    noun = _noun(context)
    about = f" (estimated from {counted(len(found), noun)})" if ends else ""
    return Insight(
        name=f"new_{noun}s",
        title=f"{percent(new)} of the {noun}s are new since the last import; {percent(gone)} of those it had are gone{about}.",
        status="warn" if max(new, gone) > MOST_NEW_ITEMS else "pass",
        value=f"{percent(new)} new, {percent(gone)} gone{about}",
        threshold=f"warn above {percent(MOST_NEW_ITEMS)} new or gone",
        consequence=f"What was learnt of the old {noun}s is of no use: most {noun}s begin anew.",
        remedy=f"Check that {noun} ids did not change (case, leading zeros, a new system), and that the export is whole.",
    )


def column_drift(context: InsightContext) -> Insight | None:
    """How far the values of each column moved, by the population stability index."""
    if context.previous is None:
        return None
    moved = {name: index for name, index in _indices(context, context.previous) if index is not None}
    if not moved:
        return None
    worst = sorted(moved, key=lambda name: -moved[name])
    shifted = [name for name in worst if moved[name] >= SMALL_SHIFT]
    told = listed(f"{name} ({moved[name]:.2f})" for name in shifted)
    is_far = moved[worst[0]] > LARGE_SHIFT
    return Insight(
        name="column_drift",
        title=f"Since the last import the values of columns shifted{'' if is_far else ' a little'}: {told}."
        if shifted
        else f"The values of {counted(len(moved), 'column')} are spread as in the last import.",
        status="warn" if is_far else "pass",
        value="PSI " + listed(f"{name} {moved[name]:.2f}" for name in worst),
        threshold=f"warn above {LARGE_SHIFT:g}; from {SMALL_SHIFT:g} on it is a small shift",
        consequence="Models were made for other values: what they know of these columns holds no longer until they are trained "
        "anew, and if the change is a fault, they learn the fault.",
        remedy="Compare their values with those of the last report: a new unit, a renamed category, a source that is gone?",
    )


def _indices(context: InsightContext, previous: dict[str, Any]) -> Iterator[tuple[str, float | None]]:
    """The index of every column that both imports have; of this import's own rows where they are told apart."""
    current = context.added or context.statistics
    told, told_before = current.get("columns") or {}, previous.get("columns") or {}
    for name in context.schema.names:
        now, before = told.get(name), told_before.get(name)
        if now and before and now.get("kind") == before.get("kind"):
            yield name, population_stability(before, int(previous.get("rows") or 0), now, int(current.get("rows") or 0))


def _nothing_new(context: InsightContext, last: date) -> Insight:
    newest, before = context.statistics.get("last_timestamp"), (context.previous or {}).get("last_timestamp")
    is_newer = newest is not None and before is not None and newest > before
    return Insight(
        name="event_volume",
        title="The newest events are of the last import's last day."
        if is_newer
        else "There is no event that is newer than those of the last import.",
        status="pass" if is_newer else "warn",
        value=f"newest event on {max(_days(context.statistics))}; in the last import on {last}",
        threshold="warn where no event is newer",
        consequence="Lists stay as they were, however users behave.",
        remedy="Check that the export ran, and that it covers the days since the last one.",
    )


def _days(statistics: dict[str, Any] | None) -> Days:
    """Events by day; what is no day of this calendar is left out."""
    found: Days = {}
    for text, events in ((statistics or {}).get("events_per_day") or {}).items():
        try:
            found[date.fromisoformat(text)] = int(events)
        except ValueError:
            continue
    return found


def _range(first: date, last: date) -> Iterator[date]:
    """Every day from the first to the last."""
    for number in range((last - first).days + 1):
        yield first + timedelta(days=number)


def _sample(context: InsightContext, statistics: dict[str, Any] | None) -> tuple[list[str], bool]:
    """Hashes of item ids in ascending order, and whether there are more items than that."""
    table = (statistics or {}).get("items") or {} if context.is_events else statistics or {}
    sample = sorted(set(table.get("sample") or []))
    return sample, int(table.get("count" if context.is_events else "rows") or 0) > len(sample)


def _noun(context: InsightContext) -> str:
    return context.target if context.is_events else context.schema.dataset_type.lower().removesuffix("s")


def _times(ratio: float) -> str:
    return f"{ratio:.2f} times" if ratio < 10 else f"{ratio:,.0f} times"
