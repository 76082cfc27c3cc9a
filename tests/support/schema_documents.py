"""Dataset schemas as decoded JSON, for tests: a right one of every dataset type, to add to and to spoil."""

from __future__ import annotations

import copy
from typing import Any

Field = dict[str, Any]

INTERACTIONS: list[Field] = [
    {"name": "USER_ID", "type": "string"},
    {"name": "ITEM_ID", "type": "string"},
    {"name": "TIMESTAMP", "type": "long"},
]
RIGHT_FIELDS: dict[str, list[Field]] = {
    "Interactions": INTERACTIONS,
    "Items": [{"name": "ITEM_ID", "type": "string"}, {"name": "PRICE", "type": "float"}],
    "Users": [{"name": "USER_ID", "type": "string"}, {"name": "AGE", "type": "int"}],
    "Actions": [
        {"name": "ACTION_ID", "type": "string"},
        {"name": "LEVEL", "type": ["null", "string"], "categorical": True},
    ],
    "Action_Interactions": [
        {"name": "USER_ID", "type": "string"},
        {"name": "ACTION_ID", "type": "string"},
        {"name": "EVENT_TYPE", "type": "string"},
        {"name": "TIMESTAMP", "type": "long"},
    ],
}


def schema(*more: Any, name: str = "Interactions", **top: Any) -> dict[str, Any]:
    """A right schema of one dataset type, with more fields and other top-level keys."""
    fields = copy.deepcopy(RIGHT_FIELDS[name])
    return {"type": "record", "name": name, "fields": [*fields, *more], "version": "1.0"} | top


def changed(dataset: str, field: str, **attributes: Any) -> dict[str, Any]:
    """A right schema with one field's attributes changed."""
    document = schema(name=dataset)
    for entry in document["fields"]:
        if entry["name"] == field:
            entry.update(attributes)
    return document


def without(name: str, field: str) -> dict[str, Any]:
    """A right schema that lacks one field."""
    document = schema(name=name)
    document["fields"] = [entry for entry in document["fields"] if entry["name"] != field]
    return document
