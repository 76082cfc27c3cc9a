"""The page of a solution version: its tables and users, and the HTML file that shows them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jobs.reports.html import render
from jobs.reports.parts import SessionPart


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
    """A table with its title, a sentence on how to read it, and the names of its columns, that of the rows' names first.

    `finding` is what it says, in a sentence.
    """

    title: str
    note: str
    columns: tuple[str, ...]
    rows: tuple[TableRow, ...]
    finding: str = ""


@dataclass(frozen=True, kw_only=True)
class Segment:
    """One path's part in a score as a piece of a bar: where it lies, in percent of the bar's room, and what it says."""

    path: str
    left: float
    width: float
    title: str


@dataclass(frozen=True, kw_only=True)
class Reason:
    """What speaks for an item, past events or a family, and the factor on its odds against an average item ("×3.2")."""

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
        reasons: The past events that matter most; of a ranked item the families.
        past: Of a ranked item, the past events.
    """

    title: str
    hit: bool
    taken: bool
    probability: str
    zero: float
    segments: tuple[Segment, ...]
    told: str
    reasons: tuple[Reason, ...]
    past: tuple[Reason, ...] = ()


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


def solution_html(page: dict[str, Any]) -> str:
    """The page as one HTML document that loads nothing."""
    return render("solution.html.j2", page)
