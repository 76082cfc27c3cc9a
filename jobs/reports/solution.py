"""The page of a solution version: what it says, and the HTML file that says it."""

from __future__ import annotations

from dataclasses import dataclass

from jobs.reports.charts import Plot
from jobs.reports.html import render
from jobs.reports.night import SessionPart, Verdict


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One value of a table.

    Attributes:
        text: The value; empty where there is none.
        interval: Its confidence interval; empty where it is not known.
        best: Whether it is the best of those it is compared with.
    """

    text: str
    interval: str = ""
    best: bool = False


@dataclass(frozen=True, kw_only=True)
class TableRow:
    """One row: its name, whether it is the model's own, and its cells."""

    name: str
    own: bool
    cells: tuple[Cell, ...]


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table with its title, a sentence on how to read it, and the names of its columns, that of the rows' names first."""

    title: str
    note: str
    columns: tuple[str, ...]
    rows: tuple[TableRow, ...]


@dataclass(frozen=True, kw_only=True)
class Segment:
    """One path's part in a score as a piece of a bar: where it lies, in percent of the bar's room, and what it says."""

    path: str
    left: float
    width: float
    title: str


@dataclass(frozen=True, kw_only=True)
class Reason:
    """Past events that speak for an item: what they were, and the factor on its odds against an average item ("×3.2")."""

    what: str
    factor: str


@dataclass(frozen=True, kw_only=True)
class ListedItem:
    """One recommended item.

    Attributes:
        title: For people.
        hit: Whether the user took it next.
        taken: Whether the user had it before.
        probability: In percent, as text.
        zero: Where the bar's zero lies, in percent of its room.
        segments: The paths' parts.
        told: The same in words.
        reasons: The past events that matter most.
    """

    title: str
    hit: bool
    taken: bool
    probability: str
    zero: float
    segments: tuple[Segment, ...]
    told: str
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, kw_only=True)
class ExplainedUser:
    """One user: the latest known sessions, newest first, what was hidden, and the list."""

    user_id: str
    summary: str
    sessions: tuple[SessionPart, ...]
    more_sessions: int
    hidden: tuple[tuple[str, bool], ...]
    more_hidden: int
    items: tuple[ListedItem, ...]


@dataclass(frozen=True, kw_only=True)
class SolutionPage:
    """All that the page of a solution version says.

    Attributes:
        name: Of the solution version.
        recipe: Its recipe.
        verdict: The first thing to read.
        tiles: (label, value) of the main counts.
        learnt: What was trained on and what is measured by; empty where it is not known.
        tables: The comparison with the baselines first; then slices and what else was measured.
        curves: How it learnt; may be empty.
        curves_note: What to know of them.
        paths: (path, what it is), in the order in which bars are stacked; empty where the model has none.
        users: Some users with their lists; may be empty.
        users_note: How to read them, or why there are none.
        session_word: What a session is called: "session", or "day" where a history is one session.
        settings: (heading, (name, value)) of each group of settings.
        software: Version of the platform.
    """

    name: str
    recipe: str
    verdict: Verdict
    tiles: tuple[tuple[str, str], ...]
    learnt: str
    tables: tuple[Table, ...]
    curves: tuple[Plot, ...]
    curves_note: str
    paths: tuple[tuple[str, str], ...]
    users: tuple[ExplainedUser, ...]
    users_note: str
    session_word: str
    settings: tuple[tuple[str, tuple[tuple[str, str], ...]], ...]
    software: str


def solution_html(page: SolutionPage) -> str:
    """The page as one HTML document that loads nothing."""
    return render("solution.html.j2", page)
