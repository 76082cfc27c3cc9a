"""Dataset schemas: the Avro JSON of Personalize, parsed into what a dataset must hold.

    schema = parse_schema('{"type": "record", "name": "Interactions", "fields": [{"name": "USER_ID", "type": "string"}, …]}')
    schema.dataset_type          # "Interactions", whatever the case in the document
    schema.field("USER_ID").type # "string"
    schema.warnings              # what Personalize would frown on and this platform takes

What each dataset type asks for stands in schemas/dataset_rules.py.
"""

from __future__ import annotations

import json
import re
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, Field

from schemas import columns
from schemas.dataset_rules import DATASET_RULES, RECORD_ALIASES, DatasetRules, DatasetType, FieldType
from schemas.errors import SchemaError

NAMESPACE = "com.amazonaws.personalize.schema"
LONGEST_SCHEMA = 20_000  # characters; CreateSchema's limit
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


class DatasetSchema(BaseModel):
    """What a dataset holds, in the schema's order."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset_type: DatasetType = Field(description="Interactions, Users, Items, Actions or Action_Interactions")
    fields: tuple[SchemaField, ...] = Field(description="columns, in the schema's order")
    document: dict[str, Any] = Field(description="the Avro JSON it was parsed from")
    warnings: tuple[str, ...] = Field(default=(), description="what Personalize would refuse or ignore and this platform takes")

    @property
    def rules(self) -> DatasetRules:
        """What Personalize asks of its dataset type."""
        return DATASET_RULES[self.dataset_type]

    @property
    def names(self) -> list[str]:
        """Column names, in the schema's order."""
        return [field.name for field in self.fields]

    @property
    def metadata(self) -> tuple[SchemaField, ...]:
        """Fields that are neither required nor reserved keywords."""
        return tuple(field for field in self.fields if field.name not in self.rules.reserved)

    def field(self, name: str) -> SchemaField | None:
        """The field of a name, or None."""
        return next((field for field in self.fields if field.name == name), None)


def parse_schema(text: str, where: str = "schema") -> DatasetSchema:
    """The dataset schema that a JSON text states.

    Args:
        text: Avro JSON, at most 20,000 characters.
        where: Name of its source, for messages.

    Raises:
        SchemaError: It is not JSON, or breaks a rule; the message names the field, the value and what is allowed.
    """
    if len(text) > LONGEST_SCHEMA:
        raise SchemaError(
            "the schema is too long", where=where, value=len(text), allowed=f"at most {LONGEST_SCHEMA:,} characters"
        )
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = str(error) if isinstance(error, json.JSONDecodeError) else "nested too deeply"
        raise SchemaError(
            f"the schema is not JSON ({reason})", where=where, remedy="Give the Avro JSON that CreateSchema takes."
        ) from None
    return parse_schema_document(document, where)


def parse_schema_document(document: Any, where: str = "schema") -> DatasetSchema:
    """The dataset schema that decoded JSON states; as `parse_schema`."""
    warnings: list[str] = []
    dataset_type = _dataset_type(document, where, warnings)
    _check_version(document, where, warnings)
    described = document.get("fields")
    if not isinstance(described, list) or not described:
        raise SchemaError(
            "fields are missing", where=f"{where}.fields", value=described, allowed="a list of at least one field"
        )
    fields = tuple(_field(entry, f"{where}.fields[{position}]", warnings) for position, entry in enumerate(described))
    _check_names(fields, where)
    for field in fields:
        _check_reserved(field, dataset_type, f"{where}.{field.name}")
        _check_marks(field, dataset_type, f"{where}.{field.name}")
    schema = DatasetSchema(dataset_type=dataset_type, fields=fields, document=document)
    _check_whole(schema, where, warnings)
    return schema.model_copy(update={"warnings": tuple(warnings)})


def _dataset_type(document: Any, where: str, warnings: list[str]) -> DatasetType:
    """The dataset type that the record's name states, in any case."""
    if not isinstance(document, dict):
        raise SchemaError(
            "a schema is a JSON object", where=where, value=document, allowed='{"type": "record", "name": …, "fields": […]}'
        )
    if document.get("type") != "record":
        raise SchemaError(
            "the type is not that of a dataset", where=f"{where}.type", value=document.get("type"), allowed='"record"'
        )
    name = document.get("name")
    if isinstance(name, str):
        known = {**RECORD_ALIASES, **{dataset_type.lower(): dataset_type for dataset_type in DATASET_RULES}}
        if dataset_type := known.get(name.lower()):
            if name != dataset_type:
                warnings.append(f'{where}.name: "{name}" was taken as "{dataset_type}".')
            return dataset_type
    raise SchemaError(
        "the record's name is no dataset type",
        where=f"{where}.name",
        value=name,
        allowed=", ".join(DATASET_RULES),
        remedy="Name the record after its dataset type.",
    )


def _check_version(document: dict[str, Any], where: str, warnings: list[str]) -> None:
    version = document.get("version", "1.0")
    if isinstance(version, bool) or str(version) not in {"1", "1.0", "1.1"}:
        raise SchemaError(
            "this version is not known", where=f"{where}.version", value=version, allowed='"1.0", 1, "1.1", or none'
        )
    if (namespace := document.get("namespace", NAMESPACE)) != NAMESPACE:
        warnings.append(f'{where}.namespace: Personalize expects "{NAMESPACE}", not {namespace!r}.')


def _field(entry: Any, where: str, warnings: list[str]) -> SchemaField:
    """One entry of `fields`, its form checked."""
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


def _check_names(fields: tuple[SchemaField, ...], where: str) -> None:
    """Names must differ in their letters and digits; Spark also ignores their case."""
    seen: dict[str, str] = {}
    for field in fields:
        stripped = re.sub(r"[^A-Za-z0-9]", "", field.name).lower()
        if stripped in seen:
            raise SchemaError(
                f"two fields clash: {seen[stripped]} and {field.name}",
                where=f"{where}.fields",
                allowed="names that differ in their letters and digits, not only in case or _",
                remedy="Rename one of them, in the schema and in the CSV header.",
            )
        seen[stripped] = field.name
        if field.name.upper() == columns.INPUT_ORDER:
            raise SchemaError("this name is the platform's own", where=f"{where}.fields", value=field.name, remedy="Rename it.")


def _check_reserved(field: SchemaField, dataset_type: DatasetType, where: str) -> None:
    """A keyword of Personalize keeps the type that gives it its meaning."""
    rule = DATASET_RULES[dataset_type].reserved.get(field.name)
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
    if field.categorical or field.textual or field.item_name:
        raise SchemaError(
            "a reserved field is neither categorical nor textual nor the items' name",
            where=where,
            remedy="Leave categorical, textual and itemName out.",
        )


def _check_marks(field: SchemaField, dataset_type: DatasetType, where: str) -> None:
    """`categorical`, `textual` and `itemName` stand on strings; the last two on Items only."""
    marks = {"categorical": field.categorical, "textual": field.textual, "itemName": field.item_name}
    for mark in (name for name, is_set in marks.items() if is_set):
        if field.type != "string":
            raise SchemaError(f"only a string is {mark}", where=f"{where}.{mark}", value=field.type, allowed='type "string"')
        if mark != "categorical" and not DATASET_RULES[dataset_type].text_allowed:
            raise SchemaError(
                f"{mark} is for Items only", where=f"{where}.{mark}", value=dataset_type, remedy=f"Leave {mark} out."
            )
    if field.categorical and field.textual:
        raise SchemaError("a field is categorical or textual, not both", where=where, remedy="Leave one of them out.")


def _check_whole(schema: DatasetSchema, where: str, warnings: list[str]) -> None:
    """What must hold of all fields together. Personalize's quotas are warnings: this platform has none."""
    rules = schema.rules
    if missing := sorted(rules.required - set(schema.names)):
        raise SchemaError(
            f"required fields are missing: {', '.join(missing)}",
            where=f"{where}.fields",
            value=schema.names,
            remedy=f"Add them to the schema of {schema.dataset_type}.",
        )
    if rules.needs_metadata and len(schema.fields) == len(rules.required):
        raise SchemaError(
            f"{schema.dataset_type} need at least one field beyond {', '.join(sorted(rules.required))}",
            where=f"{where}.fields",
            value=schema.names,
            remedy="Add a metadata field, or leave this dataset out.",
        )
    if sum(field.item_name for field in schema.fields) > 1:
        raise SchemaError("more than one field is the items' name", where=f"{where}.fields", allowed="itemName on one field")
    if (count := len(schema.metadata)) > rules.most_metadata:
        warnings.append(
            f"{where}.fields: {count} metadata fields; Personalize takes {rules.most_metadata} for {schema.dataset_type}."
        )
    if (count := sum(field.textual for field in schema.fields)) > 1:
        warnings.append(f"{where}.fields: {count} textual fields; Personalize takes one.")
