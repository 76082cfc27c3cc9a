"""Item-kNN: shrunk cosine similarity of items by the sessions that they share.

    similarity(i, j) = sessions with both / sqrt((sessions with i + shrinkage) (sessions with j + shrinkage))

Source: Sarwar et al. 2001; the shrunk form is that of GRU4Rec's baselines (Hidasi et al. 2016).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hrnn.data.arrays import Rows
from hrnn.data.ragged import Ragged
from hrnn.data.sequences import Sequences
from hrnn.evaluation.baselines.prediction_points import PredictionPoints
from hrnn.evaluation.baselines.rules import events_and_sessions
from hrnn.evaluation.baselines.sparse import ItemTable, summed

_PAIRS_AT_ONCE = 1 << 24


class ItemNeighbours:
    """score(item) = its similarity to the last item.

    Args:
        sequences: What to learn from, possibly truncated.
        shrinkage: Pulls the similarities of rare items towards 0.
        most: Neighbours kept of each item.
        longest: Sessions with more distinct items than that are left out: their pairs would be most of all pairs.
    """

    def __init__(self, sequences: Sequences, shrinkage: float = 20.0, most: int = 100, longest: int = 1_000) -> None:
        num_items = sequences.num_items
        keys, shared, supports = _shared_sessions(sequences, longest)
        norm = np.sqrt(supports + shrinkage)
        similarity = shared / (norm[keys // num_items] * norm[keys % num_items])
        kept = _nearest(similarity, np.bincount(keys // num_items, minlength=num_items), most)
        self._similar = ItemTable.of(keys[kept], similarity[kept], num_items)

    def scores(self, points: PredictionPoints) -> npt.NDArray[np.float32]:
        """Similarities to the latest event's item."""
        return self._similar.rows(points.last_items)


def _shared_sessions(sequences: Sequences, longest: int) -> tuple[Rows, npt.NDArray[np.float64], Rows]:
    """Keys i * N + j, i and j distinct, how many sessions hold both, and how many hold each item, [N]."""
    num_items = sequences.num_items
    items, sessions = events_and_sessions(sequences)
    distinct = np.unique(sessions * num_items + items)  # session by session, items rising
    distinct = distinct[np.bincount(distinct // num_items, minlength=1)[distinct // num_items] <= longest]
    session, item = distinct // num_items, distinct % num_items
    ends = np.cumsum(np.bincount(session))[session]
    # Every item is paired with the later ones of its session, whose rows are higher: each pair once, mirrored at the end.
    following = ends - 1 - np.arange(len(item))
    partners = np.cumsum(following)
    keys, shared = np.zeros(0, dtype=np.int64), np.zeros(0)
    begin = 0
    while begin < len(distinct):  # in chunks of a bounded number of pairs, of which a long session has very many
        done = partners[begin - 1] if begin else 0
        end = max(begin + 1, int(np.searchsorted(partners, done + _PAIRS_AT_ONCE, side="right")))
        chunk = np.arange(begin, end)
        others = item[Ragged.expand(chunk + 1, following[chunk]).values]
        pairs = np.repeat(item[chunk] * num_items, following[chunk]) + others
        new_keys, counts = np.unique(pairs, return_counts=True)
        keys, shared = summed(np.concatenate([keys, new_keys]), np.concatenate([shared, counts]))
        begin = end
    mirrored = keys % num_items * num_items + keys // num_items
    symmetric = np.concatenate([keys, mirrored])
    order = np.argsort(symmetric)
    return symmetric[order], np.concatenate([shared, shared])[order], np.bincount(item, minlength=num_items)


def _nearest(similarity: npt.NDArray[np.float64], lengths: Rows, most: int) -> Rows:
    """Positions of each item's `most` highest similarities, rising; of equal ones the first. `lengths`: of the items' runs."""
    # Only rows that are too long are looked at; a partition finds the bound without sorting them.
    kept = np.ones(len(similarity), dtype=np.bool_)
    ends = np.cumsum(lengths)
    for item in np.flatnonzero(lengths > most):
        run = slice(ends[item] - lengths[item], ends[item])
        bound = np.partition(similarity[run], -most)[-most]
        above, equal = similarity[run] > bound, np.flatnonzero(similarity[run] == bound)
        above[equal[: most - int(above.sum())]] = True
        kept[run] = above
    return np.flatnonzero(kept)
