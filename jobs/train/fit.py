"""Fit one recipe on this node: in closed form, or under torchrun; then fit the blend weights where the model is blended."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file
from torch import Tensor

from hrnn.blend.item_statistics import ItemStatistics
from hrnn.blend.snapshots import BlendedModel, PerUserSnapshot, PlainSnapshot, ServingSnapshot
from hrnn.blend.weights import BlendWeights, fit_weights
from hrnn.data.metadata import Metadata
from hrnn.data.plausible import plausible_span
from hrnn.data.sequences import Sequences
from hrnn.data.splits import Prepared
from hrnn.evaluation.baselines import Fit
from hrnn.evaluation.baselines.neural import NeuralBaseline
from hrnn.inference.related import POPULARITY
from hrnn.models.contract import QueryModel, SequenceModel, Snapshot
from hrnn.models.registry import model_for, restored
from hrnn.models.similar_items import SimilarItems
from hrnn.ranker.knowledge import Knowledge
from hrnn.ranker.moments import training_moments
from hrnn.ranker.snapshot import RankedSnapshot
from hrnn.training.parts import PRESENT, past_name
from hrnn.training.settings import TrainingSettings
from jobs.solutions.staging import EVENT_WEIGHTS, METADATA
from jobs.train.launch import Launch, run_ranks
from jobs.train.ranking import Moments, ranker_document
from jobs.train.spec import WorkerSpec
from schemas.event_rules import EventRules
from schemas.hyperparameters import Hyperparameters
from schemas.recipes import RECIPES, hrnn_hyperparameters
from schemas.training_columns import TrainingColumns

MOST_GRU_EVENTS = 500_000  # of which a GRU is trained for the table of baselines without being asked for


@dataclass(frozen=True)
class FittedRecipe:
    """A fitted recipe: its snapshots for serving and for evaluation, its parameters and its training curve.

    Attributes:
        serving: What lists are made from: as of the end of the data.
        evaluation: What is measured: as of each test user's last known event.
        parameters: All that was learnt, by name.
        curve: Points of training.parquet.
        facts: What the manifest tells of the training: epochs done, the best one, the model's shape.
        next_period: How its lists of the next days compare with the blend's (jobs/train/ranking.py); None: nothing was fitted.
    """

    serving: Snapshot
    evaluation: Snapshot
    parameters: dict[str, Tensor]
    curve: list[dict[str, Any]]
    facts: dict[str, Any] = field(default_factory=dict)
    next_period: dict[str, Any] | None = None


@dataclass(frozen=True, kw_only=True)
class TrainingJob:
    """One training to run.

    Attributes:
        recipe: Personalize's name.
        hyperparameters: Parsed.
        settings: How to train.
        variant: Of HRNN.
        gap_seconds: Of the sessions; None: whole histories are sessions.
        identity: Fingerprint of the solution version.
        checkpoints_uri: Where checkpoints live.
        rules: Which events are targets; None: all.
        columns: Of the datasets, that are learnt from.
        gru_baseline: Whether a plain GRU is trained too, to stand beside the model; None: where events are few enough.
        ranker: Whether a ranker may serve.
        horizon_seconds: The period that a night's lists are made for.
        lag_seconds: After the end of the data, until lists are read.
        moments: UTC epoch seconds, rising, that a ranker learns from; none: there is no ranker.
    """

    recipe: str
    hyperparameters: Hyperparameters
    settings: TrainingSettings
    variant: str
    gap_seconds: int | None
    identity: str
    checkpoints_uri: str
    rules: EventRules | None = None
    columns: TrainingColumns = field(default_factory=TrainingColumns)
    gru_baseline: bool | None = None
    ranker: bool = True
    horizon_seconds: int = 86_400
    lag_seconds: int = 0
    moments: tuple[int, ...] = ()

    @property
    def recency(self) -> bool:
        """Whether recent popularity has a part in lists (`recency_mask`)."""
        return bool(hrnn_hyperparameters(self.hyperparameters)["recency_mask"])

    def with_ranker(self, sequences: Sequences) -> TrainingJob:
        """The same with moments for a ranker, where its model's lists are for users, and the data are long enough."""
        entry = model_for(self.recipe)
        segments = self.settings.holdout == "everyone"
        if not self.ranker or entry.neural is None or not entry.blend or asks_by_item(self) or segments:
            return self
        return replace(self, moments=training_moments(sequences, self.horizon_seconds))


@dataclass(frozen=True)
class Trained:
    """Result of the ranks, read from this node.

    Attributes:
        parameters: By name.
        curve: Points of training.parquet.
        best_epoch: The one that the parameters are of.
        sizes: Of the model (hrnn/models/contract.py).
        present: Parameters that have not learnt from hidden events; None: those of `parameters` have not either.
        at_moments: Files of the parameters at each moment that a ranker learns from.
    """

    parameters: dict[str, Tensor]
    curve: list[dict[str, Any]]
    best_epoch: int
    sizes: dict[str, Any]
    present: dict[str, Tensor] | None = None
    at_moments: tuple[Path, ...] = ()


def fit(
    job: TrainingJob, sequences: Sequences, prepared: Prepared, arrays: Path, launch: Launch, scratch: Path
) -> FittedRecipe | None:
    """Fit the recipe; None on a node that does not hold the first rank.

    Args:
        job: The training.
        sequences: All histories.
        prepared: Their train / calibration / holdout split.
        arrays: Folder from which ranks map the sequences.
        launch: Where ranks run.
        scratch: A local folder.
    """
    if model_for(job.recipe).fit is not None:
        return _fit_in_closed_form(job, sequences, prepared, arrays)
    trained = train_ranks(job, arrays, launch, scratch)
    if trained is None:
        return None
    event_weights = load_event_weights(arrays, job)
    trained = replace(trained, parameters=trained.parameters | _popularity(sequences, event_weights))
    return fit_trained(job, sequences, prepared, trained, event_weights, arrays, launch.cores)


def _fit_in_closed_form(job: TrainingJob, sequences: Sequences, prepared: Prepared, arrays: Path) -> FittedRecipe:
    entry, event_weights = model_for(job.recipe), load_event_weights(arrays, job)
    # Twice: without the hidden events to be measured, with all of them to be served.
    known, everything = (closed_form(job, part, event_weights) for part in (prepared.fit_and_calibration, sequences))
    if entry.blend:
        weights = fit_blend(job, closed_form(job, prepared.fit, event_weights), prepared, event_weights)
        return _blended(job, (known, everything), weights, prepared, sequences)
    model, tensors = (everything, {}) if entry.serve is None else entry.serve(everything)
    return FittedRecipe(PlainSnapshot(model), PlainSnapshot(known), tensors, [])


def closed_form(job: TrainingJob, part: Sequences, event_weights: npt.NDArray[np.float32] | None) -> QueryModel:
    """Fit a recipe in closed form on the events that its rules count; their weights have no part in it."""
    fit_in_closed_form = model_for(job.recipe).fit
    assert fit_in_closed_form is not None
    return fit_in_closed_form(part if event_weights is None else part.only(np.asarray(event_weights > 0)), job.hyperparameters)


def _popularity(sequences: Sequences, event_weights: npt.NDArray[np.float32] | None) -> dict[str, Tensor]:
    """Counted events of each item, for unknown users and items; empty where all events count."""
    if event_weights is None:
        return {}
    return {POPULARITY: torch.from_numpy(sequences.only(np.asarray(event_weights > 0)).item_counts().astype(np.float32))}


def asks_by_item(job: TrainingJob) -> bool:
    """Whether a request names an item and no user: blend features and user states have no part in the answer."""
    return RECIPES[job.recipe].line_kind == "item"


def train_ranks(job: TrainingJob, arrays: Path, launch: Launch, scratch: Path) -> Trained | None:
    """Train under torchrun; None on a node that does not hold the first rank."""
    answers = scratch / "answers"
    answers.mkdir()
    spec = WorkerSpec(
        identity=job.identity,
        recipe=job.recipe,
        arrays=str(arrays),
        checkpoints_uri=job.checkpoints_uri,
        answers=str(answers),
        config=model_config(job),
        settings=asdict(job.settings),
        threads=launch.threads,
        weighted=job.rules is not None,
        moments=job.moments,
    )
    run_ranks(launch, spec, scratch / "spec.json")
    if not spec.model_path.is_file():
        return None
    answer = json.loads(spec.curve_path.read_text())
    trained = Trained(load_file(spec.model_path), answer["curve"], answer["best_epoch"], answer["sizes"])
    if not job.moments:
        return trained
    at_moments = tuple(spec.kept_path(past_name(number)) for number in range(len(job.moments)))
    return replace(trained, present=load_file(spec.kept_path(PRESENT)), at_moments=at_moments)


def model_config(job: TrainingJob) -> dict[str, Any]:
    """The model's config, by the names of hyperparameters."""
    return hrnn_hyperparameters(job.hyperparameters) | job.hyperparameters.model_dump() | {"variant": job.variant}


def load_event_weights(arrays: Path, job: TrainingJob) -> npt.NDArray[np.float32] | None:
    """How much each event counts, as it was staged; None where all count alike."""
    return None if job.rules is None else np.load(arrays / EVENT_WEIGHTS, mmap_mode="r")


def snapshot_to_measure(
    job: TrainingJob, model: QueryModel, prepared: Prepared, event_weights: npt.NDArray[np.float32] | None = None
) -> Snapshot:
    """Evaluation snapshot of a model fitted on `prepared.fit`, with statistics of the same events."""
    if asks_by_item(job) and model_for(job.recipe).neural is not None:
        return PlainSnapshot(SimilarItems(model.items().vectors))
    if not model_for(job.recipe).blend:
        return PlainSnapshot(model)
    weights = fit_blend(job, model, prepared, event_weights)
    return PerUserSnapshot(BlendedModel(model, weights, ItemStatistics.of(prepared.fit)))


def fit_trained(
    job: TrainingJob,
    sequences: Sequences,
    prepared: Prepared,
    trained: Trained,
    event_weights: npt.NDArray[np.float32] | None,
    arrays: Path,
    cores: int,
) -> FittedRecipe:
    """Both snapshots of a trained model: blended where its entry asks for it, alone where an item is asked for."""
    model, outcome = model_of(job, trained), _outcome(trained)
    # What is measured has not learnt from hidden events; what is served has.
    known = model if trained.present is None else model_of(job, replace(trained, parameters=trained.present))
    if asks_by_item(job):
        serving, evaluation = (PlainSnapshot(SimilarItems(model.items().vectors)) for _ in range(2))  # stored as two tensors
        return FittedRecipe(serving, evaluation, trained.parameters, trained.curve, outcome)
    if not model_for(job.recipe).blend:
        cut = plausible_span(np.asarray(sequences.timestamps))[1] + 1
        snapshots = PlainSnapshot(model, cut, job.gap_seconds), PlainSnapshot(model)
        return FittedRecipe(*snapshots, trained.parameters, trained.curve, outcome)
    weights = fit_blend(job, known, prepared, event_weights)
    blended = _blended(job, (known, model), weights, prepared, sequences)
    blended = replace(blended, parameters=trained.parameters | blended.parameters, curve=trained.curve, facts=outcome)
    return _ranked(job, blended, trained, sequences, prepared, event_weights, arrays, cores) if job.moments else blended


def _ranked(
    job: TrainingJob,
    blended: FittedRecipe,
    trained: Trained,
    sequences: Sequences,
    prepared: Prepared,
    event_weights: npt.NDArray[np.float32] | None,
    arrays: Path,
    cores: int,
) -> FittedRecipe:
    """The same with a ranker before it, where its lists are better."""
    past = prepared.before(job.moments[0], job.settings.seed)
    first = restored(job.recipe, trained.sizes, load_file(trained.at_moments[0]))
    moments = Moments(
        arrays=arrays,
        parameters=trained.at_moments,
        recipe=job.recipe,
        sizes=trained.sizes,
        times=job.moments,
        weights=fit_blend(job, first, past, event_weights),
        gap_seconds=job.gap_seconds,
        horizon_seconds=job.horizon_seconds,
        lag_seconds=job.lag_seconds,
        recency=job.recency,
        weighted=event_weights is not None,
        seed=job.settings.seed,
    )
    fitted = moments.fit(cores)
    blended = replace(blended, next_period=ranker_document(fitted, job.moments, job.horizon_seconds, job.lag_seconds))
    if fitted.ranker is None or not fitted.serves:
        return blended
    assert isinstance(blended.serving, ServingSnapshot)
    metadata = Metadata.load(arrays / METADATA)
    knowledge = Knowledge.of(sequences, blended.serving, metadata, recency=job.recency)
    return replace(blended, serving=RankedSnapshot(knowledge, fitted.ranker))


def _blended(
    job: TrainingJob, models: tuple[QueryModel, QueryModel], weights: BlendWeights, prepared: Prepared, sequences: Sequences
) -> FittedRecipe:
    """Blend two models, one fitted without the hidden events and one on all events, into the two snapshots."""
    known, everything = (
        BlendedModel(model, weights, ItemStatistics.of(part))
        for model, part in zip(models, (prepared.fit_and_calibration, sequences), strict=True)
    )
    serving = ServingSnapshot(everything, everything.trends.last + 1, job.gap_seconds)
    return FittedRecipe(serving, PerUserSnapshot(known), weights.to_tensors(), [])


def trained_baselines(
    job: TrainingJob, fitted: FittedRecipe, num_events: int, event_weights: npt.NDArray[np.float32] | None = None
) -> dict[str, Fit]:
    """Baselines that are trained as the model was: a GRU that knows no users, with two fifths of the model's epochs.

    None where the recipe has no training of its own that such a baseline could be measured by, or where there are more events
    than are worth it, unless one was asked for.
    """
    wanted = num_events <= MOST_GRU_EVENTS if job.gru_baseline is None else job.gru_baseline
    if not wanted or "epochs" not in fitted.facts:
        return {}
    limit = job.settings.time_limit_seconds
    settings = replace(
        job.settings,
        epochs=max(1, fitted.facts["epochs"] * 2 // 5),
        time_limit_seconds=None if limit is None else limit * 0.4,
    )
    gru = partial(
        NeuralBaseline,
        settings=settings,
        entry=model_for("hrnn-gru4rec"),
        config=model_config(job),
        event_weights=event_weights,
    )
    return {"shuffled GRU": gru}


def _outcome(trained: Trained) -> dict[str, Any]:
    return {"epochs": len(trained.curve), "best_epoch": trained.best_epoch, "shape": trained.sizes}


def model_of(job: TrainingJob, trained: Trained) -> SequenceModel:
    """The trained parameters as a model."""
    return restored(job.recipe, trained.sizes, trained.parameters)


def fit_blend(
    job: TrainingJob, model: QueryModel, prepared: Prepared, event_weights: npt.NDArray[np.float32] | None = None
) -> BlendWeights:
    """Fit blend weights by penalised conditional logit: for the same session, and for the next one."""
    statistics = ItemStatistics.of(prepared.fit)
    weights = (
        fit_weights(
            model,
            prepared.fit_and_calibration,
            prepared.fit,
            prepared.calibration,
            next_session=next_session,
            use_trends=job.recency,
            seed=job.settings.seed,
            event_weights=event_weights,
            statistics=statistics,
        )
        for next_session in (False, True)
    )
    return BlendWeights(*weights)
