"""Which steps of a night run, and why: for `--plan` and for the night itself. Tests compare it with what the jobs do.

A step's folder bears the fingerprint of its settings and of its inputs back to the CSV files. So it is done where its manifest
was made of what its inputs are, or will be, and every file that the manifest names is there. A step that runs again on the same
inputs gives the same version, and what was made of that stays.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from jobs.batch.inputs import input_files
from jobs.batch.options import read_options
from jobs.batch.output_record import RECORD_FOLDER
from jobs.batch.publication import BatchJob, Publication, batch_identity
from jobs.nightly.plan import NightPlan, Step, plan_night, reasons
from jobs.platform.storage import join
from jobs.platform.storage.folders import StepFolder
from jobs.segment.options import segment_options
from jobs.workspace.generations import last_summary
from schemas.config import NightlyConfig
from schemas.manifest import USERS_DELETED, Manifest
from schemas.nights import PUBLISHING

Record = Mapping[str, Any]  # of a step, as the summary of a night has it
NOT_FINISHED = "not finished"
AS_IT_WAS = "as it was"  # a version that nobody has kept, of a step that will be made again of what it was made of


@dataclass(frozen=True, kw_only=True)
class Decision:
    """Whether one step of a night runs, and why.

    Attributes:
        step: The step.
        why: Why it runs; empty where it is done.
    """

    step: Step
    why: tuple[str, ...]

    @property
    def runs(self) -> bool:
        """Whether there is something to do."""
        return bool(self.why)


@dataclass
class _Known:
    """State of the steps already decided.

    Attributes:
        versions: Folder -> fingerprint that its manifest has, or will have; None where that is another than before.
        changed: Those among them that a deletion of users made.
        again: Labels of the steps that run.
    """

    versions: dict[str, str | None] = field(default_factory=dict)
    changed: set[str] = field(default_factory=set)
    again: set[str] = field(default_factory=set)


def plan_document(config: NightlyConfig) -> dict[str, Any]:
    """Result of `--plan`: every step, whether it would run, and why. Nothing is written, Spark is not started."""
    plan = plan_night(config)
    steps = [
        {"job": each.step.job, "name": each.step.name, "runs": each.runs, "why": list(each.why), "folder": each.step.folder}
        for each in decide(plan, records_of(last_summary(plan.workspace)))
    ]
    return {"job": "nightly", "plan": True, "night": plan.fingerprint, "workspace": plan.workspace, "steps": steps}


def records_of(summary: dict[str, Any] | None) -> dict[tuple[str, str], dict[str, Any]]:
    """The records of a night's steps, by job and name."""
    return {(step["job"], step["name"]): step for step in (summary["steps"] if summary else [])}


def decide(plan: NightPlan, last: Mapping[tuple[str, str], Record]) -> list[Decision]:
    """Decide for every step of a night, in order, whether it runs; nothing is written.

    Args:
        plan: The night.
        last: Job and name -> the step's record of the last finished night.

    Raises:
        IntegrityError: A manifest is damaged.
    """
    known, decisions = _Known(), []
    for step in plan.steps:
        record = last.get((step.job, step.name))
        why = list((_about_lists if step.job in PUBLISHING else _about_folder)(step, record, known))
        if why:
            known.again.add(step.label)
            if record is not None or why == [NOT_FINISHED]:
                why = [*reasons(step, record, known.again)] or why
        decisions.append(Decision(step=step, why=tuple(why)))
    return decisions


def _about_folder(step: Step, record: Record | None, known: _Known) -> Iterator[str]:
    """Reasons to run a step with a folder of its own; none where it is done."""
    folder = StepFolder(step.folder)
    manifest = folder.manifest()
    users_left = manifest is not None and USERS_DELETED in manifest.metadata
    is_whole = manifest is not None and folder.is_whole(manifest)
    as_it_is = is_whole and (step.job == "validate" or not users_left)  # datasets are not imported again without users
    version = _version(step, manifest, record, _inputs_of(step, known), known)
    if users_left and manifest is not None:
        known.changed.add(manifest.fingerprint)
        if version is not None and not as_it_is:
            version = manifest.metadata[USERS_DELETED][0]["before"]  # a run makes it as it was before they left
    known.versions[folder.uri] = version
    if manifest is None:
        yield NOT_FINISHED
    elif version is None:
        yield from _changes(step, known)
    elif not as_it_is:
        yield "a file of it is missing" if not is_whole else "users were deleted from it"


def _version(
    step: Step, manifest: Manifest | None, record: Record | None, inputs: set[str | None], known: _Known
) -> str | None:
    """Fingerprint that a step's folder has, or would have; None where it was made of something else."""
    if manifest is not None:
        made_of, version = {each.version for each in manifest.inputs}, manifest.fingerprint
    elif record is not None and record["fingerprint"] == step.fingerprint and "version" in record:
        made_of, version = set(record["made_of"]), record["version"]
    else:
        return None if None in inputs or inputs & known.changed else AS_IT_WAS
    return version if inputs <= {*made_of, AS_IT_WAS} else None


def _about_lists(step: Step, record: Record | None, known: _Known) -> Iterator[str]:
    """Reasons to run a step that publishes lists into the same folder every night; none where it is done."""
    published = StepFolder(join(step.folder, RECORD_FOLDER)).manifest()
    (version,) = _inputs_of(step, known)
    if published is None or "outputs" not in published.metadata:  # a run that was killed while it published
        yield NOT_FINISHED
    elif version is None or version not in {AS_IT_WAS, *(each.version for each in published.inputs)}:
        yield from _changes(step, known)
    elif (identity := _identity(step, published, version, record)) != published.fingerprint:
        yield "the lists there are of other settings or inputs"
    elif not Publication(step.folder.rstrip("/"), published.kind, identity).is_done():
        yield "lists are missing, or are not as they were written"


def _identity(step: Step, published: Manifest, version: str, record: Record | None) -> str | None:
    """Fingerprint that the job would give its lists now; None where it can't be known."""
    solution = StepFolder(step.arguments["solution_uri"]).manifest()
    if solution is None:  # it will be made again; what was asked of it the last night tells
        told = version != AS_IT_WAS and record is not None and record["fingerprint"] == step.fingerprint
        return published.fingerprint if told else None
    asked = step.arguments["settings"]
    config = read_options(solution, asked).config() if step.job == "recommend" else segment_options(solution, asked)[0]
    job: BatchJob = "recommend" if step.job == "recommend" else "segment"
    return batch_identity(job, config, version, input_files(step.arguments["input_uri"]))


def _inputs_of(step: Step, known: _Known) -> set[str | None]:
    """Versions of the steps that a step reads."""
    return {known.versions[value] for value in step.arguments.values() if isinstance(value, str) and value in known.versions}


def _changes(step: Step, known: _Known) -> Iterator[str]:
    """Which inputs are not what the step's folder was made of; at least one line."""
    again = [label for label in step.inputs if label in known.again]
    yield from (f"{label} runs again" for label in again)
    if not again:
        yield "what it is made of has changed"
