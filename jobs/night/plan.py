"""What a night does: its steps in order, each with the folder that its inputs and settings name.

A step's folder is `<workspace>/<job>/<name>/<fingerprint>/`. The fingerprint covers the settings and the versions of all
inputs, back to the CSV files. So the same night finds its folders and does nothing, and new data go to new folders.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from jobs.recommendation.inputs import check_places, input_files
from jobs.recommendation.publication import CHECK
from jobs.storage import StoredFile, join, list_input, normalise, store_for
from schemas.config import DatasetName, NightlyConfig
from schemas.manifest import MANIFEST_NAME, fingerprint
from schemas.recipes import parse_hyperparameters

Job = Literal["validate", "sessionize", "train", "evaluate", "recommend"]
SHORT = 12  # hex digits of a fingerprint that name a folder


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step of a night.

    Attributes:
        job: The subcommand that does it.
        name: Of the dataset, the solution or the batch inference; "sequences" for sessionize.
        folder: URI of what it makes.
        fingerprint: Of its settings and inputs.
        settings: What it is told.
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

    def finished(self, last: dict[str, Any] | None = None) -> bool:
        """Whether it is done.

        Args:
            last: Its record of the last finished night. Lists go to the same folder every night, so only that tells.
        """
        if self.job == "recommend" and (last is None or last["fingerprint"] != self.fingerprint):
            return False
        sign = join(self.folder, CHECK if self.job == "recommend" else MANIFEST_NAME)
        return store_for(sign).stat(sign) is not None


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

    def of(self, job: Job) -> tuple[Step, ...]:
        """The steps of one job."""
        return tuple(step for step in self.steps if step.job == job)


def plan_night(config: NightlyConfig) -> NightPlan:
    """List the inputs and lay out the steps; nothing is written.

    Raises:
        ConfigError: Lists would be written to where their input lies.
        DataError: Two batch input files of one name.
        StorageError: An input is missing or cannot be read.
    """
    workspace = normalise(config.dataset_group.workspace).rstrip("/")
    documents: dict[str, bytes] = {}
    validates: dict[str, Step] = {}
    for name in config.datasets.given():
        validates[name] = _validate(workspace, config, name, validates, documents)
    sequences = _sessionize(workspace, config, validates)
    trains = {name: _train(workspace, config, name, sequences) for name in config.solutions}
    learnt = [step for train in trains.values() for step in (train, _evaluate(workspace, train))]
    recommends = [_recommend(workspace, config, name, trains) for name in config.batch_inference]
    steps = (*validates.values(), sequences, *learnt, *recommends)
    return NightPlan(
        workspace=workspace,
        fingerprint=fingerprint("night", {}, [step.fingerprint for step in steps]),
        steps=steps,
        documents=documents,
    )


def _validate(
    workspace: str, config: NightlyConfig, name: DatasetName, before: dict[str, Step], documents: dict[str, bytes]
) -> Step:
    dataset = config.datasets.given()[name]
    if isinstance(dataset.avro, dict):
        schema = json.dumps(dataset.avro, indent=1).encode()
        digest = hashlib.sha256(schema).hexdigest()
        schema_uri = join(workspace, "schemas", f"{name}-{digest[:SHORT]}.json")
        documents[schema_uri] = schema
    else:
        schema_uri = normalise(dataset.avro)
        digest = hashlib.sha256(store_for(schema_uri).read(schema_uri)).hexdigest()
    data = normalise(dataset.data)
    inputs = {"the schema": digest, **_versions(data)}
    settings: dict[str, Any] = {
        "max_rejected_fraction": dataset.max_rejected_fraction,
        "strict": config.validation.strict,
        "quotas": config.validation.quotas.model_dump(),
    }
    arguments = {**settings, "quotas": config.validation.quotas}
    if dataset.expectations is not None:
        arguments["expectations_uri"] = expectations = normalise(dataset.expectations)
        inputs["the expectations"] = hashlib.sha256(store_for(expectations).read(expectations)).hexdigest()
    if name == "interactions":
        arguments |= {f"{other}_uri": step.folder for other, step in before.items()}
        inputs |= _after(*before.values())
        if config.sessions.gap is not None:
            arguments["gap_seconds"] = settings["gap_seconds"] = config.sessions.gap
    return _step(workspace, "validate", name, settings, inputs, schema_uri=schema_uri, data_uri=data, **arguments)


def _sessionize(workspace: str, config: NightlyConfig, validates: dict[Any, Step]) -> Step:
    sessions = config.sessions
    settings = {"gap_seconds": sessions.gap, "tie_order": sessions.tie_order, "event_types": sessions.event_types}
    sources = [validates[name] for name in ("interactions", "items", "users") if name in validates]
    uris = {f"{source.name}_uri": source.folder for source in sources}
    return _step(workspace, "sessionize", "sequences", settings, _after(*sources), **uris, **settings)


def _train(workspace: str, config: NightlyConfig, name: str, sequences: Step) -> Step:
    solution = config.solutions[name]
    parsed = parse_hyperparameters(solution.recipe, solution.hyperparameters).model_dump()
    training = solution.training.model_dump()
    hpo = {} if solution.hpo is None else {"hpo": solution.hpo.model_dump()}
    searched = hpo | ({"auto_ml": True} if solution.auto_ml else {})
    settings = {"recipe": solution.recipe, "hyperparameters": parsed, "training": training, **searched}
    arguments = {"recipe": solution.recipe, "hyperparameters": dict(solution.hyperparameters), **training, **searched}
    return _step(workspace, "train", name, settings, _after(sequences), sequences_uri=sequences.folder, **arguments)


def _evaluate(workspace: str, train: Step) -> Step:
    return _step(workspace, "evaluate", train.name, {}, _after(train), solution_uri=train.folder)


def _recommend(workspace: str, config: NightlyConfig, name: str, trains: dict[str, Step]) -> Step:
    job = config.batch_inference[name]
    source, output = normalise(job.input), normalise(job.output).rstrip("/") + "/"
    settings = {"num_results": job.num_results, "output": output}
    train = trains[job.solution]
    files = input_files(source)
    check_places(files, source, output.rstrip("/"))
    inputs = {**_after(train), **{file.name: file.version for file in files}}
    step = _step(
        workspace, "recommend", name, settings, inputs, solution_uri=train.folder, input_uri=source, num_results=job.num_results
    )
    return Step(**{**vars(step), "folder": output})


def _step(workspace: str, job: Job, name: str, settings: dict[str, Any], inputs: dict[str, str], **arguments: Any) -> Step:
    identity = fingerprint(job, settings, [f"{label}={version}" for label, version in sorted(inputs.items())])
    folder = join(workspace, job, name, identity[:SHORT])
    return Step(job=job, name=name, folder=folder, fingerprint=identity, settings=settings, inputs=inputs, arguments=arguments)


def _after(*steps: Step) -> dict[str, str]:
    return {step.label: step.fingerprint for step in steps}


def _versions(uri: str) -> dict[str, str]:
    """Name below the folder -> version of every input file."""
    files = list_input(uri)
    folder = uri.rstrip("/") + "/"
    return {_name_below(folder, file): file.version for file in files}


def _name_below(folder: str, file: StoredFile) -> str:
    return file.uri.removeprefix(folder) if file.uri.startswith(folder) else file.name


def reasons(step: Step, last: dict[str, Any] | None, again: set[str]) -> Iterator[str]:
    """Why a step runs, against its record of the last night.

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
