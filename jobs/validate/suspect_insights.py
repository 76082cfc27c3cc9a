"""Insights into values that follow the rules and yet cannot be meant: times that cannot be true, ids that name nobody."""

from __future__ import annotations

from typing import Any

from jobs.validate.insight import Insight, InsightContext, counted, listed


def wrong_times(context: InsightContext) -> Insight | None:
    """Events after the import, far after all others, or with a null that was written as a number."""
    if not context.is_events or "wrong_times" not in context.statistics:
        return None
    found = context.part("wrong_times")
    reasons: list[dict[str, Any]] = found.get("reasons") or []
    total = sum(int(reason["rows"]) for reason in reasons)
    kept = bool(found.get("kept"))
    first = min((example for reason in reasons for example in reason["examples"][:1]), key=_place, default=None)
    done = f"{'is' if total == 1 else 'are'} kept" if kept else f"{'was' if total == 1 else 'were'} left out"
    at = "" if first is None else f"; the first is {first['value']} in {first['file']} line {first['line']}"
    return Insight(
        name="wrong_times",
        title=f"{counted(total, 'event')} with a time that cannot be true {done}{at}." if total else "All times can be true.",
        status="warn" if total else "pass",
        value="; ".join(f"{counted(int(reason['rows']), 'event')} {reason['reason']}" for reason in reasons) or "none",
        threshold="warn from one event",
        consequence="They come last in their users' histories; what is recent is reckoned without those far after the rest."
        if kept
        else "Nothing is learnt from them. One such event would be taken for the present: what trends and which items are new "
        "would be noise for everybody.",
        remedy="Mend the clock or the export: seconds since 1970 in UTC, no row where the time is not known. "
        '`--future keep` (a night: [validation] future = "keep") takes such events as they are.',
    )


def odd_ids(context: InsightContext) -> Insight | None:
    """Ids that are words for nulls, and ids with white space around them."""
    found: list[str] = []
    if not (columns := context.columns("id")):
        return None
    for name, figures in columns.items():
        nulls: dict[str, int] = figures.get("nulls") or {}
        if rows := sum(nulls.values()):
            words = listed(f'"{word}" ({counted(count, "row")})' for word, count in nulls.items())
            found.append(f"{counted(rows, 'row')} {'names' if rows == 1 else 'name'} no {name} but a null: {words}")
        if spaced := int(figures.get("spaced") or 0):
            article = "an" if name[0] in "AI" else "a"
            found.append(f"{counted(spaced, 'row')} {'has' if spaced == 1 else 'have'} {article} {name} with blanks around it")
    return Insight(
        name="odd_ids",
        title=f"{'; '.join(found)}." if found else "No id is a null or has blanks around it.",
        status="warn" if found else "pass",
        value="; ".join(found) or "none",
        threshold="warn from one row",
        consequence='All rows of one such word count as one busy user, or item; " u1" and "u1" are two.',
        remedy="Leave rows without an id out of the export (pandas: dropna before to_csv; SQL: WHERE user_id IS NOT NULL), "
        "and trim ids there, in every dataset alike.",
    )


def _place(example: dict[str, Any]) -> tuple[str, int]:
    return example["file"], example["line"]
