"""Session-kNN: items of the sessions most similar to the current one.

    SKNN      similarity(s, n) = |s and n| / sqrt(|s| |n|)
              score(i)         = sum of the similarities of neighbours with i
    V-SKNN    similarity(s, n) = sum of weight(x) over shared items x / |s|
              score(i)         = sum of similarity · nearness(n) · (1 + rarity · idf(i)) over neighbours with i

weight(x) = 1 / log10(|s| - position(x) + 1.7) falls with the distance from the session's end, nearness(n) = max(0, 1 - 0.1 · d)
with d the place of the latest shared item, 1 for the session's last event, idf(i) = log(sessions / sessions with i).

Candidates are the `most_recent` newest sessions that share an item with the current one; of these the `neighbours` most similar
count, ties newest first.

Source: Jannach & Ludewig 2017 (SKNN); Ludewig & Jannach 2018 (V-SKNN).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from hrnn.data.arrays import Rows
from hrnn.data.ragged import Ragged
from hrnn.data.sequences import Sequences
from hrnn.evaluation.baselines.prediction_points import PredictionPoints


class SessionNeighbours:
    """Session-kNN over posting lists; sessions are numbered newest first, so that the newest of a list are its first.

    Args:
        sequences: Training events, possibly truncated.
        kind: `plain` is SKNN, `vector` is V-SKNN.
        neighbours: Number of neighbours, the most similar candidates.
        most_recent: Number of candidates, the newest sessions.
        rarity: Weight of idf, in V-SKNN.
        no_repeats: Items of the current session are not recommended; right where nobody takes an item twice in a session.
    """

    def __init__(
        self,
        sequences: Sequences,
        kind: Literal["plain", "vector"] = "vector",
        *,
        neighbours: int = 500,
        most_recent: int = 5_000,
        rarity: float = 5.0,
        no_repeats: bool = True,
    ) -> None:
        self._kind, self._neighbours, self._most_recent, self._no_repeats = kind, neighbours, most_recent, no_repeats
        self._num_items = sequences.num_items
        session, item = _distinct_items_by_session(sequences)
        self._lengths = np.bincount(session)
        self._items = Ragged.from_lengths(self._lengths, item)
        supports = np.bincount(item, minlength=self._num_items)
        self._postings = Ragged.from_lengths(supports, session[np.argsort(item, kind="stable")])
        idf = np.log(max(1, len(self._lengths)) / np.maximum(supports, 1))
        self._item_factor = 1.0 + rarity * idf if kind == "vector" else np.ones(self._num_items)

    def scores(self, points: PredictionPoints) -> npt.NDArray[np.float32]:
        """Scores from the neighbours of the current session."""
        scores = np.zeros((len(points), self._num_items), dtype=np.float32)
        for point in range(len(points)):
            session = points.session(point)
            scores[point] = self._scores_of(session)
            if self._no_repeats:
                scores[point, session] = -np.inf
        return scores

    def _scores_of(self, session: Rows) -> npt.NDArray[np.float64]:
        # Reversed, the first occurrence of an item is its latest: its index is the distance from the session's end.
        distinct, distances = np.unique(session[::-1], return_index=True)
        # The newest sessions of each item's posting list; more than `most_recent` of one item can't be among the candidates.
        begins = self._postings.offsets[distinct]
        lengths = np.minimum(self._postings.offsets[distinct + 1] - begins, self._most_recent)
        postings = self._postings.values[Ragged.expand(begins, lengths).values]
        # One entry a candidate and shared item; candidates rise, so that the newest sessions come first.
        candidates, place = np.unique(postings, return_inverse=True)
        posting_distances = np.repeat(distances, lengths)
        if self._kind == "plain":
            shared = np.bincount(place, minlength=len(candidates))
            similarity = shared / np.sqrt(len(distinct) * self._lengths[candidates])
            nearness = np.ones(len(candidates))
        else:
            weight = 1.0 / np.log10(posting_distances + 1.7)
            similarity = np.bincount(place, weight, minlength=len(candidates)) / len(distinct)
            nearest = np.full(len(candidates), len(session))
            np.minimum.at(nearest, place, posting_distances)
            nearness = np.maximum(0.0, 1.0 - 0.1 * (nearest + 1))
        # A stable sort of the newest candidates leaves ties newest first.
        similarity, nearness = similarity[: self._most_recent], nearness[: self._most_recent]
        best = np.argsort(-similarity, kind="stable")[: self._neighbours]
        # Each neighbour votes for all its items with one weight; idf is a factor of the item, applied once to the sum.
        items = self._items.take(candidates[best])
        votes = np.repeat(similarity[best] * nearness[best], items.lengths)
        total: npt.NDArray[np.float64] = np.bincount(items.values, votes, minlength=self._num_items) * self._item_factor
        return total


def _distinct_items_by_session(sequences: Sequences) -> tuple[Rows, Rows]:
    """(session, item), each pair once, sessions rising; the newest session is number 0."""
    events = sequences.event_positions(np.arange(sequences.num_users))
    positions, starts = events.values, np.array(sequences.session_starts[events.values])
    starts[events.offsets[:-1][events.lengths > 0]] = True
    session = np.cumsum(starts) - 1
    # A session is as new as its last event; equally new ones keep the order of their users.
    last = np.append(np.flatnonzero(starts)[1:], len(starts)) - 1
    newest_first = np.argsort(-sequences.timestamps[positions[last]], kind="stable")
    number = np.empty_like(newest_first)
    number[newest_first] = np.arange(len(newest_first))
    pairs = np.unique(number[session] * sequences.num_items + sequences.item_rows[positions])
    return pairs // sequences.num_items, pairs % sequences.num_items
