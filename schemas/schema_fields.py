"""One field of a dataset schema: its entry in the Avro JSON, read and checked by itself."""

from __future__ import annotations

import re
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, Field

from schemas.dataset_rules import VALUE_KINDS, DatasetRules, DatasetType, FieldType, ValueKind
from schemas.errors import SchemaError

LONGEST_NAME = 150  # characters of a field's name

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ATTRIBUTES = {"name", "type", "categorical", "textual", "itemName"}
_TYPES = " | ".join(f'"{name}"' for name in get_args(FieldType))
_TYPE_FORMS = f'T, [T], ["null", T] or [T, "null"], where T is {_TYPES}'


class SchemaField(BaseModel):
    """One column of a dataset."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(description="column name, as in the CSV header")
    type: FieldType = Field(description="type of its values")
    nullable: bool = Field(default=False, description="an empty cell is allowed")
    categorical: bool = Field(default=False, description="values are categories, several joined by |")
    textual: bool = Field(default=False, description="values are free text (Items only)")
    item_name: bool = Field(default=False, description="values are the items' titles (Items only)")

    @property
    def kind(self) -> ValueKind:
        """What its values are compared with."""
        return VALUE_KINDS[self.type]

    @property
    def is_feature(self) -> bool:
        """Whether models may learn from it: every field but a text that is neither categorical nor textual nor a title."""
        return self.kind != "text" or self.categorical or self.textual or self.item_name


def parse_field(entry: Any, where: str, warnings: list[str]) -> SchemaField:
    """One entry of `fields`, its form checked; attributes that have no meaning go to `warnings`.

    Raises:
        SchemaError: The entry is no object, or its name, its type or a mark is wrong.
    """
    if not isinstance(entry, dict):
        raise SchemaError("a field is a JSON object", where=where, value=entry, allowed='{"name": …, "type": …}')
    name = entry.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name) or len(name) > LONGEST_NAME:
        allowed = f"letters, digits and _, not beginning with a digit, at most {LONGEST_NAME} characters"
        raise SchemaError("a field's name is missing or wrong", where=f"{where}.name", value=name, allowed=allowed)
    marks = {mark: entry.get(mark, False) for mark in ("categorical", "textual", "itemName")}
    for mark, value in marks.items():
        if not isinstance(value, bool):
            raise SchemaError(f"{mark} is a truth value", where=f"{where} ({name}).{mark}", value=value, allowed="true, false")
    if unknown := sorted(set(entry) - _ATTRIBUTES):
        warnings.append(f"{where} ({name}): unknown attributes are ignored: {', '.join(unknown)}.")
    kind, nullable = _field_type(entry.get("type"), f"{where} ({name}).type")
    return SchemaField(
        name=name,
        type=kind,
        nullable=nullable,
        categorical=marks["categorical"],
        textual=marks["textual"],
        item_name=marks["itemName"],
    )


def check_reserved(field: SchemaField, rules: DatasetRules, where: str) -> None:
    """A keyword of Personalize keeps the type that gives it its meaning.

    Raises:
        SchemaError: A reserved field has another type, allows null where it must not, or bears a mark.
    """
    rule = rules.reserved.get(field.name)
    if rule is None:
        return
    if field.type != rule.type:
        raise SchemaError(
            "a reserved field has one type only", where=f"{where}.type", value=field.type, allowed=f'"{rule.type}"'
        )
    if field.nullable and not rule.nullable:
        raise SchemaError(
            "this field must not allow null", where=f"{where}.type", value=["null", field.type], allowed=f'"{rule.type}"'
        )
    if field.textual or field.item_name or (field.categorical and not rule.may_be_categorical):
        raise SchemaError(
            "a reserved field is neither categorical nor textual nor the items' name",
            where=where,
            remedy="Leave categorical, textual and itemName out.",
        )


def check_marks(field: SchemaField, dataset_type: DatasetType, rules: DatasetRules, where: str) -> None:
    """`categorical`, `textual` and `itemName` stand on strings; the last two on Items only.

    Raises:
        SchemaError: A mark stands where it must not, or two stand that exclude each other.
    """
    marks = {"categorical": field.categorical, "textual": field.textual, "itemName": field.item_name}
    for mark in (name for name, is_set in marks.items() if is_set):
        if field.type != "string":
            raise SchemaError(f"only a string is {mark}", where=f"{where}.{mark}", value=field.type, allowed='type "string"')
        if mark != "categorical" and not rules.text_allowed:
            raise SchemaError(
                f"{mark} is for Items only", where=f"{where}.{mark}", value=dataset_type, remedy=f"Leave {mark} out."
            )
    if field.categorical and field.textual:
        raise SchemaError("a field is categorical or textual, not both", where=where, remedy="Leave one of them out.")


def _field_type(described: Any, where: str) -> tuple[FieldType, bool]:
    """Type and nullability of T, [T], ["null", T] or [T, "null"]."""
    members = described if isinstance(described, list) else [described]
    kinds = [member for member in members if member != "null"]
    nulls = len(members) - len(kinds)
    for known in get_args(FieldType):
        if kinds == [known] and nulls <= 1:
            return known, nulls == 1
    raise SchemaError(
        "the type of the field is not allowed",
        where=where,
        value=described,
        allowed=_TYPE_FORMS,
        remedy="Schemas are flat: no records, arrays, maps or enums.",
    )
