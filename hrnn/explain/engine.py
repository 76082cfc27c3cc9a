"""Why items are listed: what each path adds to a score, and which past items it owes it to; the same for every model.

A score is q · f + e: the user's query q = (state | weight of the bias | weights of the trends), the item's features
f = (vector | bias | trends), and its sparse score e, what it has for this user alone (hrnn/blend/snapshots.py). Everything is
measured from the mean over the items with events, which a bar marks:

    total      = q · (f - f̄) + e - ē
    sequence   = the state's part of q · (f - f̄), and what cooccurrence of the latest events adds to e
    popularity = the bias's part of q · (f - f̄)
    recency    = that of the trends
    own item   = the rest of e - ē

An item that the user has had has further weights for the same features, which e holds: what they make of f - f̄ is the feature's
own path's, what they make of an average item stays with the own item.

What a past item contributes is found by ablation: the history is run again without all events with it, and its contribution
is by how much the total falls. Its exp is the factor on the item's odds against an average item. The score, and not the log of
the probability, because no product with the whole catalogue is then needed for each of the many histories, and because its
parts add up. What only repeats what other events tell contributes little; contributions don't add up.

Where `e` can be computed from an ablated history, contributions are exact. Where the item statistics are not at hand, as in
serving, that of the past item p to the listed item i is, in place of what e - ē falls by:

* where p is i: e, for without these events it is no own item;
* where i is another one that the user has had: what the further weights make of the state's fall;
* where the user has not had i: a part of e, for i goes with the latest events, which are given parts of it as they fade,
  1, 1/2, 1/3 (hrnn/blend/cooccurrence.py). Which of them it goes with is not stored.

Other features of own items, such as their share of the history, are then not redone without p. An own item that was not taken
away, since its last event is too long ago, is told with its e alone.

Shapes: B lines, n listed items of them, H numbers of a state, F features of an item.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from hrnn.blend.cooccurrence import EVENTS
from hrnn.blend.weights import OWN_AGAIN_WEIGHTS, BlendWeights
from hrnn.data.arrays import Doubles, Flags, Floats, Rows
from hrnn.data.ragged import Ragged
from hrnn.data.sequences import Sequences
from hrnn.data.sparse_scores import SparseScores
from hrnn.explain.ablation import LATEST_EVENTS, ablations
from hrnn.inference.pairs import Pairs
from hrnn.inference.replay import LONGEST
from hrnn.models.contract import Queries, QueryModel

PATHS = ("sequence", "popularity", "recency", "own item")
SparseScorer = Callable[[Sequences, Rows, Queries], SparseScores]
"""Sparse scores at the moment that lists are of: the arguments are those of `QueryModel.queries`, and its answer."""
_MOST_EVENTS = 1 << 19  # of all versions of the histories that are run at once


@dataclass(frozen=True)
class Lists:
    """Lists of B users, and what their items are scored with.

    Attributes:
        user_rows: int64 [B]; a user may occur again.
        next_session: bool [B], which weights count.
        queries: [B, F], what the items' features are multiplied with.
        sparse: Sparse scores of the same lines.
        items: [B] listed item rows, n in all.
        cooccurrence: float32, how much of each sparse score is the sequence's; None: that is not known, and own items have all.
    """

    user_rows: Rows
    next_session: Flags
    queries: Floats | Doubles
    sparse: SparseScores
    items: Ragged[np.int64]
    cooccurrence: Floats | None = None


@dataclass(frozen=True)
class Reasons:
    """Why n places are as they are.

    Attributes:
        total: float64 [n], the score above its mean over the items with events.
        paths: float64 [n, PATHS], what each path adds to it.
        past_items: int64 [n, most], the past items that were taken away, that of the latest event first; -1: none.
        contributions: float64 [n, most], by how much the total falls without them; 0 where there is none.
    """

    total: Doubles
    paths: Doubles
    past_items: Rows
    contributions: Doubles


class Explainer:
    """Explains lists of one moment.

    Args:
        model: Fitted, on the CPU.
        weights: Of its blend; None: it is blended with nothing.
        features: float32 [N, F], of items; F is H + 1 where trends have no part in the scores.
        num_ranked: Items [0, num_ranked) have events.
    """

    def __init__(self, model: QueryModel, weights: BlendWeights | None, features: Floats, num_ranked: int) -> None:
        self._model, self._features, self._num_ranked = model, features, num_ranked
        self._weights = np.stack(weights or BlendWeights.plain()).astype(np.float64)
        self._mean = features[:num_ranked].mean(axis=0, dtype=np.float64)
        self._width = model.items().vectors.shape[1]

    @torch.no_grad()
    def explain(
        self, sequences: Sequences, lists: Lists, sparse_scores: SparseScorer | None = None, most_items: int | None = None
    ) -> Reasons:
        """Reasons of every place; the same for the same call.

        Args:
            sequences: Histories of the users, some of whom may be without events.
            lists: Of the users.
            sparse_scores: Of ablated histories; None: they can't be computed. Where they can, listed own items are taken
                away too, however long ago the user had them.
            most_items: Past items that are taken away, those with the latest events; None: as many as `ablations` finds.
        """
        asked, of_line = np.unique(lists.user_rows, return_inverse=True)
        places = _Places(sequences, lists, self._features, self._mean)
        further = self._weights[lists.next_session.astype(np.int64)][places.owners, OWN_AGAIN_WEIGHTS]
        again = np.zeros_like(places.centred)  # what an own item's features are multiplied with, beside the query
        again[:, self._width :] = places.had * further[:, 2 : 2 + again.shape[1] - self._width]
        listed = (
            None if sparse_scores is None else [places.item_rows[of_line[places.owners] == user] for user in range(len(asked))]
        )
        found: list[tuple[slice, Rows, Doubles]] = []
        for user, (removed, states, sparse) in self._ablated(sequences, asked, listed, sparse_scores, most_items):
            latest = sequences.item_rows[sequences.event_positions(asked[[user]]).values[-EVENTS:]][::-1]
            for line in np.flatnonzero(of_line == user):
                mine, weights = slice(*lists.items.offsets[line : line + 2]), self._weights[int(lists.next_session[line])]
                # Queries of all versions, [versions, H]: of any item, and what is added to them for an item that was had.
                of_all, of_own = (kind[0] * states[0] + kind[1] * states[1] for kind in (weights, weights[OWN_AGAIN_WEIGHTS]))
                again[mine, : self._width] = places.had[mine] * of_own[0]
                centred = places.centred[mine, : self._width]
                falls, own_falls = (centred @ (kind[0] - kind[1:]).T for kind in (of_all, of_own))  # [items, versions - 1]
                # Where sparse scores are computed anew they hold the further weights, and `own_falls` would count twice.
                if sparse is not None:
                    found.append((mine, removed, falls + self._sparse_falls(sparse, places.item_rows[mine])))
                else:
                    found.append((mine, *places.approximate(mine, removed, falls, own_falls, latest)))
        return self._reasons(lists, places, again, found)

    def _ablated(
        self,
        sequences: Sequences,
        asked: Rows,
        listed: list[Rows] | None,
        sparse_scores: SparseScorer | None,
        most_items: int | None,
    ) -> Iterator[tuple[int, tuple[Rows, list[Doubles], SparseScores | None]]]:
        """Of each user with events: what is taken away, and states [versions, H] and sparse scores of all versions."""
        for users in _parcels(sequences, asked, most_items):
            also = None if listed is None else [listed[user] for user in users]
            trials = ablations(sequences, asked[users], also=also, most_items=most_items, newest=LONGEST)
            versions = np.arange(len(trials.owners))
            queries = self._model.queries(trials.sequences, versions)
            sparse = None if sparse_scores is None else sparse_scores(trials.sequences, versions, queries)
            for number, user in enumerate(users.tolist()):
                some = trials.of(number)
                states = [each[some].numpy().astype(np.float64) for each in queries]
                yield user, (trials.removed[some][1:], states, None if sparse is None else sparse.part(some.start, some.stop))

    def _sparse_falls(self, sparse: SparseScores, item_rows: Rows) -> Doubles:
        """[items, versions - 1], by how much the first version's sparse scores, less their mean, lie above the others'."""
        rows = Ragged(sparse.offsets, sparse.item_rows)
        pairs = np.repeat(np.arange(len(rows)), len(item_rows)), np.tile(item_rows, len(rows))
        scores, sums = _at_places(rows, sparse.scores, Pairs(rows, len(self._features)).find(*pairs))
        # [versions, items]; most items have no sparse score, which in the mean counts as 0.
        above = scores.reshape(len(rows), -1) - sums[:, None] / self._num_ranked
        falls: Doubles = (above[0] - above[1:]).T
        return falls

    def _reasons(self, lists: Lists, places: _Places, again: Doubles, found: list[tuple[slice, Rows, Doubles]]) -> Reasons:
        """All of it together."""
        queries = np.asarray(lists.queries, dtype=np.float64)[places.owners]
        own, cooccurring = (each[:, 0] - (sums / self._num_ranked)[places.owners] for each, sums in places.sparse)
        columns = slice(0, self._width), slice(self._width, self._width + 1), slice(self._width + 1, None)  # vector|bias|trends
        of_all, of_own = (
            np.stack([np.einsum("nd,nd->n", each[:, some], places.centred[:, some]) for some in columns], axis=1)
            for each in (queries, again)
        )
        of_own[:, 0] += cooccurring
        # What the first three paths take of the sparse score is taken from the own item's: all four add up to the total.
        paths = np.concatenate([of_all + of_own, (own - of_own.sum(axis=1))[:, None]], axis=1)
        width = max((falls.shape[1] for _, _, falls in found), default=0)
        past_items, contributions = np.full((len(own), width), -1, dtype=np.int64), np.zeros((len(own), width))
        for mine, removed, falls in found:
            past_items[mine, : falls.shape[1]], contributions[mine, : falls.shape[1]] = removed, falls
        return Reasons(of_all.sum(axis=1) + own, paths, past_items, contributions)


class _Places:
    """The n places of some lists.

    Attributes:
        owners, item_rows: int64 [n], whose they are, and what is listed.
        centred: float64 [n, F], features less their mean.
        sparse: float64 [n, 1] and, of every line's sparse scores, the sum [B]: of all, and of what cooccurrence makes of them.
        had: bool [n, 1], whether the user has had the item.
    """

    def __init__(self, sequences: Sequences, lists: Lists, features: Floats, mean: Doubles) -> None:
        self.owners, self.item_rows = lists.items.row_ids(), lists.items.values
        self.centred: Doubles = features[self.item_rows].astype(np.float64) - mean
        rows, num_items = Ragged(lists.sparse.offsets, lists.sparse.item_rows), np.int64(len(features))
        at = Pairs(rows, len(features)).find(self.owners, self.item_rows)
        self.sparse = []
        for each in (lists.sparse.scores, np.zeros(len(rows.values)) if lists.cooccurrence is None else lists.cooccurrence):
            scores, sums = _at_places(rows, each, at)
            self.sparse.append((scores[:, None], sums))
        users, of_line = np.unique(lists.user_rows, return_inverse=True)
        events = sequences.event_positions(users)
        taken = np.unique(events.row_ids() * num_items + sequences.item_rows[events.values], return_counts=True)[0]
        self.had: Flags = (np.isin(of_line[self.owners] * num_items + self.item_rows, taken) & (at >= 0))[:, None]

    def approximate(
        self, mine: slice, removed: Rows, falls: Doubles, own_falls: Doubles, latest: npt.NDArray[np.int32]
    ) -> tuple[Rows, Doubles]:
        """Past items and contributions [items, removed + 1] of a list whose sparse scores can't be computed anew.

        The last column is an own item itself where it was not taken away.

        Args:
            mine: The list's places.
            removed: int64, the items that were taken away.
            falls, own_falls: [items, removed], of the state's part; and of what the further weights of own items make of it.
            latest: Items of the user's latest events, the latest first.
        """
        items, own, had = self.item_rows[mine, None], self.sparse[0][0][mine], self.had[mine]
        same, fading = items == removed, 1.0 / np.arange(1, len(latest) + 1)
        # [items, removed]: the score of an item that was had goes with itself, of another with the latest events as they fade.
        parts = np.where(had, same, (latest == removed[:, None]) @ fading / fading.sum())
        contributions = falls + np.where(had & ~same, own_falls, 0.0) + parts * own
        alone = np.where(had & ~same.any(axis=1, keepdims=True), own, 0.0)
        past_items = np.append(np.broadcast_to(removed, same.shape), items, axis=1)
        return past_items, np.append(contributions, alone, axis=1)


def _at_places(rows: Ragged[np.int64], scores: Floats | Doubles, at: Rows) -> tuple[Doubles, Doubles]:
    """Sparse scores at positions [n], 0 where these are -1; and every row's sum [B]."""
    sums = np.asarray(np.bincount(rows.row_ids(), scores, len(rows)), dtype=np.float64)
    return np.where(at < 0, 0.0, np.append(scores, 0.0)[at]), sums


def _parcels(sequences: Sequences, asked: Rows, most_items: int | None) -> list[Rows]:
    """Places of users with events, few enough at a time that their ablated histories fit into memory."""
    lengths = np.minimum(sequences.history_lengths[asked], LONGEST)
    users = np.flatnonzero(lengths)
    # The whole history, and as many versions as items are taken away, none of them longer.
    events = np.cumsum((1 + np.minimum(lengths, most_items or LATEST_EVENTS))[users] * lengths[users])
    return [some for some in np.split(users, np.flatnonzero(np.diff(events // _MOST_EVENTS)) + 1) if len(some)]
