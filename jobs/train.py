"""Fit a recipe to sequences: stage them on this node, train under torchrun, publish a solution version."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any, cast

import torch
import typer

from hrnn.evaluation import Evaluation
from hrnn.losses import LOSSES
from hrnn.models.hrnn import Variant
from hrnn.preparation import prepare
from hrnn.sequences import Sequences
from hrnn.training_settings import LossName, TrainingSettings
from jobs.cli import job_main
from jobs.storage import join
from jobs.storage.folders import StepFolder, scratch_folder
from jobs.training.checkpoints import WorkspaceCheckpoints
from jobs.training.fit import FitOrder, FittedRecipe, fit
from jobs.training.launch import Launch
from jobs.training.options import Nnodes, NodeRank, NprocPerNode, RdzvBackend, RdzvEndpoint, RdzvId
from jobs.training.publication import measure, write_curve, write_model, write_states
from jobs.training.staging import Staged, stage
from schemas.errors import ConfigError
from schemas.hyperparameters import Hyperparameters
from schemas.manifest import Manifest, fingerprint
from schemas.recipes import parse_hyperparameters, recipe_for

_VERSION = 1  # of what training makes of the same inputs; a higher one trains anew


def train(
    *,
    sequences_uri: str,
    recipe: str,
    hyperparameters: Mapping[str, str | int | float | bool] | None = None,
    output_uri: str,
    variant: str = "init",
    loss: str = "cross_entropy",
    epochs: int | None = None,
    seed: int = 0,
    time_limit_seconds: float | None = None,
    within_session_only: bool = False,
    launch: Launch | None = None,
) -> dict[str, Any]:
    """Train, measure and publish one solution version; nothing is done where the same one lies there already.

    Args:
        sequences_uri: Folder that `sessionize` wrote.
        recipe: Name or ARN.
        hyperparameters: Personalize's names; strings or numbers.
        output_uri: Folder of the solution version.
        variant: `init` or `all`, for aws-hrnn.
        loss: A key of hrnn.losses.LOSSES, for aws-hrnn.
        epochs: Times every event is met; None: the default.
        seed: Of everything random.
        time_limit_seconds: Bound of the training loop; None: none.
        within_session_only: The papers' mode, for aws-hrnn: the first event of a session is nothing to be predicted.
        launch: Ranks and nodes.

    Returns:
        The job's summary.

    Raises:
        ConfigError: A setting is not allowed.
        DataError: The sequences can't be learnt from.
        MachineError: A rank died.
    """
    began = time.monotonic()
    name = recipe_for(recipe).name
    parsed = parse_hyperparameters(recipe, dict(hyperparameters or {}))
    settings = replace(_settings(parsed, loss, epochs, seed, time_limit_seconds), within_session_only=within_session_only)
    if variant not in ("init", "all"):
        raise ConfigError("there is no such variant of HRNN", where="variant", value=variant, allowed="init, all")
    source, folder = StepFolder(sequences_uri), StepFolder(output_uri)
    sequences_manifest = source.require("sequences")
    config = {"recipe": name, "hyperparameters": parsed.model_dump(), "version": _VERSION, "variant": variant}
    config |= {"settings": {key: value for key, value in asdict(settings).items() if key != "checkpoint_seconds"}}
    identity = fingerprint("train", config, [sequences_manifest.fingerprint])
    existing = folder.manifest()
    if existing is not None and existing.fingerprint == identity:
        return _summary(folder, existing, began, skipped=True)
    order = FitOrder(
        recipe=name,
        hyperparameters=parsed,
        settings=settings,
        variant=cast(Variant, variant),
        gap_seconds=sequences_manifest.facts.get("gap_seconds"),
        identity=identity,
        checkpoints_uri=join(folder.uri, "checkpoints"),
    )
    with scratch_folder("train") as scratch:
        staged = stage(source, sequences_manifest, Path(scratch))
        manifest = _fit_and_publish(order, config, source, folder, staged, launch or Launch(), Path(scratch))
    if manifest is None:
        seconds = round(time.monotonic() - began, 1)
        return {"job": "train", "output": folder.uri, "skipped": False, "published": False, "seconds": seconds}
    return _summary(folder, manifest, began, skipped=False)


def _settings(
    parsed: Hyperparameters, loss: str, epochs: int | None, seed: int, time_limit_seconds: float | None
) -> TrainingSettings:
    if loss not in LOSSES:
        raise ConfigError("there is no such loss", where="loss", value=loss, allowed=", ".join(LOSSES))
    if epochs is not None and epochs < 1:
        raise ConfigError("at least one epoch is needed", where="epochs", value=epochs, allowed="1 and more")
    return TrainingSettings(
        num_steps=getattr(parsed, "bptt", TrainingSettings.num_steps),
        epochs=epochs or TrainingSettings.epochs,
        loss=cast(LossName, loss),
        seed=seed,
        time_limit_seconds=time_limit_seconds,
    )


def _fit_and_publish(
    order: FitOrder,
    config: dict[str, Any],
    source: StepFolder,
    folder: StepFolder,
    staged: Staged,
    launch: Launch,
    scratch: Path,
) -> Manifest | None:
    """The published manifest; None on a node that does not hold the first rank."""
    torch.set_num_threads(1)  # the last bits of a sum depend on how many threads share it
    sequences = Sequences.load(staged.arrays)
    prepared = prepare(sequences, order.settings.seed)
    fitted = fit(order, sequences, prepared, staged.arrays, launch, scratch)
    if fitted is None:
        return None
    model = write_model(folder, scratch, fitted.nightly, fitted.evaluation, fitted.parameters)
    curve = write_curve(folder, scratch, fitted.curve)
    measured, evaluation = measure(folder, scratch, fitted.evaluation, sequences, prepared.split, staged)
    states, shards = write_states(folder, scratch, fitted.nightly, sequences, staged)
    catalogue = folder.put_file(staged.catalogue, folder.own("catalogue.parquet"), rows=sequences.num_items)
    paths = {"model": model.path, "training": curve.path, "metrics": measured[1].path, "catalogue": catalogue.path}
    manifest = folder.publish(
        "solution_version",
        order.identity,
        config,
        [source.reference(staged.manifest)],
        [model, curve, *measured, *states, catalogue],
        counts={
            "users": sequences.num_users,
            "items": sequences.num_items,
            "events": sequences.num_events,
            "test_users": len(prepared.split),
        },
        facts=paths | {"shards": shards} | _facts(order, fitted, staged, evaluation, measured[0].path),
    )
    WorkspaceCheckpoints(order.checkpoints_uri).clear()
    return manifest


def _facts(order: FitOrder, fitted: FittedRecipe, staged: Staged, evaluation: Evaluation, held_out: str) -> dict[str, Any]:
    return {
        "recipe": order.recipe,
        "hyperparameters": order.hyperparameters.model_dump(),
        "dimension": fitted.nightly.item_vectors().shape[1],
        "hash_seed": staged.manifest.facts.get("hash_seed", 0),
        "scores": recipe_for(order.recipe).has_scores,
        "evaluation": evaluation.to_document() | {"held_out": held_out, "dimension": fitted.evaluation.item_vectors().shape[1]},
    }


def _summary(folder: StepFolder, manifest: Manifest, began: float, *, skipped: bool) -> dict[str, Any]:
    return {
        "job": "train",
        "output": folder.uri,
        "skipped": skipped,
        "published": True,
        "recipe": manifest.facts["recipe"],
        **manifest.counts,
        "metrics": manifest.facts["evaluation"]["metrics"],
        "seconds": round(time.monotonic() - began, 1),
    }


def run(
    sequences: Annotated[str, typer.Option(help="Folder that `hrnn sessionize` wrote: s3://…, file://… or a path.")],
    output: Annotated[str, typer.Option(help="Folder of the solution version.")],
    recipe: Annotated[str, typer.Option(help="Recipe name or ARN; `hrnn recipes` lists them.")] = "aws-hrnn",
    hyperparameters: Annotated[str, typer.Option(help='JSON: {"hidden_dimension": "64"}; strings or numbers.')] = "{}",
    variant: Annotated[str, typer.Option(help="init: sessions start from the user state; all: every event sees it.")] = "init",
    loss: Annotated[str, typer.Option(help="cross_entropy, bpr_max, top1_max or top1.")] = "cross_entropy",
    epochs: Annotated[int | None, typer.Option(min=1, help="Times every event is met.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of everything random.")] = 0,
    time_limit: Annotated[float | None, typer.Option(min=0.0, help="Seconds after which the training loop ends.")] = None,
    within_session_only: Annotated[bool, typer.Option(help="The papers' mode: sessions' first events are no targets.")] = False,
    nproc_per_node: NprocPerNode = None,
    nnodes: Nnodes = 1,
    node_rank: NodeRank = 0,
    rdzv_endpoint: RdzvEndpoint = None,
    rdzv_backend: RdzvBackend = "c10d",
    rdzv_id: RdzvId = "hrnn",
) -> dict[str, Any]:
    """Fit a recipe to sequences; write a solution version."""
    try:
        parsed = json.loads(hyperparameters)
    except json.JSONDecodeError as error:
        raise ConfigError(f"this is no JSON ({error})", where="--hyperparameters", value=hyperparameters) from None
    if not isinstance(parsed, dict):
        raise ConfigError("this is no JSON object", where="--hyperparameters", value=hyperparameters)
    return train(
        sequences_uri=sequences,
        recipe=recipe,
        hyperparameters=parsed,
        output_uri=output,
        variant=variant,
        loss=loss,
        epochs=epochs,
        seed=seed,
        time_limit_seconds=time_limit,
        within_session_only=within_session_only,
        launch=Launch(
            nproc_per_node=nproc_per_node,
            nnodes=nnodes,
            node_rank=node_rank,
            rdzv_endpoint=rdzv_endpoint,
            rdzv_backend=rdzv_backend,
            rdzv_id=rdzv_id,
        ),
    )


if __name__ == "__main__":
    job_main("train", run)
