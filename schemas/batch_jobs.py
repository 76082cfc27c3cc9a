"""The batch jobs of a night's config: who gets lists, and which users make a segment."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from schemas.config_errors import NAME_RULE
from schemas.errors import ConfigError
from schemas.filters import FilterPolicy
from schemas.solutions import Section
from schemas.uris import Uri

Name = Annotated[str, StringConstraints(strict=True, pattern=r"^[a-zA-Z0-9][a-zA-Z0-9_-]{0,62}$")]
MOST_SEGMENT_USERS = 5_000_000  # Personalize's limit
LISTS, THEMES = "BATCH_INFERENCE", "THEME_GENERATION"  # Personalize's batchInferenceJobMode
THEMES_REFUSED = "themes need a language model that reads the items' texts, and none is part of this platform"
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


class Exploration(Section):
    """Personalize's itemExplorationConfig, for aws-user-personalization."""

    weight: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.3, description="0 to 1: explorationWeight; 0: relevance alone, 1: most exploration"
    )
    item_age_cut_off: Annotated[float, Field(gt=0)] = Field(
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


class _BatchJob(Section):
    """What batch inference and batch segments have in common."""

    solution: Name = Field(description="name of one of the solutions: " + NAME_RULE)
    input: Uri = Field(description="path or s3:// URI of a file of the recipe's lines, or of a folder of them")
    output: Uri = Field(description="folder for <input file name>.out; not the input's own")
    filter: _Filter | None = Field(
        default=None, description='a filter expression: EXCLUDE ItemID WHERE Interactions.EVENT_TYPE IN ("purchase")'
    )
    max_error_fraction: Annotated[float, Field(ge=0, le=1)] = Field(
        default=1.0, description="0 to 1: if more of the lines are error lines, nothing is published and the night fails"
    )


class BatchInference(_BatchJob):
    """Lists for the lines of one input, every night."""

    num_results: Annotated[int, Field(strict=True, ge=1, le=500)] = Field(default=25, description="items a line, 1 to 500")
    exploration: Exploration | None = Field(
        default=None, description="how new items are explored; absent: as the solution's hyperparameters say"
    )
    mode: Literal["BATCH_INFERENCE", "THEME_GENERATION"] = Field(
        default="BATCH_INFERENCE",
        description="Personalize's batchInferenceJobMode; THEME_GENERATION is refused: it needs a language model",
    )
    explain: Annotated[bool, Field(strict=True)] = Field(
        default=False, description="say in every line why its items are listed; much slower"
    )


class BatchSegment(_BatchJob):
    """Users for the lines of one input, every night."""

    num_results: Annotated[int, Field(strict=True, ge=1, le=MOST_SEGMENT_USERS)] = Field(
        default=25, description=f"users a line, 1 to {MOST_SEGMENT_USERS}"
    )
