"""Fit one recipe on this node: in closed form, or under torchrun and then with weights for the paths."""

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

from hrnn.blend.item_statistics import Counted
from hrnn.blend.snapshots import EvaluationView, Fitted, NightlyView
from hrnn.blend.weights import fit_weights
from hrnn.data.preparation import Prepared
from hrnn.data.sequences import Sequences
from hrnn.evaluation.baselines import Fit
from hrnn.evaluation.baselines.neural import NeuralPeer
from hrnn.inference.related import POPULARITY
from hrnn.models.contract import QueryModel, SequenceModel
from hrnn.models.registry import model_for, restored
from hrnn.models.scoring_model import ScoringModel
from hrnn.models.similar_items import SimilarItems
from hrnn.training.settings import TrainingSettings
from jobs.solutions.staging import EVENT_WEIGHTS
from jobs.train.launch import Launch, run_ranks
from jobs.train.spec import WorkerSpec
from schemas.event_rules import EventRules
from schemas.hyperparameters import Hyperparameters
from schemas.recipes import RECIPES, hrnn_hyperparameters


@dataclass(frozen=True)
class FittedRecipe:
    """What a recipe came to.

    Attributes:
        nightly: What is served: as of the end of the data.
        evaluation: What is measured: as of each test user's last known event.
        parameters: All that was learnt, by name.
        curve: Points of training.parquet.
        facts: What the manifest tells of the training: epochs done, the best one, the model's shape.
    """

    nightly: ScoringModel
    evaluation: ScoringModel
    parameters: dict[str, Tensor]
    curve: list[dict[str, Any]]
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class FitOrder:
    """What is to be fitted.

    Attributes:
        recipe: Personalize's name.
        hyperparameters: Parsed.
        settings: How to train.
        variant: Of HRNN.
        gap_seconds: Of the sessions; None: whole histories are sessions.
        identity: Fingerprint of the solution version.
        checkpoints_uri: Where checkpoints live.
        rules: Which events are targets; None: all.
        gru_baseline: Whether a plain GRU is trained too, to stand beside the model.
    """

    recipe: str
    hyperparameters: Hyperparameters
    settings: TrainingSettings
    variant: str
    gap_seconds: int | None
    identity: str
    checkpoints_uri: str
    rules: EventRules | None = None
    gru_baseline: bool = True


@dataclass(frozen=True)
class Trained:
    """What the ranks left on this node.

    Attributes:
        parameters: By name.
        curve: Points of training.parquet.
        best_epoch: The one that the parameters are of.
        sizes: Of the model (hrnn/models/contract.py).
    """

    parameters: dict[str, Tensor]
    curve: list[dict[str, Any]]
    best_epoch: int
    sizes: dict[str, Any]


def fit(
    order: FitOrder, sequences: Sequences, prepared: Prepared, arrays: Path, launch: Launch, scratch: Path
) -> FittedRecipe | None:
    """Fit the recipe; None on a node that does not hold the first rank.

    Args:
        order: What.
        sequences: All of them.
        prepared: Their parts.
        arrays: Where ranks map them from.
        launch: Where ranks run.
        scratch: A local folder.
    """
    entry = model_for(order.recipe)
    if entry.fit is not None:
        known, everything = (counted_recipe(order, part, arrays) for part in (prepared.available, sequences))
        served, parameters = (everything, {}) if entry.served is None else entry.served(everything)
        return FittedRecipe(served, known, parameters, [])
    trained = train_ranks(order, arrays, launch, scratch)
    if trained is None:
        return None
    event_weights = weights_in(arrays, order)
    trained = replace(trained, parameters=trained.parameters | _popularity(sequences, event_weights))
    if asks_by_item(order):
        views = similar_items(order, trained), similar_items(order, trained)  # stored as two tensors
        return FittedRecipe(*views, trained.parameters, trained.curve, _outcome(trained))
    return weigh(order, sequences, prepared, trained, event_weights)


def _popularity(sequences: Sequences, event_weights: npt.NDArray[np.float32] | None) -> dict[str, Tensor]:
    """How many events of each item count, for users and items that nobody knows; nothing where all do."""
    if event_weights is None:
        return {}
    return {POPULARITY: torch.from_numpy(sequences.only(np.asarray(event_weights > 0)).item_counts().astype(np.float32))}


def counted_recipe(order: FitOrder, part: Sequences, arrays: Path) -> ScoringModel:
    """A recipe in closed form, of the events that its rules count; how much they weigh has no part in it."""
    fit_in_closed_form = model_for(order.recipe).fit
    assert fit_in_closed_form is not None
    weights = weights_in(arrays, order)
    return fit_in_closed_form(part if weights is None else part.only(np.asarray(weights > 0)), order.hyperparameters)


def asks_by_item(order: FitOrder) -> bool:
    """Whether an item, and no user, is asked for: HRNN's paths and states of users have no part in the answer."""
    return RECIPES[order.recipe].line_kind == "item"


def similar_items(order: FitOrder, trained: Trained) -> SimilarItems:
    """Related items by the vectors of a trained model."""
    return SimilarItems(model_of(order, trained).items().vectors)


def train_ranks(order: FitOrder, arrays: Path, launch: Launch, scratch: Path) -> Trained | None:
    """Train under torchrun; None on a node that does not hold the first rank."""
    answers = scratch / "answers"
    answers.mkdir()
    spec = WorkerSpec(
        identity=order.identity,
        recipe=order.recipe,
        arrays=str(arrays),
        checkpoints_uri=order.checkpoints_uri,
        answers=str(answers),
        config=model_config(order),
        settings=asdict(order.settings),
        threads=launch.threads,
        weighted=order.rules is not None,
    )
    run_ranks(launch, spec, scratch / "spec.json")
    if not spec.model_path.is_file():
        return None
    answer = json.loads(spec.curve_path.read_text())
    return Trained(load_file(spec.model_path), answer["curve"], answer["best_epoch"], answer["sizes"])


def model_config(order: FitOrder) -> dict[str, Any]:
    """What the model is, by the names of hyperparameters."""
    return hrnn_hyperparameters(order.hyperparameters) | order.hyperparameters.model_dump() | {"variant": order.variant}


def weights_in(arrays: Path, order: FitOrder) -> npt.NDArray[np.float32] | None:
    """How much each event counts, as it was staged; None where all count alike."""
    return None if order.rules is None else np.load(arrays / EVENT_WEIGHTS, mmap_mode="r")


def weigh(
    order: FitOrder,
    sequences: Sequences,
    prepared: Prepared,
    trained: Trained,
    event_weights: npt.NDArray[np.float32] | None = None,
) -> FittedRecipe:
    """Find out how much each path counts, and make the two views of the model."""
    model = model_of(order, trained)
    now, later = path_weights(order, model, prepared, event_weights)
    known = Fitted(model, now, later, Counted.of(prepared.available))
    everything = replace(known, counted=Counted.of(sequences))
    parameters = trained.parameters | {"paths.now": torch.from_numpy(now), "paths.later": torch.from_numpy(later)}
    cut = everything.trends.last + 1
    facts = _outcome(trained)
    views = NightlyView(everything, cut, order.gap_seconds), EvaluationView(known)
    return FittedRecipe(*views, parameters, trained.curve, facts)


def trained_peers(
    order: FitOrder, fitted: FittedRecipe, event_weights: npt.NDArray[np.float32] | None = None
) -> dict[str, Fit]:
    """Baselines that are trained as the model was: a GRU that knows no users, with two fifths of the model's epochs.

    None where the recipe has no training of its own that such a baseline could be measured by.
    """
    if not order.gru_baseline or "epochs" not in fitted.facts:
        return {}
    limit = order.settings.time_limit_seconds
    settings = replace(
        order.settings,
        epochs=max(1, fitted.facts["epochs"] * 2 // 5),
        time_limit_seconds=None if limit is None else limit * 0.4,
    )
    made = partial(
        NeuralPeer, settings=settings, entry=model_for("hrnn-gru4rec"), config=model_config(order), event_weights=event_weights
    )
    return {"shuffled GRU": made}


def _outcome(trained: Trained) -> dict[str, Any]:
    return {"epochs": len(trained.curve), "best_epoch": trained.best_epoch, "shape": trained.sizes}


def model_of(order: FitOrder, trained: Trained) -> SequenceModel:
    """The trained parameters as a model."""
    return restored(order.recipe, trained.sizes, trained.parameters)


def path_weights(
    order: FitOrder, model: QueryModel, prepared: Prepared, event_weights: npt.NDArray[np.float32] | None = None
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """How much each path counts: `now` and `later` (hrnn/blend/weights.py)."""
    counts = Counted.of(prepared.learnt_from)
    use_trends = bool(hrnn_hyperparameters(order.hyperparameters)["recency_mask"])
    now, later = (
        fit_weights(
            model,
            prepared.available,
            prepared.learnt_from,
            prepared.examples,
            later=later,
            use_trends=use_trends,
            seed=order.settings.seed,
            event_weights=event_weights,
            counts=counts,
        )
        for later in (False, True)
    )
    return now, later
