"""What Personalize asks of each dataset type, as one table. A new dataset type is an entry in it and a name in DatasetType."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from schemas import columns

FieldType = Literal["string", "int", "long", "float", "double", "boolean"]
DatasetType = Literal["Interactions", "Users", "Items"]


@dataclass(frozen=True, kw_only=True)
class ReservedField:
    """A name that Personalize gives a meaning to, with the only type it may have."""

    type: FieldType
    nullable: bool = False


@dataclass(frozen=True, kw_only=True)
class DatasetRules:
    """What Personalize asks of one dataset type.

    Attributes:
        required: Names that must be there; all of them are in `reserved`.
        reserved: Every name with a meaning of its own.
        most_metadata: Other fields Personalize allows; more is a warning, not an error.
        text_allowed: `textual` and `itemName` may be used.
        needs_metadata: At least one field beyond the required ones must be there.
    """

    required: frozenset[str]
    reserved: dict[str, ReservedField]
    most_metadata: int
    text_allowed: bool = False
    needs_metadata: bool = True


_ID = ReservedField(type="string")
_TIME = ReservedField(type="long")
_NULLABLE_STRING = ReservedField(type="string", nullable=True)

DATASET_RULES: dict[DatasetType, DatasetRules] = {
    "Interactions": DatasetRules(
        required=frozenset({columns.USER_ID, columns.ITEM_ID, columns.TIMESTAMP}),
        reserved={
            columns.USER_ID: _ID,
            columns.ITEM_ID: _ID,
            columns.TIMESTAMP: _TIME,
            columns.EVENT_TYPE: ReservedField(type="string"),
            columns.EVENT_VALUE: ReservedField(type="float", nullable=True),
            columns.IMPRESSION: _NULLABLE_STRING,
            "RECOMMENDATION_ID": _NULLABLE_STRING,
            "EVENT_ATTRIBUTION_SOURCE": _NULLABLE_STRING,
        },
        most_metadata=5,
        needs_metadata=False,
    ),
    "Users": DatasetRules(required=frozenset({columns.USER_ID}), reserved={columns.USER_ID: _ID}, most_metadata=25),
    "Items": DatasetRules(
        required=frozenset({columns.ITEM_ID}),
        reserved={columns.ITEM_ID: _ID, columns.CREATION_TIMESTAMP: _TIME},
        most_metadata=100,
        text_allowed=True,
    ),
}
