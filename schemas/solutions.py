"""A solution in the config of `hrnn nightly`: its recipe, how it is fitted, and what is searched for."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from schemas.errors import ConfigError
from schemas.event_rules import event_rules
from schemas.recipes import RECIPE_ARN, recipe_for
from schemas.tuning import MOST_JOBS, MOST_PARALLEL_JOBS, MOST_SEED, tuned_parameters

Count = Annotated[int, Field(strict=True, ge=1)]


class Section(BaseModel):
    """One table of the config; knows its keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _keys_are_known(cls, data: Any) -> Any:
        if isinstance(data, dict):
            allowed = [field.alias or name for name, field in cls.model_fields.items()]
            for key in data:
                if key not in allowed:
                    meant = get_close_matches(str(key), allowed, 1, 0.6)
                    context = {"key": key, "allowed": ", ".join(allowed), "meant": meant[0] if meant else ""}
                    raise PydanticCustomError("unknown_key", "this key is not known", context)
        return data


class EventParameters(Section):
    """One type of events, and how much it counts."""

    event_type: Annotated[str, StringConstraints(strict=True, min_length=1, max_length=256)] = Field(
        description="an EVENT_TYPE of the interactions"
    )
    event_value_threshold: str | float | None = Field(default=None, description="only events of this EVENT_VALUE and more")
    weight: Annotated[float, Field(ge=0, le=1)] = Field(
        default=1.0, description="0 to 1; only the ratios of weights matter; 0: read, but never to be predicted"
    )


class Hpo(Section):
    """How many configurations are tried, and of which."""

    max_jobs: Annotated[int, Field(strict=True, ge=1, le=MOST_JOBS)] = Field(
        default=8, description=f"trainings in all, 1 to {MOST_JOBS}: Personalize's maxNumberOfTrainingJobs"
    )
    parallel_jobs: Annotated[int, Field(strict=True, ge=1, le=MOST_PARALLEL_JOBS)] = Field(
        default=1, description=f"trainings at the same time, 1 to {MOST_PARALLEL_JOBS}: Personalize's maxParallelTrainingJobs"
    )
    ranges: dict[str, tuple[float | bool, ...]] = Field(
        default_factory=dict,
        description="name = [least, most], or a categorical one's values; absent: the recipe's whole ranges",
    )


class Training(Section):
    """What Personalize does not let one choose: how a model is fitted. For recipes that are trained step by step."""

    variant: Literal["init", "all"] = Field(
        default="init", description='"init": sessions start from the user\'s state; "all": every event sees it'
    )
    loss: Literal["cross_entropy", "bpr_max", "top1_max", "top1"] = Field(
        default="cross_entropy", description='"cross_entropy", "bpr_max", "top1_max" or "top1"'
    )
    epochs: Count | None = Field(
        default=None, description="most times that every event is met, 1 or more; absent: the recipe's own"
    )
    patience: Annotated[int, Field(strict=True, ge=0)] | None = Field(
        default=None,
        description="epochs without a better validation that end it, 1 or more; 0: never; absent: the recipe's own",
    )
    seed: Annotated[int, Field(strict=True, ge=0, le=MOST_SEED)] = Field(
        default=0, description="whole number of 0 or more, in 63 bits; of everything random"
    )
    time_limit_seconds: Annotated[float, Field(gt=0)] | None = Field(
        default=None, description="seconds after which fitting ends, above 0; absent: none"
    )
    split: Literal["personalize", "all_users"] = Field(
        default="personalize",
        description=(
            '"personalize": nothing of the tenth of users who are tested is learnt from, as in Personalize; '
            '"all_users": their older events are'
        ),
    )
    event_type: Annotated[str, StringConstraints(strict=True, min_length=1, max_length=256)] | None = Field(
        default=None, description="Personalize's eventType: only these events are to be predicted; absent: all"
    )
    event_value_threshold: str | float | None = Field(
        default=None,
        description="Personalize's eventValueThreshold: only events of this EVENT_VALUE and more; a string or number",
    )
    events_config: tuple[EventParameters, ...] | None = Field(
        default=None, description="Personalize's eventParametersList: every type that is to be predicted, with its weight"
    )
    gru_baseline: Annotated[bool, Field(strict=True)] = Field(
        default=True, description="train a GRU without users, too, for the table of baselines; takes about a third of the time"
    )


class Solution(Section):
    """A recipe and its settings."""

    recipe: Annotated[str, StringConstraints(strict=True, min_length=1)] = Field(
        description="name of a recipe (`hrnn recipes` lists them), or its ARN"
    )
    hyperparameters: dict[str, str | int | float | bool] = Field(
        default_factory=dict, description="name = value; strings as in Personalize, or numbers"
    )
    training: Training = Field(default_factory=Training, description="how the model is fitted")
    hpo: Hpo | None = Field(default=None, description="Personalize's performHPO: search for better hyperparameters")
    auto_ml: Annotated[bool, Field(strict=True)] = Field(
        default=False, description="Personalize's performAutoML: try the HRNN recipes and keep the best"
    )

    @model_validator(mode="before")
    @classmethod
    def _recipe_without_arn(cls, data: Any) -> Any:
        if isinstance(data, dict) and isinstance(data.get("recipe"), str):
            return {**data, "recipe": data["recipe"].removeprefix(RECIPE_ARN)}
        if isinstance(data, dict) and data.get("auto_ml") is True and "recipe" not in data:
            return {**data, "recipe": "aws-hrnn"}
        return data

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
        if self.auto_ml and (self.hpo is not None or self.hyperparameters):
            raise ConfigError(
                "AutoML takes the HRNN recipes with their defaults",
                where=f"{where}.auto_ml",
                allowed="neither hpo nor hyperparameters",
            )
