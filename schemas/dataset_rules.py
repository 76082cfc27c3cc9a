"""What Personalize asks of each dataset type, as one table. A new dataset type is an entry in it and a name in DatasetType.

Source: Amazon Personalize developer guide, "Custom datasets and schemas".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from schemas import columns

FieldType = Literal["string", "int", "long", "float", "double", "boolean"]
ValueKind = Literal["text", "number", "truth"]
DatasetType = Literal["Interactions", "Users", "Items", "Actions", "Action_Interactions"]


@dataclass(frozen=True, kw_only=True)
class ReservedField:
    """A name that Personalize gives a meaning to, with the only type it may have.

    Attributes:
        type: Type of its values.
        nullable: The type may be a union with null.
        may_be_categorical: Its values may be categories.
    """

    type: FieldType
    nullable: bool = False
    may_be_categorical: bool = False


@dataclass(frozen=True, kw_only=True)
class DatasetRules:
    """What Personalize asks of one dataset type.

    Attributes:
        key: The id whose last record counts, where every record is a user, an item or an action; None where it is an event.
        target: What a user does something with, where every record is an event; None elsewhere.
        required: Names that must be there; all of them are in `reserved`.
        reserved: Every name with a meaning of its own.
        text_allowed: `textual` and `itemName` may be used.
        needs_metadata: At least one field beyond the required ones must be there.
    """

    key: str | None = None
    target: str | None = None
    required: frozenset[str]
    reserved: dict[str, ReservedField]
    text_allowed: bool = False
    needs_metadata: bool = True


_ID = ReservedField(type="string")
_TIME = ReservedField(type="long")
_EVENT_TYPE = ReservedField(type="string")
_NULLABLE_LONG = ReservedField(type="long", nullable=True)
_NULLABLE_STRING = ReservedField(type="string", nullable=True)

DATASET_RULES: dict[DatasetType, DatasetRules] = {
    "Interactions": DatasetRules(
        target=columns.ITEM_ID,
        required=frozenset({columns.USER_ID, columns.ITEM_ID, columns.TIMESTAMP}),
        reserved={
            columns.USER_ID: _ID,
            columns.ITEM_ID: _ID,
            columns.TIMESTAMP: _TIME,
            columns.EVENT_TYPE: _EVENT_TYPE,
            columns.EVENT_VALUE: ReservedField(type="float", nullable=True),
            columns.IMPRESSION: _NULLABLE_STRING,
            columns.RECOMMENDATION_ID: _NULLABLE_STRING,
            columns.EVENT_ATTRIBUTION_SOURCE: _NULLABLE_STRING,
        },
        needs_metadata=False,
    ),
    "Users": DatasetRules(key=columns.USER_ID, required=frozenset({columns.USER_ID}), reserved={columns.USER_ID: _ID}),
    "Items": DatasetRules(
        key=columns.ITEM_ID,
        required=frozenset({columns.ITEM_ID}),
        reserved={columns.ITEM_ID: _ID, columns.CREATION_TIMESTAMP: _TIME},
        text_allowed=True,
    ),
    "Actions": DatasetRules(
        key=columns.ACTION_ID,
        required=frozenset({columns.ACTION_ID}),
        reserved={
            columns.ACTION_ID: _ID,
            columns.CREATION_TIMESTAMP: _TIME,
            columns.VALUE: _NULLABLE_LONG,
            columns.TYPE: ReservedField(type="string", nullable=True, may_be_categorical=True),
            columns.EXPIRATION_TIMESTAMP: _NULLABLE_LONG,
            columns.REPEAT_FREQUENCY: _NULLABLE_LONG,
        },
    ),
    "Action_Interactions": DatasetRules(
        target=columns.ACTION_ID,
        required=frozenset({columns.USER_ID, columns.ACTION_ID, columns.EVENT_TYPE, columns.TIMESTAMP}),
        reserved={
            columns.USER_ID: _ID,
            columns.ACTION_ID: _ID,
            columns.EVENT_TYPE: _EVENT_TYPE,
            columns.TIMESTAMP: _TIME,
            columns.IMPRESSION: _NULLABLE_STRING,
            columns.RECOMMENDATION_ID: _NULLABLE_STRING,
        },
        needs_metadata=False,
    ),
}

# What values of a type are compared with.
VALUE_KINDS: Final[dict[FieldType, ValueKind]] = {
    "string": "text",
    "int": "number",
    "long": "number",
    "float": "number",
    "double": "number",
    "boolean": "truth",
}

# Record names that AWS's pages use for a dataset type, besides its own, in lower case.
RECORD_ALIASES: Final[dict[str, DatasetType]] = {"actioninteractions": "Action_Interactions"}
