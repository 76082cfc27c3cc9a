"""Configs of AWS's "Maintaining Personalized Experiences" and of its older `ml_ops` sample, as configs of `hrnn nightly`.

What has a meaning here is taken over; every key that has none is named in a warning. These files say nothing about places:
they come from the options of `hrnn nightly`, or from where that solution keeps them:

    train/<group>/config.json, interactions.csv (or interactions/*.csv), items…, users…
    batch/<group>/<solution>/job_config.json

A filter is taken over where a batch job names it by its ARN.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from schemas.errors import ConfigError
from schemas.recipes import RECIPE_ARN, RECIPES

AVAILABLE = tuple(recipe.name for recipe in RECIPES.values() if recipe.available)
AUTO_ML_RECIPE = "aws-hrnn"  # whose name a solution carries until one is chosen
_DATASETS = ("interactions", "items", "users")
_BATCHES = {"batchInferenceJobs": "batch_inference", "batchSegmentJobs": "batch_segment"}
_EXPLORATION = {"explorationWeight": "weight", "explorationItemAgeCutOff": "item_age_cut_off"}
_REASONS = {
    "campaigns": "there are batch lists only",
    "recommenders": "domain recommenders have no recipe here",
    "eventTracker": "events come from the CSV files only",
    "tags": "nothing here carries tags",
}


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


def is_automation_config(document: dict[str, Any]) -> bool:
    """Whether it has the shape of AWS's configs rather than ours."""
    return "datasetGroup" in document


def from_automation(
    document: dict[str, Any], places: Places, where: str, recipes: Collection[str] = AVAILABLE
) -> tuple[dict[str, Any], list[str]]:
    """The same night as a document of our own shape, and what could not be taken over.

    Args:
        document: The parsed JSON.
        places: Where data lie and results go.
        where: Name of the config file, for messages.
        recipes: Names of the recipes that can be trained.

    Returns:
        The document, to be checked by `schemas.config.build_config`, and one sentence for each thing left out.

    Raises:
        ConfigError: A part that is needed is missing or of the wrong kind, or no solution is left.
    """
    warnings: list[str] = []
    group = _service(_table(document, "datasetGroup", where))
    ours: dict[str, Any] = {
        "dataset_group": {"name": group.get("name"), "workspace": places.workspace},
        "datasets": _datasets(_table(document, "datasets", where), places, where, warnings),
        "solutions": {},
        "batch_inference": {},
        "batch_segment": {},
    }
    filters = _filters(document, where)
    _refuse_twice(((path, _service(solution).get("name")) for path, solution in _solutions(document, where)), where)
    for path, solution in _solutions(document, where):
        _add_solution(ours, path, solution, places, recipes, filters, warnings)
    batches = [*ours["batch_inference"].values(), *ours["batch_segment"].values()]
    used = {job["filter"] for job in batches if "filter" in job}
    warnings += [f"filters: {name} is left out, no batch job names it" for name, text in filters.items() if text not in used]
    known = {"datasetGroup", "datasets", "solutions", "filters"}
    warnings += [
        f"{key}: left out, {_REASONS.get(key, 'it has no meaning in a nightly run')}" for key in document if key not in known
    ]
    warnings += [f"datasetGroup.{key}: left out" for key in _extras(document["datasetGroup"], {"name"})]
    if not ours["solutions"]:
        asked = sorted({_recipe(solution) or "none" for _, solution in _solutions(document, where)})
        allowed = ", ".join(sorted(recipes))
        raise ConfigError(
            "no solution has a recipe that can be trained", where=f"{where}: solutions", value=asked, allowed=allowed
        )
    return ours, warnings


def _datasets(tables: dict[str, Any], places: Places, where: str, warnings: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    _refuse_twice(((f"datasets.{key}", key.lower()) for key in tables), where)
    described = ((key, _service(_as_table(_as_table(table).get("dataset")))) for key, table in tables.items())
    _refuse_twice(((f"datasets.{key}.dataset", service.get("name")) for key, service in described), where)
    for key, table in tables.items():
        name = key.lower()
        if name not in _DATASETS or not isinstance(table, dict):
            warnings.append(f"datasets.{key}: left out")
            continue
        schema = table.get("schema")
        if isinstance(schema, dict) and "serviceConfig" in schema:
            warnings += [f"datasets.{key}.schema.{extra}: left out" for extra in _extras(schema, {"name", "schema"})]
            schema = _service(schema).get("schema")
        warnings += [
            f"datasets.{key}.dataset.{extra}: left out" for extra in _extras(_as_table(table.get("dataset")), {"name"})
        ]
        warnings += [f"datasets.{key}.{extra}: left out" for extra in _extras(table, {"name", "schema", "dataset"})]
        if schema is None:
            raise ConfigError("this key is missing", where=f"{where}: datasets.{key}.schema", allowed="an Avro JSON schema")
        data = places.data(name)
        if data is None and name == "interactions":
            raise ConfigError("there are no interactions", where=where, remedy="Say where they lie with --data FOLDER.")
        if data is None:
            warnings.append(f"datasets.{key}: left out, no data were found")
        else:
            found[name] = {"schema": schema, "data": data}
    return found


def _solutions(document: dict[str, Any], where: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Key path and table of every solution; a list in the one shape, a mapping in the other."""
    solutions = document.get("solutions")
    named = solutions.items() if isinstance(solutions, dict) else enumerate(solutions) if isinstance(solutions, list) else None
    if named is None:
        raise ConfigError("this key is missing or no list", where=f"{where}: solutions", allowed="a list of solutions")
    for key, solution in named:
        if not isinstance(solution, dict):
            raise ConfigError("a table is needed", where=f"{where}: solutions.{key}", value=solution)
        yield f"solutions.{key}", solution


def _add_solution(
    ours: dict[str, Any],
    path: str,
    solution: dict[str, Any],
    places: Places,
    recipes: Collection[str],
    filters: dict[str, str],
    warnings: list[str],
) -> None:
    service = _service(solution)
    name = service.get("name")
    auto_ml = _is_true(service.get("performAutoML"))
    recipe = (AUTO_ML_RECIPE if auto_ml else "") or _recipe(solution)
    if not isinstance(name, str) or recipe not in recipes:
        warnings.append(
            f"{path} ({name}): left out, the recipe {recipe or '(none)'} is not one of {', '.join(sorted(recipes))}"
        )
        return
    settings = _as_table(service.get("solutionConfig"))
    ours["solutions"][name] = {
        "recipe": recipe,
        "hyperparameters": {
            **_as_table(settings.get("algorithmHyperParameters")),
            **_as_table(settings.get("featureTransformationParameters")),
        },
    }
    ours["solutions"][name] |= _searches_and_events(service, settings)
    if auto_ml:
        _choose_recipe(ours["solutions"][name], path, warnings)
    taken = {"algorithmHyperParameters", "featureTransformationParameters", "eventValueThreshold", "eventsConfig", "hpoConfig"}
    warnings += [f"{path}.solutionConfig.{key}: left out" for key in settings if key not in taken]
    known = {"name", "recipeArn", "solutionConfig", "eventType", "performHPO", "performAutoML", *_BATCHES}
    warnings += [f"{path}.{key}: left out" for key in _extras(solution, known)]
    for key, section in _BATCHES.items():
        jobs = solution.get(key)
        for number, job in enumerate(jobs if isinstance(jobs, list) else []):
            at = f"{path}.{key}.{number}"
            taken_over = _batch(at, name, _as_table(job), number, places, filters, warnings)
            if taken_over is not None:
                ours[section][name] = taken_over


def _searches_and_events(service: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    """`training` and `hpo` of a solution, from CreateSolution's names; values are checked where the config is built."""
    training: dict[str, Any] = {}
    if service.get("eventType") is not None:
        training["event_type"] = service["eventType"]
    if settings.get("eventValueThreshold") is not None:
        training["event_value_threshold"] = settings["eventValueThreshold"]
    listed = _as_table(settings.get("eventsConfig")).get("eventParametersList")
    if isinstance(listed, list):
        names = {"eventType": "event_type", "eventValueThreshold": "event_value_threshold"}
        training["events_config"] = [
            {names.get(key, key): value for key, value in _as_table(entry).items()} for entry in listed
        ]
    found: dict[str, Any] = {"training": training} if training else {}
    if _is_true(service.get("performHPO")):
        config = _as_table(settings.get("hpoConfig"))
        resources = _as_table(config.get("hpoResourceConfig"))
        bounds = {"max_jobs": "maxNumberOfTrainingJobs", "parallel_jobs": "maxParallelTrainingJobs"}
        found["hpo"] = {ours: _whole(resources[theirs]) for ours, theirs in bounds.items() if theirs in resources}
        found["hpo"]["ranges"] = _ranges(_as_table(config.get("algorithmHyperParameterRanges")))
    return found


def _choose_recipe(solution: dict[str, Any], path: str, warnings: list[str]) -> None:
    """performAutoML: our own AutoML, which takes neither hyperparameters nor a search for them."""
    solution["auto_ml"] = True
    warnings.append(f"{path}.performAutoML: the recipe is chosen among the HRNN recipes, each with its defaults")
    for key, theirs in (("hyperparameters", "solutionConfig: hyperparameters"), ("hpo", "performHPO")):
        if solution.pop(key, None):
            warnings.append(f"{path}.{theirs}: left out, performAutoML takes every recipe with its defaults")


def _is_true(value: Any) -> bool:
    return str(value).lower() == "true"


def _ranges(table: dict[str, Any]) -> dict[str, list[Any]]:
    """`ranges` of a search: [least, most], or the values of a categorical one."""
    found: dict[str, list[Any]] = {}
    for kind in ("integerHyperParameterRanges", "continuousHyperParameterRanges", "categoricalHyperParameterRanges"):
        entries = table.get(kind)
        for entry in map(_as_table, entries if isinstance(entries, list) else []):
            values = entry.get("values")
            chosen = values if isinstance(values, list) else [entry.get("minValue"), entry.get("maxValue")]
            found[str(entry.get("name"))] = chosen
    return found


def _whole(value: Any) -> Any:
    """A whole number that is written as a string; anything else as it is, to be refused by name."""
    return int(value) if isinstance(value, str) and value.isascii() and value.isdecimal() else value


def _refuse_twice(named: Iterable[tuple[str, Any]], where: str) -> None:
    """ConfigError where two parts of one kind have the same name: the service would refuse the second.

    Args:
        named: Key path and name of each.
        where: Name of the config file.
    """
    paths: dict[str, str] = {}
    for path, name in named:
        if isinstance(name, str) and (first := paths.setdefault(name, path)) != path:
            raise ConfigError(
                f"{first} has this name too", where=f"{where}: {path}", value=name, remedy="Rename or remove one of them."
            )


def _filters(document: dict[str, Any], where: str) -> dict[str, str]:
    """Name -> expression of the config's filters."""
    listed = document.get("filters")
    tables = [_service(_as_table(entry)) for entry in (listed if isinstance(listed, list) else [])]
    _refuse_twice(((f"filters.{number}", table.get("name")) for number, table in enumerate(tables)), where)
    return {str(table.get("name")): str(table["filterExpression"]) for table in tables if "filterExpression" in table}


def _batch(
    at: str,
    solution: str,
    job: dict[str, Any],
    number: int,
    places: Places,
    filters: dict[str, str],
    warnings: list[str],
) -> dict[str, Any] | None:
    """A batch job of a solution in our own shape; None, and a warning, where it can't be taken over."""
    service = _service(job)
    filter_name = str(service["filterArn"]).rpartition("/")[2] if "filterArn" in service else None
    refusal = None
    if number:  # all jobs of a solution read the same input: a second one would write the same file
        refusal = "a solution has one batch input"
    elif filter_name is not None and filter_name not in filters:
        refusal = f"the config has no filter {filter_name}, and answers without it would be wrong"
    elif (batch_input := places.batch(solution)) is None:
        refusal = f"there is no batch input for {solution}; say where it lies with --batch FOLDER"
    if refusal is not None:
        warnings.append(f"{at}: left out, {refusal}")
        return None
    assert batch_input is not None
    ours: dict[str, Any] = {"solution": solution, "input": batch_input, "output": batch_input.rpartition("/")[0] + "/out/"}
    if "numResults" in service:
        ours["num_results"] = service["numResults"]
    if filter_name is not None:
        ours["filter"] = filters[filter_name]
    exploration = _as_table(_as_table(service.get("batchInferenceJobConfig")).get("itemExplorationConfig"))
    if exploration:
        ours["exploration"] = {_EXPLORATION.get(key, key): value for key, value in exploration.items()}
    taken = {"numResults", "jobInput", "jobOutput", "jobName", "filterArn", "batchInferenceJobConfig"}
    warnings += [f"{at}.{key}: left out" for key in _extras(job, taken)]
    return ours


def _table(document: dict[str, Any], key: str, where: str) -> dict[str, Any]:
    value = document.get(key)
    if not isinstance(value, dict):
        raise ConfigError("this key is missing or no table", where=f"{where}: {key}")
    return value


def _as_table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _service(table: dict[str, Any]) -> dict[str, Any]:
    """What goes to the service itself: `serviceConfig` in the one shape, the table in the other."""
    return _as_table(table.get("serviceConfig", table))


def _recipe(solution: dict[str, Any]) -> str:
    """Name of a solution's recipe; empty where it has none."""
    return str(_service(solution).get("recipeArn") or "").removeprefix(RECIPE_ARN)


def _extras(table: dict[str, Any], taken: set[str]) -> list[str]:
    """Keys of a table and of its `serviceConfig` that nobody takes over."""
    inner = [f"serviceConfig.{key}" for key in _as_table(table.get("serviceConfig")) if key not in taken]
    return [key for key in table if key != "serviceConfig" and key not in taken] + inner
