"""Explained users as a reader of the page meets them, and as explanations.json holds them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from hrnn.data.sequences import Sequences
from hrnn.explain.evaluation_reasons import PATHS, ItemExplanation, UserExplanation
from jobs.reports.axes import day_of
from jobs.reports.night import SessionPart
from jobs.reports.solution import ExplainedUser, ListedItem, Reason, Segment

PATH_MEANINGS = (
    ("sequence", "what the order of the past events leads to"),
    ("popularity", "what everybody takes"),
    ("recency", "what has lately become more popular"),
    ("own item", "what the user took before"),
)
_SHOWN_SESSIONS, _SHOWN_HIDDEN, _SHOWN_REASONS = 4, 8, 3
_SHOWN_OF_LATEST, _SHOWN_OF_OTHERS = 10, 5  # items of a session
_LEAST_CHANGE = math.log(1.15)  # what makes an item likelier by less is no reason
_DAY_SECONDS = 86_400


@dataclass(frozen=True)
class Named:
    """Names of what the explanations tell by row.

    Attributes:
        user_ids: User row -> id, of the explained users.
        item_ids: Item row -> id, of all items that are told of.
        titles: Likewise -> title; the id where there is no title.
    """

    user_ids: Mapping[int, str]
    item_ids: Mapping[int, str]
    titles: Mapping[int, str]


def rows_told_of(explained: Sequence[UserExplanation], whole: Sequences) -> list[int]:
    """Item rows that the page or the document names, rising."""
    rows = {row for user in explained for item in user.items for row in (item.item_row, *(r.item_row for r in item.because))}
    for user in explained:
        begin, end = whole.user_offsets[user.user_row : user.user_row + 2]
        rows.update(np.unique(whole.item_rows[begin:end]).tolist())
    return sorted(rows)


def explained_user(
    found: UserExplanation, whole: Sequences, known: Sequences, named: Named, *, whole_history: bool
) -> ExplainedUser:
    """One user for the page.

    Args:
        found: Their explanation.
        whole: All events.
        known: Those that the model was asked after.
        named: Ids and titles.
        whole_history: A history is one session; events are then shown by day.
    """
    begin, end = (int(each) for each in whole.user_offsets[found.user_row : found.user_row + 2])
    length = int(known.history_lengths[found.user_row])
    items, times = whole.item_rows[begin : begin + length], np.asarray(whole.timestamps[begin : begin + length])
    starts = np.asarray(whole.session_starts[begin : begin + length])
    if whole_history:
        starts = np.append(True, np.diff(times // _DAY_SECONDS) != 0)
    edges = [*np.flatnonzero(starts).tolist(), length]
    sessions = tuple(
        SessionPart(
            day=_day(times[first]),
            items=tuple(named.titles[row] for row in items[first : min(after, first + shown)].tolist()),
            more=max(0, after - first - shown),
        )
        for first, after in list(pairwise(edges))[: -_SHOWN_SESSIONS - 1 : -1]
        for shown in [_SHOWN_OF_LATEST if after == length else _SHOWN_OF_OTHERS]
    )
    hidden = list(dict.fromkeys(whole.item_rows[begin + length : end].tolist()))
    listed = {item.item_row for item in found.items}
    hidden.sort(key=lambda row: row not in listed)
    taken = set(items.tolist())
    word = "day" if whole_history else "session"
    summary = f"{length:,} known events in {len(edges) - 1:,} {word}{'' if len(edges) == 2 else 's'}"
    if hidden:
        summary += f"; {len(listed.intersection(hidden))} of {len(hidden):,} hidden items found"
    return ExplainedUser(
        user_id=named.user_ids[found.user_row],
        summary=summary,
        sessions=sessions,
        more_sessions=max(0, len(edges) - 1 - _SHOWN_SESSIONS),
        hidden=tuple((named.titles[row], row in listed) for row in hidden[:_SHOWN_HIDDEN]),
        more_hidden=max(0, len(hidden) - _SHOWN_HIDDEN),
        items=_items(found, named, set(hidden), taken),
    )


def _items(found: UserExplanation, named: Named, hidden: set[int], taken: set[int]) -> tuple[ListedItem, ...]:
    """The list; all bars of a user are of one scale."""
    below = max((-sum(min(part, 0.0) for part in item.paths.values()) for item in found.items), default=0.0)
    above = max((sum(max(part, 0.0) for part in item.paths.values()) for item in found.items), default=0.0)
    room = (below + above) or 1.0
    return tuple(
        ListedItem(
            title=named.titles[item.item_row],
            hit=item.item_row in hidden,
            taken=item.item_row in taken,
            probability=_percent(item.probability),
            zero=100 * below / room,
            segments=_segments(item, below, room),
            told="Above the average item by: " + ", ".join(f"{path} {part:+.2f}" for path, part in item.paths.items()),
            reasons=_reasons(item, named, day_of(found.as_of).year),
        )
        for item in found.items
    )


def _segments(item: ItemExplanation, below: float, room: float) -> tuple[Segment, ...]:
    """Parts above 0 to the right of the zero, those below to its left."""
    right, left, segments = below, below, []
    for path in PATHS:
        part = item.paths[path]
        if part < 0:
            left += part
        width = 100 * abs(part) / room
        if width >= 0.05:
            segments.append(
                Segment(path=path, left=100 * (right if part > 0 else left) / room, width=width, title=f"{path} {part:+.2f}")
            )
        if part > 0:
            right += part
    return tuple(segments)


def _reasons(item: ItemExplanation, named: Named, year: int) -> tuple[Reason, ...]:
    """The past events that speak most for an item; the year is told where it is not the one of asking."""
    reasons = []
    for each in [each for each in item.because if each.change > _LEAST_CHANGE][:_SHOWN_REASONS]:
        what = "having had it" if each.item_row == item.item_row else named.titles[each.item_row]
        times = f"{each.num_events} times, last " if each.num_events > 1 else ""
        day = f"{day_of(each.last_time):%-d\u00a0%b}" if day_of(each.last_time).year == year else _day(each.last_time)
        reasons.append(Reason(what=f"{what} ({times}{day})", factor=_factor(each.change)))
    return tuple(reasons)


def _factor(change: float) -> str:
    """How many times likelier: `×3.2`, `×41`, `×1,000 and more`."""
    factor = math.exp(min(change, 50.0))
    return "×1,000 and more" if factor >= 1_000 else f"×{factor:.0f}" if factor >= 10 else f"×{factor:.1f}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if share >= 0.0005 else "<0.1 %"


def _day(time: int) -> str:
    return f"{day_of(int(time)):%-d %b %Y}"


def explanations_document(
    explained: Sequence[UserExplanation], whole: Sequences, known: Sequences, named: Named
) -> dict[str, Any]:
    """explanations.json: users, lists, paths and contributions, by ids.

    A path's number is what it adds to the score, measured from the catalogue's mean; a contribution's `change` is by how much
    the log of the item's probability falls without those events.
    """
    users = []
    for found in explained:
        begin, end = (int(each) for each in whole.user_offsets[found.user_row : found.user_row + 2])
        middle = begin + int(known.history_lengths[found.user_row])
        taken = set(whole.item_rows[begin:middle].tolist())
        hidden = list(dict.fromkeys(whole.item_rows[middle:end].tolist()))
        users.append(
            {
                "user_id": named.user_ids[found.user_row],
                "as_of": found.as_of,
                "known_events": middle - begin,
                "hidden_items": [named.item_ids[row] for row in hidden],
                "items": [
                    _item_document(item, named, hit=item.item_row in hidden, taken=item.item_row in taken)
                    for item in found.items
                ],
            }
        )
    return {"paths": dict(PATH_MEANINGS), "users": users}


def _item_document(item: ItemExplanation, named: Named, *, hit: bool, taken: bool) -> dict[str, Any]:
    return {
        "item_id": named.item_ids[item.item_row],
        "score": round(item.score, 4),
        "probability": round(item.probability, 7),
        "hit": hit,
        "had_before": taken,
        "paths": {path: round(part, 4) for path, part in item.paths.items()},
        "because": [
            {
                "item_id": named.item_ids[each.item_row],
                "num_events": each.num_events,
                "last_time": each.last_time,
                "change": round(each.change, 4),
            }
            for each in item.because
        ],
    }
