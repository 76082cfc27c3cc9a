"""What insights measure: figures of an InsightContext, or None where it lacks them. Those of drift are in drift.py."""

from __future__ import annotations

from typing import Any, Literal

from jobs.validate.insight import Figures, InsightContext, counted, listed, percent, share
from jobs.validate.outliers import outliers
from schemas.columns import EVENT_TYPE
from schemas.dataset_rules import DATASET_RULES
from schemas.datasets import OPTIONAL_COLUMNS
from schemas.minimums import few_users
from schemas.quotas import GIGABYTE

FEWEST_PAIRS = 1_000  # neighbours at one timestamp from which their order can be judged
SORTED_SHARE = 0.95  # of such pairs in the order of their ids; more is no chance

TieOrder = Literal["file", "hash"]

_KEYWORDS = frozenset(name for rules in DATASET_RULES.values() for name in rules.reserved)


def users_with_two(context: InsightContext) -> Figures | None:
    """Users from whom a sequence can be learnt, and how many it takes."""
    if not (users := context.part("users")):
        return None
    quotas, with_two, total = context.quotas, int(users.get("with_two") or 0), int(users.get("count") or 0)
    are_few = with_two < quotas.users_with_two_events
    needed = f"{quotas.users_with_two_events:,}" if are_few else f"{percent(quotas.users_with_two_events_share)} of all users"
    quote = f' ("{few_users(quotas)}.")' if are_few else ""
    return {"with_two": with_two, "total": total, "fraction": share(with_two, total), "needed": needed, "quote": quote}


def num_users(context: InsightContext) -> Figures | None:
    """Users of the interactions."""
    users = context.part("users").get("count")
    return None if users is None else {"users": users}


def without_interactions(context: InsightContext, reference: str) -> Figures | None:
    """Items, or users, of another dataset that no event has."""
    figures = context.part("references").get(reference)
    if not figures or not figures.get("count"):
        return None
    total, without = int(figures["count"]), int(figures.get("without_interactions") or 0)
    return {"noun": _noun(context, reference), "without": without, "total": total, "fraction": share(without, total)}


def without_metadata(context: InsightContext, reference: str) -> Figures | None:
    """Items, or users, of the events that their own dataset does not describe."""
    if not (figures := context.part("references").get(reference)):
        return None
    orphans, events = int(figures.get("orphans") or 0), int(figures.get("orphan_events") or 0)
    examples = f", e.g. {listed(figures['examples'])}" if figures.get("examples") else ""
    fraction = share(events, context.rows)
    return {
        "noun": _noun(context, reference), "orphans": orphans, "events": events, "fraction": fraction, "examples": examples
    }  # fmt: skip


def complete_rows(context: InsightContext) -> Figures | None:
    """Rows that lack no value."""
    lacking = int(context.statistics.get("rows_with_missing") or 0)
    return {"lacking": lacking, "complete": 1 - share(lacking, context.rows)} if context.rows else None


def filled_columns(context: InsightContext, textual: bool) -> Figures | None:
    """The share of each column's cells that hold a value; of textual columns, or of all others."""
    figures = context.part("columns")
    filled = {
        field.name: 1.0 - share(figures[field.name].get("missing") or 0, context.rows)
        for field in context.schema.fields
        if field.textual == textual and field.name in figures
    }
    return {"filled": filled} if filled and context.rows else None


def outlying_numbers(context: InsightContext) -> Figures | None:
    """Numbers far from the others of their column."""
    columns = {name: outliers(figures.get("histogram") or []) for name, figures in context.columns("number").items()}
    judged = {name: column for name, column in columns.items() if column is not None}
    outlying = [
        f"{name} ({counted(column.count, 'value')} outside {column.lowest:,.4g} to {column.highest:,.4g})"
        for name, column in judged.items()
        if column.count
    ]
    return {"columns": outlying, "values": sum(column.count for column in judged.values())} if judged else None


def categories(context: InsightContext) -> Figures | None:
    """How many values each column of categories has: the number, and as text."""
    categorical = {field.name for field in context.schema.fields if field.categorical}
    sizes = {
        name: (
            int(figures.get("num_values") or 0),
            f"{name} ({'' if figures.get('complete', True) else 'at least '}{figures.get('num_values') or 0:,})",
        )
        for name, figures in context.columns("category").items()
        if name in categorical
    }
    return {"sizes": sizes} if sizes else None


def event_types(context: InsightContext) -> Figures | None:
    """Types of events, and the events of each."""
    if not (figures := context.part("columns").get(EVENT_TYPE)):
        return None
    values = [f"{name} ({events:,})" for name, events in (figures.get("values") or {}).items()]
    return {"number": int(figures.get("num_values") or 0), "values": values}


def timestamps(context: InsightContext) -> Figures | None:
    """The first and the last timestamp of two events or more."""
    first, last = context.statistics.get("first_timestamp"), context.statistics.get("last_timestamp")
    return None if first is None or last is None or context.rows < 2 else {"first": first, "last": last}


def rejected_rows(context: InsightContext) -> Figures | None:
    """Rows that were left out because something in them is wrong."""
    read, rejected = context.count("rows_read"), context.count("rows_rejected")
    return {"rejected": rejected, "fraction": share(rejected, read)} if read else None


def duplicate_rows(context: InsightContext) -> Figures | None:
    """Rows that are there twice."""
    read, duplicates = context.count("rows_read"), context.count("rows_duplicate")
    key = context.schema.rules.key
    return {"duplicates": duplicates, "fraction": share(duplicates, read), "key": key} if read else None


def wrong_times(context: InsightContext, kept: bool) -> Figures | None:
    """Events after the import, far after all others, or with a null that was written as a number; kept, or left out."""
    times = context.part("wrong_times")
    if "wrong_times" not in context.statistics or bool(times.get("kept")) != kept:
        return None
    reasons: list[dict[str, Any]] = times.get("reasons") or []
    examples = [example for reason in reasons for example in reason["examples"][:1]]
    first = min(examples, key=lambda example: (example["file"], example["line"]), default=None)
    return {
        "total": sum(int(reason["rows"]) for reason in reasons),
        "reasons": [f"{counted(int(reason['rows']), 'event')} {reason['reason']}" for reason in reasons],
        "at": "" if first is None else f"; the first is {first['value']} in {first['file']} line {first['line']}",
    }


def odd_ids(context: InsightContext) -> Figures | None:
    """Ids that are words for nulls, and ids with white space around them."""
    sentences: list[str] = []
    if not (columns := context.columns("id")):
        return None
    for name, figures in columns.items():
        nulls: dict[str, int] = figures.get("nulls") or {}
        if rows := sum(nulls.values()):
            words = listed(f'"{word}" ({counted(count, "row")})' for word, count in nulls.items())
            sentences.append(f"{counted(rows, 'row')} {'names' if rows == 1 else 'name'} no {name} but a null: {words}")
        if spaced := int(figures.get("spaced") or 0):
            has, article = "has" if spaced == 1 else "have", "an" if name[0] in "AI" else "a"
            sentences.append(f"{counted(spaced, 'row')} {has} {article} {name} with blanks around it")
    return {"sentences": sentences}


def ties(context: InsightContext) -> Figures | None:
    """Events of a user at equal timestamps, and whether their order is an artefact that gives the next item away."""
    if not (counts := context.part("ties")):
        return None
    events, within, pairs = (int(counts.get(name) or 0) for name in ("events", "in_sessions", "pairs"))
    artefact, order = _sorted_by_id(counts), ""
    if artefact:
        name, fraction = artefact
        order = f", and {percent(fraction)} of {counted(pairs, 'pair')} of neighbours lie in {name} order of their "
        order += f"{context.target} ids"
    elif pairs >= FEWEST_PAIRS:
        order = "; their order in the files is not that of their ids"
    ascending = share(int(counts.get("ascending") or 0), pairs)
    tied = share(events, within)
    return {"events": events, "within": within, "tied": tied, "pairs": pairs, "ascending": ascending, "order": order,
            "is_sorted": artefact is not None}  # fmt: skip


def tie_order(statistics: dict[str, Any]) -> TieOrder:
    """How to order a user's events of the same second: as in the file, unless that order is an artefact."""
    counts = statistics.get("ties")
    return "hash" if isinstance(counts, dict) and _sorted_by_id(counts) else "file"


def _sorted_by_id(counts: dict[str, Any]) -> tuple[str, float] | None:
    """The order that neighbours at equal timestamps lie in, and the share that does; None where it is no artefact."""
    pairs, numeric = int(counts.get("pairs") or 0), int(counts.get("numeric_pairs") or 0)
    if pairs < FEWEST_PAIRS:
        return None
    orders = {name: share(int(counts.get(name) or 0), pairs) for name in ("ascending", "descending")}
    if numeric >= max(FEWEST_PAIRS, pairs / 2):
        rising = share(int(counts.get("numeric_ascending") or 0), numeric)
        orders |= {"ascending numeric": rising, "descending numeric": 1 - rising}
    order = max(orders, key=lambda name: orders[name])
    return (order, orders[order]) if orders[order] > SORTED_SHARE else None


def busy_users(context: InsightContext) -> Figures | None:
    """Users with far more events a day than others."""
    bots = context.part("bots")
    if not bots or not context.rows:
        return None
    worst = [entry for entry in bots.get("worst") or [] if entry.get("events_per_day") is not None]
    named = listed(f"{entry['user']} ({entry['events_per_day']:,.0f} a day)" for entry in worst)
    events = int(bots.get("events") or 0)
    return {
        "users": int(bots.get("users") or 0),
        "events": events,
        "fraction": share(events, context.rows),
        "percentile": bots.get("percentile"),
        "usual": bots.get("threshold") or 0,
        "highest": max((float(entry["events_per_day"]) for entry in worst), default=0.0),
        "busiest": f"; busiest: {named}" if named else "",
    }


def changed_texts(context: InsightContext) -> Figures | None:
    """Texts that were cleaned or cut, and the columns of those that were cut, or else of those that were cleaned."""
    if not (figures := context.columns("text")):
        return None
    cleaned = {name: int(column.get("cleaned") or 0) for name, column in figures.items() if column.get("cleaned")}
    cut = {name: int(column.get("truncated") or 0) for name, column in figures.items() if column.get("truncated")}
    return {
        "cleaned": sum(cleaned.values()),
        "cut": sum(cut.values()),
        "is_cut": bool(cut),
        "columns": [f"{name} ({counted(number, 'value')})" for name, number in (cut or cleaned).items()],
        "done": "cut at the length limit" if cut else "freed of tags and white space",
    }


def keywords(context: InsightContext) -> Figures | None:
    """Keywords of Personalize among the values, by column."""
    if not (columns := context.columns("category")):
        return None
    words = {name: sorted(_KEYWORDS.intersection(column.get("values") or {})) for name, column in columns.items()}
    return {"columns": [f"{name} ({', '.join(among)})" for name, among in words.items() if among]}


def import_size(context: InsightContext) -> Figures | None:
    """Bytes of this import, and how many it may have."""
    quota = "incremental_import_bytes" if context.import_mode == "INCREMENTAL" else "full_import_bytes"
    size, most = context.bytes_read, int(getattr(context.quotas, quota))
    return {"bytes": size, "size": _size(size), "most": most, "most_size": _size(most), "quota": quota} if size else None


def considered_items(context: InsightContext) -> Figures | None:
    """Items that a recipe may recommend."""
    number = context.part("items").get("count") if context.is_events else context.rows
    return None if number is None else {"number": int(number)}


def event_types_and_metadata(context: InsightContext) -> Figures:
    """Event types and optional columns together."""
    columns = [*context.schema.metadata, *(name for name in context.schema.names if name in OPTIONAL_COLUMNS)]
    types = int(context.part("columns").get(EVENT_TYPE, {}).get("num_values") or 0)
    parts = f"{counted(types, 'event type')} and {counted(len(columns), 'optional column')}"
    return {"parts": parts, "number": types + len(columns)}


def _noun(context: InsightContext, reference: str) -> str:
    return "user" if reference == "users" else context.target


def _size(number: int) -> str:
    for unit, name in ((GIGABYTE, "GB"), (10**6, "MB"), (10**3, "kB")):
        if number >= unit:
            return f"{number / unit:,.3g} {name}" if number < 1000 * unit else f"{number / unit:,.0f} {name}"
    return counted(number, "byte")
