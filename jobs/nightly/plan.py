"""What a night does: its steps in order, each with the folder that its inputs and settings name.

A step's folder is `<workspace>/<job>/<name>/<fingerprint>/`. The fingerprint covers the settings and the versions of all
inputs, back to the CSV files. So the same night finds its folders and does nothing, and new data go to new folders.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from jobs.batch.inputs import check_places, input_files
from jobs.nightly.horizon import usual_horizon_days
from jobs.platform.storage import StoredFile, join, list_input, normalise, store_for
from jobs.versions import MEASURING_VERSION, SEQUENCES_VERSION, TRAINING_VERSION
from schemas.batch_jobs import BatchInference, BatchSegment, RecommendSettings, SegmentSettings
from schemas.config import Dataset, DatasetName, NightlyConfig
from schemas.data_settings import SessionizeSettings, ValidateSettings
from schemas.datasets import parse_schema
from schemas.errors import ConfigError
from schemas.filters import check_filter, check_group
from schemas.manifest import fingerprint
from schemas.minimums import MINIMUMS
from schemas.nights import Job
from schemas.recipes import parse_hyperparameters, recipe_for

_COMPARED_WITH: dict[DatasetName, tuple[DatasetName, ...]] = {
    "interactions": ("items", "users"),
    "action_interactions": ("users",),
}
_READ_BY_NOBODY: dict[DatasetName, str] = {"actions": "Actions", "action_interactions": "Action_Interactions"}
SHORT = 12  # hex digits of a fingerprint that name a folder


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step of a night.

    Attributes:
        job: The subcommand that does it.
        name: Of the dataset, the solution or the batch inference; "sequences" for sessionize.
        folder: URI of what it makes.
        fingerprint: Of its settings and inputs.
        settings: Settings that its fingerprint covers.
        inputs: What it reads: a file's name or a step's label -> version.
        arguments: Keyword arguments of the job's function.
    """

    job: Job
    name: str
    folder: str
    fingerprint: str
    settings: dict[str, Any]
    inputs: dict[str, str]
    arguments: dict[str, Any]

    @property
    def label(self) -> str:
        """`train for-you`."""
        return f"{self.job} {self.name}"


@dataclass(frozen=True, kw_only=True)
class NightPlan:
    """All steps of a night in order.

    Attributes:
        workspace: Normalised URI of the workspace.
        fingerprint: Of the whole night.
        steps: In the order in which they run.
        documents: URI -> bytes of the schemas that the config itself holds; written before the first step.
    """

    workspace: str
    fingerprint: str
    steps: tuple[Step, ...]
    documents: dict[str, bytes]

    def of(self, *jobs: Job) -> tuple[Step, ...]:
        """The steps of some jobs."""
        return tuple(step for step in self.steps if step.job in jobs)


def plan_night(config: NightlyConfig) -> NightPlan:
    """List the inputs and lay out the steps; nothing is written.

    Raises:
        ConfigError: Lists would be written to where their input lies, or a filter does not fit the datasets.
        DataError: Two batch input files of one name.
        StorageError: An input is missing or cannot be read.
    """
    workspace = normalise(config.dataset_group.workspace).rstrip("/")
    _check_filters(config)
    documents: dict[str, bytes] = {}
    validates: dict[str, Step] = {}
    for name in config.datasets.present():
        validates[name] = _validate(workspace, config, name, validates, documents)
    sequences = _sessionize(workspace, config, validates)
    usual = usual_horizon_days(workspace, sequences.fingerprint)
    trains = {name: _train(workspace, config, name, sequences, usual) for name in config.solutions}
    solutions = [step for train in trains.values() for step in (train, _evaluate(workspace, train))]
    batches = [_batch(workspace, config, path, job, trains) for path, job in config.batches.items()]
    steps = (*validates.values(), sequences, *solutions, *batches)
    return NightPlan(
        workspace=workspace,
        fingerprint=fingerprint("night", {}, [step.fingerprint for step in steps]),
        steps=steps,
        documents=documents,
    )


def _check_filters(config: NightlyConfig) -> None:
    """Raise FilterError where a filter names a field that no dataset has: before hours of training, not after."""
    filters = {path: config.filter_of(job, f"{path}.filter") for path, job in config.batches.items() if job.filter is not None}
    if not filters:
        return
    if config.validation.strict:
        check_group(filters, "batches", config.filtering.limits)
    read = [
        parse_schema(_schema(dataset).decode(errors="replace"), f"datasets.{name}.schema", config.validation.quotas)
        for name, dataset in config.datasets.present().items()
    ]
    schemas = {schema.dataset_type: schema for schema in read}
    for parsed_filter in filters.values():
        check_filter(parsed_filter, schemas, complete=True)


def _schema(dataset: Dataset) -> bytes:
    """The text of a dataset's schema."""
    if isinstance(dataset.avro, dict):
        return json.dumps(dataset.avro, indent=1).encode()
    uri = normalise(dataset.avro)
    return store_for(uri).read(uri)


def _validate(
    workspace: str, config: NightlyConfig, name: DatasetName, before: dict[str, Step], documents: dict[str, bytes]
) -> Step:
    dataset = config.datasets.present()[name]
    schema = _schema(dataset)
    if name in _READ_BY_NOBODY:
        _check_type(schema, name)
    digest = hashlib.sha256(schema).hexdigest()
    if isinstance(dataset.avro, dict):
        schema_uri = join(workspace, "schemas", f"{name}-{digest[:SHORT]}.json")
        documents[schema_uri] = schema
    else:
        schema_uri = normalise(dataset.avro)
    data = normalise(dataset.data)
    inputs = {"the schema": digest, **_versions(data)}
    settings = {"max_rejected_fraction": dataset.max_rejected_fraction, **config.validation.model_dump()}
    arguments = {"schema_uri": schema_uri, "data_uri": data}
    if dataset.expectations is not None:
        arguments["expectations_uri"] = expectations = normalise(dataset.expectations)
        inputs["the expectations"] = hashlib.sha256(store_for(expectations).read(expectations)).hexdigest()
    if name in _COMPARED_WITH:
        known = {other: before[other] for other in _COMPARED_WITH[name] if other in before}
        arguments |= {f"{other}_uri": step.folder for other, step in known.items()}
        inputs |= _after(*known.values())
        if config.sessions.gap is not None:
            settings["gap_seconds"] = config.sessions.gap
    return _step(workspace, "validate", name, settings, inputs, settings=ValidateSettings(**settings), **arguments)


def _check_type(schema: bytes, name: DatasetName) -> None:
    """Raise ConfigError where a schema is that of another dataset; for datasets that no later step reads."""
    where = f"datasets.{name}.schema"
    dataset_type = parse_schema(schema.decode(errors="replace"), where).dataset_type
    if dataset_type != _READ_BY_NOBODY[name]:
        raise ConfigError(
            "this is the schema of another dataset", where=where, value=dataset_type, allowed=_READ_BY_NOBODY[name]
        )


def _sessionize(workspace: str, config: NightlyConfig, validates: dict[Any, Step]) -> Step:
    asked = SessionizeSettings(**config.sessions.model_dump())
    settings = {**config.sessions.model_dump(), "gap_seconds": asked.gap, "layout": SEQUENCES_VERSION}
    sources = [validates[name] for name in ("interactions", "items", "users") if name in validates]
    uris = {f"{source.name}_uri": source.folder for source in sources}
    return _step(workspace, "sessionize", "sequences", settings, _after(*sources), settings=asked, **uris)


def _train(workspace: str, config: NightlyConfig, name: str, sequences: Step, usual_horizon: float) -> Step:
    solution = config.solutions[name]
    ranked = not recipe_for(solution.recipe).means_nothing("horizon_days")
    parsed = parse_hyperparameters(solution.recipe, solution.hyperparameters).model_dump()
    training, told = solution.training.model_dump(), dict[str, float]()
    if ranked and solution.training.horizon_days is None:
        told["horizon_days"] = usual_horizon
    if ranked and solution.training.lag_hours is None and config.publish.lag_hours:
        told["lag_hours"] = config.publish.lag_hours
    training |= told
    hpo = {} if solution.hpo is None else {"hpo": solution.hpo.model_dump()}
    searched = hpo | ({"auto_ml": True} if solution.auto_ml else {})
    quotas, strict = config.validation.quotas, config.training.minimums == "refuse"
    settings: dict[str, Any] = {"recipe": solution.recipe, "hyperparameters": parsed, "training": training, **searched}
    settings |= {"minimums": quotas.model_dump(include=set(MINIMUMS)) if strict else None, "version": TRAINING_VERSION}
    asked = solution.settings(strict=strict, quotas=quotas, **told)
    asked.check_effects(recipe_for(solution.recipe), f"solutions.{name}.training")
    return _step(workspace, "train", name, settings, _after(sequences), sequences_uri=sequences.folder, settings=asked)


def _evaluate(workspace: str, train: Step) -> Step:
    return _step(workspace, "evaluate", train.name, {"version": MEASURING_VERSION}, _after(train), solution_uri=train.folder)


def _batch(
    workspace: str, config: NightlyConfig, path: str, job: BatchInference | BatchSegment, trains: dict[str, Step]
) -> Step:
    source, output = normalise(job.input), normalise(job.output).rstrip("/") + "/"
    of_segments = isinstance(job, BatchSegment)
    kind: Job = "segment" if of_segments else "recommend"
    model = SegmentSettings if of_segments else RecommendSettings
    told = {"num_results": job.num_results, **job.model_dump(include=set(model.model_fields), exclude_defaults=True)}
    if job.filter is not None:
        extended, events = config.filtering.extended, config.filtering.limits.past_events
        told |= {"filter_expression": job.filter, "extended_filters": extended, "filter_events": events}
    if isinstance(job, BatchInference) and job.exploration is not None:
        told["item_exploration_config"] = job.exploration.as_personalize()
    train = trains[job.solution]
    files = input_files(source)
    check_places(files, source, output.rstrip("/"))
    inputs = {**_after(train), **{file.name: file.version for file in files}}
    uris = {"solution_uri": train.folder, "input_uri": source}
    step = _step(workspace, kind, path.partition(".")[2], told | {"output": output}, inputs, **uris, settings=model(**told))
    return replace(step, folder=output)


def _step(workspace: str, job: Job, name: str, settings: dict[str, Any], inputs: dict[str, str], /, **arguments: Any) -> Step:
    identity = fingerprint(job, settings, [f"{label}={version}" for label, version in sorted(inputs.items())])
    folder = join(workspace, job, name, identity[:SHORT])
    return Step(job=job, name=name, folder=folder, fingerprint=identity, settings=settings, inputs=inputs, arguments=arguments)


def _after(*steps: Step) -> dict[str, str]:
    return {step.label: step.fingerprint for step in steps}


def _versions(uri: str) -> dict[str, str]:
    """Path below the folder -> version, of every input file."""
    files = list_input(uri)
    folder = uri.rstrip("/") + "/"
    return {_name_below(folder, file): file.version for file in files}


def _name_below(folder: str, file: StoredFile) -> str:
    return file.uri.removeprefix(folder) if file.uri.startswith(folder) else file.name


def reasons(step: Step, last: Mapping[str, Any] | None, again: set[str]) -> Iterator[str]:
    """Why a step runs: what differs from its record of the last night.

    Args:
        step: A step that is not finished.
        last: Its settings and inputs as the last night's summary holds them; None where there was none.
        again: Labels of the steps that run before it.
    """
    if last is None:
        yield "never run"
        return
    for label in sorted({*step.inputs, *last["inputs"]}):
        now, before = step.inputs.get(label), last["inputs"].get(label)
        if now != before:
            change = "is gone" if now is None else "is new" if before is None else "runs again" if label in again else "changed"
            yield f"{label} {change}"
    for key in sorted({*step.settings, *last["settings"]}):
        now, before = step.settings.get(key), last["settings"].get(key)
        if json.dumps(now) != json.dumps(before):
            yield f"{key}: {json.dumps(before)} → {json.dumps(now)}"
