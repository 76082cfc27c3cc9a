"""The places of AWS's automation configs, and their batch jobs as jobs of `hrnn nightly`.

A job reads what its `jobInput` names, or what lies where that solution keeps it: all jobs of a solution without a `jobInput`
read the same lines, each with its own filter and number of results, and each writes to a folder of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

from schemas.automation_tables import as_list, as_table, extras, is_true, service_of
from schemas.batch_jobs import THEMES, THEMES_REFUSED

_SECTIONS = {"batchInferenceJobs": "batch_inference", "batchSegmentJobs": "batch_segment"}
_EXPLORATION = {"explorationWeight": "weight", "explorationItemAgeCutOff": "item_age_cut_off"}
_SWITCHES = ("createBatchInferenceJob", "createBatchSegmentJob")
_TAKEN = {
    "numResults", "jobInput", "jobOutput", "jobName", "filterArn", "batchInferenceJobConfig", "batchInferenceJobMode",
    *_SWITCHES,
}  # fmt: skip
SECTIONS: Collection[str] = tuple(_SECTIONS)


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where a config without places finds and puts things; all are URIs.

    Attributes:
        workspace: The folder for all that the platform writes.
        data: Dataset name -> its CSV file or folder, None where there is none.
        batch: Solution name -> its batch input, None where there is none. The lists go to `out/` beside it.
    """

    workspace: str
    data: Callable[[str], str | None]
    batch: Callable[[str], str | None]


def batch_jobs(
    path: str,
    solution: str,
    table: dict[str, Any],
    places: Places,
    filters: dict[str, str],
    warnings: list[str],
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """The batch jobs of a solution that can be taken over; a warning for each other one.

    Args:
        path: Key path of the solution.
        solution: Its name.
        table: What the config says of it.
        places: Where inputs lie.
        filters: Name -> expression.
        warnings: Grows by one sentence for each thing that is left out.

    Yields:
        Section, name and job in our own shape: `batch_inference`, the solution's name or, from the second job on, that and a
        number, and what the job does.
    """
    number = 0
    for key, section in _SECTIONS.items():
        for place, entry in enumerate(as_list(table.get(key))):
            job, at = as_table(entry), f"{path}.{key}.{place}"
            name = solution if number == 0 else f"{solution}-{number + 1}"
            ours = _job(solution, job, number, places, filters)
            if isinstance(ours, str):
                warnings.append(f"{at}: left out, {ours}")
                continue
            warnings += [f"{at}.{extra}: left out" for extra in extras(job, _TAKEN)]
            yield section, name, ours
            number += 1


def _job(solution: str, job: dict[str, Any], number: int, places: Places, filters: dict[str, str]) -> dict[str, Any] | str:
    """A job in our own shape, or why it can't be taken over."""
    service = service_of(job)
    filter_name = str(service["filterArn"]).rpartition("/")[2] if "filterArn" in service else None
    if any(switch in job and not is_true(job[switch]) for switch in _SWITCHES):
        return "it is switched off"
    if service.get("batchInferenceJobMode") == THEMES:
        return THEMES_REFUSED
    if filter_name is not None and filter_name not in filters:
        return f"the config has no filter {filter_name}, and answers without it would be wrong"
    batch_input = _path(service, "jobInput", "s3DataSource") or places.batch(solution)
    if batch_input is None:
        return f"there is no batch input for {solution}; say where it lies with --batch FOLDER"
    beside = batch_input.rstrip("/").rpartition("/")[0] + ("/out/" if number == 0 else f"/out-{number + 1}/")
    ours: dict[str, Any] = {
        "solution": solution,
        "input": batch_input,
        "output": _path(service, "jobOutput", "s3DataDestination") or beside,
    }
    if "numResults" in service:
        ours["num_results"] = service["numResults"]
    if filter_name is not None:
        ours["filter"] = filters[filter_name]
    exploration = as_table(as_table(service.get("batchInferenceJobConfig")).get("itemExplorationConfig"))
    if exploration:
        ours["exploration"] = {_EXPLORATION.get(key, key): value for key, value in exploration.items()}
    return ours


def _path(service: dict[str, Any], *keys: str) -> str | None:
    """The `path` of a place that a job names."""
    for key in keys:
        service = as_table(service.get(key))
    path = service.get("path")
    return path if isinstance(path, str) and path else None
