"""Our model under both protocols: trained by the library, on sequences in memory."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from hrnn.blend.snapshots import BlendedModel
from hrnn.blend.weights import TREND_WEIGHTS, fit_weights
from hrnn.data.arrays import Floats, Rows
from hrnn.data.sequences import Sequences
from hrnn.data.sessions import sessions_alone
from hrnn.data.splits import Calibration
from hrnn.evaluation.baselines.prediction_points import PredictionPoints
from hrnn.evaluation.settings.last_session import LastSession, metrics_of, ranks_of
from hrnn.inference.replay import queries_before
from hrnn.models.contract import DataSpec, Queries
from hrnn.models.hrnn import Hrnn, Variant
from hrnn.training.parts import TrainingPart
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
        seconds: Of the training.
    """

    model: Hrnn
    seconds: float


def train(fit: Sequences, settings: ModelSettings, watch: Callable[[Hrnn], str] | None = None) -> Trained:
    """Train on sequences; after each epoch what `watch` says is told."""
    config = {"hidden_dimension": settings.hidden_dimension, "variant": settings.variant}
    training = replace(settings.training, gap_inputs=settings.gaps)
    model = Hrnn.build(config, training, DataSpec.of(fit, fit))
    began = time.monotonic()
    watched = 0.0

    def told(trained: Hrnn) -> None:
        nonlocal watched
        start = time.monotonic()
        if watch is not None:
            print(f"  {start - began - watched:6.1f} s  {watch(trained)}", file=sys.stderr, flush=True)
        watched += time.monotonic() - start

    trainer = Trainer(model, [TrainingPart(fit, np.flatnonzero(fit.history_lengths))], settings.training, heldout_loss=told)
    trainer.run()
    return Trained(trainer.model, time.monotonic() - began - watched)


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


def hidden_sessions_alone(hidden: LastSession) -> LastSession:
    """The same sessions, each as if it were a user of its own: what a plain GRU learns from, in shuffled order."""
    return replace(hidden, sequences=sessions_alone(hidden.sequences), training=sessions_alone(hidden.training))


def _each_a_user(sequences: Sequences, moments: PredictionPoints) -> Sequences:
    """Histories up to each moment, as if each moment were a user of its own."""
    offsets = np.append(moments.user_begin, len(sequences.item_rows))
    return replace(sequences, user_offsets=offsets, kept=moments.end - moments.user_begin)


def _known(hidden: LastSession) -> npt.NDArray[np.bool_]:
    return hidden.training.item_counts() > 0
