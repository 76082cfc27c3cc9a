"""The page of a deletion: what it says, and the HTML file that says it. It names no user."""

from __future__ import annotations

from dataclasses import dataclass

from jobs.reports.html import render
from jobs.reports.night import Verdict


@dataclass(frozen=True, kw_only=True)
class DeletionPage:
    """All that the page of a deletion says.

    Attributes:
        verdict: The first thing to read.
        tiles: (label, value) of the main counts.
        places: Cells of one row a place that was looked through.
        removed: (what, URIs) of files that went as a whole; may be empty.
        inputs: Cells of one row a CSV file that the datasets were imported from.
        notes: What to know.
        software: Version of the platform.
    """

    verdict: Verdict
    tiles: tuple[tuple[str, str], ...]
    places: tuple[tuple[str, ...], ...]
    removed: tuple[tuple[str, tuple[str, ...]], ...]
    inputs: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]
    software: str


def deletion_html(page: DeletionPage) -> str:
    """The page as one HTML document that loads nothing."""
    return render("deletion.html.j2", page)
