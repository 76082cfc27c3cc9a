"""A made-up report.json of an import, as `hrnn validate` writes it."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any


def insight(name: str, status: str = "pass", **changed: str) -> dict[str, str]:
    """One insight, as in report.json."""
    told = {
        "name": name,
        "title": f"Title of {name}.",
        "status": status,
        "value": "4 of 1,200 rows",
        "threshold": "warn from one row",
        "consequence": "Nothing." if status == "pass" else "Models learn little from them.",
        "remedy": "Nothing is needed." if status == "pass" else f"Mend {name}.",
        "source": "platform",
    }
    return {**told, **changed}


def statistics_of_events() -> dict[str, Any]:
    """statistics.json of 1,190 Interactions: 60 days, 100 users, 50 items."""
    first = date(2024, 3, 1)
    return {
        "layout": 1,
        "dataset_type": "Interactions",
        "rows": 1190,
        "rows_with_missing": 119,
        "columns": {
            "USER_ID": {"kind": "id", "missing": 0},
            "ITEM_ID": {"kind": "id", "missing": 0},
            "TIMESTAMP": {"kind": "time", "missing": 0, "min": 1709251200.0, "max": 1714435199.0, "mean": 1.71e9},
            "EVENT_TYPE": {"kind": "category", "missing": 0, "values": {"view": 1000, "buy": 190}, "num_values": 2},
            "PRICE": {"kind": "number", "missing": 119, "min": 0.5, "max": 99.0, "histogram": [[0.5, 99.5, 1071]]},
        },
        "first_timestamp": 1709251200,
        "last_timestamp": 1714435199,
        "events_per_day": {(first + timedelta(days=day)).isoformat(): 15 + day % 7 for day in range(60)},
        "users": {"count": 100, "with_two": 90, "events": {"1": 10, "12": 80, "22": 10}, "sessions": {"1": 40, "9": 60}},
        "sessions": {"gap_seconds": 1800, "count": 370, "lengths": {"1": 100, "3": 200, "7": 70}},
        "items": {"count": 50, "events": {"5": 30, "20": 15, "148": 5}, "sample": ["00af"]},
        "ties": {"events": 96, "in_sessions": 100, "pairs": 50, "ascending": 26, "descending": 24},
    }  # fmt: skip


def statistics_of_items() -> dict[str, Any]:
    """statistics.json of 50 Items."""
    genres = {"drama": 30, "comedy|": 12, "ä very long name of a genre, longer than its bar": 8}
    return {
        "layout": 1,
        "dataset_type": "Items",
        "rows": 50,
        "rows_with_missing": 45,
        "columns": {
            "ITEM_ID": {"kind": "id", "missing": 0},
            "GENRE": {"kind": "category", "missing": 5, "values": genres, "num_values": 900, "complete": False},
            "DESCRIPTION": {"kind": "text", "missing": 40, "cleaned": 3, "truncated": 1},
        },
        "sample": ["00af"],
    }


def sample_report(statistics: dict[str, Any] | None = None, **changed: Any) -> dict[str, Any]:
    """report.json of an import with a few wrong rows; `changed` replaces its keys."""
    counts = {"rows_read": 1200, "rows_accepted": 1190, "rows_rejected": 4, "rows_duplicate": 6, "blank_lines": 2}
    examples = [{"file": "events.csv", "line": 7, "value": "yesterday"}, {"file": "events.csv", "line": 1009, "value": ""}]
    uri = "s3://shop/interactions/events.csv"
    report: dict[str, Any] = {
        "dataset_type": "Interactions",
        "data": "s3://shop/interactions",
        **counts,
        "rejected_fraction": 4 / 1200,
        "max_rejected_fraction": 0.01,
        "accepted": True,
        "warnings": [],
        "reasons": [{"column": "TIMESTAMP", "reason": "not a whole number", "rows": 4, "examples": examples}],
        "num_reasons": 1,
        "files": [{"file": "events.csv", "uri": uri, "size": 40_000, "version": "1", **counts, "warnings": []}],
        "import_mode": "FULL",
        "rows": 1190,
        "rows_replaced": 0,
        "verdict": "warn",
        "tie_order": "file",
        "insights": [
            insight("few_interactions", source="console"),
            insight("rejected_rows", "warn"),
            insight("incomplete_columns", "fail", source="console"),
        ],
        "statistics": statistics_of_events() if statistics is None else statistics,
        "expectations": {"checked": 23, "failed": [], "own": None},
        "data_docs": "data_docs/index.html",
        "problem": None,
    }
    return {**report, **changed}
