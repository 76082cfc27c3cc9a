"""What is trained, as `hrnn train` and a night's config are told it: a recipe, how it is fitted, what is searched for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, SkipValidation, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from schemas.errors import ConfigError
from schemas.event_rules import THRESHOLDS, EventRules, event_rules
from schemas.numbers import number_of
from schemas.quotas import PUBLISHED, Quotas
from schemas.recipes import RECIPE_ARN, Recipe, recipe_for
from schemas.settings import IS_NUMBER, Fraction, Option, Section, Settings, quotas_option, setting
from schemas.training_columns import ColumnNames, TrainingColumns
from schemas.tuning import MOST_JOBS, MOST_PARALLEL_JOBS, MOST_SEED, tuned_parameters

AUTO_ML_RECIPE = "aws-hrnn"  # whose name a solution carries until one is chosen; also what is trained where none is named
LossName = Literal["cross_entropy", "bpr_max", "top1_max", "top1"]
Split = Literal["personalize", "all_users"]


def _threshold(value: Any) -> Any:
    if number_of(value) is None:
        raise PydanticCustomError("threshold", "this is no threshold", {"allowed": THRESHOLDS})
    return value


Threshold = Annotated[str | float, BeforeValidator(_threshold)]
EventType = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=256)]
Count = Annotated[int, Field(strict=True, ge=1)]


class EventParameters(Section):
    """One type of events, and how much it counts."""

    event_type: EventType = Field(description="an EVENT_TYPE of the interactions")
    event_value_threshold: Threshold | None = Field(default=None, description="only events of this EVENT_VALUE and more")
    weight: Fraction = Field(
        default=1.0, description="0 to 1; only the ratios of weights matter; 0: read, but never to be predicted"
    )


class Hpo(Section):
    """How many configurations are tried, and of which."""

    max_jobs: Annotated[int, Field(strict=True, ge=1, le=MOST_JOBS)] = setting(
        8,
        f"trainings in all, 1 to {MOST_JOBS}: Personalize's maxNumberOfTrainingJobs",
        Option("--hpo: trainings in all.", name="jobs"),
    )
    parallel_jobs: Annotated[int, Field(strict=True, ge=1, le=MOST_PARALLEL_JOBS)] = setting(
        1,
        f"trainings at the same time, 1 to {MOST_PARALLEL_JOBS}: Personalize's maxParallelTrainingJobs",
        Option("--hpo: at the same time."),
    )
    ranges: dict[str, tuple[float | bool, ...]] = setting(
        dict,
        "name = [least, most], or a categorical one's values; absent: the recipe's whole ranges",
        Option('--hpo: JSON: {"bptt": [4, 16]}; else the whole ranges.'),
    )


class FittingSettings(Settings):
    """How a model is fitted."""

    variant: Literal["init", "all"] = setting(
        "init",
        '"init": sessions start from the user\'s state; "all": every event sees it',
        Option(
            "init: sessions start from the user state; all: every event sees it.", refused="there is no such variant of HRNN"
        ),
    )
    loss: LossName = setting(
        "cross_entropy",
        '"cross_entropy", "bpr_max", "top1_max" or "top1"',
        Option("cross_entropy, bpr_max, top1_max or top1.", refused="there is no such loss"),
    )
    epochs: Count | None = setting(
        None,
        "most times that every event is met, 1 or more; absent: the recipe's own",
        Option("Most times that every event is met."),
    )
    patience: Annotated[int, Field(strict=True, ge=0)] | None = setting(
        None,
        "epochs without a better validation that end it, 1 or more; 0: never; absent: the recipe's own",
        Option("Epochs without better validation that end it; 0: never."),
    )
    seed: Annotated[int, Field(strict=True, ge=0, le=MOST_SEED)] = setting(
        0, "whole number of 0 or more, in 63 bits; of everything random", Option("Of everything random.")
    )
    time_limit_seconds: Annotated[float, Field(ge=0), IS_NUMBER] | None = setting(
        None, "Seconds after which the training loop ends.", Option(name="time_limit")
    )
    split: Split = setting(
        "personalize",
        '"personalize": nothing of the tenth of users who are tested is learnt from, as in Personalize; '
        '"all_users": their older events are',
        Option(
            "personalize: nothing of tested users is learnt from; all_users: their older events are.",
            refused="there is no such split",
        ),
    )
    event_type: str | None = setting(None, "Only events of this type are to be predicted.")
    event_value_threshold: Threshold | None = setting(
        None,
        "Personalize's eventValueThreshold: only events of this EVENT_VALUE and more; a string or number",
        Option("Only events of this EVENT_VALUE and more are."),
    )
    events_config: tuple[Any, ...] | None = setting(
        None, 'JSON: [{"event_type": "buy", "event_value_threshold": "1", "weight": 0.6}, …].'
    )
    gru_baseline: Annotated[bool, Field(strict=True)] | None = setting(
        None,
        "train a GRU without users, too, for the table of baselines, in a third of the time; absent: up to 500,000 events",
        Option("Train a GRU without users, too, for the table of baselines.", left_out="up to 500,000 events"),
    )

    ranker: Annotated[bool, Field(strict=True)] = setting(
        True,
        "rank each user's candidates by boosted trees that learn from earlier moments, where that makes better lists",
        Option("Rank candidates by boosted trees, where that makes better lists."),
    )
    horizon_days: Annotated[float, Field(gt=0, le=366), IS_NUMBER] | None = setting(
        None,
        "days that a list is made for, above 0 and at most 366: the ranker learns what users took within so many days; absent: "
        "the median of those between the data of the last nights, or 1",
        Option("Days that a list is made for.", name="horizon", left_out="1"),
    )
    lag_hours: Annotated[float, Field(ge=0), IS_NUMBER] | None = setting(
        None,
        "hours from the end of the data until lists are read, 0 or more and less than the horizon; absent: publish.lag_hours",
        Option("Hours from the end of the data until lists are read.", name="lag", left_out="0"),
    )

    included_dataset_columns: ColumnNames = setting(
        dict,
        'Personalize\'s includedDatasetColumns: {Items = ["GENRE"]}: only these columns are learnt from; absent: all',
        Option('JSON: {"Items": ["GENRE"]}: only these columns of a dataset are learnt from.'),
    )
    excluded_dataset_columns: ColumnNames = setting(
        dict,
        "Personalize's excludedDatasetColumns: all columns but these are learnt from; filters see all",
        Option('JSON: {"Users": ["AGE"]}: all columns of a dataset but these are learnt from.'),
    )

    @property
    def training_columns(self) -> TrainingColumns:
        """Which columns are learnt from."""
        return TrainingColumns(self.included_dataset_columns, self.excluded_dataset_columns)

    def check_effects(self, recipe: Recipe, where: str = "") -> None:
        """Check that each setting that was given, its default too, means something to a recipe; false and 0 ask for nothing.

        Args:
            recipe: What is fitted.
            where: Key path of the settings, for messages; empty where they lie in no table.

        Raises:
            ConfigError: One has no effect, or lists would be read after the period that they are made for.
        """
        horizon_hours = 24 * (1.0 if self.horizon_days is None else self.horizon_days)
        if self.lag_hours is not None and self.lag_hours >= horizon_hours:
            key, allowed = f"{where}.lag_hours" if where else "lag_hours", f"less than the horizon, {horizon_hours:g} hours"
            remedy = "" if self.horizon_days else "Say how many days lists are made for: horizon_days."
            raise ConfigError("lists would be read too late", where=key, value=self.lag_hours, allowed=allowed, remedy=remedy)
        for name in type(self).model_fields:
            if name in self.model_fields_set and getattr(self, name) and (reason := recipe.means_nothing(name)):
                key = f"{where}.{name}" if where else name
                raise ConfigError(f"this has no effect: {reason}", where=key, value=getattr(self, name), remedy="Leave it out.")


class Training(FittingSettings):
    """What Personalize does not let one choose: how a model is fitted. For recipes that are trained step by step."""

    time_limit_seconds: Annotated[float, Field(gt=0), IS_NUMBER] | None = Field(
        default=None, description="seconds after which fitting ends, above 0; absent: none"
    )
    event_type: EventType | None = Field(
        default=None, description="Personalize's eventType: only these events are to be predicted; absent: all"
    )
    events_config: tuple[EventParameters, ...] | None = Field(
        default=None, description="Personalize's eventParametersList: every type that is to be predicted, with its weight"
    )


class RecipeSettings(Settings):
    """What is fitted, and what is searched for."""

    recipe: str = setting(AUTO_ML_RECIPE, "Recipe name or ARN; `hrnn recipes` lists them.")
    hyperparameters: dict[str, Any] = setting(dict, 'JSON: {"hidden_dimension": "64"}; strings or numbers.')
    hpo: Hpo | None = setting(
        None,
        "Personalize's performHPO: search for better hyperparameters",
        Option("Search for better hyperparameters (performHPO).", flag=True),
    )
    auto_ml: Annotated[bool, Field(strict=True)] = setting(
        False,
        "Personalize's performAutoML: try the HRNN recipes and keep the best",
        Option("Try the HRNN recipes, keep the best (performAutoML).", flag=True),
    )

    def check_auto_ml(self, where: str) -> None:
        """Check that nothing is asked for that AutoML chooses itself.

        Args:
            where: Key path of `auto_ml`, for messages.

        Raises:
            ConfigError: Something is.
        """
        if self.auto_ml and (self.hpo is not None or self.hyperparameters):
            raise ConfigError(
                "AutoML takes the HRNN recipes with their defaults", where=where, allowed="neither hpo nor hyperparameters"
            )
        if self.auto_ml and self.recipe.removeprefix(RECIPE_ARN) != AUTO_ML_RECIPE:
            raise ConfigError(
                "AutoML chooses the recipe itself", where=where, value=self.recipe, allowed="no other recipe beside it"
            )


class TrainSettings(FittingSettings, RecipeSettings):
    """All that `hrnn train` can be told, besides places and ranks."""

    within_session_only: Annotated[bool, Field(strict=True)] = setting(
        False, "The papers' mode: sessions' first events are no targets."
    )
    strict: Annotated[bool, Field(strict=True)] = setting(
        False, "Fail where there is less than Personalize trains on.", Option(flag=True)
    )
    quotas: Quotas = setting(PUBLISHED, "name = value", quotas_option("How much that is: interactions=500."))

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Self:
        """The settings of values by name.

        Raises:
            ConfigError: A name is not known, a value is not allowed, or the events that count make no sense.
        """
        settings = super().read(values)
        settings.event_rules()
        return settings

    def event_rules(self) -> EventRules | None:
        """Which events are targets; None: all.

        Raises:
            ConfigError: They make no sense.
        """
        return event_rules(self.event_type, self.event_value_threshold, self.events_config)


class Solution(RecipeSettings):
    """A recipe and its settings."""

    recipe: Annotated[str, StringConstraints(strict=True, min_length=1)] = Field(
        description="name of a recipe (`hrnn recipes` lists them), or its ARN"
    )
    hyperparameters: dict[str, SkipValidation[str | int | float | bool]] = Field(
        default_factory=dict, description="name = value; strings as in Personalize, or numbers"
    )
    training: Training = Field(default_factory=Training, description="how the model is fitted")

    @model_validator(mode="before")
    @classmethod
    def _recipe_without_arn(cls, data: Any) -> Any:
        if isinstance(data, dict) and isinstance(data.get("recipe"), str):
            return {**data, "recipe": data["recipe"].removeprefix(RECIPE_ARN)}
        if isinstance(data, dict) and data.get("auto_ml") is True and "recipe" not in data:
            return {**data, "recipe": AUTO_ML_RECIPE}
        return data

    def settings(self, **of_the_night: Any) -> TrainSettings:
        """What `hrnn train` is told, with what holds for every training of a night."""
        told = self.model_dump(exclude={"training"}, exclude_unset=True) | self.training.model_dump(exclude_unset=True)
        return TrainSettings(**told, **of_the_night)

    def check(self, where: str) -> None:
        """Check that the settings fit together.

        Args:
            where: Key path of the solution, for messages.

        Raises:
            ConfigError: They don't.
        """
        training = self.training
        events = None if training.events_config is None else [rule.model_dump() for rule in training.events_config]
        event_rules(training.event_type, training.event_value_threshold, events, f"{where}.training")
        if self.hpo is not None:
            tuned_parameters(recipe_for(self.recipe), self.hpo.ranges, f"{where}.hpo")
        self.check_auto_ml(f"{where}.auto_ml")
        training.check_effects(recipe_for(self.recipe), f"{where}.training")
