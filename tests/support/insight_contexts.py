"""Contexts to draw insights from, for tests: a sound dataset's statistics, and changes to them."""

from __future__ import annotations

from typing import Any

from schema_documents import schema

from jobs.validate.insights import Insight, InsightContext, insights
from schemas.datasets import parse_schema_document

Statistics = dict[str, Any]

SOUND: Statistics = {
    "layout": 1,
    "dataset_type": "Interactions",
    "rows": 100_000,
    "rows_with_missing": 0,
    "columns": {
        "USER_ID": {"kind": "id", "missing": 0},
        "ITEM_ID": {"kind": "id", "missing": 0},
        "TIMESTAMP": {"kind": "time", "missing": 0, "min": 0, "max": 86_399},
    },
    "first_timestamp": 0,
    "last_timestamp": 86_399,
    "events_per_day": {"1970-01-01": 100_000},
    "users": {"count": 5_000, "with_two": 4_000, "events": {"1": 1_000, "24": 4_000}, "sessions": {"1": 5_000}},
    "sessions": {"gap_seconds": 1800, "count": 5_000, "lengths": {"1": 1_000, "24": 4_000}},
    "items": {"count": 3, "events": {"1": 1}, "sample": ["01", "02", "03"]},
    "ties": {
        "events": 4_000,
        "in_sessions": 80_000,
        "pairs": 2_000,
        "ascending": 1_000,
        "descending": 1_000,
        "numeric_ascending": 0,
        "numeric_pairs": 0,
    },
    "bots": {"percentile": 99.9, "threshold": 40.0, "users": 5, "events": 200, "worst": []},
}
COUNTS = {"rows_read": 100_000, "rows_accepted": 100_000, "rows_rejected": 0, "rows_duplicate": 0, "blank_lines": 0}


def context(
    statistics: Statistics | None = None,
    *,
    fields: tuple[dict[str, Any], ...] = (),
    name: str = "Interactions",
    columns: dict[str, Any] | None = None,
    counts: dict[str, int] | None = None,
    **more: Any,
) -> InsightContext:
    """A sound dataset's context with some of its statistics, columns, counts or arguments changed."""
    changed = SOUND | (statistics or {})
    changed["columns"] = SOUND["columns"] | (columns or {})
    return InsightContext(
        schema=parse_schema_document(schema(*fields, name=name)), statistics=changed, counts=COUNTS | (counts or {}), **more
    )


def drawn(name: str, changed: InsightContext) -> Insight | None:
    """The insight of a name; None where a context has none."""
    return next((insight for insight in insights(changed) if insight.name == name), None)


def category(values: dict[str, int], **more: Any) -> dict[str, Any]:
    """Figures of a category column."""
    return {"kind": "category", "missing": 0, "values": values, "num_values": len(values), "complete": True} | more


def number(*histogram: tuple[float, float, int], **more: Any) -> dict[str, Any]:
    """Figures of a number column."""
    return {"kind": "number", "missing": 0, "histogram": [list(bin) for bin in histogram]} | more
