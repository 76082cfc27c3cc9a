"""The holdout of an evaluation: test users, their input events, their queries after these, and their ground truth.

The stored table holds all that `hrnn evaluate` needs beside item vectors and catalogue, so that any recipe is measured again
by the same few lines, without its model's code.
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
_MEASURED = "peer_asked"  # the name of the stored column: whether a user has lists of baselines
_BASELINE = "list: "  # begins the names of columns that hold a baseline's lists
_FITTED_ON = "fitted_on"
_HISTORIES_LEARNT = "histories_learnt"


@dataclass(frozen=True)
class HeldOut:
    """The test users: their input events, their ground truth, and the model's state of them in between.

    Attributes:
        user_rows: int64 [V].
        queries: float32 [V, D], after the input events.
        sparse: Sparse scores of the V users, after the input events.
        histories: [V] item rows of input events, oldest first.
        truth: [V] item rows of hidden events, likewise.
        begins_session: bool [V], whether the first hidden event begins a session; None where it was not stored.
        baselines: Lists of baselines for a sample of the users; None where none were fitted.
        counts: bool, parallel to the values of `truth`: which hidden events are targets by the event rules; None: all.
        histories_learnt: Whether model and baselines learnt from the input events too.
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
            measured = np.isin(np.arange(len(self)), self.baselines.users)
            stored[_MEASURED] = pa.array(measured)
            for name, listed in self.baselines.lists.items():
                stored[_BASELINE + name] = _lists(offsets_of(np.where(measured, DEPTH, 0)), listed.reshape(-1))
        fitted_on = {} if self.baselines is None else self.baselines.fitted_on
        metadata = {_FITTED_ON: json.dumps(fitted_on), _HISTORIES_LEARNT: json.dumps(self.histories_learnt)}
        return pa.table(stored, metadata=metadata)

    @classmethod
    def from_table(cls, table: pa.Table, dimension: int) -> HeldOut:
        """The users of a table that `to_table` made, of a model with `dimension` numbers a query."""
        sparse = Ragged.from_arrow(table[columns.SPARSE_ITEM_ROWS])
        return cls(
            table[columns.USER_ROW].to_numpy(),
            # A copy: Arrow's memory can't be written, which Torch warns of.
            torch.from_numpy(np.array(_values(table, columns.QUERY, np.float32)).reshape(len(table), dimension)),
            SparseScores(sparse.offsets, sparse.values, _values(table, columns.SPARSE_SCORES, np.float32)),
            Ragged.from_arrow(table[HISTORY_ITEM_ROWS]),
            Ragged.from_arrow(table[TRUTH_ITEM_ROWS]),
            table[_BEGINS_SESSION].to_numpy() if _BEGINS_SESSION in table.column_names else None,
            _stored_baselines(table),
            _values(table, _COUNTS, np.bool_) if _COUNTS in table.column_names else None,
            json.loads((table.schema.metadata or {}).get(_HISTORIES_LEARNT.encode(), b"true")),
        )

    def counted(self) -> HeldOut:
        """Without hidden events that are no targets, and without users who have no other."""
        if self.counts is None:
            return self
        # Users without a target have no metric: a mean over them would measure the event rules, not the model.
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
    with_baselines: bool = True,
    other_baselines: Mapping[str, Fit] | None = None,
    event_weights: npt.NDArray[np.float32] | None = None,
) -> HeldOut:
    """Hold out the newest events of the split's users, beside the model's state of each at the cut.

    Args:
        split: Who is tested and where each history is cut.
        sequences: Whole histories, hidden events included.
        states: Of `split.user_rows`, after the input events only.
        fit: Events that model and baselines may learn from; None: all but the hidden ones.
        with_baselines: Whether baselines are fitted, and recommend to a sample of the users.
        other_baselines: More of them, by name.
        event_weights: float32 [E], how much each stored event counts as a target; one of 0 is none. None: all count alike.
    """
    starts = sequences.user_offsets[split.user_rows]
    kept_at = Ragged.expand(starts, split.keep_counts)
    hidden_at = Ragged.expand(starts + split.keep_counts, split.truth_counts)
    histories, truth = (Ragged(at.offsets, sequences.item_rows[at.values].astype(np.int64)) for at in (kept_at, hidden_at))
    begins_session = np.asarray(sequences.session_starts[starts + split.keep_counts])  # of the first hidden event
    known = sequences.truncate(split.user_rows, split.keep_counts)
    fit = known if fit is None else fit
    baselines = baseline_lists(known, split.user_rows, fit_on=fit, others=other_baselines or {}) if with_baselines else None
    # By Personalize's split, nothing of a test user is learnt from (hrnn/data/splits.py); the whole split is of one kind.
    histories_learnt = not len(split) or bool(fit.history_lengths[split.user_rows].any())
    counts = None if event_weights is None else np.asarray(event_weights[hidden_at.values] > 0)
    return HeldOut(
        split.user_rows, states.query, states.sparse, histories, truth, begins_session, baselines, counts, histories_learnt
    )


def _stored_baselines(table: pa.Table) -> BaselineLists | None:
    """The baselines' lists of a stored table; None where it has none."""
    if _MEASURED not in table.column_names:
        return None
    names = [name for name in table.column_names if name.startswith(_BASELINE)]
    lists = {name.removeprefix(_BASELINE): _values(table, name, np.int64).reshape(-1, DEPTH) for name in names}
    fitted_on = json.loads((table.schema.metadata or {}).get(_FITTED_ON.encode(), b"{}"))
    return BaselineLists(np.flatnonzero(table[_MEASURED].to_numpy()), lists, fitted_on)


def _lists(offsets: Rows, values: npt.NDArray[Any]) -> pa.Array:
    return Ragged(offsets, values).to_arrow(large=True)


def _values(table: pa.Table, name: str, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """All values of a list column, one after the other."""
    return np.asarray(Ragged.from_arrow(table[name]).values, dtype=dtype)
