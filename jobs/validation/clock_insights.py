"""Insights into clocks: times that cannot be true."""

from __future__ import annotations

from typing import Any

from jobs.validation.insight import Insight, InsightContext, counted


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


def _place(example: dict[str, Any]) -> tuple[str, int]:
    return example["file"], example["line"]
