"""How large filters may be: Personalize's quotas, a policy that can be changed.

The guide of 2023 and later pages say 5 and 10 fields; the newest Japanese page says 10 and 20.
"""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

Count = Annotated[int, Field(strict=True, ge=1)]


class FilterPolicy(BaseModel):
    """Quotas on filters, and how far back a filter looks."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    characters: Count = Field(default=2500, description="most characters of an expression")
    fields: Count = Field(default=5, description="most distinct fields of a filter")
    group_fields: Count = Field(default=10, description="most distinct fields of all filters of a dataset group")
    group_filters: Count = Field(default=10, description="most filters of a dataset group")
    past_events: Annotated[int, Field(strict=True, ge=1, le=1000)] = Field(
        default=100, description="1 to 1000: a user's newest events of each event type that a filter looks at"
    )


PUBLISHED: Final = FilterPolicy()
# For expressions that were checked before.
NO_LIMITS: Final = FilterPolicy(
    characters=1 << 40, fields=1 << 40, group_fields=1 << 40, group_filters=1 << 40, past_events=PUBLISHED.past_events
)
