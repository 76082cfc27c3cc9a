"""What a night leaves in its workspace beside the folders of its steps: its claim of a number, and its summary."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from schemas.paths import plain_folder

Job = Literal["validate", "sessionize", "train", "evaluate", "recommend", "segment"]
PUBLISHING: frozenset[Job] = frozenset({"recommend", "segment"})  # they write where others read, night by night


class StepRecord(BaseModel):
    """What a summary says of a step, as far as later runs read it."""

    model_config = ConfigDict(frozen=True, strict=True)

    job: Job = Field(description="the subcommand that did it")
    name: str = Field(description="of the dataset, the solution or the batch job")
    folder: Annotated[str, AfterValidator(plain_folder)] = Field(description="URI of what it made")
    fingerprint: str = Field(description="of its settings and inputs")
    settings: dict[str, Any] = Field(description="settings that its fingerprint covers")
    inputs: dict[str, str] = Field(description="a file's name or a step's label -> version")


class Summary(BaseModel):
    """`nights/gen-<N>/summary.json`, as far as later runs read it."""

    model_config = ConfigDict(frozen=True, strict=True)

    steps: list[StepRecord] = Field(description="in the order in which they ran")


class Claim(BaseModel):
    """`nights/gen-<N>.json`: which night has taken the number."""

    model_config = ConfigDict(frozen=True, strict=True)

    generation: int = Field(ge=1, description="the number, as in the file's name")
    night: str = Field(description="fingerprint of the night")
