"""Statistics of users' and items' events, computed by each receiver, additive over receivers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from hrnn.data.arrays import Rows
from hrnn.data.hashing import Hashes, hash64
from hrnn.data.histories import session_starts
from jobs.validate.keys import ID
from jobs.validate.statistics import bin_numbers
from schemas.columns import NUM_EVENTS

SAMPLE = 4096  # hashes of ids that are kept
EXAMPLES = 3  # of orphans, and of each receiver
BUSIEST = 10  # users that are named

_DAY = 86_400  # seconds
_LONGEST_NUMBER = 18  # digits that an int64 holds for sure


@dataclass(frozen=True, kw_only=True)
class History:
    """Complete histories of a receiver's users, sorted by user, timestamp and INPUT_ORDER.

    Attributes:
        users: Position of each event's user in `user_hashes`, [events].
        items: Position of its item in `item_ids`.
        times: Epoch seconds.
        input_order: Place in the input.
        user_hashes: uint64, ascending.
        item_ids: Strings; a dictionary in no order.
    """

    users: Rows
    items: Rows
    times: Rows
    input_order: Rows
    user_hashes: Hashes
    item_ids: pa.Array

    def without(self, positions: Rows) -> History:
        """The history without some events."""
        if not len(positions):
            return self
        names = ("users", "items", "times", "input_order")
        return replace(self, **{name: np.delete(getattr(self, name), positions) for name in names})


def user_figures(history: History, gap_seconds: int, known: Hashes | None) -> dict[str, Any]:
    """Statistics of users, sessions, tied timestamps and the busiest users.

    Args:
        history: Of the users of one receiver.
        gap_seconds: A session ends after a longer idle time.
        known: Hashes of the users that another dataset describes; None: there is none.
    """
    starts = session_starts(history.users, history.times, gap_seconds)
    first_events = np.flatnonzero(np.diff(history.users, prepend=-1))
    counts = np.diff(first_events, append=len(history.users))
    sessions = np.bincount(history.users[starts], minlength=len(history.user_hashes))
    lengths = np.diff(np.flatnonzero(starts), append=len(starts))
    figures = {
        "users": {
            "count": len(history.user_hashes),
            "with_two": int((counts >= 2).sum()),
            "events": histogram(counts),
            "sessions": histogram(sessions),
        },
        "sessions": {"count": len(lengths), "lengths": histogram(lengths)},
        "ties": _ties(history, lengths),
        "bots": _busiest(history, first_events, counts),
    }
    if known is not None:
        known = np.unique(known)
        is_orphan = ~np.isin(history.user_hashes, known)
        orphans = np.flatnonzero(is_orphan)
        figures["user_references"] = {
            "count": len(known),
            "without_interactions": int((~np.isin(known, history.user_hashes)).sum()),
            "orphans": len(orphans),
            "orphan_events": int(counts[orphans].sum()),
            "examples": history.input_order[first_events[orphans[:EXAMPLES]]].tolist(),
        }
    return figures


def item_figures(counts: list[pa.Table], known: Hashes | None) -> dict[str, Any]:
    """Item counts, and items that the items dataset lacks.

    Args:
        counts: Tables of ID and NUM_EVENTS; an item may be in several.
        known: Hashes of the items that another dataset describes; None: there is none.
    """
    empty = pa.table({ID: pa.array([], pa.string()), NUM_EVENTS: pa.array([], pa.int64())})
    merged = pa.concat_tables([empty, *counts]).group_by(ID, use_threads=False).aggregate([(NUM_EVENTS, "sum")])
    ids, events = merged.column(ID), merged.column(NUM_EVENTS + "_sum").to_numpy()
    hashes = hash64(ids)
    figures: dict[str, Any] = {
        "items": {
            "count": len(hashes),
            "events": histogram(events),
            "sample": sample_of(hashes),
        }
    }
    if known is not None:
        orphans = np.flatnonzero(~np.isin(hashes, known))
        most = orphans[np.argsort(-events[orphans], kind="stable")][:EXAMPLES]
        figures["item_references"] = {
            "count": len(known),
            "without_interactions": int((~np.isin(known, hashes)).sum()),
            "orphans": len(orphans),
            "orphan_events": int(events[orphans].sum()),
            "examples": ids.take(pa.array(most)).to_pylist(),
        }
    return figures


def sample_of(hashes: Hashes) -> list[str]:
    """The smallest hashes, in hexadecimal: a random sample that is the same in every import."""
    return [f"{value:016x}" for value in np.unique(hashes)[:SAMPLE].tolist()]


def histogram(counts: NDArray[Any]) -> dict[str, int]:
    """Histogram of counts, zeros left out."""
    values, totals = np.unique(counts[counts > 0], return_counts=True)
    return dict(zip(map(str, values.tolist()), totals.tolist(), strict=True))


def _ties(history: History, lengths: Rows) -> dict[str, int]:
    """Events at equal times, and whether neighbours among them lie in the order of their items' ids."""
    same = np.zeros(len(history.users) + 1, np.bool_)
    same[1:-1] = (history.users[1:] == history.users[:-1]) & (history.times[1:] == history.times[:-1])
    later = np.flatnonzero(same[1:-1]) + 1
    later = later[history.items[later] != history.items[later - 1]]
    first, second = history.items[later - 1], history.items[later]
    occurring, places = np.unique(np.concatenate([first, second]), return_inverse=True)
    ids = history.item_ids.take(pa.array(occurring))
    ranks = np.empty(len(ids), np.int64)
    ranks[pc.array_sort_indices(ids).to_numpy()] = np.arange(len(ids))
    ranks = ranks[places]
    ascending = int((ranks[len(first) :] > ranks[: len(first)]).sum())
    is_number = pc.match_substring_regex(ids, f"^[0-9]{{1,{_LONGEST_NUMBER}}}$")
    numbers = pc.if_else(is_number, ids, "0").cast(pa.int64()).to_numpy()[places]
    is_number = is_number.to_numpy(zero_copy_only=False)[places]
    both = is_number[: len(first)] & is_number[len(first) :]
    return {
        "events": int((same[1:] | same[:-1]).sum()),
        "in_sessions": int(lengths[lengths >= 2].sum()),
        "pairs": len(first),
        "ascending": ascending,
        "descending": len(first) - ascending,
        "numeric_pairs": int(both.sum()),
        "numeric_ascending": int((numbers[len(first) :] > numbers[: len(first)])[both].sum()),
    }


def _busiest(history: History, first_events: Rows, counts: Rows) -> dict[str, Any]:
    """Events a day with events: users and events by bin of it, and the users that have most."""
    days = history.times // _DAY
    is_new = np.ones(len(days), np.bool_)
    is_new[1:] = (days[1:] != days[:-1]) | (history.users[1:] != history.users[:-1])
    rates = counts / np.bincount(history.users[is_new], minlength=len(history.user_hashes))[history.users[first_events]]
    bins, places = np.unique(bin_numbers(rates), return_inverse=True)
    users, events = np.bincount(places, minlength=len(bins)), np.bincount(places, weights=counts, minlength=len(bins))
    most = np.argsort(-rates, kind="stable")[:BUSIEST]
    return {
        "bins": [[b, u, int(e)] for b, u, e in zip(bins.tolist(), users.tolist(), events.tolist(), strict=True)],
        "worst": [
            [rate, total, order]
            for rate, total, order in zip(
                rates[most].tolist(), counts[most].tolist(), history.input_order[first_events[most]].tolist(), strict=True
            )
        ],
    }
