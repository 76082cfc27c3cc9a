"""The config of `hrnn nightly`: TOML, or JSON in the same shape, parsed into frozen models.

    [dataset_group]
    name      = "shop"
    workspace = "s3://bucket/hrnn/shop"            # all that the platform writes; or a local folder

    [datasets.interactions]
    schema = "s3://bucket/schemas/interactions.json"
    data   = "s3://bucket/raw/interactions/"       # a CSV file or a folder of them

    [solutions.for-you]
    recipe = "aws-hrnn"

Nothing in it is executed. An unknown key or a wrong value is refused with its path, the value and what is allowed.
JSON in the shape of AWS's "Maintaining Personalized Experiences" is read by schemas/automation.py.
"""

from __future__ import annotations

import json
from difflib import get_close_matches
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_core import PydanticCustomError

from schemas.batch_jobs import BatchInference, BatchSegment, Filtering, Name
from schemas.config_errors import NAME_RULE, config_error
from schemas.data_settings import Sessions, Validation
from schemas.documents import NoDocument, is_json, read_json, read_toml, values_of
from schemas.errors import ConfigError
from schemas.filters import Filter, check_recipe, parse_filter
from schemas.recipes import check_explained, check_explores, parse_hyperparameters, recipe_for
from schemas.settings import IS_NUMBER, Fraction, Section
from schemas.solutions import Solution
from schemas.uris import Uri, canonical, lies_in

DatasetName = Literal["items", "users", "actions", "action_interactions", "interactions"]


class DatasetGroup(Section):
    """What all of it is called, and where it goes."""

    name: Name = Field(description=NAME_RULE)
    workspace: Uri = Field(description="the folder for all that the platform writes: s3://bucket/path or a local path")


class Dataset(Section):
    """One dataset: its schema and its rows."""

    avro: Uri | dict[str, Any] = Field(
        alias="schema", description="path or s3:// URI of the Avro JSON schema, or the schema itself, as a table or as JSON"
    )
    data: Uri = Field(description="path or s3:// URI of a CSV file, or of a folder of them")
    max_rejected_fraction: Fraction = Field(
        default=0.01, description="0 to 1: share of rows that may be wrong before the night stops"
    )
    expectations: Uri | None = Field(
        default=None, description="path or s3:// URI of a JSON file of Great Expectations that the rows must meet"
    )

    @field_validator("avro", mode="before")
    @classmethod
    def _json_is_read(cls, data: Any) -> Any:
        """A schema given as JSON text, as CreateSchema takes it, is parsed; anything else is a path."""
        if isinstance(data, str) and is_json(data):
            try:
                data = read_json(data)
            except ValueError as error:
                raise PydanticCustomError("no_json", "this schema is not JSON ({reason})", {"reason": str(error)}) from None
        if isinstance(data, list):
            raise PydanticCustomError("no_schema", "a schema is a JSON object")
        return data


class Datasets(Section):
    """The datasets of the group."""

    interactions: Dataset = Field(description="who did what with which item when")
    items: Dataset | None = Field(default=None, description="what is known of items")
    users: Dataset | None = Field(default=None, description="what is known of users")
    actions: Dataset | None = Field(default=None, description="what is known of actions; imported and stored")
    action_interactions: Dataset | None = Field(
        default=None, description="who took, saw or declined which action when; imported and stored"
    )

    def present(self) -> dict[DatasetName, Dataset]:
        """The datasets that there are, interactions last: events are compared with what is known of items and users."""
        every: dict[DatasetName, Dataset | None] = {name: getattr(self, name) for name in get_args(DatasetName)}
        return {name: dataset for name, dataset in every.items() if dataset is not None}


class NightTraining(Section):
    """What holds for the training of every solution."""

    minimums: Literal["refuse", "warn"] = Field(
        default="refuse",
        description=(
            '"refuse": fewer interactions or users than Personalize trains on, by the validation.quotas, stop the night; '
            '"warn": they are told of'
        ),
    )


class Publish(Section):
    """When and how lists are read."""

    lag_hours: Annotated[float, Field(ge=0), IS_NUMBER] = Field(
        default=0.0,
        description="hours from the end of the data until lists are read, 0 or more: what is taken meanwhile is not what they "
        "are for; less than the horizon of every solution",
    )


class NightlyConfig(Section):
    """All that a night needs to know."""

    dataset_group: DatasetGroup = Field(description="what all of it is called, and where it goes")
    datasets: Datasets = Field(description="what is learnt from")
    validation: Validation = Field(default_factory=Validation, description="how strictly the data are judged")
    sessions: Sessions = Field(default_factory=Sessions, description="how interactions become sessions")
    training: NightTraining = Field(default_factory=NightTraining, description="what holds for every training")
    publish: Publish = Field(default_factory=Publish, description="when and how lists are read")
    solutions: Annotated[dict[Name, Solution], Field(min_length=1)] = Field(description="at least one solution, by name")
    batch_inference: dict[Name, BatchInference] = Field(default_factory=dict, description="who gets lists, by name")
    batch_segment: dict[Name, BatchSegment] = Field(default_factory=dict, description="which users make a segment, by name")
    filtering: Filtering = Field(default_factory=Filtering, description="how filters are read and what they look at")

    @property
    def batches(self) -> dict[str, BatchInference | BatchSegment]:
        """Key path -> batch job."""
        lists = {f"batch_inference.{name}": job for name, job in self.batch_inference.items()}
        return {**lists, **{f"batch_segment.{name}": job for name, job in self.batch_segment.items()}}

    def filter_of(self, job: BatchInference | BatchSegment, where: str) -> Filter:
        """The filter of a batch job that has one, parsed.

        Raises:
            FilterError: It breaks a rule.
        """
        assert job.filter is not None
        return parse_filter(job.filter, where, extended=self.filtering.extended, policy=self.filtering.limits)

    @model_validator(mode="after")
    def _solutions_have_folders_of_their_own(self) -> NightlyConfig:
        folded: dict[str, str] = {}
        for name in self.solutions:
            if (other := folded.setdefault(name.casefold(), name)) != name:
                allowed = "names of which no disk takes one for another"
                context = {"path": f"solutions.{name}", "value": name, "allowed": allowed, "meant": ""}
                raise PydanticCustomError("at_key", f"{other} has this name but for its case", context)
        return self

    @model_validator(mode="after")
    def _solutions_exist(self) -> NightlyConfig:
        for path, job in self.batches.items():
            if job.solution not in self.solutions:
                meant = get_close_matches(job.solution, self.solutions, 1, 0.6)
                context = {
                    "path": f"{path}.solution",
                    "value": job.solution,
                    "allowed": ", ".join(self.solutions),
                    "meant": meant[0] if meant else "",
                }
                raise PydanticCustomError("at_key", "there is no such solution", context)
        return self

    @model_validator(mode="after")
    def _outputs_are_apart(self) -> NightlyConfig:
        seen: dict[str, str] = {}
        for path, job in self.batches.items():
            taken = [before for before, output in seen.items() if lies_in(output, job.output) or lies_in(job.output, output)]
            seen[path] = job.output
            problem = f"{taken[0]} writes there too" if taken else None
            if canonical(job.output) == canonical(job.input):
                problem = "input and output are the same place"
            if problem:
                context = {
                    "path": f"{path}.output",
                    "value": job.output,
                    "allowed": "a folder of its own",
                    "meant": "",
                }
                raise PydanticCustomError("at_key", problem, context)
        return self


def parse_document(text: str, where: str) -> dict[str, Any]:
    """The tables of a TOML or JSON text, not yet checked.

    Raises:
        ConfigError: It is neither.
    """
    kind: Literal["JSON", "TOML"] = "JSON" if text.lstrip().startswith("{") else "TOML"
    try:
        document: dict[str, Any] = read_json(text) if kind == "JSON" else read_toml(text)
        for _ in values_of(document):
            pass
    except NoDocument as error:
        raise ConfigError(f"this {kind} cannot be used: {error}", where=where) from None
    except ValueError as error:
        raise ConfigError(f"this is not valid {kind}: {error}", where=where, remedy="Mend the line that is named.") from None
    return document


def build_config(document: dict[str, Any], where: str) -> NightlyConfig:
    """The config of checked tables.

    Raises:
        ConfigError: A key or value is wrong; names the first by its path, and the paths of the others.
    """
    try:
        config = NightlyConfig.model_validate(document)
    except ValidationError as error:
        raise config_error(error, NightlyConfig, where) from None
    for name, solution in config.solutions.items():
        recipe_for(solution.recipe, f"{where}: solutions.{name}.recipe")
        parse_hyperparameters(solution.recipe, solution.hyperparameters, f"{where}: solutions.{name}.hyperparameters")
        solution.check(f"{where}: solutions.{name}")
    for path, job in config.batches.items():
        _check_batch(config, job, f"{where}: {path}")
    return config


def _check_batch(config: NightlyConfig, job: BatchInference | BatchSegment, where: str) -> None:
    """Raise ConfigError where a batch job does not fit its solution's recipe, or its filter is wrong."""
    recipe = recipe_for(config.solutions[job.solution].recipe)
    segments = recipe.makes_segments
    if segments != isinstance(job, BatchSegment):
        raise ConfigError(
            f"{recipe.name} answers {'batch_segment' if segments else 'batch_inference'}",
            where=f"{where}.solution",
            value=job.solution,
            allowed=f"a solution of {'another' if segments else 'a USER_SEGMENTATION'} recipe",
        )
    if isinstance(job, BatchInference):
        if job.exploration is not None:
            check_explores(recipe, f"{where}.exploration")
        if job.explain:
            check_explained(recipe, f"{where}.explain")
    if job.filter is not None:
        check_recipe(config.filter_of(job, f"{where}.filter"), recipe)


def json_schema() -> dict[str, Any]:
    """JSON Schema of the config, for editors."""
    schema = NightlyConfig.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "Config of hrnn nightly"}


if __name__ == "__main__":
    print(json.dumps(json_schema(), indent=2))
