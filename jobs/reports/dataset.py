"""report.html of an import: what was read, what is in it, what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jobs.reports.dataset_plots import category_bars, columns_without_common_values, dataset_plots
from jobs.reports.html import render
from jobs.reports.parts import Verdict
from schemas.version import VERSION

MOST_FILES = 200
MOST_REASONS = 50

_BESIDE = {  # insight -> the plot that shows what it speaks of
    "few_interactions": "days",
    "event_volume": "days",
    "changed_past": "days",
    "equal_timestamps": "days",
    "users_with_two_interactions": "users",
    "items_without_interactions": "items",
    "new_items": "items",
    "order_of_ties": "sessions",
    "suspected_bots": "sessions",
    "rows_with_missing_values": "missing",
    "incomplete_columns": "missing",
    "incomplete_texts": "missing",
}


def dataset_page(report: dict[str, Any]) -> bytes:
    """report.html: one file that loads nothing and runs nothing.

    Args:
        report: As in report.json. What it lacks is left out.
    """
    statistics = report.get("statistics") or {}
    plots = dataset_plots(statistics)
    insights = sorted(report.get("insights") or [], key=lambda insight: ("fail", "warn", "pass").index(insight["status"]))
    open_insights = [insight for insight in insights if insight["status"] != "pass"]
    files, reasons = report.get("files") or [], report.get("reasons") or []
    page = {
        "report": report,
        "import_mode": report.get("import_mode", "FULL"),
        "verdict": _verdict(report, open_insights),
        "tiles": _tiles(report),
        "open_insights": [(insight, plots.pop(_beside(insight, list(plots)), None)) for insight in open_insights],
        "passed": insights[len(open_insights) :],
        "plots": list(plots.values()),
        "categories": list(category_bars(statistics).values()),
        "data_notes": _data_notes(statistics),
        "reasons": reasons[:MOST_REASONS],
        "more_reasons": max(0, int(report.get("num_reasons") or len(reasons)) - min(len(reasons), MOST_REASONS)),
        "files": files[:MOST_FILES],
        "num_files": len(files),
        "totals": {name: sum(int(file.get(name) or 0) for file in files) for name in _FILE_COLUMNS},
        "file_columns": _FILE_COLUMNS,
        "notes": _notes(report),
        "software": VERSION,
    }
    return render("dataset.html.j2", page).encode()


def _beside(insight: Mapping[str, Any], plots: Sequence[str]) -> str:
    """Name of the plot that shows what an insight speaks of: where it is of numbers, of the first column that it names."""
    if insight["name"] != "numeric_outliers":
        return _BESIDE.get(insight["name"], "")
    named = [name for name in plots if name in insight["title"]]
    return min(named, key=insight["title"].index, default="")


_FILE_COLUMNS = {
    "rows_read": "read",
    "rows_accepted": "accepted",
    "rows_rejected": "rejected",
    "rows_duplicate": "duplicates",
    "blank_lines": "blank lines",
}


def _verdict(report: Mapping[str, Any], open_insights: Sequence[Mapping[str, Any]]) -> Verdict:
    """Whether the dataset is fit to train on, what was read, and what to do."""
    sentence = _sentence(report)
    if problem := report.get("problem"):
        return Verdict(state="bad", word="Not imported", sentence=sentence, detail=str(problem))
    if not open_insights:
        return Verdict(state="good", word="Good to go", sentence=sentence, detail="Nothing stands out. Train on it.")
    failing = sum(insight["status"] == "fail" for insight in open_insights)
    begin = f"Begin here: {open_insights[0]['title']} {open_insights[0]['remedy']}"
    if not failing:
        detail = f"{_counted(len(open_insights), 'insight')} may hurt the results. {begin}"
        return Verdict(state="even", word="Imported; look first", sentence=sentence, detail=detail)
    others = len(open_insights) - failing
    may_hurt = f", {_counted(others, 'other thing')} may hurt" if others else ""
    detail = f"{_counted(failing, 'insight')} would stop the training in Personalize{may_hurt}. {begin}"
    return Verdict(state="bad", word="Imported, but not fit to train on", sentence=sentence, detail=detail)


def _sentence(report: Mapping[str, Any]) -> str:
    """`1,200 rows were read: 1,190 accepted, 4 rejected, 6 duplicates.`"""
    read = int(report.get("rows_read") or 0)
    if not read:
        return "No row was read."
    counts = [(int(report.get(f"rows_{name}") or 0), word) for name, word in _OUTCOMES.items()]
    if counts[0][0] == read:
        return "The one row that was read was accepted." if read == 1 else f"All {read:,} rows that were read were accepted."
    parts = [f"{count:,} {word}" for count, word in counts if count or word == "accepted"]
    return f"{_counted(read, 'row')} {'was' if read == 1 else 'were'} read: {', '.join(parts)}."


_OUTCOMES = {"accepted": "accepted", "rejected": "rejected", "duplicate": "left out as duplicates"}


def _tiles(report: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    statistics = report.get("statistics") or {}
    tiles = {
        "rows read": report.get("rows_read"),
        "accepted": report.get("rows_accepted"),
        "rejected": report.get("rows_rejected"),
        "duplicates": report.get("rows_duplicate"),
        "earlier rows replaced": report.get("rows_replaced") or None,
        "rows in the dataset": report.get("rows") if report.get("import_mode") == "INCREMENTAL" else None,
        **{noun: (statistics.get(noun) or {}).get("count") for noun in ("users", "items", "sessions")},
    }
    return tuple((label, f"{int(value):,}") for label, value in tiles.items() if value is not None)


def _data_notes(statistics: Mapping[str, Any]) -> tuple[str, ...]:
    notes, columns = [], (statistics.get("columns") or {}).values()
    if statistics.get("rows") and not any(column.get("missing") for column in columns):
        notes.append("No value is missing in any column.")
    if rare := columns_without_common_values(statistics):
        notes.append(f"Without common values: {', '.join(rare)}.")
    return tuple(notes)


def _notes(report: Mapping[str, Any]) -> tuple[str, ...]:
    notes = list(report.get("warnings") or [])
    if (report.get("statistics") or {}).get("ties"):
        order = {
            "hash": "a seeded hash, since their order in the files is an artefact that would leak what comes next",
            "file": "their order in the files",
        }
        notes.append(f"Events of a user at one timestamp are taken in {order[report.get('tie_order') or 'file']}.")
    return tuple(notes)


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
