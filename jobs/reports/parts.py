"""Parts of pages that several of them have: verdicts, metrics, and users with their sessions and lists."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What to read first.

    Attributes:
        state: "good", "even" or "bad".
        word: The same, for people.
        sentence: Why, in a few words.
        detail: Why, with figures.
    """

    state: str
    word: str
    sentence: str
    detail: str


@dataclass(frozen=True, kw_only=True)
class MetricRow:
    """One metric of solutions and baselines, None where it was not measured; `best` is where the highest stands, or -1."""

    name: str
    values: tuple[float | None, ...]
    best: int


@dataclass(frozen=True, kw_only=True)
class SessionPart:
    """One session of a user's history: its day, its first items by title, and how many more there are."""

    day: str
    items: tuple[str, ...]
    more: int


@dataclass(frozen=True, kw_only=True)
class Recommendation:
    """One recommended item by title, and whether the user had taken it before."""

    title: str
    taken: bool


@dataclass(frozen=True, kw_only=True)
class UserPart:
    """One user: the latest sessions, newest first, and the list."""

    user_id: str
    summary: str
    sessions: tuple[SessionPart, ...]
    recommendations: tuple[Recommendation, ...]
