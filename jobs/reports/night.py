"""The page of a night: what it says, and the HTML file that says it."""

from __future__ import annotations

from dataclasses import dataclass

from jobs.reports.charts import Plot
from jobs.reports.html import render


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether the lists are worth publishing.

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
class SolutionPart:
    """One solution: its recipe, its learning curves, if it has any, and where its own page lies, seen from the night's."""

    name: str
    recipe: str
    report: str
    curves: tuple[Plot, ...]


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


@dataclass(frozen=True, kw_only=True)
class StepPart:
    """One step as a table row, in text."""

    job: str
    name: str
    seconds: str
    counts: str
    where: str


@dataclass(frozen=True, kw_only=True)
class NightPage:
    """All that the page of a night says.

    Attributes:
        group: Name of the dataset group.
        generation: Number of the night.
        finished: When it ended, in UTC.
        session_word: What a session is called: "session", or "day" where a history is one session.
        verdict: The first thing to read.
        tiles: (label, value) of the main counts.
        notes: Sentences that a reader must know to judge the figures.
        explanation: How to read the metrics.
        columns: Of the metric table: solutions, then baselines.
        metrics: Its rows.
        segments: A sentence for each solution that makes segments.
        solutions: Recipes and curves.
        plots: Of the data.
        users: Some users with their lists; may be empty.
        steps: What was run.
        software: Version of the platform.
    """

    group: str
    generation: int
    finished: str
    session_word: str
    verdict: Verdict
    tiles: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    explanation: str
    columns: tuple[str, ...]
    metrics: tuple[MetricRow, ...]
    segments: tuple[str, ...]
    solutions: tuple[SolutionPart, ...]
    plots: tuple[Plot, ...]
    users: tuple[UserPart, ...]
    steps: tuple[StepPart, ...]
    software: str


def night_html(page: NightPage) -> str:
    """The page as one HTML document that loads nothing."""
    return render("night.html.j2", page)
