"""Measure a model beside its baselines on events it has not seen.

What `train` does with it, in this order:

    split = evaluation_split(sequences.history_lengths, seed=seed)                        # hrnn/splits.py
    kept = sequences.truncate(split.user_rows, split.keep_counts)                         # what the model is trained on
    held_out = hold_out(split, sequences, model.user_states(kept, split.user_rows))       # `sequences`: the whole ones
    pq.write_table(held_out.to_table(), "evaluation-<token>.parquet")                    # facts["evaluation"]["held_out"]: path
    evaluation = evaluate(held_out, item_vectors, item_bias, catalogue num_events, catalogue num_users)
    metrics.json = evaluation.to_document()

The stored table holds all that `hrnn evaluate` needs beside the item vectors that its queries multiply and the catalogue, so
that any recipe is measured again by the same few lines, without its model's code.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from hrnn import figures, metrics
from hrnn.baselines import personal_popularity, popularity
from hrnn.metrics import DEPTH, PerUser
from hrnn.peers.lists import PeerLists, peer_lists
from hrnn.scoring import OwnItems, Scorer
from hrnn.sequences import Sequences
from hrnn.session_model import UserStates
from hrnn.splits import EvaluationSplit, ranges
from schemas import columns

Rows = npt.NDArray[np.int64]

HISTORY_ITEM_ROWS = "history_item_rows"
TRUTH_ITEM_ROWS = "truth_item_rows"
_BEGINS_SESSION = "begins_session"
_PEER_ASKED = "peer_asked"
_PEER = "list: "


@dataclass(frozen=True)
class HeldOut:
    """The test users: what they did, what they did next, and what the model knows of them in between.

    Attributes:
        user_rows: int64 [V].
        queries: float32 [V, D], after the kept events.
        own: Own items of the V users, after the kept events.
        history_offsets, history_item_rows: Kept events, oldest first: user v's are [offsets[v], offsets[v + 1]).
        truth_offsets, truth_item_rows: Hidden events, likewise.
        begins_session: bool [V], whether the first hidden event begins a session; None where it was not kept.
        peers: What plain recommenders gave some of the users; None where nobody asked them.
    """

    user_rows: Rows
    queries: torch.Tensor
    own: OwnItems
    history_offsets: Rows
    history_item_rows: Rows
    truth_offsets: Rows
    truth_item_rows: Rows
    begins_session: npt.NDArray[np.bool_] | None = None
    peers: PeerLists | None = None

    def __len__(self) -> int:
        return len(self.user_rows)

    def to_table(self) -> pa.Table:
        """One row a test user, in the order of `user_rows`."""
        queries = self.queries.detach().to(torch.float32).contiguous().numpy()
        query_offsets = np.arange(len(self) + 1, dtype=np.int64) * queries.shape[1]
        stored = {
            columns.USER_ROW: pa.array(self.user_rows),
            columns.QUERY: _lists(query_offsets, queries.reshape(-1)),
            columns.OWN_ITEM_ROWS: _lists(self.own.offsets, self.own.item_rows),
            columns.OWN_ITEM_SCORES: _lists(self.own.offsets, self.own.scores),
            HISTORY_ITEM_ROWS: _lists(self.history_offsets, self.history_item_rows),
            TRUTH_ITEM_ROWS: _lists(self.truth_offsets, self.truth_item_rows),
        }
        if self.begins_session is not None:
            stored[_BEGINS_SESSION] = pa.array(self.begins_session)
        if self.peers is not None:
            asked = np.isin(np.arange(len(self)), self.peers.asked)
            stored[_PEER_ASKED] = pa.array(asked)
            for name, listed in self.peers.lists.items():
                stored[_PEER + name] = _lists(_offsets(np.where(asked, DEPTH, 0)), listed.reshape(-1))
        return pa.table(stored)

    @classmethod
    def from_table(cls, table: pa.Table, dimension: int) -> HeldOut:
        """The users of a table that `to_table` made, of a model with `dimension` numbers a query."""
        own_offsets, own_item_rows = _csr(table, columns.OWN_ITEM_ROWS)
        history_offsets, history_item_rows = _csr(table, HISTORY_ITEM_ROWS)
        truth_offsets, truth_item_rows = _csr(table, TRUTH_ITEM_ROWS)
        queries = torch.from_numpy(np.array(_csr(table, columns.QUERY)[1], dtype=np.float32).reshape(len(table), dimension))
        own_scores = np.asarray(_csr(table, columns.OWN_ITEM_SCORES)[1], dtype=np.float32)
        return cls(
            table[columns.USER_ROW].to_numpy(),
            queries,
            OwnItems(own_offsets, own_item_rows, own_scores),
            history_offsets,
            history_item_rows,
            truth_offsets,
            truth_item_rows,
            table[_BEGINS_SESSION].to_numpy() if _BEGINS_SESSION in table.column_names else None,
            _stored_peers(table),
        )


@dataclass(frozen=True)
class Evaluation:
    """Metrics of the model and its baselines on the same users.

    Attributes:
        rows: `model`, `popularity`, `personal popularity` and other peers, each metric name -> value.
        test_users: How many users were measured.
        truth_events: How many hidden events they have.
        gain: Baseline -> (difference of NDCG@25, model minus baseline, and its standard error, paired over users).
        users: Row -> how many users it was measured on: peers that take long are asked for some.
        intervals: Row -> metric -> 95 % confidence interval of the mean over users, by bootstrap.
        slices: Slice -> row -> metrics of a part of the users, or of their true items; all rows over the same users.
        catalogue: Row -> coverage, Gini coefficient and novelty of its lists.
    """

    rows: dict[str, dict[str, float]]
    test_users: int
    truth_events: int
    gain: dict[str, tuple[float, float]]
    users: dict[str, int] = field(default_factory=dict)
    intervals: dict[str, dict[str, tuple[float, float]]] = field(default_factory=dict)
    slices: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)
    catalogue: dict[str, dict[str, float]] = field(default_factory=dict)

    def to_document(self) -> dict[str, Any]:
        """What metrics.json holds: `metrics` as GetSolutionMetrics answers, to four decimals, and the table around it."""
        rows = {name: {metric: round(value, 4) for metric, value in row.items()} for name, row in self.rows.items()}
        return {
            "metrics": {name: rows["model"][name] for name in metrics.PERSONALIZE_METRICS},
            "table": rows,
            "test_users": self.test_users,
            "truth_events": self.truth_events,
            "gain_in_normalized_discounted_cumulative_gain_at_25": {
                name: {"difference": round(difference, 4), "standard_error": round(error, 4)}
                for name, (difference, error) in self.gain.items()
            },
            "users": self.users,
            "intervals": {
                row: {metric: [round(bound, 4) for bound in bounds] for metric, bounds in of_row.items()}
                for row, of_row in self.intervals.items()
            },
            "slices": {name: {row: _rounded(values) for row, values in rows_.items()} for name, rows_ in self.slices.items()},
            "catalogue": {row: _rounded(values) for row, values in self.catalogue.items()},
        }


def hold_out(split: EvaluationSplit, sequences: Sequences, states: UserStates, *, with_peers: bool = True) -> HeldOut:
    """Cut the test users' events at the split, and keep the model's state of them in between.

    Args:
        split: Who is tested and where each history is cut.
        sequences: Whole histories, hidden events included.
        states: Of `split.user_rows`, after the kept events only.
        with_peers: Whether plain recommenders are fitted too, to stand beside the model.
    """
    starts = sequences.user_offsets[split.user_rows]
    history = sequences.item_rows[ranges(starts, split.keep_counts)].astype(np.int64)
    truth = sequences.item_rows[ranges(starts + split.keep_counts, split.truth_counts)].astype(np.int64)
    own = OwnItems(states.own_offsets, states.own_item_rows, states.own_item_scores)
    kept, hidden = _offsets(split.keep_counts), _offsets(split.truth_counts)
    begins_session = np.asarray(sequences.session_starts[starts + split.keep_counts])
    peers = peer_lists(sequences.truncate(split.user_rows, split.keep_counts), split.user_rows) if with_peers else None
    return HeldOut(split.user_rows, states.query, own, kept, history, hidden, truth, begins_session, peers)


def evaluate(
    held_out: HeldOut,
    item_vectors: torch.Tensor,
    item_bias: torch.Tensor,
    num_events: npt.ArrayLike,
    num_users: npt.ArrayLike,
) -> Evaluation:
    """Rank the catalogue for every test user by the model and by its peers, and measure all of them.

    Only items with events are ranked, as in `recommend`. Items a user has already seen are not left out, in no row.

    Args:
        held_out: The test users.
        item_vectors: float32 [N, D].
        item_bias: float32 [N].
        num_events: [N], events of each item in all sequences, hidden ones included.
        num_users: [N], distinct users of each item, likewise. The hidden events are taken out before popularity is counted.
    """
    num_items = len(item_bias)
    ranked = int(np.count_nonzero(np.asarray(num_events)))
    seen_by = _num_users_before(held_out, np.asarray(num_users, dtype=np.int64))[:ranked]
    lists = {
        "model": model_lists(held_out, item_vectors[:ranked], item_bias[:ranked]),
        "popularity": popularity(seen_by, len(held_out)),
        "personal popularity": personal_popularity(held_out.history_offsets, held_out.history_item_rows, seen_by),
    }
    everybody = np.arange(len(held_out))
    asked = dict.fromkeys(lists, everybody)
    if held_out.peers is not None:
        for name, listed in held_out.peers.lists.items():
            lists[name], asked[name] = np.full((len(held_out), DEPTH), -1, dtype=np.int64), held_out.peers.asked
            lists[name][held_out.peers.asked] = listed
    of_users: dict[str, PerUser] = {}
    rows: dict[str, dict[str, float]] = {}
    own: dict[str, PerUser] = {}
    catalogue: dict[str, dict[str, float]] = {}
    for name, listed in lists.items():
        hits, num_true = metrics.hits_of(listed, held_out.truth_offsets, held_out.truth_item_rows)
        of_users[name] = metrics.per_user_metrics(hits, num_true)
        own[name] = {metric: values[asked[name]] for metric, values in of_users[name].items()}
        rows[name] = {"coverage": metrics.coverage(listed, num_items), **metrics.means(own[name])}
        catalogue[name] = figures.of_catalogue(listed, np.asarray(num_events, dtype=np.int64))
    headline = "normalized_discounted_cumulative_gain_at_25"
    gain = {
        name: metrics.paired_difference(of_users["model"][headline][asked[name]], of_users[name][headline][asked[name]])
        for name in list(lists)[1:]
    }
    return Evaluation(
        rows,
        len(held_out),
        len(held_out.truth_item_rows),
        gain,
        {name: len(users) for name, users in asked.items()},
        figures.intervals({name: own[name] for name in list(lists)[:3]})
        | figures.intervals({name: own[name] for name in list(lists)[3:]}),
        _slices(held_out, lists, everybody if held_out.peers is None else held_out.peers.asked, np.asarray(num_events)),
        catalogue,
    )


def _slices(held_out: HeldOut, lists: dict[str, Rows], asked: Rows, num_events: Rows) -> dict[str, dict[str, dict[str, float]]]:
    """Metrics by length of history, by popularity of the true items, and by whether a new session is asked for."""
    truth = held_out.truth_item_rows
    of_users = figures.length_terciles(np.diff(held_out.history_offsets))
    if held_out.begins_session is not None:
        of_users |= {"new session": held_out.begins_session, "within a session": ~held_out.begins_session}
    parts = {name: (asked[chosen[asked]], np.ones(len(truth), dtype=np.bool_)) for name, chosen in of_users.items()}
    parts |= {name: (asked, chosen[truth]) for name, chosen in figures.popularity_classes(num_events).items()}
    measured = {
        name: figures.of_slice(lists, users, held_out.truth_offsets, truth, kept) for name, (users, kept) in parts.items()
    }
    return {name: rows for name, rows in measured.items() if rows["model"]["users"]}


def model_lists(held_out: HeldOut, item_vectors: torch.Tensor, item_bias: torch.Tensor) -> Rows:
    """The model's 25 best items of each test user: int64 [V, 25], -1 where the catalogue is smaller."""
    top = Scorer(item_vectors, item_bias).top(held_out.queries, held_out.own, DEPTH)
    return np.pad(top.item_rows, ((0, 0), (0, DEPTH - top.item_rows.shape[1])), constant_values=-1)


def _num_users_before(held_out: HeldOut, num_users: Rows) -> Rows:
    """Distinct users of each item, without those who only have it among their hidden events."""
    users = np.arange(len(held_out), dtype=np.int64)
    history = np.repeat(users, np.diff(held_out.history_offsets)) * len(num_users) + held_out.history_item_rows
    truth = np.repeat(users, np.diff(held_out.truth_offsets)) * len(num_users) + held_out.truth_item_rows
    only_hidden = np.setdiff1d(truth, history)
    return num_users - np.bincount(only_hidden % max(1, len(num_users)), minlength=len(num_users))


def _offsets(lengths: Rows) -> Rows:
    return np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(lengths, dtype=np.int64)])


def _stored_peers(table: pa.Table) -> PeerLists | None:
    if _PEER_ASKED not in table.column_names:
        return None
    names = [name for name in table.column_names if name.startswith(_PEER)]
    lists = {name.removeprefix(_PEER): np.asarray(_csr(table, name)[1], dtype=np.int64).reshape(-1, DEPTH) for name in names}
    return PeerLists(np.flatnonzero(table[_PEER_ASKED].to_numpy()), lists)


def _rounded(values: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in values.items()}


def _lists(offsets: Rows, values: npt.NDArray[Any]) -> pa.Array:
    return pa.LargeListArray.from_arrays(pa.array(offsets, pa.int64()), pa.array(values))


def _csr(table: pa.Table, name: str) -> tuple[Rows, npt.NDArray[Any]]:
    """Offsets and values of a list column."""
    column = table[name].combine_chunks()
    lengths = column.value_lengths().to_numpy(zero_copy_only=False).astype(np.int64)
    return _offsets(lengths), column.flatten().to_numpy(zero_copy_only=False)
