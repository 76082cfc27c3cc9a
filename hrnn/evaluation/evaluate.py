"""Evaluate a model and its baselines on held-out events.

What `train` does with it, in this order:

    prepared = prepare(sequences, seed)                                                # hrnn/data/splits.py
    states = snapshot.user_states(prepared.kept, prepared.split.user_rows)             # of one fitted on `fit_and_calibration`
    held_out = hold_out(prepared.split, sequences, states, fit=prepared.fit_and_calibration)
    pq.write_table(held_out.to_table(), "evaluation-<token>.parquet")                  # so that `evaluate` needs no model code
    evaluation = evaluate(held_out, item_vectors, item_bias, catalogue num_events, catalogue num_users)
    metrics.json = evaluation.to_document()
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from hrnn.data.arrays import Rows
from hrnn.evaluation import metrics
from hrnn.evaluation.baselines.popular import personal_popularity, popularity
from hrnn.evaluation.holdout import HeldOut
from hrnn.evaluation.intervals import (
    bootstrap_intervals,
    catalogue_metrics,
    length_terciles,
    popularity_classes,
    slice_metrics,
)
from hrnn.evaluation.metrics import DEPTH, PerUser
from hrnn.inference.topk import Scorer

EVERY_EVENT = "every hidden event"
SOME_EVENTS = "hidden events that the solution's event rules count"


@dataclass(frozen=True)
class Evaluation:
    """Metrics of the model and its baselines on the same users.

    Attributes:
        rows: `model`, `popularity`, `personal popularity` and other baselines, each metric name -> value.
        test_users: How many users were measured.
        truth_events: How many hidden events are ground truth.
        hidden_events: How many were hidden: more where event rules let only some count.
        gain: Baseline -> (difference of NDCG@25, model minus baseline, and its standard error, paired over users).
        users: Row -> how many users it was measured on: slow baselines are measured on a sample.
        intervals: Row -> metric -> 95 % confidence interval of the mean over users, by bootstrap.
        slices: Slice -> row -> metrics over a part of the users, or of their true items; all rows over the same users.
        catalogue: Row -> coverage, Gini coefficient and novelty of its lists.
        fitted_on: Baseline -> number of events that it was fitted on, and of all; of baselines fitted on a sample alone.
        segments: Metrics of user segments, in Personalize's order; empty where the recipe makes none.
    """

    rows: dict[str, dict[str, float]]
    test_users: int
    truth_events: int
    hidden_events: int
    gain: dict[str, tuple[float, float]]
    users: dict[str, int] = field(default_factory=dict)
    intervals: dict[str, dict[str, tuple[float, float]]] = field(default_factory=dict)
    slices: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)
    catalogue: dict[str, dict[str, float]] = field(default_factory=dict)
    fitted_on: dict[str, tuple[int, int]] = field(default_factory=dict)
    segments: dict[str, float] = field(default_factory=dict)

    def to_document(self) -> dict[str, Any]:
        """What metrics.json holds: `metrics` as GetSolutionMetrics answers, to four decimals, and the table around it.

        Without test users, metrics are None, and differences, intervals and slices empty.
        """
        rows = {name: _rounded(row if self.test_users else dict.fromkeys(row)) for name, row in self.rows.items()}
        measured = self if self.test_users else replace(self, gain={}, intervals={}, slices={}, catalogue={})
        return measured._document(rows)

    def _document(self, rows: dict[str, dict[str, float | None]]) -> dict[str, Any]:
        return {
            "metrics": {"coverage": rows["model"]["coverage"], **_rounded(self.segments)}
            if self.segments
            else {name: rows["model"][name] for name in metrics.PERSONALIZE_METRICS},
            "table": rows,
            "test_users": self.test_users,
            "truth_events": self.truth_events,
            "hidden_events": self.hidden_events,
            "truth": EVERY_EVENT if self.truth_events == self.hidden_events else SOME_EVENTS,
            f"gain_in_{metrics.HEADLINE}": {
                name: {"difference": round(difference, 4), "standard_error": round(error, 4)}
                for name, (difference, error) in self.gain.items()
            },
            "users": self.users,
            "intervals": {
                row: {metric: [round(bound, 4) for bound in bounds] for metric, bounds in row_intervals.items()}
                for row, row_intervals in self.intervals.items()
            },
            "slices": {name: {row: _rounded(values) for row, values in table.items()} for name, table in self.slices.items()},
            "catalogue": {row: _rounded(values) for row, values in self.catalogue.items()},
            "fitted_on": {row: {"events": events, "of": total} for row, (events, total) in self.fitted_on.items()},
        }


def evaluate(
    held_out: HeldOut,
    item_vectors: torch.Tensor,
    item_bias: torch.Tensor,
    num_events: npt.ArrayLike,
    num_users: npt.ArrayLike,
) -> Evaluation:
    """Rank the catalogue for every test user by the model and by its baselines, and compute the metrics of all of them.

    Only items with events are ranked, as in `recommend`. Items that a user has already seen stay in, in every row.

    Args:
        held_out: The test users.
        item_vectors: float32 [N, D].
        item_bias: float32 [N].
        num_events: [N], events of each item in all sequences, hidden ones included; items with events come first.
        num_users: [N], distinct users of each item, likewise. Before popularity is counted, the hidden events are taken out,
            and with them the test users' other events where nothing was learnt from these.
    """
    num_items = len(item_bias)
    ranked = int(np.count_nonzero(np.asarray(num_events)))
    seen_by = _num_users_before(held_out, np.asarray(num_users, dtype=np.int64))[:ranked]
    hidden_events, held_out = len(held_out.truth.values), held_out.counted()
    lists = {
        "model": model_lists(held_out, item_vectors[:ranked], item_bias[:ranked]),
        "popularity": popularity(seen_by, len(held_out)),
        "personal popularity": personal_popularity(held_out.histories, seen_by),
    }
    everybody = np.arange(len(held_out))
    measured_on = dict.fromkeys(lists, everybody)
    if held_out.baselines is not None:
        # Baselines that were fitted have lists for a sample of the users; empty lists fill the rows of the others.
        for name, sample_lists in held_out.baselines.lists.items():
            lists[name], measured_on[name] = np.full((len(held_out), DEPTH), -1, dtype=np.int64), held_out.baselines.users
            lists[name][held_out.baselines.users] = sample_lists
    of_everybody: dict[str, PerUser] = {}
    of_measured: dict[str, PerUser] = {}
    rows: dict[str, dict[str, float]] = {}
    catalogue: dict[str, dict[str, float]] = {}
    for name, listed in lists.items():
        hits, num_true = metrics.hits_of(listed, held_out.truth)
        of_everybody[name] = metrics.per_user_metrics(hits, num_true)
        of_measured[name] = {metric: values[measured_on[name]] for metric, values in of_everybody[name].items()}
        rows[name] = {"coverage": metrics.coverage(listed, num_items), **metrics.means(of_measured[name])}
        catalogue[name] = catalogue_metrics(listed, np.asarray(num_events, dtype=np.int64))
    gain = {
        name: metrics.paired_difference(
            of_everybody["model"][metrics.HEADLINE][users], of_everybody[name][metrics.HEADLINE][users]
        )
        for name, users in list(measured_on.items())[1:]  # the first is the model itself
    }
    # Two bootstraps, since rows must be of the same users: the first three are of everybody, baselines of the sample.
    intervals = bootstrap_intervals({name: of_measured[name] for name in list(lists)[:3]})
    intervals |= bootstrap_intervals({name: of_measured[name] for name in list(lists)[3:]})
    return Evaluation(
        rows,
        len(held_out),
        len(held_out.truth.values),
        hidden_events,
        gain,
        {name: len(users) for name, users in measured_on.items()},
        intervals,
        _slices(held_out, lists, everybody if held_out.baselines is None else held_out.baselines.users, np.asarray(num_events)),
        catalogue,
        {} if held_out.baselines is None else held_out.baselines.fitted_on,
    )


def _slices(held_out: HeldOut, lists: dict[str, Rows], users: Rows, num_events: Rows) -> dict[str, dict[str, dict[str, float]]]:
    """Metrics by length of history, by popularity of the true items, and by whether the true events begin a new session."""
    truth = held_out.truth.values
    user_slices = length_terciles(held_out.histories.lengths)
    if held_out.begins_session is not None:
        user_slices |= {"new session": held_out.begins_session, "within a session": ~held_out.begins_session}
    slices = {name: (users[is_in[users]], np.ones(len(truth), dtype=np.bool_)) for name, is_in in user_slices.items()}
    slices |= {name: (users, is_in[truth]) for name, is_in in popularity_classes(num_events).items()}
    tables = {name: slice_metrics(lists, part, held_out.truth, counts) for name, (part, counts) in slices.items()}
    return {name: rows for name, rows in tables.items() if rows["model"]["users"]}


def model_lists(held_out: HeldOut, item_vectors: torch.Tensor, item_bias: torch.Tensor) -> Rows:
    """The model's 25 best items of each test user: int64 [V, 25], -1 where the catalogue is smaller."""
    top = Scorer(item_vectors, item_bias).top(held_out.queries, held_out.sparse, DEPTH)
    return np.pad(top.item_rows, ((0, 0), (0, DEPTH - top.item_rows.shape[1])), constant_values=-1)


def _num_users_before(held_out: HeldOut, num_users: Rows) -> Rows:
    """Distinct users of each item, without those who only have it among events that nothing was learnt from."""
    # Pairs of user and item. A user whose other events were learnt from still counts where the item is among them.
    history, truth = (items.row_ids() * len(num_users) + items.values for items in (held_out.histories, held_out.truth))
    unknown = np.setdiff1d(truth, history) if held_out.histories_learnt else np.union1d(truth, history)
    return num_users - np.bincount(unknown % max(1, len(num_users)), minlength=len(num_users))


def _rounded(values: Mapping[str, float | None]) -> dict[str, float | None]:
    """Rounded to four decimals; None where there is no number."""
    return {name: None if value is None or math.isnan(value) else round(value, 4) for name, value in values.items()}
