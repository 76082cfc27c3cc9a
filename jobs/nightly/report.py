"""The page of a night, from its summary and the folders of its steps."""

from __future__ import annotations

import io
import posixpath
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from jobs.nightly.histories import Histories, read_histories, three_users
from jobs.nightly.wording import batch_note, metric_table, segment_sentences, step_row, verdict
from jobs.platform.process.scratch import scratch_folder
from jobs.platform.storage.folders import StepFolder
from jobs.reports.charts import Plot, bar_plot, day_plot, line_plot
from jobs.reports.html import render
from schemas.datasets import DatasetSchema, parse_schema_document
from schemas.manifest import Manifest
from schemas.nights import PUBLISHING
from schemas.version import VERSION

_EXPLANATION = (
    "How high the items that users took next stand in their lists: 1 would be perfect, and is never reached. Popularity lists "
    "what most users took; personal popularity what a user took most often before, then what is popular."
)
_CURVES = (
    ("loss", "Training loss", "mean over an epoch, lower is better"),
    ("validation", "Cost of held-out events", "after an epoch, lower is better"),
)


def night_html(page: dict[str, Any]) -> str:
    """The page as one HTML document that loads nothing."""
    return render("night.html.j2", page)


def night_page(summary: dict[str, Any], out_uris: Sequence[str]) -> dict[str, Any]:
    """What templates/night.html.j2 shows.

    Args:
        summary: Of the night.
        out_uris: The `.out` objects that it published.
    """
    steps = {(step["job"], step["name"]): step for step in summary["steps"]}
    with scratch_folder("page") as scratch:
        sequences = StepFolder(steps["sessionize", "sequences"]["folder"])
        items = _items_schema(steps.get(("validate", "items")))
        histories = read_histories(sequences, sequences.require("sequences"), items, Path(scratch))
        one_session = steps["sessionize", "sequences"]["settings"]["gap_seconds"] is None
        columns, metrics = metric_table(summary["solutions"])
        return {
            "summary": summary,
            "verdict": verdict(summary["solutions"]),
            "tiles": _tiles(steps),
            "notes": _notes(summary, steps, histories.share),
            "explanation": _EXPLANATION,
            "columns": columns,
            "metrics": metrics,
            "segments": segment_sentences(summary["solutions"]),
            "solutions": [
                _solution(name, solution["recipe"], StepFolder(steps["train", name]["folder"]), summary["output"])
                for name, solution in summary["solutions"].items()
            ],
            "users": three_users(histories, out_uris, one_session),
            "session_word": "day" if one_session else "session",
            "plots": _data_plots(histories, one_session),
            "steps": [step_row(step) for step in summary["steps"]],
            "software": VERSION,
        }


def _items_schema(step: dict[str, Any] | None) -> DatasetSchema | None:
    return None if step is None else parse_schema_document(StepFolder(step["folder"]).require("dataset").metadata["schema"])


def _tiles(steps: dict[tuple[str, str], dict[str, Any]]) -> tuple[tuple[str, str], ...]:
    interactions = steps["validate", "interactions"]["result"]
    sequences = steps["sessionize", "sequences"]["result"]
    lines = sum(step["result"].get("lines", 0) for (job, _), step in steps.items() if job in PUBLISHING)
    counts = {
        "rows read": interactions["rows_read"],
        "rows rejected": interactions["rows_rejected"],
        "duplicates": interactions.get("rows_duplicate", 0),
        **{noun: sequences[noun] for noun in ("users", "items", "sessions")},
        "lists written": lines,
    }
    return tuple((label, f"{count:,}") for label, count in counts.items())


def _notes(summary: dict[str, Any], steps: dict[tuple[str, str], dict[str, Any]], share: float) -> tuple[str, ...]:
    """Notes below the metrics; `share` of the events was read, 0 to 1."""
    notes = list(summary["notes"])
    for (job, name), step in steps.items():
        if job == "validate" and step["result"].get("verdict", "pass") != "pass":
            notes.append(f"The import of {name} has findings that want a look: {step['result']['report']}")
        if job in PUBLISHING and (note := batch_note(name, step["result"])):
            notes.append(note)
    if steps["sessionize", "sequences"]["result"].get("tie_order") == "hash":
        notes.append(
            "Events of a user at the same second lie in hash order, since their order in the file is an artefact: "
            "the model cannot learn from it, and is not measured on it."
        )
    if share < 1:
        notes.append(f"The plots show {100 * share:.0f} % of the events; whole users, drawn by hash.")
    return tuple(notes)


def _solution(name: str, recipe: str, folder: StepFolder, night: str) -> dict[str, Any]:
    """A solution with its learning curves, if it has any, and where its own page lies, seen from the night's."""
    manifest = folder.require("solution_version")
    return {"name": name, "recipe": recipe, "report": page_link(folder, manifest, night), "curves": _curves(folder, manifest)}


def page_link(folder: StepFolder, manifest: Manifest, night: str) -> str:
    """Relative link from a night to a solution version's page: it holds wherever the workspace is moved or served from."""
    if "report" not in manifest.metadata:
        return ""
    return quote(posixpath.relpath(folder.uri_of(manifest.metadata["report"]), night))


def _curves(folder: StepFolder, manifest: Manifest) -> tuple[Plot, ...]:
    """Loss and, where it was measured, the cost of held-out events, over the events seen."""
    table = pq.read_table(io.BytesIO(folder.read(manifest.file(manifest.metadata["training"])))).to_pydict()
    curves = []
    for column, title, y_label in _CURVES:
        pairs = zip(table["events"], table[column], strict=True)
        points = [(float(x), float(y)) for x, y in pairs if y is not None and np.isfinite(y)]
        if len(points) > 1:
            curves.append(line_plot(title, points, "events seen", y_label))
    return tuple(curves)


def _data_plots(histories: Histories, one_session: bool) -> tuple[Plot, ...]:
    # The head of the catalogue: how much of all events the most frequent hundredth of the items has.
    counts = histories.events_by_rank()
    top = max(1, len(counts) // 100)
    share = counts[:top].sum() / max(1, counts.sum())
    points = [(float(rank), float(count)) for rank, count in _thinned(counts)]
    lengths = histories.session_lengths()
    what = "user" if one_session else "session"
    return (
        day_plot("When events happened", histories.events_by_day(), "events"),
        bar_plot(
            f"Events of a {what} (median {int(np.median(lengths))})", _length_bars(lengths), "events, at most", f"{what}s"
        ),
        replace(
            line_plot(
                f"Top 1 % of items: {100 * share:.0f} % of events",
                points,
                "items, most frequent first",
                "",
                logarithmic=True,
            ),
            y_label="events of an item, both axes logarithmic",
        ),
    )


def _thinned(counts: npt.NDArray[np.int64]) -> list[tuple[int, int]]:
    """(rank from 1, events) at ranks that lie evenly on a logarithmic axis."""
    ranks = np.unique(np.geomspace(1, len(counts), 300).astype(np.int64))
    return [(int(rank), int(counts[rank - 1])) for rank in ranks]


def _length_bars(lengths: npt.NDArray[np.int64]) -> list[tuple[str, float]]:
    """Counts of lengths 1, 2, up to 4, up to 8, …, by the longest of each."""
    counts = np.bincount(np.ceil(np.log2(lengths)).astype(np.int64))
    return [(str(2**power), float(count)) for power, count in enumerate(counts)]
