"""Insights into a dataset that Personalize's console does not give; those against the last import stand in drift.py.

`consequence` and `remedy` are those of an insight that does not pass; jobs/validate/insights.py takes them out of the others.
"""

from __future__ import annotations

from typing import Any, Literal

from jobs.validate.insight import Insight, InsightContext, counted, listed, percent, share
from schemas.dataset_rules import DATASET_RULES

MOST_DUPLICATES = 0.01  # of the rows read; of descriptions none
MOST_ORPHAN_EVENTS = 0.05  # of all events
FEWEST_PAIRS = 1_000  # neighbours at one timestamp from which their order can be judged
SORTED_SHARE = 0.95  # of such pairs in the order of their ids; more is no chance
MOST_BOT_EVENTS = 0.05  # of all events
MOST_EVENTS_PER_DAY = 1_000  # of one user: one a minute for 16 hours

TieOrder = Literal["file", "hash"]

_KEYWORDS = frozenset(name for rules in DATASET_RULES.values() for name in rules.reserved)


def rejected_rows(context: InsightContext) -> Insight | None:
    """Rows that were left out because something in them is wrong."""
    read, rejected = context.count("rows_read"), context.count("rows_rejected")
    if not read:
        return None
    title = f"{counted(rejected, 'row')} ({percent(share(rejected, read))}) broke a rule and {_was(rejected)} left out."
    return Insight(
        name="rejected_rows",
        title=title if rejected else f"All of {counted(read, 'row')} follow the schema.",
        status="warn" if rejected else "pass",
        value=f"{rejected:,} of {counted(read, 'row')}",
        threshold="warn from one row",
        consequence="Nothing is learnt from them. Personalize tells of one fault at most, and may refuse the whole import.",
        remedy="See `reasons` and rejected/rejected.csv: file, line, column, value and reason of each.",
    )


def duplicate_rows(context: InsightContext) -> Insight | None:
    """Rows that are there twice."""
    read, duplicates = context.count("rows_read"), context.count("rows_duplicate")
    if not read:
        return None
    fraction = share(duplicates, read)
    most = MOST_DUPLICATES if context.is_events else 0.0
    key = context.schema.rules.key
    verb = "repeats" if duplicates == 1 else "repeat"
    kind = f"{verb} an event in every field" if context.is_events else f"{verb} the {key} of another one; the last one counts"
    return Insight(
        name="duplicate_rows",
        title=f"{counted(duplicates, 'row')} ({percent(fraction)}) {kind}." if duplicates else "No row is there twice.",
        status="warn" if fraction > most else "pass",
        value=f"{duplicates:,} of {counted(read, 'row')}",
        threshold=f"warn above {percent(most)}" if most else "warn from one row",
        consequence="They are left out; Personalize too trains on unique interactions. Totals are lower than in the files."
        if context.is_events
        else f"What earlier rows said of the same {key} is lost.",
        remedy="See duplicates/. Often a file was exported twice, or two exports overlap.",
    )


def items_without_metadata(context: InsightContext) -> Insight | None:
    """Events with items that no dataset describes."""
    return _orphans(context, "items", context.target)


def users_without_metadata(context: InsightContext) -> Insight | None:
    """Events of users whom no dataset describes."""
    return _orphans(context, "users", "user")


def order_of_ties(context: InsightContext) -> Insight | None:
    """Events of a user at equal timestamps, and whether their order is an artefact that gives the next item away."""
    ties = context.part("ties")
    if not ties:
        return None
    events, within = int(ties.get("events") or 0), int(ties.get("in_sessions") or 0)
    tied = f"{percent(share(events, within))} of the events in sessions share their user and timestamp with another one"
    pairs = counted(int(ties.get("pairs") or 0), "pair")
    order = _sorted_by_id(ties)
    found = (
        order and f", and {percent(order[1])} of {pairs} of neighbours lie in {order[0]} order of their {context.target} ids"
    )
    is_kept = not order and int(ties.get("pairs") or 0) >= FEWEST_PAIRS
    return Insight(
        name="order_of_ties",
        title=f"{tied}{found or ''}{'; their order in the files is not that of their ids' if is_kept else ''}.",
        status="warn" if order else "pass",
        value=f"{events:,} of {counted(within, 'event')}; {pairs}, "
        f"{percent(share(int(ties.get('ascending') or 0), int(ties.get('pairs') or 0)))} ascending",
        threshold=f"warn where of {FEWEST_PAIRS:,} pairs or more over {percent(SORTED_SHARE)} lie in the order of their ids",
        consequence="The export sorted them: the next id is always a larger (or always a smaller) one, so that a model learns "
        "the alphabet. Offline metrics rise several times over, and lists get worse.",
        remedy='Order among equal timestamps is by hash (tie_order = "hash"), which hides it. Better: export the true times.',
    )


def tie_order(statistics: dict[str, Any]) -> TieOrder:
    """How to order a user's events of the same second: as in the file, unless that order is an artefact."""
    ties = statistics.get("ties")
    return "hash" if isinstance(ties, dict) and _sorted_by_id(ties) else "file"


def suspected_bots(context: InsightContext) -> Insight | None:
    """Users with far more events a day than others."""
    bots, total = context.part("bots"), context.rows
    if not bots or not total:
        return None
    users, events = int(bots.get("users") or 0), int(bots.get("events") or 0)
    worst = [entry for entry in bots.get("worst") or [] if entry.get("events_per_day") is not None]
    busiest = max((float(entry["events_per_day"]) for entry in worst), default=0.0)
    fraction = share(events, total)
    named = listed(f"{entry['user']} ({entry['events_per_day']:,.0f} a day)" for entry in worst)
    above = f"above the {bots.get('percentile')}th percentile of events a day ({bots.get('threshold') or 0:,.0f})"
    return Insight(
        name="suspected_bots",
        title=f"{counted(users, 'user')} {above} {'makes' if users == 1 else 'make'} {percent(fraction)} of all events.",
        status="warn" if fraction > MOST_BOT_EVENTS or busiest > MOST_EVENTS_PER_DAY else "pass",
        value=f"{counted(users, 'user')}, {counted(events, 'event')}{f'; busiest: {named}' if named else ''}",
        threshold=f"warn above {percent(MOST_BOT_EVENTS)} of all events, or from one user above {MOST_EVENTS_PER_DAY:,} a day",
        consequence="Crawlers, tests and shared accounts weigh as much as many people: what they open becomes popular for all.",
        remedy="Look at the users named here; leave those that are no people out of the export.",
    )


def changed_texts(context: InsightContext) -> Insight | None:
    """Texts that were cleaned or cut."""
    figures = context.columns("text")
    if not figures:
        return None
    cleaned = {name: int(column.get("cleaned") or 0) for name, column in figures.items() if column.get("cleaned")}
    cut = {name: int(column.get("truncated") or 0) for name, column in figures.items() if column.get("truncated")}
    told = listed(f"{name} ({counted(number, 'value')})" for name, number in (cut or cleaned).items())
    done = "cut at the length limit" if cut else "freed of tags and white space"
    return Insight(
        name="changed_texts",
        title=f"Texts were {done}: {told}." if cut or cleaned else "All texts were taken as they are.",
        status="warn" if cut else "pass",
        value=f"{counted(sum(cleaned.values()), 'value')} cleaned, {sum(cut.values()):,} cut",
        threshold="warn from one text that was cut",
        consequence="The end of these texts is lost to models; Personalize cuts them at the same place.",
        remedy="Put what matters first, or shorten the texts at their source.",
    )


def reserved_values(context: InsightContext) -> Insight | None:
    """Keywords of Personalize among the values."""
    categories = context.columns("category")
    if not categories:
        return None
    found = {name: sorted(_KEYWORDS.intersection(column.get("values") or {})) for name, column in categories.items()}
    told = listed(f"{name} ({', '.join(words)})" for name, words in found.items() if words)
    return Insight(
        name="reserved_values",
        title=f"Keywords of Personalize stand among the values: {told}." if told else "No value is a keyword of Personalize.",
        status="warn" if told else "pass",
        value=told or "none",
        threshold="warn from one value",
        consequence="Personalize forbids its keywords as values. Often it means that a header line stands amid the data.",
        remedy="Look for header lines within the files (files joined to one), or rename the value.",
    )


def _orphans(context: InsightContext, reference: str, noun: str) -> Insight | None:
    figures = context.part("references").get(reference)
    if not figures:
        return None
    orphans, events = int(figures.get("orphans") or 0), int(figures.get("orphan_events") or 0)
    fraction = share(events, context.rows)
    examples = f", e.g. {listed(figures['examples'])}" if figures.get("examples") else ""
    title = (
        f"{counted(orphans, noun)} of the events {_was(orphans)} not in the {noun}s dataset: {percent(fraction)} of all events."
    )
    return Insight(
        name=f"{reference}_without_metadata",
        title=title if orphans else f"Every {noun} of the events is in the {noun}s dataset.",
        status="warn" if fraction > MOST_ORPHAN_EVENTS else "pass",
        value=f"{counted(orphans, noun)} in {counted(events, 'event')}{examples}",
        threshold=f"warn above {percent(MOST_ORPHAN_EVENTS)} of all events",
        consequence=f"Models that use metadata know nothing of these {noun}s, and no filter on their columns holds for them.",
        remedy=f"Export {noun}s and events at the same time, and write ids alike (case, leading zeros, prefixes).",
    )


def _sorted_by_id(ties: dict[str, Any]) -> tuple[str, float] | None:
    """The order that neighbours at equal timestamps lie in, and the share that does; None where it is no artefact."""
    pairs, numeric = int(ties.get("pairs") or 0), int(ties.get("numeric_pairs") or 0)
    if pairs < FEWEST_PAIRS:
        return None
    ascending, descending = int(ties.get("ascending") or 0), int(ties.get("descending") or 0)
    orders = {"ascending": share(ascending, pairs), "descending": share(descending, pairs)}
    if numeric >= max(FEWEST_PAIRS, pairs / 2):
        rising = share(int(ties.get("numeric_ascending") or 0), numeric)
        orders |= {"ascending numeric": rising, "descending numeric": 1 - rising}
    order = max(orders, key=lambda name: orders[name])
    return (order, orders[order]) if orders[order] > SORTED_SHARE else None


def _was(number: int) -> str:
    return "was" if number == 1 else "were"
