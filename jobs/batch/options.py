"""Options of a batch inference: the number of items, a filter, exploration. Checked before Spark starts."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from schemas.batch_jobs import FilterSettings, RecommendSettings
from schemas.datasets import parse_schemas
from schemas.errors import ConfigError
from schemas.filters import NO_LIMITS, Filter, check_filter, parse_filter
from schemas.filters.checks import check_recipe
from schemas.filters.tree import Moment, all_conditions
from schemas.manifest import Manifest
from schemas.numbers import number_of
from schemas.recipes import RECIPES, Recipe, check_explained, check_explores


@dataclass(frozen=True, kw_only=True)
class FilterOptions:
    """A filter of items, or of a segment's users.

    Attributes:
        text: Its expression.
        extended: Whether the platform's own extensions are allowed.
        events: A user's newest events of each type that it reads.
        now: Value of now(), UTC epoch seconds; 0 where the filter doesn't mention it.
        asks_past: Whether it reads users' events.
        asks_attributes: Whether it reads users' attributes.
    """

    # The names of these fields are keys of the record's config, which its fingerprint covers.

    text: str
    extended: bool
    events: int
    now: int
    asks_past: bool
    asks_attributes: bool

    def parsed(self) -> Filter:
        """The parsed filter, which was checked before; how large it may be is the night's business."""
        return parse_filter(self.text, "filter", extended=self.extended, policy=NO_LIMITS)


@dataclass(frozen=True, kw_only=True)
class Exploration:
    """Personalize's itemExplorationConfig.

    Attributes:
        weight: Above 0, at most 1.
        cut_off_days: Items younger than this, at the time of the newest event, are explored.
    """

    weight: float
    cut_off_days: float


@dataclass(frozen=True, kw_only=True)
class Options:
    """How lines are answered.

    Attributes:
        num_results: Items a line.
        filter: Which items a line may get; None: all.
        exploration: None: relevance alone decides.
        explain: Whether good lines explain their items.
    """

    num_results: int
    filter: FilterOptions | None = None
    exploration: Exploration | None = None
    explain: bool = False

    def config(self) -> dict[str, Any]:
        """The settings that answers depend on, as the record holds them."""
        return {name: value for name, value in asdict(self).items() if value is not None and value is not False}


def read_options(manifest: Manifest, settings: RecommendSettings) -> Options:
    """Check what `jobs.recommend.job.recommend` was told; see there.

    Raises:
        ConfigError: A setting does not go with the solution version's recipe.
        FilterError: The filter is wrong.
    """
    recipe = RECIPES[manifest.metadata["recipe"]]
    if recipe.makes_segments:
        raise ConfigError(
            "this solution version makes segments of users", where="solution", value=recipe.name, remedy="Run `hrnn segment`."
        )
    if settings.explain:
        check_explained(recipe, "explain")
    return Options(
        num_results=settings.num_results,
        filter=read_filter(settings, manifest),
        exploration=_exploration(settings.item_exploration_config, manifest, recipe),
        explain=settings.explain,
    )


def read_filter(settings: FilterSettings, manifest: Manifest) -> FilterOptions | None:
    """A job's filter, if there is one, checked against the recipe and the schemas of a solution version.

    Raises:
        FilterError: It is wrong.
        ConfigError: The solution version is too old for it; or there is none, and how it is read is given.
    """
    text, extended = settings.filter_expression, settings.extended_filters
    if text is None:
        for name in ("extended_filters", "filter_events"):
            if name in settings.model_fields_set and (value := getattr(settings, name)):
                problem = "this says how a filter is read, and there is none"
                raise ConfigError(problem, where=name, value=value, remedy="Leave it out, or give a filter.")
        return None
    parsed = parse_filter(text, "filter_expression", extended=extended, policy=NO_LIMITS)  # the night keeps them
    schemas = parse_schemas(manifest.metadata.get("schemas", {}), "the solution version")
    check_recipe(parsed, RECIPES[manifest.metadata["recipe"]])
    check_filter(parsed, schemas, complete=bool(schemas))
    if parsed.uses("Interactions") and "event_types" not in manifest.metadata:
        raise ConfigError(
            "an older release trained this solution version, without what users did", where="solution", remedy="Train it again."
        )
    conditions = (condition for expression in parsed.expressions for condition in all_conditions(expression))
    reads_clock = any(isinstance(operand, Moment) for condition in conditions for operand in condition.operands)
    return FilterOptions(
        text=text,
        extended=extended,
        events=settings.filter_events,
        now=int(time.time()) if reads_clock else 0,
        asks_past=parsed.uses("Interactions"),
        asks_attributes=parsed.uses("CurrentUser") or parsed.uses("Users"),
    )


def _exploration(config: Mapping[str, Any] | None, manifest: Manifest, recipe: Recipe) -> Exploration | None:
    """The exploration of a job: its itemExplorationConfig, else the solution's hyperparameters."""
    where = "item_exploration_config"
    names = {"explorationWeight": "exploration_weight", "explorationItemAgeCutOff": "exploration_item_age_cut_off"}
    if config:
        check_explores(recipe, where)
    if not recipe.explores:
        return None
    trained = manifest.metadata.get("hyperparameters", {})
    defaults = recipe.hyperparameters()
    values = {name: float(trained.get(key, getattr(defaults, key))) for name, key in names.items()}
    for name, value in (config or {}).items():
        if name not in names:
            raise ConfigError("this key is not known", where=where, value=name, allowed=", ".join(names))
        values[name] = _number(value, f"{where}.{name}")
    weight, cut_off = values["explorationWeight"], values["explorationItemAgeCutOff"]
    if not 0 <= weight <= 1:
        raise ConfigError("the weight is out of range", where=f"{where}.explorationWeight", value=weight, allowed="0 to 1")
    if not 0 < cut_off < float("inf"):
        where = f"{where}.explorationItemAgeCutOff"
        raise ConfigError("the cut-off is out of range", where=where, value=cut_off, allowed="a number of days above 0")
    return Exploration(weight=weight, cut_off_days=cut_off) if weight else None


def _number(value: Any, where: str) -> float:
    number = number_of(value)
    if number is None:
        raise ConfigError("this is no number", where=where, value=value, allowed='a number as text, "0.3"')
    return number
