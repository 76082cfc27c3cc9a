"""The batch jobs, as their commands and a night's config are told: who gets lists, and which users make a segment."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, StringConstraints
from pydantic_core import PydanticCustomError

from schemas.config_errors import NAME_RULE
from schemas.documents import read_json
from schemas.errors import ConfigError
from schemas.filters import PUBLISHED, FilterPolicy
from schemas.settings import IS_NUMBER, Fraction, Option, Section, Settings, fraction_option, setting
from schemas.uris import Uri

Name = Annotated[str, StringConstraints(strict=True, pattern=r"^[a-zA-Z0-9][a-zA-Z0-9_-]{0,62}$")]
MOST_SEGMENT_USERS = 5_000_000  # Personalize's limit
LISTS, THEMES = "BATCH_INFERENCE", "THEME_GENERATION"  # Personalize's batchInferenceJobMode
THEMES_REFUSED = "themes need a language model that reads the items' texts, and none is part of this platform"
_Users = Annotated[int, Field(strict=True, ge=1, le=MOST_SEGMENT_USERS)]
_Filter = Annotated[str, StringConstraints(strict=True, min_length=1)]


def check_mode(mode: str, where: str) -> None:
    """Check that a batchInferenceJobMode makes lists.

    Raises:
        ConfigError: It is another one.
    """
    if mode == THEMES:
        raise ConfigError(THEMES_REFUSED, where=where, value=mode, allowed=LISTS)
    if mode != LISTS:
        raise ConfigError("there is no such mode of batch inference", where=where, value=mode, allowed=LISTS)


def _no_themes(mode: Any) -> Any:
    if mode == THEMES:
        raise PydanticCustomError("themes", THEMES_REFUSED)
    return mode


def _read_mode(mode: str, option: str) -> str:
    check_mode(mode, option)
    return mode


def _read_exploration(text: str, option: str) -> dict[str, Any]:
    allowed = '{"explorationWeight": "0.3", "explorationItemAgeCutOff": "30"}'
    try:
        parsed = read_json(text)
    except ValueError as error:
        raise ConfigError(f"this is no JSON object ({error})", where=option, value=text, allowed=allowed) from None
    if not isinstance(parsed, dict):
        raise ConfigError("this is no JSON object", where=option, value=text, allowed=allowed)
    return parsed


class AnswerSettings(Settings):
    """What a batch job's command and its table of a night's config can both say."""

    num_results: Annotated[int, Field(strict=True, ge=1)] = setting(25, "Items a line.")
    max_error_fraction: Fraction = setting(
        1.0,
        "0 to 1: if more of the lines are error lines, nothing is published and the night fails",
        fraction_option("Publish nothing if more of the lines are error lines."),
    )


class ListSettings(AnswerSettings):
    """The same of lists."""

    mode: Annotated[Literal["BATCH_INFERENCE"], BeforeValidator(_no_themes)] = setting(
        "BATCH_INFERENCE",
        "Personalize's batchInferenceJobMode; THEME_GENERATION is refused: it needs a language model",
        Option("Personalize's batchInferenceJobMode; THEME_GENERATION is refused.", read=_read_mode),
    )
    explain: Annotated[bool, Field(strict=True)] = setting(
        False,
        "say in every line why its items are listed; much slower",
        Option("Say why each item is listed; much slower.", flag=True),
    )


class FilterSettings(Settings):
    """A filter, and how it is read."""

    filter_expression: str | None = setting(
        None, 'Such as: EXCLUDE ItemID WHERE Interactions.EVENT_TYPE IN ("buy").', Option(name="filter")
    )
    extended_filters: Annotated[bool, Field(strict=True)] = setting(
        False, "Allow now() - 30d, booleans and parentheses in the filter."
    )
    filter_events: Annotated[int, Field(strict=True, ge=1, le=1000)] = setting(
        PUBLISHED.past_events, "A user's newest events of each type that the filter looks at."
    )


class RecommendSettings(FilterSettings, ListSettings):
    """All that `hrnn recommend` can be told, besides places."""

    item_exploration_config: dict[str, Any] | None = setting(
        None, 'JSON: {"explorationWeight": "0.3", "explorationItemAgeCutOff": "30"}.', Option(read=_read_exploration)
    )


class SegmentSettings(FilterSettings, AnswerSettings):
    """All that `hrnn segment` can be told, besides places."""

    num_results: _Users = setting(25, "Users a line.")
    filter_expression: str | None = setting(
        None, 'Such as: EXCLUDE UserID WHERE Users.COUNTRY IN ("Japan").', Option(name="filter")
    )
    most_lines: Annotated[int, Field(strict=True, ge=1)] | None = setting(
        None, "Lines of all files; default: Personalize's, 500 of items, 10 of attributes.", Option(name="max_lines")
    )


class Exploration(Section):
    """Personalize's itemExplorationConfig, for aws-user-personalization."""

    weight: Fraction = Field(default=0.3, description="0 to 1: explorationWeight; 0: relevance alone, 1: most exploration")
    item_age_cut_off: Annotated[float, Field(gt=0), IS_NUMBER] = Field(
        default=30.0, description="days above 0: explorationItemAgeCutOff; only items younger than this are explored"
    )

    def as_personalize(self) -> dict[str, float]:
        """As Personalize's itemExplorationConfig."""
        return {"explorationWeight": self.weight, "explorationItemAgeCutOff": self.item_age_cut_off}


class Filtering(Section):
    """How filters are read, and what they look at."""

    extended: Annotated[bool, Field(strict=True)] = Field(
        default=False, description="allow what Personalize does not: now() - 30d, booleans, parentheses"
    )
    limits: FilterPolicy = Field(default_factory=FilterPolicy, description="name = value; those left out are Personalize's")


class _BatchJob(AnswerSettings):
    """What batch inference and batch segments have in common."""

    solution: Name = Field(description="name of one of the solutions: " + NAME_RULE)
    input: Uri = Field(description="path or s3:// URI of a file of the recipe's lines, or of a folder of them")
    output: Uri = Field(description="folder for <input file name>.out; not the input's own")
    filter: _Filter | None = Field(
        default=None, description='a filter expression: EXCLUDE ItemID WHERE Interactions.EVENT_TYPE IN ("purchase")'
    )


class BatchInference(_BatchJob, ListSettings):
    """Lists for the lines of one input, every night."""

    num_results: Annotated[int, Field(strict=True, ge=1, le=500)] = Field(default=25, description="items a line, 1 to 500")
    exploration: Exploration | None = Field(
        default=None, description="how new items are explored; absent: as the solution's hyperparameters say"
    )


class BatchSegment(_BatchJob):
    """Users for the lines of one input, every night."""

    num_results: _Users = Field(default=25, description=f"users a line, 1 to {MOST_SEGMENT_USERS}")
