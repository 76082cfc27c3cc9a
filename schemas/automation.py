"""Configs of AWS's "Maintaining Personalized Experiences", its MLOps pipeline and its older sample, as nights' configs.

What has a meaning here is taken over; every key that has none is named in a warning. Places that a file does not name come
from the options of `hrnn nightly`, or from where that solution keeps them:

    train/<group>/config.json, interactions.csv (or interactions/*.csv), items…, users…
    batch/<group>/<solution>/job_config.json

AWS's MLOps pipeline writes the same, but its datasets are a list, `datasetGroup.datasets`, that names their data.
A filter is taken over where a batch job names it by its ARN.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, get_args

from schemas.automation_batches import SECTIONS, Places, batch_jobs
from schemas.automation_tables import as_list, as_table, extras, is_true, refuse_twice, service_of, table_at
from schemas.config import DatasetName
from schemas.errors import ConfigError
from schemas.recipes import RECIPE_ARN, RECIPES
from schemas.solutions import AUTO_ML_RECIPE

AVAILABLE = tuple(recipe.name for recipe in RECIPES.values() if recipe.available)
_DATASETS = get_args(DatasetName)
_HYPERPARAMETERS = ("algorithmHyperParameters", "featureTransformationParameters")  # tables of a solution's settings
_OTHER_NAMES = {"actioninteractions": "action_interactions"}
_COLUMNS = {
    "includedDatasetColumns": "included_dataset_columns",
    "excludedDatasetColumns": "excluded_dataset_columns",
}
_REASONS = {
    "campaigns": "there are batch lists only",
    "recommenders": "domain recommenders have no recipe here",
    "eventTracker": "events come from the CSV files only",
    "tags": "nothing here carries tags",
}


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
    group = service_of(table_at(document, "datasetGroup", where))
    ours: dict[str, Any] = {
        "dataset_group": {"name": group.get("name"), "workspace": places.workspace},
        "datasets": _datasets(_described(document, where), places, where, warnings),
        "solutions": {},
        "batch_inference": {},
        "batch_segment": {},
    }
    filters = _filters(document, where)
    refuse_twice(((path, service_of(solution).get("name")) for path, solution in _solutions(document, where)), where)
    for path, solution in _solutions(document, where):
        refuse_twice(_parameters(path, solution), where)
        refuse_twice(((at, entry.get("name")) for at, entry in _range_entries(path, _settings(solution))), where)
        _add_solution(ours, path, solution, places, recipes, filters, warnings)
    batches = [*ours["batch_inference"].values(), *ours["batch_segment"].values()]
    used = {job["filter"] for job in batches if "filter" in job}
    warnings += [f"filters: {name} is left out, no batch job names it" for name, text in filters.items() if text not in used]
    known = {"datasetGroup", "datasets", "solutions", "filters"}
    warnings += [
        f"{key}: left out, {_REASONS.get(key, 'it has no meaning in a nightly run')}" for key in document if key not in known
    ]
    warnings += [f"datasetGroup.{key}: left out" for key in extras(document["datasetGroup"], {"name", "datasets"})]
    if not ours["solutions"]:
        recipe_names = sorted({_recipe(solution) or "none" for _, solution in _solutions(document, where)})
        allowed = ", ".join(sorted(recipes))
        raise ConfigError(
            "no solution has a recipe that can be trained", where=f"{where}: solutions", value=recipe_names, allowed=allowed
        )
    return ours, warnings


def _described(document: dict[str, Any], where: str) -> list[tuple[str, str, Any]]:
    """Key path, name in lower case and description of every dataset: a table by name, or a list of them with their types."""
    inside = as_table(document["datasetGroup"]).get("datasets")
    path, listed = ("datasets", document.get("datasets")) if inside is None else ("datasetGroup.datasets", inside)
    if isinstance(listed, list) and listed:
        entries = [(f"{path}.{number}", entry) for number, entry in enumerate(listed)]
        return [(at, _name(str(as_table(entry).get("type", ""))), entry) for at, entry in entries]
    if inside is not None:
        raise ConfigError("this is no list of datasets", where=f"{where}: {path}", value=inside)
    return [(f"{path}.{key}", _name(key), table) for key, table in table_at(document, "datasets", where).items()]


def _name(written: str) -> str:
    """A dataset's name as we write it."""
    return _OTHER_NAMES.get(written.lower(), written.lower())


def _datasets(described: list[tuple[str, str, Any]], places: Places, where: str, warnings: list[str]) -> dict[str, Any]:
    datasets: dict[str, Any] = {}
    refuse_twice(((path, name) for path, name, _ in described), where)
    services = ((path, service_of(as_table(as_table(table).get("dataset")))) for path, _, table in described)
    refuse_twice(((f"{path}.dataset", service.get("name")) for path, service in services), where)
    for path, name, table in described:
        if name not in _DATASETS or not isinstance(table, dict):
            warnings.append(f"{path}: left out")
            continue
        schema = _schema(path, table, where, warnings)
        data = _data(path, table, warnings) or places.data(name)
        if data is None and name == "interactions":
            raise ConfigError("there are no interactions", where=where, remedy="Say where they lie with --data FOLDER.")
        if data is None:
            warnings.append(f"{path}: left out, no data were found")
        else:
            datasets[name] = {"schema": schema, "data": data}
    return datasets


def _schema(path: str, table: dict[str, Any], where: str, warnings: list[str]) -> Any:
    """The Avro schema of a dataset."""
    schema = table.get("schema")
    if isinstance(schema, dict) and "serviceConfig" in schema:
        warnings += [f"{path}.schema.{extra}: left out" for extra in extras(schema, {"name", "schema", "schemaVersion"})]
        schema = service_of(schema).get("schema")
    warnings += [f"{path}.dataset.{extra}: left out" for extra in extras(as_table(table.get("dataset")), {"name"})]
    known = {"name", "schema", "dataset", "type", "datasetImportJob"}
    warnings += [f"{path}.{extra}: left out" for extra in extras(table, known)]
    if schema is None:
        raise ConfigError("this key is missing", where=f"{where}: {path}.schema", allowed="an Avro JSON schema")
    return schema


def _data(path: str, table: dict[str, Any], warnings: list[str]) -> str | None:
    """Where the import job of a dataset finds its rows; None where it does not say."""
    job = as_table(table.get("datasetImportJob"))
    service = service_of(job)
    is_full = str(service.get("importMode", "FULL")).upper() == "FULL"
    taken = {"dataSource", "jobName", "createNewJob", *({"importMode"} if is_full else ())}
    warnings += [f"{path}.datasetImportJob.{extra}: left out" for extra in extras(job, taken)]
    location = as_table(service.get("dataSource")).get("dataLocation")
    return location if isinstance(location, str) and location else None


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
    service = service_of(solution)
    name = service.get("name")
    auto_ml = is_true(service.get("performAutoML"))
    recipe = (AUTO_ML_RECIPE if auto_ml else "") or _recipe(solution)
    if not isinstance(name, str) or recipe not in recipes:
        warnings.append(
            f"{path} ({name}): left out, the recipe {recipe or '(none)'} is not one of {', '.join(sorted(recipes))}"
        )
        return
    settings = _settings(solution)
    ours["solutions"][name] = {
        "recipe": recipe,
        "hyperparameters": {name: value for kind in _HYPERPARAMETERS for name, value in as_table(settings.get(kind)).items()},
    }
    ours["solutions"][name] |= _searches_and_events(service, settings)
    warnings += [f"{path}.solutionConfig.hpoConfig.{why}" for why in _untaken_of_search(service, settings)]
    if auto_ml:
        _choose_recipe(ours["solutions"][name], path, warnings)
    taken = {*_HYPERPARAMETERS, "eventValueThreshold", "eventsConfig", "hpoConfig", "trainingDataConfig"}
    warnings += [f"{path}.solutionConfig.{key}: left out" for key in settings if key not in taken]
    known = {"name", "recipeArn", "solutionConfig", "eventType", "performHPO", "performAutoML", *SECTIONS}
    warnings += [f"{path}.{key}: left out" for key in extras(solution, known)]
    for section, job_name, job in batch_jobs(path, name, solution, places, filters, warnings):
        ours[section][job_name] = job


def _searches_and_events(service: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    """`training` and `hpo` of a solution, from CreateSolution's names; values are checked where the config is built."""
    training: dict[str, Any] = {}
    if service.get("eventType") is not None:
        training["event_type"] = service["eventType"]
    if settings.get("eventValueThreshold") is not None:
        training["event_value_threshold"] = settings["eventValueThreshold"]
    listed = as_table(settings.get("eventsConfig")).get("eventParametersList")
    if isinstance(listed, list):
        names = {"eventType": "event_type", "eventValueThreshold": "event_value_threshold"}
        training["events_config"] = [{names.get(key, key): value for key, value in as_table(entry).items()} for entry in listed]
    columns = as_table(settings.get("trainingDataConfig"))
    training |= {ours: columns[theirs] for theirs, ours in _COLUMNS.items() if columns.get(theirs)}
    result: dict[str, Any] = {"training": training} if training else {}
    if is_true(service.get("performHPO")):
        config = as_table(settings.get("hpoConfig"))
        resources = as_table(config.get("hpoResourceConfig"))
        bounds = {"max_jobs": "maxNumberOfTrainingJobs", "parallel_jobs": "maxParallelTrainingJobs"}
        result["hpo"] = {ours: _whole(resources[theirs]) for ours, theirs in bounds.items() if theirs in resources}
        result["hpo"]["ranges"] = _ranges(settings)
    return result


def _untaken_of_search(service: dict[str, Any], settings: dict[str, Any]) -> Iterator[str]:
    """What of `hpoConfig` has no effect, and why."""
    config = as_table(settings.get("hpoConfig"))
    searches = is_true(service.get("performHPO"))
    for key in config:
        if key == "hpoObjective":
            yield f"{key}: left out, a search is measured by NDCG@25; Personalize lets nobody choose either"
        elif not searches:
            yield f"{key}: left out, performHPO does not say true"
        elif key not in {"hpoResourceConfig", "algorithmHyperParameterRanges"}:
            yield f"{key}: left out"


def _choose_recipe(solution: dict[str, Any], path: str, warnings: list[str]) -> None:
    """performAutoML: our own AutoML, which takes neither hyperparameters nor a search for them."""
    solution["auto_ml"] = True
    warnings.append(f"{path}.performAutoML: the recipe is chosen among the HRNN recipes, each with its defaults")
    for key, theirs in (("hyperparameters", "solutionConfig: hyperparameters"), ("hpo", "performHPO")):
        if solution.pop(key, None):
            warnings.append(f"{path}.{theirs}: left out, performAutoML takes every recipe with its defaults")


def _settings(solution: dict[str, Any]) -> dict[str, Any]:
    return as_table(service_of(solution).get("solutionConfig"))


def _parameters(path: str, solution: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Key path and name of each hyperparameter of a solution."""
    for kind in _HYPERPARAMETERS:
        yield from ((f"{path}.solutionConfig.{kind}.{name}", name) for name in as_table(_settings(solution).get(kind)))


def _range_entries(path: str, settings: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Key path and table of each range that a search may choose from."""
    key = "algorithmHyperParameterRanges"
    table = as_table(as_table(settings.get("hpoConfig")).get(key))
    for kind in ("integerHyperParameterRanges", "continuousHyperParameterRanges", "categoricalHyperParameterRanges"):
        for place, entry in enumerate(as_list(table.get(kind))):
            yield f"{path}.solutionConfig.hpoConfig.{key}.{kind}.{place}", as_table(entry)


def _ranges(settings: dict[str, Any]) -> dict[str, list[Any]]:
    """`ranges` of a search: [least, most], or the values of a categorical one."""
    ranges: dict[str, list[Any]] = {}
    for _, entry in _range_entries("", settings):
        values = entry.get("values")
        chosen = values if isinstance(values, list) else [entry.get("minValue"), entry.get("maxValue")]
        ranges[str(entry.get("name"))] = chosen
    return ranges


def _whole(value: Any) -> Any:
    """A whole number that is written as a string; anything else as it is, to be refused by name."""
    return int(value) if isinstance(value, str) and value.isascii() and value.isdecimal() else value


def _filters(document: dict[str, Any], where: str) -> dict[str, str]:
    """Name -> expression of the config's filters."""
    tables = [service_of(as_table(entry)) for entry in as_list(document.get("filters"))]
    refuse_twice(((f"filters.{number}", table.get("name")) for number, table in enumerate(tables)), where)
    return {str(table.get("name")): str(table["filterExpression"]) for table in tables if "filterExpression" in table}


def _recipe(solution: dict[str, Any]) -> str:
    """Name of a solution's recipe; empty where it has none."""
    return str(service_of(solution).get("recipeArn") or "").removeprefix(RECIPE_ARN)
