"""Why a place of a nightly list is as it is, from what a solution version stores and the users' events.

A score is q · v + e: the user's query q = (state | weight of the bias | weights of the trends), the item's vector
v = (vector | bias | trends), and e, what the item has for this user alone (hrnn/blend/snapshots.py). Everything is measured
from the mean over the items with events, which a bar marks:

    total      = q · (v - v̄) + e - ē
    popularity = the part of q · (v - v̄) that bias and trends make; of an item that the user has had, with the weights that
                 these have for own items added (as in hrnn/explain/evaluation_reasons.py)
    share      = clip(popularity / total, 0, 1) where the total is above 0

In general it is max(popularity, 0) / (max(popularity, 0) + max(total - popularity, 0)), which says the same there and is
defined below the mean too, where listed items may lie.

What is left, 1 - share, is dealt among the user's past items by what each contributes. A contribution is found by ablation:
the history is run again without all events with the past item, and it is by how much the score falls. The score, and not the
log of the probability, because no product with the whole catalogue is then needed for each of the many histories, and
because its parts add up. In detail, for the listed item i and the past item p:

* what the state's part, (state · (vector - mean vector)), falls by; of an item i ≠ p that the user has had, the state counts
  with the weights of own items added;
* e, where p is i: without these events it is no own item;
* e, where the user has not had i: it succeeds the latest events, which are given parts of it as they fade, 1, 1/2, 1/3
  (hrnn/blend/cooccurrence.py). Which of them it follows is not stored.

Not redone without p, because they are not stored: the features of other own items, such as their share of the history.
Only the newest MOST_PAST_ITEMS different items among the newest 50 events (hrnn/explain/ablation.py) are taken away; an own
item whose last event is longer ago is told with its e alone. Contributions below 0 count as none.

Shapes: B lines, n listed items of them, H hidden units, D numbers of a query.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from hrnn.blend.cooccurrence import EVENTS
from hrnn.blend.snapshots import asks_next_session
from hrnn.blend.weights import BESIDE_WEIGHTS, OWN_AGAIN_WEIGHTS, BlendWeights
from hrnn.data.arrays import Doubles, Flags, Rows
from hrnn.data.ragged import Ragged, row_ids
from hrnn.data.sequences import Sequences, unknown_user
from hrnn.data.sparse_scores import SparseScores
from hrnn.explain.ablation import Group, ablations
from hrnn.inference.pairs import Pairs
from hrnn.inference.replay import LONGEST
from hrnn.models.contract import Queries, QueryModel

MOST_PAST_ITEMS = 20
_MOST_EVENTS = 1 << 19  # of all versions of the histories that are run at once


@dataclass(frozen=True)
class Lists:
    """Lists of B users, and what the users are scored with.

    Attributes:
        user_rows: int64 [B]; a user may occur again.
        queries: float32 [B, D], as states store them: without that of an unknown user.
        own: Own items of the same lines.
        items: [B] listed item rows, n in all.
    """

    user_rows: Rows
    queries: npt.NDArray[np.float32]
    own: SparseScores
    items: Ragged[np.int64]


@dataclass(frozen=True)
class Reasons:
    """Why n places are as they are.

    Attributes:
        popularity: float64 [n], the share of popularity, 0 to 1.
        past_items: int64 [n, most], the past items that contribute most, the strongest first; -1 behind the last.
        shares: float64 [n, most], theirs, falling; with `popularity` and those that are not told they add up to 1.
    """

    popularity: Doubles
    past_items: Rows
    shares: Doubles


class NightlyReasons:
    """Explains lists of a nightly view.

    Args:
        model: Trained parameters, on the CPU.
        weights: Of the blend.
        item_vectors: float32 [N, D], as lists are made with.
        num_ranked: Items [0, num_ranked) have events.
        cut: The moment that is asked for, UTC epoch seconds.
        gap_seconds: Of the sessions; None: everybody is asked for the same session.
    """

    def __init__(
        self,
        model: QueryModel,
        weights: BlendWeights,
        item_vectors: npt.NDArray[np.float32],
        num_ranked: int,
        cut: int,
        gap_seconds: int | None,
    ) -> None:
        self._model, self._cut, self._gap = model, cut, gap_seconds
        self._weights = np.stack(weights).astype(np.float64)
        self._vectors, self._num_ranked = item_vectors, num_ranked
        self._mean = item_vectors[:num_ranked].mean(axis=0, dtype=np.float64)
        self._width = model.items().vectors.shape[1]
        unknown = self._weights[int(gap_seconds is not None)]
        start = model.queries(unknown_user(len(item_vectors)), np.zeros(1, dtype=np.int64)).next_session[0].double().numpy()
        self._unknown = np.concatenate([unknown[:2].sum() * start, unknown[BESIDE_WEIGHTS]])

    @torch.no_grad()
    def of_lists(self, sequences: Sequences, lists: Lists, most: int) -> Reasons:
        """Reasons of every place; the same for the same call.

        Args:
            sequences: Histories of the users.
            lists: Of users, some of whom may be without events.
            most: Past items to tell of a place.
        """
        owners, item_rows = lists.items.row_ids(), lists.items.values
        centred = self._vectors[item_rows].astype(np.float64) - self._mean
        asked, of_line = np.unique(lists.user_rows, return_inverse=True)
        next_session = asks_next_session(sequences, lists.user_rows, self._cut, self._gap).astype(np.int64)
        had = _had(sequences, asked, of_line[owners], item_rows)
        places = Pairs(Ragged(lists.own.offsets, lists.own.item_rows), len(self._vectors)).find(owners, item_rows)
        own = np.where(places < 0, 0.0, np.append(lists.own.scores, 0.0)[places])
        had &= places >= 0
        popularity = self._popularity(lists, owners, centred, own, next_session, had)
        count = len(item_rows)
        found = Reasons(popularity, np.full((count, most), -1, dtype=np.int64), np.zeros((count, most)))
        lines_of = np.argsort(of_line, kind="stable")
        bounds = np.searchsorted(of_line[lines_of], np.arange(len(asked) + 1))
        for users in self._parcels(sequences, asked):
            trials = ablations(sequences, asked[users], "item", most_groups=MOST_PAST_ITEMS, newest=LONGEST)
            replayed = self._model.queries(trials.sequences, np.arange(len(trials.owners)))
            ends = np.searchsorted(trials.owners, np.arange(len(users) + 1))
            for number, user in enumerate(users.tolist()):
                falls = _falls(replayed, ends[number], ends[number + 1])
                latest = _latest_items(sequences, int(asked[user]))
                for line in lines_of[bounds[user] : bounds[user + 1]].tolist():
                    mine = slice(lists.items.offsets[line], lists.items.offsets[line + 1])
                    items = item_rows[mine]
                    groups = trials.groups[number]
                    of_groups = self._contributions(
                        falls,
                        groups,
                        latest,
                        int(next_session[line]),
                        items,
                        centred[mine, : self._width],
                        own[mine],
                        had[mine],
                    )
                    _tell(found, mine, of_groups, groups, items)
        return found

    def _popularity(
        self, lists: Lists, owners: Rows, centred: Doubles, own: Doubles, next_session: Rows, had: Flags
    ) -> Doubles:
        """float64 [n], the share of popularity."""
        queries = lists.queries.astype(np.float64) + self._unknown
        of_lines = np.bincount(row_ids(lists.own.offsets), lists.own.scores, len(lists.queries)) / self._num_ranked
        state, beside = slice(0, self._width), slice(self._width, None)
        popular = np.einsum("nd,nd->n", queries[owners, beside], centred[:, beside])
        total = np.einsum("nd,nd->n", queries[owners, state], centred[:, state]) + popular + own - of_lines[owners]
        again = self._weights[next_session][:, OWN_AGAIN_WEIGHTS][owners, 2:]
        popular += np.where(had, np.einsum("nd,nd->n", again, centred[:, beside]), 0.0)
        above, others = np.maximum(popular, 0.0), np.maximum(total - popular, 0.0)
        shares: Doubles = np.divide(above, above + others, out=np.zeros_like(above), where=above > 0)
        return shares

    def _parcels(self, sequences: Sequences, asked: Rows) -> list[Rows]:
        """Places of users with events, few enough at a time that their histories without this and that fit into memory."""
        lengths = np.minimum(sequences.history_lengths[asked], LONGEST)
        users = np.flatnonzero(lengths)
        events = np.cumsum((1 + np.minimum(lengths, MOST_PAST_ITEMS))[users] * lengths[users])
        return [some for some in np.split(users, np.flatnonzero(np.diff(events // _MOST_EVENTS)) + 1) if len(some)]

    def _contributions(
        self,
        falls: tuple[Doubles, Doubles],
        groups: list[Group],
        latest: list[int],
        next_session: int,
        items: Rows,
        centred: Doubles,
        own: Doubles,
        had: Flags,
    ) -> Doubles:
        """float64 [items, groups + 1]; the last column is an own item itself where none of the groups is its."""
        weights, (of_same, of_next) = self._weights[next_session], falls
        again = weights[OWN_AGAIN_WEIGHTS]
        past = np.asarray([group.item_row for group in groups], dtype=np.int64)
        same = items[:, None] == past
        of_state = centred @ (weights[0] * of_same + weights[1] * of_next).T
        of_state += np.where(had[:, None] & ~same, centred @ (again[0] * of_same + again[1] * of_next).T, 0.0)
        fading = np.asarray([sum(1 / back for back, item in enumerate(latest, 1) if item == row) for row in past.tolist()])
        of_own = np.where(had[:, None], same, fading / sum(1 / back for back in range(1, len(latest) + 1))) * own[:, None]
        alone = np.where(had & ~same.any(axis=1), own, 0.0)
        found: Doubles = np.concatenate([of_state + of_own, alone[:, None]], axis=1)
        return found


def _falls(replayed: Queries, first: int, end: int) -> tuple[Doubles, Doubles]:
    """[groups, H] each: the state after the whole history, which stands first, less that without each group."""
    same_session, next_session = (states[first:end].numpy().astype(np.float64) for states in replayed)
    return same_session[0] - same_session[1:], next_session[0] - next_session[1:]


def _latest_items(sequences: Sequences, user_row: int) -> list[int]:
    """Items of the events that have successors, the latest first."""
    begin = int(sequences.user_offsets[user_row])
    end = begin + int(sequences.history_lengths[user_row])
    latest: list[int] = sequences.item_rows[max(begin, end - EVENTS) : end][::-1].tolist()
    return latest


def _had(sequences: Sequences, users: Rows, owners: Rows, item_rows: Rows) -> Flags:
    """bool [n], whether users have had items; `owners` says which of the users it is."""
    events = sequences.event_positions(users)
    pairs = events.row_ids() * np.int64(sequences.num_items) + sequences.item_rows[events.values]
    taken = np.unique(pairs, return_counts=True)[0]
    found: Flags = np.isin(owners * np.int64(sequences.num_items) + item_rows, taken)
    return found


def _tell(found: Reasons, mine: slice, contributions: Doubles, groups: list[Group], items: Rows) -> None:
    """Write the strongest contributions to a list's places, as shares of what popularity leaves."""
    past = np.tile(np.append([group.item_row for group in groups], -1).astype(np.int64), (len(items), 1))
    past[:, -1] = items
    above = np.maximum(contributions, 0.0)
    totals = above.sum(axis=1, keepdims=True)
    left = 1.0 - found.popularity[mine, None]
    shares = np.divide(above * left, totals, out=np.zeros_like(above), where=totals > 0)
    order = np.argsort(-shares, axis=1, kind="stable")[:, : found.shares.shape[1]]
    best, width = np.take_along_axis(shares, order, 1), order.shape[1]
    found.shares[mine, :width] = best
    found.past_items[mine, :width] = np.where(best > 0, np.take_along_axis(past, order, 1), -1)
