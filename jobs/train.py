"""Fit a recipe to sequences: stage them on this node, train under torchrun, publish a solution version."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from safetensors.torch import load_file
from torch import Tensor

from hrnn.models import model_for
from hrnn.models.hrnn import Hrnn, HrnnShape
from hrnn.sequences import Sequences
from hrnn.serving import HrnnScorer
from hrnn.session_model import ScoringModel
from hrnn.splits import evaluation_split
from hrnn.training import TrainingSettings
from jobs.cli import job_main
from jobs.storage import join
from jobs.storage.folders import StepFolder, scratch_folder
from jobs.training.checkpoints import WorkspaceCheckpoints
from jobs.training.launch import Launch, run_ranks
from jobs.training.publication import measure, write_curve, write_model, write_states
from jobs.training.spec import WorkerSpec
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
    settings = _settings(parsed, loss=loss, epochs=epochs, seed=seed, time_limit_seconds=time_limit_seconds)
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
    with scratch_folder("train") as scratch_path:
        scratch = Path(scratch_path)
        staged = stage(source, sequences_manifest, scratch)
        checkpoints = WorkspaceCheckpoints(join(folder.uri, "checkpoints"))
        model, parameters, curve = _fit(
            name,
            parsed,
            settings,
            variant,
            staged,
            checkpoints_uri=join(folder.uri, "checkpoints"),
            identity=identity,
            launch=launch or Launch(),
            scratch=scratch,
        )
        if model is None:
            return {
                "job": "train",
                "output": folder.uri,
                "skipped": False,
                "published": False,
                "seconds": round(time.monotonic() - began, 1),
            }
        sequences = Sequences.load(staged.arrays)
        split = evaluation_split(sequences.history_lengths)
        files = [write_model(folder, scratch, model, parameters), write_curve(folder, scratch, curve)]
        measured, evaluation, held_out = measure(folder, scratch, model, sequences, split, staged)
        states, shards = write_states(folder, scratch, model, sequences, staged)
        catalogue = folder.put_file(staged.catalogue, folder.own("catalogue.parquet"), rows=sequences.num_items)
        manifest = folder.publish(
            "solution_version",
            identity,
            config,
            [source.reference(sequences_manifest)],
            [*files, *measured, *states, catalogue],
            counts={
                "users": sequences.num_users,
                "items": sequences.num_items,
                "events": sequences.num_events,
                "test_users": len(split),
            },
            facts={
                "recipe": name,
                "hyperparameters": parsed.model_dump(),
                "dimension": model.item_vectors().shape[1],
                "shards": shards,
                "catalogue": catalogue.path,
                "model": files[0].path,
                "training": files[1].path,
                "metrics": measured[1].path,
                "hash_seed": sequences_manifest.facts.get("hash_seed", 0),
                "scores": recipe_for(recipe).has_scores,
                "evaluation": evaluation.to_document() | {"held_out": held_out},
            },
        )
        checkpoints.clear()
    return _summary(folder, manifest, began, skipped=False)


def _settings(
    parsed: Hyperparameters, *, loss: str, epochs: int | None, seed: int, time_limit_seconds: float | None
) -> TrainingSettings:
    settings = replace(TrainingSettings(), loss=loss, seed=seed, time_limit_seconds=time_limit_seconds)  # type: ignore[arg-type]
    bptt = getattr(parsed, "bptt", settings.num_steps)
    return replace(settings, num_steps=bptt, epochs=epochs or settings.epochs)


def _fit(
    name: str,
    parsed: Hyperparameters,
    settings: TrainingSettings,
    variant: str,
    staged: Staged,
    *,
    checkpoints_uri: str,
    identity: str,
    launch: Launch,
    scratch: Path,
) -> tuple[ScoringModel | None, dict[str, Tensor], list[dict[str, Any]]]:
    """The fitted model, its parameters and its curve; no model on nodes without the first rank."""
    entry = model_for(name)
    if entry.fit is not None:
        sequences = Sequences.load(staged.arrays)
        split = evaluation_split(sequences.history_lengths)
        return entry.fit(sequences.truncate(split.user_rows, split.keep_counts), parsed), {}, []
    answers = scratch / "answers"
    answers.mkdir()
    spec = WorkerSpec(
        identity=identity,
        arrays=str(staged.arrays),
        checkpoints_uri=checkpoints_uri,
        answers=str(answers),
        hyperparameters=parsed.model_dump(),
        variant=variant,
        settings=asdict(settings),
        threads=launch.threads,
    )
    run_ranks(launch, spec, scratch / "spec.json")
    if not spec.model_path.is_file():
        return None, {}, []
    parameters = load_file(spec.model_path)
    num_items, width = parameters["item_table"].shape
    shape = HrnnShape(num_items=num_items, hidden_dimension=width - 1, variant="all" if variant == "all" else "init")
    model = Hrnn(shape, parameters["item_table"], parameters["dense"])
    return HrnnScorer(model), parameters, json.loads(spec.curve_path.read_text())


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
    hyperparameters: Annotated[str, typer.Option(help='JSON object: {"hidden_dimension": "64"}; strings or numbers.')] = "{}",
    variant: Annotated[str, typer.Option(help="init: sessions start from the user state; all: every event sees it.")] = "init",
    loss: Annotated[str, typer.Option(help="cross_entropy, bpr_max, top1_max or top1.")] = "cross_entropy",
    epochs: Annotated[int | None, typer.Option(min=1, help="Times every event is met.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of everything random.")] = 0,
    time_limit: Annotated[float | None, typer.Option(min=0.0, help="Seconds after which the training loop ends.")] = None,
    nproc_per_node: Annotated[int | None, typer.Option(min=1, help="torchrun: ranks on this node (a GPU each, or 1).")] = None,
    nnodes: Annotated[int, typer.Option(min=1, help="torchrun: nodes of the training.")] = 1,
    node_rank: Annotated[int, typer.Option(min=0, help="torchrun: this node's number.")] = 0,
    rdzv_endpoint: Annotated[str | None, typer.Option(help="torchrun: host:port where nodes meet.")] = None,
    rdzv_backend: Annotated[str, typer.Option(help="torchrun: how they meet.")] = "c10d",
    rdzv_id: Annotated[str, typer.Option(help="torchrun: the same on all nodes.")] = "hrnn",
) -> dict[str, Any]:
    """Fit a recipe to sequences; write a solution version."""
    try:
        parsed = json.loads(hyperparameters)
    except json.JSONDecodeError as error:
        raise ConfigError(f"this is no JSON ({error})", where="--hyperparameters", value=hyperparameters) from None
    if not isinstance(parsed, dict):
        raise ConfigError("this is no JSON object", where="--hyperparameters", value=hyperparameters)
    if nnodes > 1 and not rdzv_endpoint:
        raise ConfigError("several nodes need a place to meet", where="--rdzv-endpoint", allowed="host:port")
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
