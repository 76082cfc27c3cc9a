"""Amazon Personalize's recipes: names, what they need, what their batch lines hold, and their hyperparameters.

A recipe is an entry of RECIPES; `hrnn recipes` shows the table. One that is not `available` is known by name, so that it is
refused with a clear sentence. One that `runs_on` another has its own hyperparameters, lines and metrics, and that one's model.

Defaults and ranges: Amazon Personalize developer guide, the pages of the recipes; for the aws-hrnn family, which the service
has withdrawn, the guide of 2023. `bptt` had the range 1 to 32 in 2019; the later one is used.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.resources import files
from typing import Annotated, Any, Literal

from pydantic import create_model

from schemas.batch import EXPLAINED, SEGMENTS, LineKind
from schemas.errors import ConfigError
from schemas.hyperparameters import Hyperparameters, Parameter, field_of, parameter

RecipeType = Literal[
    "USER_PERSONALIZATION", "PERSONALIZED_RANKING", "RELATED_ITEMS", "USER_SEGMENTATION", "PERSONALIZED_ACTIONS"
]

RECIPE_ARN = "arn:aws:personalize:::recipe/"
ALGORITHM_ARN = "arn:aws:personalize:::algorithm/"

_HRNN = "aws-hrnn"
_OF_RANKER = ("ranker", "horizon_days", "lag_hours", "included_dataset_columns", "excluded_dataset_columns")
# Settings of a training's steps, which a recipe in closed form has none of.
_OF_TRAINING = frozenset(
    {"variant", "loss", "epochs", "patience", "time_limit_seconds", "within_session_only", "gru_baseline", *_OF_RANKER}
)

_HiddenDimension = Annotated[int, parameter("algorithm", "hidden units of the model", lowest=32, highest=256, tunable=True)]
_Percentile = Annotated[
    float, parameter("feature", "users whose history is shorter (min) or longer (max) are not learnt from", lowest=0, highest=1)
]
_Share = Annotated[
    float, parameter("feature", "items with fewer (min) or more (max) events than others are left out", lowest=0, highest=1)
]
_Dimension = Annotated[int, parameter("algorithm", "size of the embedding", lowest=30, highest=200, tunable=True)]
_Weight = Annotated[float, parameter("inference", "0: only relevance, 1: most exploration of new items", lowest=0, highest=1)]
_Days = Annotated[float, parameter("inference", "items younger than this are explored, in days", above=0)]


class _WithPercentiles(Hyperparameters):
    """Those that leave users out by the length of their histories."""

    def check(self, where: str) -> None:
        """The percentiles must leave some users."""
        _check_percentiles(self, "user_history_length_percentile", "user", where)


class HrnnHyperparameters(_WithPercentiles):
    """aws-hrnn and aws-hrnn-metadata."""

    hidden_dimension: _HiddenDimension = 43
    bptt: Annotated[
        int, parameter("algorithm", "events through which gradients flow back in time", lowest=2, highest=32, tunable=True)
    ] = 32
    recency_mask: Annotated[bool, parameter("algorithm", "whether recent popularity weighs more than old", tunable=True)] = True
    min_user_history_length_percentile: _Percentile = 0.0
    max_user_history_length_percentile: _Percentile = 0.99


class RankingHyperparameters(HrnnHyperparameters):
    """aws-personalized-ranking."""

    hidden_dimension: _HiddenDimension = 149


class TransformerHyperparameters(Hyperparameters):
    """The -v2 recipes. The name is what users of the service know; no page of its guide that is at hand has it."""

    apply_recency_bias: Annotated[bool, parameter("algorithm", "whether recent popularity weighs more than old")] = True


class ColdstartHyperparameters(RankingHyperparameters):
    """aws-hrnn-coldstart."""

    cold_start_max_interactions: Annotated[int, parameter("feature", "an item with more events is no cold item", above=0)] = 15
    cold_start_max_duration: Annotated[float, parameter("feature", "an older item is no cold item, in days", above=0)] = 5.0
    cold_start_relative_from: Annotated[
        Literal["latestItem", "currentTime"], parameter("feature", "from when an item's age is counted back")
    ] = "latestItem"


class UserPersonalizationHyperparameters(RankingHyperparameters):
    """aws-user-personalization."""

    exploration_weight: _Weight = 0.3
    exploration_item_age_cut_off: _Days = 30.0


class SimsHyperparameters(Hyperparameters):
    """aws-sims."""

    popularity_discount_factor: Annotated[
        float, parameter("algorithm", "how much popular items are held back", lowest=0, highest=1, tunable=True)
    ] = 0.5
    min_cointeraction_count: Annotated[
        int, parameter("algorithm", "users who must have taken both items", lowest=0, highest=10, tunable=True)
    ] = 3
    min_user_history_length_percentile: _Percentile = 0.005
    max_user_history_length_percentile: _Percentile = 0.995
    min_item_interaction_count_percentile: _Share = 0.01
    max_item_interaction_count_percentile: _Share = 0.9

    def check(self, where: str) -> None:
        """The percentiles must leave some users and some items."""
        _check_percentiles(self, "user_history_length_percentile", "user", where)
        _check_percentiles(self, "item_interaction_count_percentile", "item", where)


class SimilarItemsHyperparameters(Hyperparameters):
    """aws-similar-items."""

    item_id_hidden_dim: _Dimension = 100
    item_metadata_hidden_dim: _Dimension = 100


class TrendingHyperparameters(Hyperparameters):
    """aws-trending-now."""

    trend_discovery_frequency: Annotated[
        Literal["30 minutes", "1 hour", "3 hours", "1 day"], parameter("feature", "how often trends are looked for")
    ] = "3 hours"


class SegmentHyperparameters(Hyperparameters):
    """aws-item-affinity and aws-item-attribute-affinity."""

    hidden_dimension: Annotated[int, parameter("algorithm", "hidden units of the model", lowest=32, highest=256)] = 149


# What HRNN calls hyperparameters that a recipe knows under another name.
_HRNN_NAMES = {"item_id_hidden_dim": "hidden_dimension", "apply_recency_bias": "recency_mask"}


def check_explained(recipe: Recipe, where: str) -> None:
    """Check that a recipe's answers can be explained.

    Raises:
        ConfigError: They can't.
    """
    if recipe.line_kind not in EXPLAINED:
        raise ConfigError(
            f"{recipe.name} can't explain its answers", where=where, value=True, allowed="recipes of users and of ranked lists"
        )


def check_explores(recipe: Recipe, where: str) -> None:
    """Check that a recipe explores.

    Raises:
        ConfigError: It doesn't.
    """
    if not recipe.explores:
        exploring = ", ".join(known.name for known in RECIPES.values() if known.explores)
        raise ConfigError(f"{recipe.name} does not explore", where=where, allowed=f"a solution of {exploring}")


def _check_percentiles(parsed: Hyperparameters, name: str, noun: str, where: str) -> None:
    lowest, highest = (getattr(parsed, f"{end}_{name}", None) for end in ("min", "max"))
    if lowest is not None and highest is not None and lowest > highest:
        raise ConfigError(
            f"the percentile is above max_{name}, which leaves no {noun}",
            where=f"{where}.min_{name}",
            value=lowest,
            allowed=f"at most {highest:g}",
        )


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One recipe.

    Attributes:
        name: Personalize's name.
        recipe_type: Personalize's recipeType.
        summary: What it gives, in one sentence.
        feature_transformation: Last part of Personalize's featureTransformationArn, where it has one.
        algorithm: Last part of its algorithmArn; the recipe's name unless it differs.
        hyperparameters: The model that holds and reads its hyperparameters.
        line_kind: What its batch input lines hold.
        has_scores: Its batch lines hold `scores`.
        auto_ml: Personalize's AutoML chooses among recipes that have this.
        reads_interactions: Its filters may look at interactions.
        runs_on: Recipe whose model serves this one until its own is there; empty where it has its own.
        closed_form: It is fitted in closed form: nothing of it is trained, so that there are no epochs, losses or networks.
        refusal: Why it can't be trained here; empty where it can.
    """

    name: str
    recipe_type: RecipeType
    summary: str
    feature_transformation: str | None = None
    algorithm: str = ""
    hyperparameters: type[Hyperparameters] = Hyperparameters
    line_kind: LineKind = "user"
    has_scores: bool = True
    auto_ml: bool = False
    reads_interactions: bool = True
    runs_on: str = ""
    closed_form: bool = False
    refusal: str = ""

    @property
    def available(self) -> bool:
        """Whether it can be trained here."""
        return not self.refusal

    @property
    def makes_segments(self) -> bool:
        """Whether its lines are answered with users."""
        return self.line_kind in SEGMENTS

    @property
    def explores(self) -> bool:
        """Whether its lists may mix new items in."""
        return "exploration_weight" in self.hyperparameters.model_fields

    @property
    def without_effect(self) -> tuple[str, ...]:
        """Hyperparameters of the training that are read and checked, but mean nothing to the model that it runs on."""
        if not self.runs_on:
            return ()
        names = (parameter.name for parameter in self.hyperparameters.parameters() if parameter.place != "inference")
        known = RECIPES[self.runs_on].hyperparameters.model_fields
        return tuple(name for name in names if _HRNN_NAMES.get(name, name) not in known)

    def means_nothing(self, setting: str) -> str:
        """Why a setting of the fitting has no effect; empty where it has one."""
        if self.closed_form and setting in _OF_TRAINING:
            return f"{self.name} is fitted in closed form, without training"
        if setting == "variant" and (self.runs_on or self.name) != _HRNN:
            return f"{self.name} is no HRNN"
        if setting == "gru_baseline" and self.makes_segments:
            return f"{self.name} is measured beside no trained baseline"
        if setting in _OF_RANKER and self.line_kind != "user":
            return f"{self.name} makes no lists for users, which alone are ranked"
        if setting == "split" and self.makes_segments:
            return f"{self.name} is tested with the newest events of every user, in either split"
        return ""

    @property
    def arn(self) -> str:
        """Its ARN."""
        return RECIPE_ARN + self.name

    @property
    def algorithm_arn(self) -> str:
        """ARN of its algorithm, part of Personalize's error texts."""
        return ALGORITHM_ARN + (self.algorithm or self.name)


_ALL = (
    Recipe(
        name="aws-hrnn",
        recipe_type="USER_PERSONALIZATION",
        summary="What a user is likely to take next: a hierarchical recurrent network over their sessions.",
        feature_transformation="JSON-percentile-filtering",
        hyperparameters=HrnnHyperparameters,
        auto_ml=True,
    ),
    Recipe(
        name="aws-hrnn-metadata",
        recipe_type="USER_PERSONALIZATION",
        summary="aws-hrnn that also looks at metadata of events, items and users.",
        feature_transformation="featurize_metadata",
        hyperparameters=HrnnHyperparameters,
        auto_ml=True,
        runs_on="aws-hrnn",
    ),
    Recipe(
        name="aws-hrnn-coldstart",
        recipe_type="USER_PERSONALIZATION",
        summary="aws-hrnn-metadata that also recommends items with few events.",
        feature_transformation="featurize_coldstart",
        hyperparameters=ColdstartHyperparameters,
        auto_ml=True,
        runs_on="aws-hrnn",
    ),
    Recipe(
        name="aws-user-personalization",
        recipe_type="USER_PERSONALIZATION",
        summary="What a user is likely to take next, with exploration of new items.",
        hyperparameters=UserPersonalizationHyperparameters,
        runs_on="aws-hrnn",
    ),
    Recipe(
        name="aws-user-personalization-v2",
        recipe_type="USER_PERSONALIZATION",
        summary="What a user is likely to take next: a transformer over their events.",
        hyperparameters=TransformerHyperparameters,
        runs_on="aws-hrnn",
    ),
    Recipe(
        name="aws-popularity-count",
        recipe_type="USER_PERSONALIZATION",
        summary="The items that most users have taken, the same list for everybody.",
        feature_transformation="sims",
        has_scores=False,
        closed_form=True,
    ),
    Recipe(
        name="aws-trending-now",
        recipe_type="USER_PERSONALIZATION",
        summary="Items whose popularity grows fastest, the same list for everybody; here with batch inference too.",
        algorithm="aws-trending-now-custom",
        hyperparameters=TrendingHyperparameters,
        has_scores=False,
        closed_form=True,
    ),
    Recipe(
        name="aws-personalized-ranking",
        recipe_type="PERSONALIZED_RANKING",
        summary="A given list of items in the order in which a user is likely to take them.",
        feature_transformation="JSON-percentile-filtering",
        hyperparameters=RankingHyperparameters,
        line_kind="ranking",
        runs_on="aws-hrnn",
    ),
    Recipe(
        name="aws-personalized-ranking-v2",
        recipe_type="PERSONALIZED_RANKING",
        summary="aws-personalized-ranking with a transformer.",
        hyperparameters=TransformerHyperparameters,
        line_kind="ranking",
        runs_on="aws-hrnn",
    ),
    Recipe(
        name="aws-sims",
        recipe_type="RELATED_ITEMS",
        summary="Items that the same users take.",
        feature_transformation="sims",
        hyperparameters=SimsHyperparameters,
        line_kind="item",
        has_scores=False,
        closed_form=True,
    ),
    Recipe(
        name="aws-similar-items",
        recipe_type="RELATED_ITEMS",
        summary="Items like an item, by who takes them and by their metadata.",
        hyperparameters=SimilarItemsHyperparameters,
        line_kind="item",
        runs_on="aws-hrnn",
        has_scores=False,
    ),
    Recipe(
        name="aws-semantic-similarity",
        recipe_type="RELATED_ITEMS",
        summary="Items whose text means the same.",
        line_kind="item",
        has_scores=False,
        refusal="this recipe needs a language model that reads the items' texts, and none is part of this platform",
    ),
    Recipe(
        name="aws-item-affinity",
        recipe_type="USER_SEGMENTATION",
        summary="Users who are likely to take an item.",
        feature_transformation="item-affinity",
        hyperparameters=SegmentHyperparameters,
        line_kind="item_users",
        runs_on="aws-hrnn",
        has_scores=False,
    ),
    Recipe(
        name="aws-item-attribute-affinity",
        recipe_type="USER_SEGMENTATION",
        summary="Users who are likely to take items with an attribute.",
        feature_transformation="item-attribute-affinity",
        hyperparameters=SegmentHyperparameters,
        line_kind="attribute_users",
        reads_interactions=False,
        runs_on="aws-hrnn",
        has_scores=False,
    ),
    Recipe(
        name="aws-next-best-action",
        recipe_type="PERSONALIZED_ACTIONS",
        summary="The action a user is likely to take up.",
        refusal="this recipe answers in real time only, as it does in Personalize: it has no batch inference",
    ),
)


class _OwnHyperparameters(_WithPercentiles):
    """Those of this platform's own models."""

    def check(self, where: str) -> None:
        """The percentiles must leave some users; heads share the hidden dimension evenly, where a model has both."""
        super().check(where)
        heads, width = getattr(self, "num_heads", 1), getattr(self, "hidden_dimension", 1)
        if width % heads:
            raise ConfigError(
                "heads must divide hidden_dimension", where=f"{where}.num_heads", value=heads, allowed=f"divisors of {width}"
            )


def _own_recipes() -> tuple[Recipe, ...]:
    """Recipes of this platform's own models, from what their files say (hrnn/models/registry.py)."""
    documents = json.loads(files("schemas").joinpath("models.json").read_bytes())
    return tuple(_own_recipe(name, document) for name, document in documents.items())


def _own_recipe(name: str, document: dict[str, Any]) -> Recipe:
    fields: Any = {each["name"]: field_of(Parameter(**each)) for each in document.pop("hyperparameters")}
    model = create_model(name, __base__=_OwnHyperparameters, __doc__=f"{name}.", **fields)
    return Recipe(name=name, hyperparameters=model, **document)


RECIPES: dict[str, Recipe] = {recipe.name: recipe for recipe in (*_ALL, *_own_recipes())}


def recipe_for(name_or_arn: str, where: str = "recipe") -> Recipe:
    """The recipe of a name or an ARN, if it can be trained here.

    Args:
        name_or_arn: `aws-hrnn` or `arn:aws:personalize:::recipe/aws-hrnn`.
        where: Key path of the value, for messages.

    Raises:
        ConfigError: No such recipe is known, or it can't be trained here.
    """
    name = name_or_arn.strip().removeprefix(RECIPE_ARN)
    offered = ", ".join(recipe.name for recipe in RECIPES.values() if recipe.available)
    if name not in RECIPES:
        meant = get_close_matches(name, RECIPES, 1)
        remedy = f"Did you mean {meant[0]}?" if meant else "`hrnn recipes` lists them."
        raise ConfigError("there is no such recipe", where=where, value=name_or_arn, allowed=offered, remedy=remedy)
    if not RECIPES[name].available:
        raise ConfigError(RECIPES[name].refusal, where=where, value=name_or_arn, allowed=offered)
    return RECIPES[name]


def parse_hyperparameters(name_or_arn: str, values: Mapping[str, Any], where: str = "hyperparameters") -> Hyperparameters:
    """The hyperparameters of a recipe, with its defaults for those not given.

    Args:
        name_or_arn: The recipe.
        values: Name -> value: strings as in Personalize ("55", "true"), or numbers. Names may carry Personalize's prefixes.
        where: Key path of `values`, for messages.

    Raises:
        ConfigError: The recipe or a name is unknown, or a value is of the wrong type or out of range.
    """
    recipe = recipe_for(name_or_arn)
    return recipe.hyperparameters.parse(values, algorithm_arn=recipe.algorithm_arn, where=where)


def hrnn_hyperparameters(parsed: Hyperparameters) -> dict[str, Any]:
    """What aws-hrnn's model takes of a recipe's hyperparameters, by aws-hrnn's names.

    Args:
        parsed: Of any recipe; what it doesn't know has the default of aws-user-personalization.
    """
    # What the recipe does not know keeps the default, what the model does not know is left out.
    chosen = {_HRNN_NAMES.get(name, name): value for name, value in parsed.model_dump().items()}
    defaults = RankingHyperparameters().model_dump()
    return {name: chosen.get(name, default) for name, default in defaults.items()}
