"""`hrnn nightly`: the whole night from one config file; a rerun goes on where it stopped."""

from __future__ import annotations

import re
import sys
import time
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import Any

from jobs.nightly.decisions import decide, records_of
from jobs.nightly.followers import follow_night
from jobs.nightly.heartbeat import Heartbeat, Watch
from jobs.nightly.plan import NightPlan, Step, plan_night
from jobs.nightly.report import night_html, night_page
from jobs.nightly.running import Runtime, one_spark, run_step
from jobs.platform.storage import join, store_for
from jobs.platform.storage.folders import StepFolder
from jobs.platform.storage.records import write_record
from jobs.workspace.generations import Generation, last_summary, read_summary
from schemas.config import NightlyConfig
from schemas.data_settings import Sessions
from schemas.errors import ConfigError, DataError, HrnnError
from schemas.nights import PUBLISHING
from schemas.settings import Section
from schemas.solutions import Training
from schemas.version import VERSION


def nightly(*, config: NightlyConfig, runtime: Runtime, notes: tuple[str, ...] = ()) -> dict[str, Any]:
    """Run a night, or what is left of it.

    Args:
        config: What to do.
        runtime: Where steps run.
        notes: Sentences that a reader of the page must know.

    Returns:
        The night's summary, as `<workspace>/nights/gen-<N>/summary.json` holds it, and `skipped`: nothing was left to do.

    Raises:
        CommitLost: Another night of the group has published meanwhile; this one has published nothing.
        HrnnError: A step failed; `<workspace>/nights/failed.json` says which.
    """
    began = _now()
    start = time.monotonic()
    plan = plan_night(config)
    generation = Generation.begin(plan.workspace, plan.fingerprint)
    for uri, schema in plan.documents.items():
        store_for(uri).write(uri, schema)
    last = records_of(last_summary(plan.workspace))
    records: list[dict[str, Any]] = []
    step: Step | None = None
    heart = Heartbeat(plan.workspace, plan.fingerprint)
    try:
        planned = _to_do(plan, last)
        with one_spark(), heart.beating() if runtime.has_followers else nullcontext():
            for step in (step for step in plan.steps if step.job not in PUBLISHING):
                if runtime.has_followers:
                    heart.at(step.label)
                records.append(run_step(step, runtime, generation, last.get((step.job, step.name))))
            step = None
            planned |= _to_do(plan, last)  # what is still to be done is known now, whatever was thought before
            generation = generation.claim(began, anew=bool(planned) or not all(record["skipped"] for record in records))
            for step in plan.of(*PUBLISHING):
                records.append(run_step(step, runtime, generation, anew=step.label in planned))
    except Exception as caught:
        error = caught if step is None else _in_config(caught, step)
        failure = {"step": None if step is None else step.label, "error": str(error), "kind": type(error).__name__}
        document = _document(config, plan, generation, began, start, records) | {"state": "failed", **failure}
        _record_failure(plan.workspace, document)
        if isinstance(error, HrnnError):
            error.facts = {key: document[key] for key in ("job", "output", "group", "step")}
        if error is caught:
            raise
        raise error from None
    document = _document(config, plan, generation, began, start, records) | {"state": "finished", "notes": list(notes)}
    return _finish(plan, generation, document)


def _in_config(error: Exception, step: Step) -> Exception:
    """The error of a step, with the config's key path where it tells of a setting; another error as it is."""
    tables: dict[str, tuple[str, type[Section]]] = {
        "sessionize": ("sessions", Sessions),
        "train": (f"solutions.{step.name}.training", Training),
    }
    if step.job not in tables or not isinstance(error, ConfigError | DataError) or not error.where:
        return error
    table, model = tables[step.job]
    return error.at(f"{table}.{error.where}") if re.split(r"[.\[]", error.where)[0] in model.model_fields else error


def _to_do(plan: NightPlan, last: dict[tuple[str, str], dict[str, Any]]) -> set[str]:
    """Labels of the steps that write lists."""
    return {each.step.label for each in decide(plan, last) if each.runs and each.step.job in PUBLISHING}


def _document(
    config: NightlyConfig, plan: NightPlan, generation: Generation, began: str, start: float, records: list[dict[str, Any]]
) -> dict[str, Any]:
    """Summary of a night so far, finished or not."""
    return {
        "job": "nightly",
        "output": generation.folder,
        "group": config.dataset_group.name,
        "workspace": plan.workspace,
        "generation": generation.number,
        "night": plan.fingerprint,
        "software": VERSION,
        "began": began,
        "finished": _now(),
        "seconds": round(time.monotonic() - start, 1),
        "skipped": False,
        "steps": records,
    }


def _finish(plan: NightPlan, generation: Generation, document: dict[str, Any]) -> dict[str, Any]:
    """Write summary and page, the summary last; a night that has one keeps it."""
    store = store_for(generation.folder)
    if store.stat(generation.summary_uri) is not None:
        return read_summary(generation.summary_uri) | {"skipped": True, "seconds": document["seconds"]}
    document["solutions"] = {step.name: _measured(step) for step in plan.of("evaluate")}
    document["report"] = join(generation.folder, "report.html")
    page = night_html(night_page(document, out_uris(document)))
    store.write(document["report"], page.encode())
    write_record(generation.summary_uri, document)
    store.delete([_failure_uri(plan.workspace)])
    return document


def _measured(step: Step) -> dict[str, Any]:
    """metrics.json of a solution, and its recipe."""
    metrics: dict[str, Any] = StepFolder(step.folder).require("evaluation").metadata["metrics"]
    solution = StepFolder(step.arguments["solution_uri"]).require("solution_version")
    return {"recipe": solution.metadata["recipe"], **metrics}


def out_uris(summary: dict[str, Any]) -> list[str]:
    """The `.out` objects that a night published."""
    published = [step for step in summary["steps"] if step["job"] in PUBLISHING]
    return [
        join(step["folder"], f"{name}.out")
        for step in published
        for name in sorted(step["inputs"])
        if not name.startswith("train ")
    ]


def _failure_uri(workspace: str) -> str:
    return join(workspace, "nights", "failed.json")


def _record_failure(workspace: str, document: dict[str, Any]) -> None:
    """Write `failed.json` into the workspace, if that can be written."""
    uri = _failure_uri(workspace)
    try:
        write_record(uri, document)
    except HrnnError as error:
        print(f"hrnn: the failure could not be recorded: {error}", file=sys.stderr)


def follow(*, config: NightlyConfig, runtime: Runtime) -> dict[str, Any]:
    """Take part in the trainings of a night that node 0 leads: wait for each one's turn, then join its ranks.

    Raises:
        MachineError: The night failed on node 0, was interrupted there, or node 0 is silent.
    """
    plan = plan_night(config)
    followed = follow_night(plan, runtime, Watch(plan.workspace, plan.fingerprint))
    return {"job": "nightly", "output": plan.workspace, "followed": followed}


def brief(summary: dict[str, Any]) -> dict[str, Any]:
    """The summary as one readable line: without settings, inputs and metric tables."""
    kept = ("job", "output", "skipped", "seconds", "group", "generation", "report")
    steps = [
        {key: value for key, value in step["result"].items() if not isinstance(value, dict)}
        | {"name": step["name"], "seconds": step["seconds"]}
        for step in summary["steps"]
    ]
    metrics = {name: solution["metrics"] for name, solution in summary["solutions"].items()}
    return {**{key: summary[key] for key in kept}, "metrics": metrics, "steps": steps}


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
