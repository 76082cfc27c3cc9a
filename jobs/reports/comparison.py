"""The page of a comparison: what it says, and the HTML file that says it."""

from __future__ import annotations

from dataclasses import dataclass

from jobs.reports.charts import Plot
from jobs.reports.html import render
from jobs.reports.night import Verdict


@dataclass(frozen=True, kw_only=True)
class ListedEntry:
    """One entry of a list: its id, and its rank in the other list; 0 where it is not there."""

    text: str
    other_rank: int


@dataclass(frozen=True, kw_only=True)
class DifferingLine:
    """One input with both its lists; `more` entries of each are not shown."""

    asked: str
    value: str
    old: tuple[ListedEntry, ...]
    new: tuple[ListedEntry, ...]
    more: tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class ComparisonPage:
    """All that the page of a comparison says.

    Attributes:
        old, new: Where the two sides lie.
        verdict: The first thing to read.
        tiles: (label, value) of the main figures.
        figures: (what, value, how to read it) of all figures of both sides together.
        sides: (what, value of the old side, value of the new one).
        plots: Distributions.
        differing: Lines that differ most, the most different first.
        alone: (heading, inputs, how many more) of lines and files that only one side has; may be empty.
        software: Version of the platform.
    """

    old: str
    new: str
    verdict: Verdict
    tiles: tuple[tuple[str, str], ...]
    figures: tuple[tuple[str, str, str], ...]
    sides: tuple[tuple[str, str, str], ...]
    plots: tuple[Plot, ...]
    differing: tuple[DifferingLine, ...]
    alone: tuple[tuple[str, tuple[str, ...], int], ...]
    software: str


def comparison_html(page: ComparisonPage) -> str:
    """The page as one HTML document that loads nothing."""
    return render("comparison.html.j2", page)
