"""What a model is measured by: test users, their known events, its state after these, and the events it has not seen.

The stored table holds all that `hrnn evaluate` needs beside the item vectors that its queries multiply and the catalogue, so
that any recipe is measured again by the same few lines, without its model's code.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from hrnn.data.arrays import Rows
from hrnn.data.ragged import Ragged, offsets_of
from hrnn.data.sequences import Sequences
from hrnn.data.sparse_scores import SparseScores
from hrnn.data.splits import EvaluationSplit
from hrnn.evaluation.baselines import Fit
from hrnn.evaluation.baselines.lists import BaselineLists, baseline_lists
from hrnn.evaluation.metrics import DEPTH
from hrnn.models.contract import UserStates
from schemas import columns

HISTORY_ITEM_ROWS = "history_item_rows"
TRUTH_ITEM_ROWS = "truth_item_rows"
_BEGINS_SESSION = "begins_session"
_COUNTS = "truth_counts"
_PEER_ASKED = "peer_asked"
_PEER = "list: "
_FITTED_ON = "fitted_on"
_HISTORIES_LEARNT = "histories_learnt"


@dataclass(frozen=True)
class HeldOut:
    """The test users: what they did, what they did next, and what the model knows of them in between.

    Attributes:
        user_rows: int64 [V].
        queries: float32 [V, D], after the kept events.
        sparse: Sparse scores of the V users, after the kept events.
        histories: [V] item rows of kept events, oldest first.
        truth: [V] item rows of hidden events, likewise.
        histories_learnt: Whether models and baselines learnt from the kept events too.
        counts: bool, parallel to the values of `truth`: which hidden events are right answers by the event rules; None: all.
        begins_session: bool [V], whether the first hidden event begins a session; None where it was not kept.
        baselines: What plain recommenders gave some of the users; None where nobody asked them.
    """

    user_rows: Rows
    queries: torch.Tensor
    sparse: SparseScores
    histories: Ragged[np.int64]
    truth: Ragged[np.int64]
    begins_session: npt.NDArray[np.bool_] | None = None
    baselines: BaselineLists | None = None
    counts: npt.NDArray[np.bool_] | None = None
    histories_learnt: bool = True

    def __len__(self) -> int:
        return len(self.user_rows)

    def to_table(self) -> pa.Table:
        """One row a test user, in the order of `user_rows`."""
        queries = self.queries.detach().to(torch.float32).contiguous().numpy()
        stored = {
            columns.USER_ROW: pa.array(self.user_rows),
            columns.QUERY: _lists(np.arange(len(self) + 1) * queries.shape[1], queries.reshape(-1)),
            columns.SPARSE_ITEM_ROWS: _lists(self.sparse.offsets, self.sparse.item_rows),
            columns.SPARSE_SCORES: _lists(self.sparse.offsets, self.sparse.scores),
            HISTORY_ITEM_ROWS: self.histories.to_arrow(large=True),
            TRUTH_ITEM_ROWS: self.truth.to_arrow(large=True),
        }
        if self.begins_session is not None:
            stored[_BEGINS_SESSION] = pa.array(self.begins_session)
        if self.counts is not None:
            stored[_COUNTS] = _lists(self.truth.offsets, self.counts)
        if self.baselines is not None:
            asked = np.isin(np.arange(len(self)), self.baselines.asked)
            stored[_PEER_ASKED] = pa.array(asked)
            for name, listed in self.baselines.lists.items():
                stored[_PEER + name] = _lists(offsets_of(np.where(asked, DEPTH, 0)), listed.reshape(-1))
        fitted_on = {} if self.baselines is None else self.baselines.fitted_on
        metadata = {_FITTED_ON: json.dumps(fitted_on), _HISTORIES_LEARNT: json.dumps(self.histories_learnt)}
        return pa.table(stored, metadata=metadata)

    @classmethod
    def from_table(cls, table: pa.Table, dimension: int) -> HeldOut:
        """The users of a table that `to_table` made, of a model with `dimension` numbers a query."""
        sparse = Ragged.from_arrow(table[columns.SPARSE_ITEM_ROWS])
        return cls(
            table[columns.USER_ROW].to_numpy(),
            torch.from_numpy(np.array(_values(table, columns.QUERY, np.float32)).reshape(len(table), dimension)),
            SparseScores(sparse.offsets, sparse.values, _values(table, columns.SPARSE_SCORES, np.float32)),
            Ragged.from_arrow(table[HISTORY_ITEM_ROWS]),
            Ragged.from_arrow(table[TRUTH_ITEM_ROWS]),
            table[_BEGINS_SESSION].to_numpy() if _BEGINS_SESSION in table.column_names else None,
            _stored_peers(table),
            _values(table, _COUNTS, np.bool_) if _COUNTS in table.column_names else None,
            json.loads((table.schema.metadata or {}).get(_HISTORIES_LEARNT.encode(), b"true")),
        )

    def counted(self) -> HeldOut:
        """The same without hidden events that do not count, and without users who have no other."""
        if self.counts is None:
            return self
        owner = self.truth.row_ids()[self.counts]
        users = np.unique(owner)
        return HeldOut(
            self.user_rows[users],
            self.queries[torch.from_numpy(users)],
            self.sparse.take(users),
            self.histories.take(users),
            Ragged.from_lengths(np.bincount(owner, minlength=len(self))[users], self.truth.values[self.counts]),
            None if self.begins_session is None else self.begins_session[users],
            None if self.baselines is None else self.baselines.of(users),
            histories_learnt=self.histories_learnt,
        )


def hold_out(
    split: EvaluationSplit,
    sequences: Sequences,
    states: UserStates,
    *,
    fit: Sequences | None = None,
    with_peers: bool = True,
    other_peers: Mapping[str, Fit] | None = None,
    event_weights: npt.NDArray[np.float32] | None = None,
) -> HeldOut:
    """Cut the test users' events at the split, and keep the model's state of them in between.

    Args:
        split: Who is tested and where each history is cut.
        sequences: Whole histories, hidden events included.
        states: Of `split.user_rows`, after the kept events only.
        fit: What model and baselines may learn from; None: all but the hidden events.
        with_peers: Whether plain recommenders are fitted too, to stand beside the model.
        other_peers: More of them, by name.
        event_weights: float32 [E], how much each stored event counts as a target; one of 0 is no right answer. None: all are.
    """
    starts = sequences.user_offsets[split.user_rows]
    kept_at = Ragged.expand(starts, split.keep_counts)
    hidden_at = Ragged.expand(starts + split.keep_counts, split.truth_counts)
    histories, truth = (Ragged(at.offsets, sequences.item_rows[at.values].astype(np.int64)) for at in (kept_at, hidden_at))
    begins_session = np.asarray(sequences.session_starts[starts + split.keep_counts])
    known = sequences.truncate(split.user_rows, split.keep_counts)
    fit = known if fit is None else fit
    baselines = baseline_lists(known, split.user_rows, fit_on=fit, others=other_peers or {}) if with_peers else None
    histories_learnt = not len(split) or bool(fit.history_lengths[split.user_rows].any())
    counts = None if event_weights is None else np.asarray(event_weights[hidden_at.values] > 0)
    return HeldOut(
        split.user_rows, states.query, states.sparse, histories, truth, begins_session, baselines, counts, histories_learnt
    )


def _stored_peers(table: pa.Table) -> BaselineLists | None:
    if _PEER_ASKED not in table.column_names:
        return None
    names = [name for name in table.column_names if name.startswith(_PEER)]
    lists = {name.removeprefix(_PEER): _values(table, name, np.int64).reshape(-1, DEPTH) for name in names}
    fitted_on = json.loads((table.schema.metadata or {}).get(_FITTED_ON.encode(), b"{}"))
    return BaselineLists(np.flatnonzero(table[_PEER_ASKED].to_numpy()), lists, fitted_on)


def _lists(offsets: Rows, values: npt.NDArray[Any]) -> pa.Array:
    return Ragged(offsets, values).to_arrow(large=True)


def _values(table: pa.Table, name: str, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """All values of a list column, one after the other."""
    return np.asarray(Ragged.from_arrow(table[name]).values, dtype=dtype)
