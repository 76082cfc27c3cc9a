"""Fit a recipe to sequences: stage them on this node, train under torchrun, publish a solution version."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch

from hrnn.data.cold_items import FEWEST, MOST, cold_items
from hrnn.data.sequences import Sequences
from hrnn.data.splits import prepare
from hrnn.evaluation.evaluate import Evaluation
from hrnn.training.checkpoints import remove_checkpoints
from jobs.platform.process.scratch import scratch_folder
from jobs.platform.storage.folders import StepFolder
from jobs.solutions.metadata import stage_metadata
from jobs.solutions.segments import attribute_columns, warn_of_attributes
from jobs.solutions.staging import Staged, stage
from jobs.train.checkpoints import WorkspaceCheckpoints
from jobs.train.fit import FittedRecipe, TrainingJob, fit, load_event_weights, trained_baselines
from jobs.train.launch import Launch
from jobs.train.minimums import check_minimums, counted_events
from jobs.train.publication import copy_attributes, measure, write_curve, write_model, write_ranker
from jobs.train.report.page import ReportInputs
from jobs.train.report.write import training_report
from jobs.train.request import CHECKPOINTS, TRIALS, read_request
from jobs.train.search import Search, clear, search
from jobs.train.states import write_states
from schemas import columns
from schemas.datasets import parse_schemas
from schemas.errors import ConfigError
from schemas.manifest import Manifest
from schemas.minimums import CountedEvents
from schemas.recipes import ColdstartHyperparameters, recipe_for
from schemas.solutions import TrainSettings


def train(
    *,
    sequences_uri: str,
    output_uri: str,
    settings: TrainSettings,
    launch: Launch | None = None,
) -> dict[str, Any]:
    """Train, measure and publish one solution version; nothing is done where the same one lies there already.

    Args:
        sequences_uri: Folder that `sessionize` wrote.
        output_uri: Folder of the solution version.
        settings: What is trained, and how.
        launch: Ranks and nodes.

    Returns:
        The job's summary.

    Raises:
        ConfigError: A setting is not allowed.
        DataError: The sequences can't be learnt from.
        MachineError: A rank died.
    """
    TrainSettings.require(settings)
    if launch is not None:
        Launch.require(launch, "launch")
    began = time.monotonic()
    request = read_request(settings)
    launch = launch or Launch()
    source, folder = StepFolder(sequences_uri), StepFolder(output_uri)
    sequences_manifest = source.require("sequences")
    if request.columns.names_any:
        request.columns.check(parse_schemas(sequences_manifest.metadata.get("schemas", {}), source.uri))
    job = request.job(sequences_manifest, folder.uri)
    search_plan = request.search(folder.uri, job.identity)
    existing = folder.published("solution_version")
    if existing is not None and existing.fingerprint == job.identity and folder.is_whole(existing):
        if "counted" in existing.metadata:
            check_minimums(
                CountedEvents(**existing.metadata["counted"]), settings.quotas, request.rules, strict=settings.strict
            )
        folder.show()
        _clear_up(job, search_plan)  # a run that was killed once it had published has not
        return _summary(folder, existing, began, skipped=True)
    if search_plan is not None and launch.nnodes > 1:
        raise ConfigError("a search runs on one node", where="nnodes", value=launch.nnodes, allowed="1 with hpo or auto_ml")
    with folder.made_of(source.reference(sequences_manifest)), scratch_folder("train") as scratch:
        staged = stage(source, sequences_manifest, Path(scratch), request.rules)
        statistics = counted_events(Sequences.load(staged.arrays), load_event_weights(staged.arrays, job))
        check_minimums(statistics, settings.quotas, request.rules, strict=settings.strict)
        facts = {"counted": asdict(statistics)}
        manifest = _fit_and_publish(job, search_plan, request.config(), facts, source, folder, staged, launch, Path(scratch))
    if manifest is None:
        seconds = round(time.monotonic() - began, 1)
        return {"job": "train", "output": folder.uri, "skipped": False, "published": False, "seconds": seconds}
    return _summary(folder, manifest, began, skipped=False)


def _fit_and_publish(
    job: TrainingJob,
    search_plan: Search | None,
    config: dict[str, Any],
    facts: dict[str, Any],
    source: StepFolder,
    folder: StepFolder,
    staged: Staged,
    launch: Launch,
    scratch: Path,
) -> Manifest | None:
    """The published manifest; None on a node that does not hold the first rank."""
    torch.set_num_threads(1)  # the last bits of a sum depend on how many threads share it
    sequences = Sequences.load(staged.arrays)
    prepared = prepare(sequences, job.settings.seed, holdout=job.settings.holdout, split=job.settings.split)
    own, searched = job, dict[str, Any]()
    if search_plan is not None:
        job, searched = search(search_plan, job, prepared, staged.arrays, launch, scratch)
    job = job.with_ranker(sequences)
    if job.moments:  # a trial learns from the present alone: its model knows no earlier moment
        job = replace(job, identity=own.identity, checkpoints_uri=own.checkpoints_uri)
        stage_metadata(source, staged, job.columns, scratch)
    version_facts = facts | searched | _check_items(job, staged)
    fitted = fit(job, sequences, prepared, staged.arrays, launch, scratch)
    if fitted is None:
        return None
    model = write_model(folder, scratch, fitted.serving, fitted.evaluation, fitted.parameters)
    curve = write_curve(folder, scratch, fitted.curve)
    event_weights = load_event_weights(staged.arrays, job)
    segments = job.settings.holdout == "everyone"
    measured, evaluation = measure(
        folder,
        scratch,
        fitted.evaluation,
        sequences,
        prepared,
        staged,
        other_baselines={} if segments else trained_baselines(job, fitted, sequences.num_events, event_weights),
        event_weights=event_weights,
        kind=recipe_for(job.recipe).line_kind,
        next_period=fitted.next_period,
    )
    ranker, ranker_facts = write_ranker(folder, scratch, fitted.serving)
    states, shards = write_states(folder, scratch, fitted.serving, sequences, staged, launch.cores)
    attributes = copy_attributes(folder, scratch, source, staged.manifest)
    catalogue = folder.put_file(staged.catalogue, folder.attempt_path("catalogue.parquet"), rows=sequences.num_items)
    counts = {
        "users": sequences.num_users,
        "items": sequences.num_items,
        "events": sequences.num_events,
        "test_users": len(prepared.split),
    }
    inputs = ReportInputs(
        name=folder.uri.rsplit("/", 1)[-1],
        recipe=job.recipe,
        hyperparameters=job.hyperparameters.model_dump(),
        config=config,
        counts=counts,
        metrics=evaluation.to_document(),
        next_period=fitted.next_period,
        curve=fitted.curve,
        best_epoch=fitted.facts.get("best_epoch"),
        search=version_facts.get("search"),
    )
    report = training_report(folder, inputs, fitted, sequences, prepared, staged)
    paths: dict[str, Any] = {"training": curve.path, "metrics": measured[1].path, "catalogue": catalogue.path}
    paths["report"] = report[0].path
    version_facts |= paths | ranker_facts | {"model": {purpose: entry.path for purpose, entry in model.items()}}
    version_facts |= {"shards": shards, "attributes": [entry.path for entry in attributes]}
    manifest = folder.publish(
        "solution_version",
        own.identity,
        config,
        [source.reference(staged.manifest)],
        [*model.values(), curve, *measured, *ranker, *states, *attributes, catalogue, *report],
        counts=counts,
        metadata=_facts(job, fitted, staged, evaluation, measured[0].path) | version_facts,
        spared=(CHECKPOINTS, TRIALS),  # of other trainings too, which go on from them; this one's own go below
    )
    _clear_up(own, search_plan)
    return manifest


def _clear_up(job: TrainingJob, search_plan: Search | None) -> None:
    """Remove checkpoints and trials once the solution version is published."""
    if search_plan is not None:
        clear(search_plan)
    remove_checkpoints(WorkspaceCheckpoints(job.checkpoints_uri), job.identity)


def _check_items(job: TrainingJob, staged: Staged) -> dict[str, Any]:
    """Check that the catalogue has what the recipe needs; facts for the manifest.

    Raises:
        DataError: It has no attributes, where users of attributes are asked for.
    """
    schema, parsed = pq.read_schema(staged.catalogue), job.hyperparameters
    if recipe_for(job.recipe).line_kind == "attribute_users":
        attributes = attribute_columns(schema, staged.manifest.metadata)
        warn_of_attributes(staged.catalogue_table([columns.NUM_EVENTS, *attributes]), attributes)
    if not isinstance(parsed, ColdstartHyperparameters) or columns.CREATION_TIMESTAMP not in schema.names:
        return {}
    names = [columns.NUM_EVENTS, columns.CREATION_TIMESTAMP]
    num_events, created = (column.to_numpy() for column in staged.catalogue_table(names).columns)
    cold = int(cold_items(num_events, created, parsed, int(time.time())).sum())
    if not FEWEST <= cold <= MOST:
        print(f"train: {cold:,} cold items; Personalize trains this recipe with {FEWEST} to {MOST:,}", file=sys.stderr)
    return {"cold_items": cold}


def _facts(job: TrainingJob, fitted: FittedRecipe, staged: Staged, evaluation: Evaluation, held_out: str) -> dict[str, Any]:
    recipe = recipe_for(job.recipe)
    return {
        "recipe": job.recipe,
        "runs_on": recipe.runs_on or recipe.name,
        "hyperparameters": job.hyperparameters.model_dump(),
        "dimension": fitted.serving.items().vectors.shape[1],
        "hash_seed": staged.manifest.metadata.get("hash_seed", 0),
        "event_types": staged.manifest.metadata.get("event_types", []),
        "newest_event": staged.manifest.metadata.get("newest_event"),
        "schemas": staged.manifest.metadata.get("schemas", {}),
        "training_outcome": fitted.facts,
        "next_period": fitted.next_period,
        "line_kind": recipe.line_kind,
        "scores": recipe.has_scores,
        "evaluation": evaluation.to_document()
        | {"held_out": held_out, "dimension": fitted.evaluation.items().vectors.shape[1]},
    }


def _summary(folder: StepFolder, manifest: Manifest, began: float, *, skipped: bool) -> dict[str, Any]:
    optional: dict[str, Any] = {
        key: manifest.metadata[key] for key in ("tunedHPOParams", "autoMLResult") if key in manifest.metadata
    }
    outcome = manifest.metadata.get("training_outcome", {})
    optional |= {key: outcome[key] for key in ("epochs", "best_epoch") if key in outcome}
    if "report" in manifest.metadata:
        optional["report"] = folder.uri_of(manifest.metadata["report"])
    return {
        "job": "train",
        "output": folder.uri,
        "skipped": skipped,
        "published": True,
        **optional,
        "recipe": manifest.metadata["recipe"],
        **manifest.counts,
        "metrics": manifest.metadata["evaluation"]["metrics"],
        "seconds": round(time.monotonic() - began, 1),
    }
