"""Our model under both protocols: trained by the library, on sequences in memory."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from hrnn.blend.item_statistics import ItemStatistics
from hrnn.blend.snapshots import BlendedModel, ServingSnapshot
from hrnn.blend.weights import OWN_AGAIN_WEIGHTS, OWN_WEIGHTS, TREND_WEIGHTS, BlendWeights, fit_weights
from hrnn.data.arrays import Floats, Rows
from hrnn.data.ragged import row_ids
from hrnn.data.sequences import Sequences
from hrnn.data.sessions import sessions_alone
from hrnn.data.splits import Calibration, draw_calibration
from hrnn.evaluation.baselines.prediction_points import PredictionPoints
from hrnn.evaluation.settings.last_session import LastSession, metrics_of, ranks_of
from hrnn.evaluation.settings.next_period import NextPeriod, best_of
from hrnn.inference.replay import queries_before
from hrnn.models.contract import DataSpec, Queries
from hrnn.models.hrnn import Hrnn, Variant
from hrnn.training.settings import TrainingSettings
from hrnn.training.trainer import Trainer

_AT_ONCE = 512
_MOST_WEIGHED = 3_000  # targets that the paths are weighed on


@dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """What is trained, and how.

    Attributes:
        training: How.
        hidden_dimension: H.
        variant: `init` or `all`.
        gaps: Whether the time between events is an input.
    """

    training: TrainingSettings
    hidden_dimension: int
    variant: Variant = "init"
    gaps: bool = False


@dataclass(frozen=True)
class Trained:
    """A model with what it was trained on.

    Attributes:
        model: Its parameters.
        fit_and_calibration: All that may be known.
        fit: What the parameters were trained on: `fit_and_calibration` without the examples' newest events.
        calibration: What the paths are weighed on.
        seconds: Of the training.
    """

    model: Hrnn
    fit_and_calibration: Sequences
    fit: Sequences
    calibration: Calibration
    seconds: float

    def fitted(self, seed: int, *, trends: bool = True, sequence: bool = True) -> BlendedModel:
        """The model with the weights of its paths, fitted anew for those that are left on."""
        model = self.model if sequence else _without_vectors(self.model)
        counts = ItemStatistics.of(self.fit)
        of_kinds = (
            fit_weights(
                model,
                self.fit_and_calibration,
                self.fit,
                self.calibration,
                next_session=next_session,
                use_trends=trends,
                seed=seed,
                statistics=counts,
            )
            for next_session in (False, True)
        )
        return BlendedModel(model, BlendWeights(*of_kinds), ItemStatistics.of(self.fit_and_calibration))


def train(
    fit_and_calibration: Sequences, settings: ModelSettings, *, hold_out: bool, watch: Callable[[Hrnn], str] | None = None
) -> Trained:
    """Train on sequences.

    Args:
        fit_and_calibration: All that may be known.
        settings: How.
        hold_out: Keep some users' newest events from the training, to weigh the paths on.
        watch: Called after each epoch; what it says is told.
    """
    calibration = draw_calibration(fit_and_calibration, settings.training.seed)
    fit = fit_and_calibration.truncate(calibration.user_rows, calibration.keep_counts) if hold_out else fit_and_calibration
    config = {"hidden_dimension": settings.hidden_dimension, "variant": settings.variant}
    training = replace(settings.training, gap_inputs=settings.gaps)
    model = Hrnn.build(config, training, DataSpec.of(fit_and_calibration, fit))
    began = time.monotonic()
    watched = 0.0

    def told(trained: Hrnn) -> None:
        nonlocal watched
        start = time.monotonic()
        if watch is not None:
            print(f"  {start - began - watched:6.1f} s  {watch(trained)}", file=sys.stderr, flush=True)
        watched += time.monotonic() - start

    trainer = Trainer(model, fit, np.flatnonzero(fit.history_lengths), settings.training, heldout_loss=told)
    trainer.run()
    return Trained(trainer.model, fit_and_calibration, fit, calibration, time.monotonic() - began - watched)


def weighed_on(earlier: LastSession, trained: Trained, seed: int) -> npt.NDArray[np.float32]:
    """Weights of the paths inside sessions, fitted on some targets of sessions that the model has not learnt from."""
    drawn = np.random.Generator(np.random.Philox(key=seed)).permutation(len(earlier.targets))[:_MOST_WEIGHED]
    moments = earlier.points[np.sort(drawn)]
    asked = replace(moments, end=moments.end + 1)  # with the right answer
    each, keep = _each_a_user(earlier.sequences, asked), moments.end - moments.user_begin
    ones, same = np.ones(len(moments), dtype=np.int64), np.zeros(len(moments), dtype=np.bool_)
    calibration = Calibration(np.arange(len(moments)), keep, ones, moments.as_of, same)
    return fit_weights(
        trained.model, each, earlier.training, calibration, next_session=False, use_trends=True, seed=seed, on_grid=False
    )


def sequence_metrics(model: Hrnn, hidden: LastSession) -> dict[str, float]:
    """The session-aware protocol, by the sequence alone."""
    queries = queries_before(model, hidden.sequences, hidden.targets, with_next_session=False).same_session
    items = model.items()
    vectors, bias = items.vectors.t(), items.bias

    def score(numbers: Rows) -> Floats:
        return torch.addmm(bias, queries[torch.from_numpy(numbers)], vectors).numpy()

    return metrics_of(ranks_of(score, hidden.target_items, hidden.sequences.num_items, _known(hidden)))


def blended_metrics(fitted: BlendedModel, hidden: LastSession) -> dict[str, float]:
    """The session-aware protocol, by all paths with the weights of users who are asked in the midst of a session."""
    items, weights, trends = fitted.model.items(), fitted.weights.same_session, fitted.weights.same_session[TREND_WEIGHTS]
    vectors, bias = items.vectors.t(), items.bias
    assert isinstance(fitted.model, Hrnn)
    states = queries_before(fitted.model, hidden.sequences, hidden.targets)
    same = np.zeros(len(hidden.targets), dtype=np.bool_)
    queries, in_time = fitted.mixed(states, same), np.argsort(hidden.points.as_of, kind="stable")

    def score(numbers: Rows) -> Floats:
        chosen = in_time[numbers]
        at, moments = torch.from_numpy(chosen), hidden.points[chosen]
        scores: Floats = torch.addmm(bias, queries[at], vectors, beta=float(weights[2])).numpy()
        if trends.any():
            for line, moment in enumerate(moments.as_of):
                scores[line] += fitted.trends.at(int(moment)) @ trends
        known = Queries(states.same_session[at], states.next_session[at])
        each, users = _each_a_user(hidden.sequences, moments), np.arange(len(chosen))
        own = fitted.sparse_scores(each, users, moments.as_of, same[chosen], known, moments.as_of)
        scores[np.repeat(users, np.diff(own.offsets)), own.item_rows] += own.scores
        return scores

    targets = hidden.target_items[in_time]
    return metrics_of(ranks_of(score, targets, hidden.sequences.num_items, _known(hidden)))


def night_lists(fitted: BlendedModel, night: NextPeriod, gap_seconds: int | None) -> Rows:
    """Lists of the next-night protocol, by the model as it is served: int64 [V, 25]."""
    view = ServingSnapshot(fitted, night.cut + 1, gap_seconds)
    vectors, bias = view.items().vectors.t(), view.items().bias
    unknown = torch.from_numpy(np.flatnonzero(~night.known))
    lists = []
    for begin in range(0, len(night.user_rows), _AT_ONCE):
        states = view.user_states(night.training, night.user_rows[begin : begin + _AT_ONCE])
        scores = torch.addmm(bias, states.query, vectors)
        scores[:, unknown] = -torch.inf
        written = scores.numpy()
        users = row_ids(states.sparse.offsets)
        written[users, states.sparse.item_rows] += states.sparse.scores
        lists.append(best_of(written))
    return np.concatenate(lists)


def without_own_items(fitted: BlendedModel) -> BlendedModel:
    """The same with weights of 0 for own items; the other weights stay."""
    weights = BlendWeights(*(each.copy() for each in fitted.weights))
    for each in weights:
        each[OWN_WEIGHTS.start : OWN_AGAIN_WEIGHTS.stop] = 0.0
    return replace(fitted, weights=weights)


def hidden_sessions_alone(hidden: LastSession) -> LastSession:
    """The same sessions, each as if it were a user of its own: what a plain GRU learns from, in shuffled order."""
    return replace(hidden, sequences=sessions_alone(hidden.sequences), training=sessions_alone(hidden.training))


def _without_vectors(model: Hrnn) -> Hrnn:
    table = model.item_table.clone()
    table[:, :-1] = 0.0
    return Hrnn(model.shape, table, model.dense)


def _each_a_user(sequences: Sequences, moments: PredictionPoints) -> Sequences:
    """Histories up to each moment, as if each moment were a user of its own."""
    offsets = np.append(moments.user_begin, len(sequences.item_rows))
    return replace(sequences, user_offsets=offsets, kept=moments.end - moments.user_begin)


def _known(hidden: LastSession) -> npt.NDArray[np.bool_]:
    return hidden.training.item_counts() > 0
