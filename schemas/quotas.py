"""Amazon Personalize's quotas on schemas and imports: a policy that can be changed, by default the newest published values.

    Quotas().items_metadata                                              # 100
    Quotas().with_changes(["items_metadata=120"], "--quota").items_metadata   # 120

Nothing here binds this platform: what exceeds a quota is a warning, or, where that is asked for, an error.

Source: developer guide, "Amazon Personalize endpoints and quotas" and "Analyzing data".
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from schemas.dataset_rules import DatasetType
from schemas.errors import ConfigError
from schemas.numbers import number_of

Count = Annotated[int, Field(strict=True, ge=0)]
Share = Annotated[float, Field(strict=True, ge=0, le=1, allow_inf_nan=False)]

GIGABYTE: Final = 10**9


class Quotas(BaseModel):
    """Every quota and every piece of advice on how much a schema and an import may or must hold."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    interactions_metadata: Count = Field(
        default=5, description="most metadata fields of Interactions, reserved ones not counted"
    )
    users_metadata: Count = Field(default=25, description="most metadata fields of Users")
    items_metadata: Count = Field(default=100, description="most metadata fields of Items, reserved ones not counted")
    actions_metadata: Count = Field(default=10, description="most metadata fields of Actions, reserved ones not counted")
    items_textual: Count = Field(default=1, description="most textual fields of Items")
    event_types: Count = Field(default=10, description="most distinct values of EVENT_TYPE")
    event_types_and_metadata: Count = Field(
        default=10,
        description="most event types and optional columns of Interactions together, EVENT_TYPE and EVENT_VALUE counted",
    )

    rows_per_import: Count = Field(default=1_000, description="fewest interactions of one import, FULL or INCREMENTAL")
    full_import_bytes: Count = Field(
        default=100 * GIGABYTE, description="most bytes of one FULL import (1 TB where the quota of interactions was raised)"
    )
    incremental_import_bytes: Count = Field(default=GIGABYTE, description="most bytes of one INCREMENTAL import")

    interactions: Count = Field(default=1_000, description="fewest unique interactions to train on")
    users_with_two_events: Count = Field(default=25, description="fewest users with two interactions or more to train on")
    users_with_two_events_share: Share = Field(
        default=0.01, description="least share of users, 0 to 1, with two interactions or more to train on"
    )
    considered_interactions: Count = Field(default=500_000_000, description="most interactions that a recipe learns from")
    considered_interactions_v2: Count = Field(
        default=3_000_000_000, description="most interactions that a -v2 recipe learns from"
    )
    considered_items: Count = Field(default=750_000, description="most items that a recipe considers")
    considered_items_v2: Count = Field(default=5_000_000, description="most items that a -v2 recipe considers")

    advised_interactions: Count = Field(default=50_000, description="interactions from which recommendations are good")
    advised_users: Count = Field(default=1_000, description="users from which recommendations are good")
    categories: Count = Field(default=30, description="advice: most distinct categories of a column that is trained on")
    row_completeness: Share = Field(default=0.7, description="advice: least share of rows, 0 to 1, without a missing value")
    column_completeness: Share = Field(
        default=0.7, description="advice: least share of a column's cells, 0 to 1, that are filled"
    )
    textual_completeness: Share = Field(
        default=0.85, description="least share of a textual column's cells, 0 to 1, that are filled for it to be trained on"
    )

    def metadata_of(self, dataset_type: DatasetType) -> tuple[str, int] | None:
        """Name and value of the quota on a dataset type's metadata fields; None where none is published."""
        name = f"{dataset_type.lower()}_metadata"
        return (name, getattr(self, name)) if name in Quotas.model_fields else None

    def with_changes(self, changes: Iterable[str], where: str = "--quota") -> Quotas:
        """These quotas with some of them changed.

        Args:
            changes: `name=value` each; whole numbers may be written with underscores, as 1_000_000.
            where: The option they come from, for messages.

        Raises:
            ConfigError: A change has another form, an unknown name, a name given twice, or a wrong value.
        """
        changed: dict[str, str] = {}
        for change in changes:
            name, equals, value = (part.strip() for part in change.partition("="))
            if not equals or not name or not value:
                raise ConfigError("this is no change of a quota", where=where, value=change, allowed="NAME=VALUE")
            if name not in Quotas.model_fields:
                meant = get_close_matches(name, Quotas.model_fields, 1, 0.5)
                remedy = f"Did you mean {meant[0]}?" if meant else None
                raise ConfigError(
                    "there is no such quota", where=where, value=name, allowed=", ".join(Quotas.model_fields), remedy=remedy
                )
            if name in changed:
                raise ConfigError("this quota is given twice", where=where, value=name)
            changed[name] = value
        try:
            return Quotas.model_validate(self.model_dump() | {name: _number(value) for name, value in changed.items()})
        except ValidationError as error:
            name = str(error.errors()[0]["loc"][0])
            field = Quotas.model_fields[name]
            kind = "a whole number of 0 or more" if field.annotation is int else "a number from 0 to 1"
            raise ConfigError(
                f"this is no value of the quota {name} ({field.description})", where=where, value=changed[name], allowed=kind
            ) from None


def _number(text: str) -> int | float | str:
    """A number as it is typed; the text where it is none."""
    try:
        return int(text)
    except ValueError:
        number = number_of(text)
        return text if number is None else number


PUBLISHED: Final = Quotas()
