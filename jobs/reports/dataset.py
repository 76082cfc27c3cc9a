"""report.html of an import: what was read, what is in it, what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jobs.reports.dataset_plots import BarList, Drawing, category_bars, columns_without_common_values, dataset_plots
from jobs.reports.html import render
from schemas.version import VERSION

MOST_FILES = 200
MOST_REASONS = 50
SHOWN_CHARACTERS = 120  # of a rejected value

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


@dataclass(frozen=True, kw_only=True)
class InsightPart:
    """One insight that asks for attention, with the plot beside it."""

    insight: Mapping[str, Any]
    plot: Drawing | None


@dataclass(frozen=True, kw_only=True)
class FilePart:
    """One input file as a table row, in text; `adds_up`: read = accepted + rejected + duplicates."""

    name: str
    cells: tuple[str, ...]
    adds_up: bool
    warnings: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class ReasonPart:
    """One reason of rejection; each example is where it stands, and the value."""

    column: str
    reason: str
    rows: str
    examples: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class SuitePart:
    """One suite of expectations: what came of it, what does not hold, where its Data Docs lie."""

    sentence: str
    failed: tuple[str, ...]
    warned: tuple[str, ...]
    docs: str


@dataclass(frozen=True, kw_only=True)
class DatasetPage:
    """All that the page of an import says.

    Attributes:
        title, heading: What was imported, and from where.
        state: "good", "even" or "bad".
        word, sentence, detail: The verdict, what was read, and what to do.
        tiles: (label, value) of the main counts.
        open_insights: Those that fail or warn, the worst first.
        passed: Those that pass.
        plots: Those that stand beside no insight.
        categories: The commonest values of columns.
        data_notes: Sentences about what is in the dataset.
        reasons: Of rejection, the commonest first.
        more_reasons: How many are not shown.
        files: Input files; `file_columns` are the columns of their cells, `totals` the sums.
        more_files: How many are not shown.
        notes: Sentences about the schema and the order of events.
        suites: Of expectations.
        software: Version of the platform.
    """

    title: str
    heading: str
    state: str
    word: str
    sentence: str
    detail: str
    tiles: tuple[tuple[str, str], ...]
    open_insights: tuple[InsightPart, ...]
    passed: tuple[Mapping[str, Any], ...]
    plots: tuple[Drawing, ...]
    categories: tuple[BarList, ...]
    data_notes: tuple[str, ...]
    reasons: tuple[ReasonPart, ...]
    more_reasons: int
    file_columns: tuple[str, ...]
    files: tuple[FilePart, ...]
    totals: tuple[str, ...]
    more_files: int
    notes: tuple[str, ...]
    suites: tuple[SuitePart, ...]
    software: str


def dataset_page(report: dict[str, Any]) -> bytes:
    """report.html: one file that loads nothing and runs nothing.

    Args:
        report: As in report.json. What it lacks is left out.
    """
    statistics = report.get("statistics") or {}
    plots = dataset_plots(statistics)
    found = sorted(report.get("insights") or [], key=lambda each: ("fail", "warn", "pass").index(each["status"]))
    open_insights = tuple(
        InsightPart(insight=each, plot=plots.pop(_beside(each, list(plots)), None))
        for each in found
        if each["status"] != "pass"
    )
    state, word, detail = _verdict(report, [part.insight for part in open_insights])
    files, reasons = report.get("files") or [], report.get("reasons") or []
    dataset_type, mode = report["dataset_type"], report.get("import_mode", "FULL")
    page = DatasetPage(
        title=f"{dataset_type}: {mode} import",
        heading=f"{dataset_type} · {mode} import · {report['data']}",
        state=state,
        word=word,
        sentence=_sentence(report),
        detail=detail,
        tiles=_tiles(report),
        open_insights=open_insights,
        passed=tuple(each for each in found if each["status"] == "pass"),
        plots=tuple(plots.values()),
        categories=tuple(category_bars(statistics).values()),
        data_notes=_data_notes(statistics),
        reasons=tuple(_reason(each) for each in reasons[:MOST_REASONS]),
        more_reasons=max(0, int(report.get("num_reasons") or len(reasons)) - min(len(reasons), MOST_REASONS)),
        file_columns=tuple(_FILE_COLUMNS.values()),
        files=tuple(_file(each) for each in files[:MOST_FILES]),
        totals=tuple(f"{sum(int(each.get(name) or 0) for each in files):,}" for name in _FILE_COLUMNS),
        more_files=max(0, len(files) - MOST_FILES),
        notes=_notes(report),
        suites=_suites(report),
        software=VERSION,
    )
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


def _verdict(report: Mapping[str, Any], open_insights: list[Mapping[str, Any]]) -> tuple[str, str, str]:
    """State, word, and what to do."""
    if problem := report.get("problem"):
        return "bad", "Not imported.", str(problem)
    if not open_insights:
        return "good", "Good to go.", "Nothing stands out. Train on it."
    failing = sum(each["status"] == "fail" for each in open_insights)
    first = open_insights[0]
    begin = f"Begin here: {first['title']} {first['remedy']}"
    if failing:
        others = _counted(len(open_insights) - failing, "other thing")
        told = f"{_counted(failing, 'insight')} would stop the training in Personalize"
        return (
            "bad",
            "Imported, but not fit to train on.",
            f"{told}{', ' + others + ' may hurt' if len(open_insights) > failing else ''}. {begin}",
        )
    return "even", "Imported; look first.", f"{_counted(len(open_insights), 'insight')} may hurt the results. {begin}"


def _sentence(report: Mapping[str, Any]) -> str:
    """`1,200 rows were read: 1,190 accepted, 4 rejected, 6 duplicates.`"""
    read = int(report.get("rows_read") or 0)
    if not read:
        return "No row was read."
    counts = [(int(report.get(f"rows_{name}") or 0), word) for name, word in _OUTCOMES.items()]
    if counts[0][0] == read:
        return "The one row that was read was accepted." if read == 1 else f"All {read:,} rows that were read were accepted."
    told = [f"{count:,} {word}" for count, word in counts if count or word == "accepted"]
    return f"{_counted(read, 'row')} {'was' if read == 1 else 'were'} read: {', '.join(told)}."


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
    if statistics.get("rows") and not any(found.get("missing") for found in columns):
        notes.append("No value is missing in any column.")
    if rare := columns_without_common_values(statistics):
        notes.append(f"Without common values: {', '.join(rare)}.")
    return tuple(notes)


def _reason(told: Mapping[str, Any]) -> ReasonPart:
    examples = tuple(
        (f"{each['file']}, line {int(each['line']):,}", _shown(each.get("value"))) for each in told.get("examples") or []
    )
    return ReasonPart(
        column=str(told["column"]) or "whole row", reason=told["reason"], rows=f"{int(told['rows']):,}", examples=examples
    )


def _shown(value: Any) -> str:
    text = "(empty)" if value in (None, "") else str(value)
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"


def _file(told: Mapping[str, Any]) -> FilePart:
    counts = {name: int(told.get(name) or 0) for name in _FILE_COLUMNS}
    parts = counts["rows_accepted"] + counts["rows_rejected"] + counts["rows_duplicate"]
    return FilePart(
        name=str(told["file"]),
        cells=tuple(f"{count:,}" for count in counts.values()),
        adds_up=counts["rows_read"] == parts,
        warnings=tuple(told.get("warnings") or ()),
    )


def _notes(report: Mapping[str, Any]) -> tuple[str, ...]:
    notes = list(report.get("warnings") or [])
    if (report.get("statistics") or {}).get("ties"):
        order = {
            "hash": "a seeded hash, since their order in the files is an artefact that would leak what comes next",
            "file": "their order in the files",
        }
        notes.append(f"Events of a user at one timestamp are taken in {order[report.get('tie_order') or 'file']}.")
    return tuple(notes)


def _suites(report: Mapping[str, Any]) -> tuple[SuitePart, ...]:
    checked = report.get("expectations") or {}
    own = checked.get("own")
    suites = []
    if checked.get("checked"):
        docs = str(report.get("data_docs") or "data_docs/index.html")
        suites.append(_suite("The schema's promises, checked on the files that were written", checked, docs))
    if own:
        suites.append(_suite(f"Your own expectations ({own['name']})", own, own["data_docs"]))
    return tuple(suites)


def _suite(name: str, told: Mapping[str, Any], docs: str) -> SuitePart:
    failed, warned = tuple(told.get("failed") or ()), tuple(told.get("warned") or ())
    num_checked, broken = int(told["checked"]), len(failed) + len(warned)
    held = f"all {num_checked:,} hold" if not broken else f"{broken:,} of {num_checked:,} do not hold"
    return SuitePart(sentence=f"{name}: {held}.", failed=failed, warned=warned, docs=docs)


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
