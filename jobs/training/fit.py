"""Fit one recipe on this node: in closed form, or under torchrun and then with weights for the paths."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from hrnn.blending import fit_weights
from hrnn.models import model_for
from hrnn.models.hrnn import Hrnn, HrnnShape, Variant
from hrnn.own_items import repeat_odds
from hrnn.preparation import Prepared
from hrnn.recency import Trends
from hrnn.sequences import Sequences
from hrnn.serving import EvaluationView, Fitted, NightlyView
from hrnn.session_model import ScoringModel
from hrnn.training_settings import TrainingSettings
from jobs.training.launch import Launch, run_ranks
from jobs.training.spec import WorkerSpec
from schemas.hyperparameters import Hyperparameters


@dataclass(frozen=True)
class FittedRecipe:
    """What a recipe came to.

    Attributes:
        nightly: What is served: as of the end of the data.
        evaluation: What is measured: as of each test user's last known event.
        parameters: All that was learnt, by name.
        curve: Points of training.parquet.
    """

    nightly: ScoringModel
    evaluation: ScoringModel
    parameters: dict[str, Tensor]
    curve: list[dict[str, Any]]


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
    """

    recipe: str
    hyperparameters: Hyperparameters
    settings: TrainingSettings
    variant: Variant
    gap_seconds: int | None
    identity: str
    checkpoints_uri: str


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
        return FittedRecipe(
            entry.fit(sequences, order.hyperparameters), entry.fit(prepared.available, order.hyperparameters), {}, []
        )
    answers = scratch / "answers"
    answers.mkdir()
    spec = WorkerSpec(
        identity=order.identity,
        arrays=str(arrays),
        checkpoints_uri=order.checkpoints_uri,
        answers=str(answers),
        hyperparameters=order.hyperparameters.model_dump(),
        variant=order.variant,
        settings=asdict(order.settings),
        threads=launch.threads,
    )
    run_ranks(launch, spec, scratch / "spec.json")
    if not spec.model_path.is_file():
        return None
    return weigh(order, sequences, prepared, load_file(spec.model_path), json.loads(spec.curve_path.read_text()))


def weigh(
    order: FitOrder, sequences: Sequences, prepared: Prepared, parameters: dict[str, Tensor], curve: list[dict[str, Any]]
) -> FittedRecipe:
    """Find out how much each path counts, and make the two views of the model."""
    num_items, width = parameters["item_table"].shape
    shape = HrnnShape(num_items=num_items, hidden_dimension=width - 1, variant=order.variant)
    model = Hrnn(shape, parameters["item_table"], parameters["dense"])
    use_trends = bool(getattr(order.hyperparameters, "recency_mask", True))
    now, later = (
        fit_weights(
            model,
            prepared.available,
            prepared.learnt_from,
            prepared.examples,
            later=later,
            use_trends=use_trends,
            seed=order.settings.seed,
        )
        for later in (False, True)
    )
    known = Fitted(model, now, later, repeat_odds(prepared.available), Trends(prepared.available))
    everything = replace(known, item_repeat_odds=repeat_odds(sequences), trends=Trends(sequences))
    parameters |= {"paths.now": torch.from_numpy(now), "paths.later": torch.from_numpy(later)}
    cut = everything.trends.last + 1
    return FittedRecipe(NightlyView(everything, cut, order.gap_seconds), EvaluationView(known), parameters, curve)
