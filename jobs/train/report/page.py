"""The page of a solution version, from what was measured and who was explained."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jobs.reports.solution import ExplainedUser
from jobs.train.report.tables import curves, ranker_tables, search_table, tables, verdict
from schemas.version import VERSION

_NOTE = (
    "Drawn by a hash among the users with 5 to 1,000 known events, those with hidden events first. Each is asked about right "
    "after the last known event; beside a title stands the probability that the model gives the item. The bar: what each path "
    "adds to the item's score, measured from the average item of the catalogue, to the left of the mark where it speaks "
    "against the item. Because of: the factor by which these past events raise the item's odds against an average item, found "
    "by running the history again without them."
)
_NOTE_OF_RANKER = (
    "Drawn by a hash among the users with 5 to 1,000 events. Each is asked about at the end of the data, with all events "
    "known, as the nightly list is: nothing is hidden. Beside a title stands the probability that the item has. The bar: what "
    "each family of reasons adds to the item's log-odds, measured from the average of the user's best candidates, to the left "
    "of the mark where it speaks against the item. Because of: the factors by which the strongest families raise its odds. "
    "From the past: the events without which the score that the ranker starts from would fall most."
)
_LEARNT = {
    "personalize": (
        "Split as in Personalize. Model and baselines learnt from nine users of ten. The others are measured: they are asked "
        "for with the oldest nine tenths of their events, which nothing was learnt from, and their newest tenth is the truth."
    ),
    "all_users": (
        "Of a tenth of the users the newest tenth of the events is hidden, and is the truth. Model and baselines learnt from "
        "all other events, those of these users too."
    ),
    "segments": "Of every user the newest fifth of the events is hidden, and is the truth. The model learnt from all others.",
}
_SERVED = "What is served knows all events of all users: as what they are asked for with, and in every count."
_NO_PATHS = "This recipe has no paths to tell apart: whoever has no history of use to it gets the most popular items."
_NO_USERS = "No user has 5 to 1,000 known events."


@dataclass(frozen=True, kw_only=True)
class ReportInputs:
    """Data of a solution version for its page, beside users.

    Attributes:
        name: Of the solution version.
        recipe: Personalize's name.
        hyperparameters: Parsed.
        config: The manifest's.
        counts: The manifest's.
        metrics: metrics.json; empty where there is none.
        curve: Rows of training.parquet.
        best_epoch: Whose parameters were kept; None: not known.
        search: The trainings of a search for hyperparameters or recipes; None: there was none.
        next_period: As metrics.json has it; None: no ranker was fitted.
    """

    name: str
    recipe: str
    hyperparameters: Mapping[str, Any]
    config: Mapping[str, Any]
    counts: Mapping[str, int]
    metrics: Mapping[str, Any]
    curve: Sequence[Mapping[str, Any]]
    best_epoch: int | None
    search: Mapping[str, Any] | None = None
    next_period: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Explained:
    """Example users: their lists, and the reasons.

    Attributes:
        users: For the page.
        document: explanations.json.
        whole_history: A history is one session.
        ranked: They are those of a ranker that serves.
    """

    users: tuple[ExplainedUser, ...]
    document: dict[str, Any]
    whole_history: bool
    ranked: bool = False


def solution_page(inputs: ReportInputs, explained: Explained | None) -> dict[str, Any]:
    """What templates/solution.html.j2 shows.

    Args:
        inputs: Of the solution version.
        explained: Users; None: the recipe has no paths to tell apart.
    """
    plots, curves_note = curves(inputs.curve, inputs.best_epoch)
    counts = dict(inputs.counts)
    if "truth_events" in inputs.metrics:
        counts["hidden_events"] = inputs.metrics.get("hidden_events", inputs.metrics["truth_events"])
    training = inputs.config.get("settings", {})
    others = {key: value for key, value in inputs.config.items() if key not in ("settings", "hyperparameters", "recipe")}
    groups = {"Hyperparameters": inputs.hyperparameters, "Training": {**others, **training}}
    return {
        "name": inputs.name,
        "recipe": inputs.recipe,
        "verdict": verdict(inputs.metrics),
        "counts": counts,
        "learnt": _learnt(training),
        "tables": (
            *tables(inputs.metrics),
            *(ranker_tables(inputs.next_period) if inputs.next_period else ()),
            *((search_table(inputs.search),) if inputs.search else ()),
        ),
        "curves": plots,
        "curves_note": curves_note,
        "paths": list(explained.document["paths"].items()) if explained else (),
        "ranked": explained is not None and explained.ranked,
        "users": explained.users if explained else (),
        "users_note": _users_note(explained),
        "session_word": "day" if explained is not None and explained.whole_history else "session",
        "settings": {
            heading: {name: _setting(values[name]) for name in values} for heading, values in groups.items() if values
        },
        "software": VERSION,
    }


def _users_note(explained: Explained | None) -> str:
    if explained is None:
        return _NO_PATHS
    if not explained.users:
        return _NO_USERS
    return _NOTE_OF_RANKER if explained.ranked else _NOTE


def _learnt(settings: Mapping[str, Any]) -> str:
    """The split in plain words: what was trained on, what measured; empty for versions that don't record it."""
    description = _LEARNT.get("segments" if settings.get("segments") else settings.get("split", ""))
    return f"{description} {_SERVED}" if description else ""


def _setting(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping | list | tuple):
        return json.dumps(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:g}" if isinstance(value, float) else str(value)
