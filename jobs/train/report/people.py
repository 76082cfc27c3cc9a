"""Explained users as explanations.json holds them, and as a reader of the page meets them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from hrnn.data.arrays import Rows
from hrnn.data.sequences import Sequences
from hrnn.explain.evaluation import ExplainedList
from jobs.reports.axes import day_of
from jobs.reports.parts import SessionPart
from jobs.reports.solution import ExplainedUser, ListedItem, Reason, Segment

PATH_MEANINGS = {
    "sequence": "what the order of the past events leads to",
    "popularity": "what everybody takes",
    "recency": "what has lately become more popular",
    "own item": "what the user took before",
}
_MOST_CONTRIBUTIONS = 5  # of an item in explanations.json
_SHOWN_SESSIONS, _SHOWN_HIDDEN, _SHOWN_REASONS = 4, 8, 3
_SHOWN_OF_LATEST, _SHOWN_OF_OTHERS = 10, 5  # items of a session
_LEAST_CHANGE = math.log(1.15)  # what raises an item's odds by less is no reason
_DAY_SECONDS = 86_400


@dataclass(frozen=True)
class Named:
    """Names of what the explanations tell by row.

    Attributes:
        user_ids: User row -> id, of the explained users.
        item_ids: Item row -> id, of all items that are told of.
        titles: Item id -> title; the id where there is no title.
    """

    user_ids: Mapping[int, str]
    item_ids: Mapping[int, str]
    titles: Mapping[str, str]


def user_document(found: ExplainedList, whole: Sequences, known: Sequences, named: Named) -> dict[str, Any]:
    """A user in explanations.json, with ids.

    `paths` is what each path adds to the item's score, measured from the mean over the items with events; where a ranker
    serves, what each family adds, measured from the mean over the user's best candidates. Of the past events in `because`,
    those that matter most, be it for or against the item, `change` is by how much its score by the blend, measured from the
    mean over the items with events, falls without them: exp(change) is the factor on its odds against an average item.

    Args:
        found: The list, and why.
        whole: All events.
        known: Those that the model was asked after.
        named: Ids.
    """
    first, last = (int(each) for each in whole.user_offsets[found.user_row : found.user_row + 2])
    middle = first + int(known.history_lengths[found.user_row])
    hidden = list(dict.fromkeys(whole.item_rows[middle:last].tolist()))
    reasons, history = found.reasons, np.arange(first, middle)

    def contribution(item_row: int, change: float) -> dict[str, Any]:
        events: Rows = history[whole.item_rows[history] == item_row]
        told = {"num_events": len(events), "last_time": int(whole.timestamps[events[-1]]), "change": round(change, 4)}
        return {"item_id": named.item_ids[item_row], **told}

    items = []
    for place, row in enumerate(found.item_rows.tolist()):
        strongest = np.argsort(-np.abs(reasons.contributions[place]), kind="stable")[:_MOST_CONTRIBUTIONS]
        items.append(
            {
                "item_id": named.item_ids[row],
                "score": round(float(found.scores[place]), 4),
                "probability": round(float(found.probabilities[place]), 7),
                "hit": row in hidden,
                "had_before": bool((whole.item_rows[history] == row).any()),
                "paths": {path: round(part, 4) for path, part in zip(found.paths, reasons.paths[place].tolist(), strict=True)},
                "because": [
                    contribution(int(reasons.past_items[place, at]), float(reasons.contributions[place, at]))
                    for at in strongest
                ],
            }
        )
    return {
        "user_id": named.user_ids[found.user_row],
        "as_of": found.as_of,
        "known_events": middle - first,
        "hidden_items": [named.item_ids[row] for row in hidden],
        "items": items,
    }


def explained_user(
    user: Mapping[str, Any], user_row: int, known: Sequences, named: Named, *, whole_history: bool, ranked: bool = False
) -> ExplainedUser:
    """One user for the page.

    Args:
        user: From `user_document`.
        user_row: Which user.
        known: The events that the model was asked after.
        named: Ids and titles.
        whole_history: A history is one session; events are then shown by day.
        ranked: The paths are families of a ranker's features, which are the reasons.
    """
    events = known.event_positions(np.asarray([user_row])).values
    length, times = len(events), known.timestamps[events]
    titles = [named.titles[named.item_ids[row]] for row in known.item_rows[events].tolist()]
    starts = np.append(True, np.diff(times // _DAY_SECONDS) != 0) if whole_history else known.session_starts[events]
    edges = [*np.flatnonzero(starts).tolist(), length]
    sessions = tuple(
        SessionPart(
            day=_day(times[first]),
            items=tuple(titles[first : min(after, first + shown)]),
            more=max(0, after - first - shown),
        )
        for first, after in list(pairwise(edges))[: -_SHOWN_SESSIONS - 1 : -1]
        for shown in [_SHOWN_OF_LATEST if after == length else _SHOWN_OF_OTHERS]
    )
    listed = {item["item_id"] for item in user["items"]}
    hidden = sorted(user["hidden_items"], key=lambda item_id: item_id not in listed)
    word = "day" if whole_history else "session"
    summary = f"{length:,} known events in {len(edges) - 1:,} {word}{'' if len(edges) == 2 else 's'}"
    if hidden:
        summary += f"; {len(listed.intersection(hidden))} of {len(hidden):,} hidden items found"
    return ExplainedUser(
        user_id=user["user_id"],
        summary=summary,
        sessions=sessions,
        more_sessions=max(0, len(edges) - 1 - _SHOWN_SESSIONS),
        hidden=tuple((named.titles[item_id], item_id in listed) for item_id in hidden[:_SHOWN_HIDDEN]),
        more_hidden=max(0, len(hidden) - _SHOWN_HIDDEN),
        items=_items(user, named.titles, ranked),
    )


def _items(user: Mapping[str, Any], titles: Mapping[str, str], ranked: bool) -> tuple[ListedItem, ...]:
    """The list; all bars of a user are of one scale."""
    below = max((-sum(min(part, 0.0) for part in item["paths"].values()) for item in user["items"]), default=0.0)
    above = max((sum(max(part, 0.0) for part in item["paths"].values()) for item in user["items"]), default=0.0)
    room = (below + above) or 1.0
    return tuple(
        ListedItem(
            title=titles[item["item_id"]],
            hit=item["hit"],
            taken=item["had_before"],
            probability=f"{100 * item['probability']:.1f} %" if item["probability"] >= 0.0005 else "<0.1 %",
            zero=100 * below / room,
            segments=_segments(item["paths"], below, room),
            told=f"Above the average {'candidate' if ranked else 'item'} by: "
            + ", ".join(f"{path} {part:+.2f}" for path, part in item["paths"].items()),
            reasons=_families(item["paths"]) if ranked else _reasons(item, titles, day_of(user["as_of"]).year),
            past=_reasons(item, titles, day_of(user["as_of"]).year) if ranked else (),
        )
        for item in user["items"]
    )


def _segments(paths: Mapping[str, float], below: float, room: float) -> tuple[Segment, ...]:
    """Parts above 0 to the right of the zero, those below to its left."""
    right, left, segments = below, below, []
    for path, part in paths.items():
        left += min(part, 0.0)
        begin, width = right if part > 0 else left, 100 * abs(part) / room
        if width >= 0.05:
            segments.append(Segment(path=path, left=100 * begin / room, width=width, title=f"{path} {part:+.2f}"))
        right += max(part, 0.0)
    return tuple(segments)


def _reasons(item: Mapping[str, Any], titles: Mapping[str, str], year: int) -> tuple[Reason, ...]:
    """The past events that speak most for an item; the year is told where it is not the one of asking."""
    reasons = []
    for each in [each for each in item["because"] if each["change"] > _LEAST_CHANGE][:_SHOWN_REASONS]:
        what = "having had it" if each["item_id"] == item["item_id"] else titles[each["item_id"]]
        times, date = f"{each['num_events']} times, last " if each["num_events"] > 1 else "", day_of(each["last_time"])
        day = f"{date:%-d\u00a0%b}" if date.year == year else _day(each["last_time"])
        reasons.append(Reason(what=f"{what} ({times}{day})", factor=_factor(each["change"])))
    return tuple(reasons)


def _families(paths: Mapping[str, float]) -> tuple[Reason, ...]:
    """The families that speak most for an item."""
    told = sorted(paths.items(), key=lambda path: -path[1])[:_SHOWN_REASONS]
    return tuple(Reason(what=family, factor=_factor(part)) for family, part in told if part > _LEAST_CHANGE)


def _factor(change: float) -> str:
    """On an item's odds: `×3.2`, `×41`, `×1,000 and more`."""
    factor = math.exp(min(change, 50.0))
    return "×1,000 and more" if factor >= 1_000 else f"×{factor:.0f}" if factor >= 10 else f"×{factor:.1f}"


def _day(time: int) -> str:
    return f"{day_of(int(time)):%-d %b %Y}"
