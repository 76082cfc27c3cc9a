"""Dataset schemas: the Avro JSON of Personalize, parsed into what a dataset must hold.

    schema = parse_schema('{"type": "record", "name": "Interactions", "fields": [{"name": "USER_ID", "type": "string"}, …]}')
    schema.dataset_type          # "Interactions", whatever the case in the document
    schema.field("USER_ID").type # "string"
    schema.warnings              # what Personalize would frown on and this platform takes

What each dataset type asks for stands in schemas/dataset_rules.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast

from pydantic import BaseModel, ConfigDict, Field

from schemas import columns
from schemas.dataset_rules import DATASET_RULES, RECORD_ALIASES, DatasetRules, DatasetType
from schemas.errors import SchemaError
from schemas.quotas import PUBLISHED, Quotas
from schemas.schema_fields import SchemaField, check_marks, check_reserved, parse_field
from schemas.schema_text import check_values, read_document, unwrapped

__all__ = [
    "DatasetSchema",
    "SchemaField",
    "parse_schema",
    "parse_schema_document",
    "parse_schemas",
    "plain_name",
    "require_complete",
]

NAMESPACE = "com.amazonaws.personalize.schema"
OPTIONAL_COLUMNS = (columns.EVENT_TYPE, columns.EVENT_VALUE)  # reserved, and yet counted with the event types


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

    @property
    def missing(self) -> tuple[str, ...]:
        """Required fields that are not there; of a parsed schema, TIMESTAMP at most (see `require_complete`)."""
        return tuple(sorted(self.rules.required - set(self.names)))

    def field(self, name: str) -> SchemaField | None:
        """The field of a name, or None."""
        return next((field for field in self.fields if field.name == name), None)


def parse_schema(text: str, where: str = "schema", quotas: Quotas = PUBLISHED, strict: bool = False) -> DatasetSchema:
    """The dataset schema that a JSON text states.

    Args:
        text: Avro JSON, at most 20,000 characters; or what DescribeSchema answers, which holds it as text.
        where: Name of its source, for messages.
        quotas: How many fields are allowed.
        strict: Fields beyond a quota are an error rather than a warning.

    Raises:
        SchemaError: It is not JSON, or breaks a rule; the message names the field, the value and what is allowed.
    """
    return parse_schema_document(read_document(text, where), where, quotas, strict)


def parse_schema_document(
    document: Any, where: str = "schema", quotas: Quotas = PUBLISHED, strict: bool = False
) -> DatasetSchema:
    """The dataset schema that decoded JSON states; as `parse_schema`."""
    document = unwrapped(document, where)
    check_values(document, where)
    warnings: list[str] = []
    dataset_type = _dataset_type(document, where, warnings)
    rules = DATASET_RULES[dataset_type]
    _check_version(document, where, warnings)
    described = document.get("fields")
    if not isinstance(described, list) or not described:
        raise SchemaError(
            "fields are missing", where=f"{where}.fields", value=described, allowed="a list of at least one field"
        )
    fields = tuple(parse_field(entry, f"{where}.fields[{position}]", warnings) for position, entry in enumerate(described))
    _check_names(fields, where)
    for field in fields:
        check_reserved(field, rules, f"{where}.{field.name}")
        check_marks(field, dataset_type, rules, f"{where}.{field.name}")
    schema = DatasetSchema(dataset_type=dataset_type, fields=fields, document=document)
    _check_required(schema, where, warnings)
    _check_metadata(schema, where, warnings)
    _check_quotas(schema, where, quotas, strict, warnings)
    return schema.model_copy(update={"warnings": tuple(warnings)})


def parse_schemas(documents: Mapping[str, Any], uri: str) -> dict[DatasetType, DatasetSchema]:
    """The schemas, by type, of the datasets that a solution version was made of.

    Args:
        documents: Its metadata's `schemas`.
        uri: Its folder, for messages.
    """
    return {cast(DatasetType, kind): parse_schema_document(each, f"{uri}: {kind} schema") for kind, each in documents.items()}


def require_complete(schema: DatasetSchema, where: str = "schema") -> None:
    """Refuse a schema whose data could not be used.

    Raises:
        SchemaError: A required field is missing.
    """
    if schema.missing:
        raise _missing(schema, schema.missing, where)


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


def _check_names(fields: tuple[SchemaField, ...], where: str) -> None:
    """Names must differ in their letters and digits; Spark also ignores their case."""
    seen: dict[str, str] = {}
    for field in fields:
        stripped = plain_name(field.name)
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


def _check_required(schema: DatasetSchema, where: str, warnings: list[str]) -> None:
    """Ids must be there. AWS ships a schema without TIMESTAMP, so that one is refused only where data are to be read."""
    if missing := tuple(name for name in schema.missing if name != columns.TIMESTAMP):
        raise _missing(schema, missing, where)
    if schema.missing:
        warnings.append(f"{where}.fields: required fields are missing: {', '.join(schema.missing)}. Data cannot be read by it.")
    for field in schema.metadata:
        if (keyword := field.name.upper()) in schema.rules.reserved:
            warnings.append(f"{where}.{field.name}: this is taken as metadata; the keyword is {keyword}.")


def _missing(schema: DatasetSchema, missing: tuple[str, ...], where: str) -> SchemaError:
    names = {plain_name(name): name for name in schema.names}
    renamed = [f"rename {names[plain_name(name)]} to {name}" for name in missing if plain_name(name) in names]
    mend = f"{', '.join(renamed)} in the schema and in the CSV header" if renamed else "add them"
    return SchemaError(
        f"required fields are missing: {', '.join(missing)}",
        where=f"{where}.fields",
        value=schema.names,
        remedy=f"{schema.dataset_type} cannot do without: {mend}.",
    )


def _check_metadata(schema: DatasetSchema, where: str, warnings: list[str]) -> None:
    """Users, Items and Actions must tell something about themselves; an item has one name."""
    if schema.rules.needs_metadata and not any(field.is_feature for field in schema.metadata):
        kinds = "a categorical string, a number or a boolean" + (", or a textual string" if schema.rules.text_allowed else "")
        if schema.metadata or len(schema.fields) == len(schema.rules.required):
            raise SchemaError(
                f"{schema.dataset_type} need at least one metadata field beyond {schema.rules.key}",
                where=f"{where}.fields",
                value=schema.names,
                allowed=kinds,
                remedy="Add one, mark a string as categorical, or leave this dataset out.",
            )
        warnings.append(f"{where}.fields: Personalize asks {schema.dataset_type} for a metadata field as well: {kinds}.")
    if sum(field.item_name for field in schema.fields) > 1:
        named = [field.name for field in schema.fields if field.item_name]
        raise SchemaError(
            "more than one field is the items' name", where=f"{where}.fields", value=named, allowed="itemName on one field"
        )


def _check_quotas(schema: DatasetSchema, where: str, quotas: Quotas, strict: bool, warnings: list[str]) -> None:
    """Fields that Personalize has no room for; this platform has."""
    metadata = [field.name for field in schema.metadata]
    textual = [field.name for field in schema.fields if field.textual]
    limits = [("textual fields", textual, "items_textual", quotas.items_textual)]
    if quota := quotas.metadata_of(schema.dataset_type):
        limits.append(("metadata fields", metadata, *quota))
    if schema.dataset_type == "Interactions":
        optional = [name for name in schema.names if name in OPTIONAL_COLUMNS] + metadata
        quota = ("event_types_and_metadata", quotas.event_types_and_metadata)
        limits.append(("optional fields before the first event type", optional, *quota))
    for what, names, name, allowed in limits:
        if len(names) <= allowed:
            continue
        problem = f"there are {len(names)} {what}, more than the quota {name}"
        if strict:
            remedy = f"Leave fields out, or raise it with --quota {name}={len(names)}."
            raise SchemaError(problem, where=f"{where}.fields", value=names, allowed=f"at most {allowed}", remedy=remedy)
        warnings.append(f"{where}.fields: {problem} of Personalize, {allowed}: {', '.join(names)}.")


def plain_name(name: str) -> str:
    """A field's name by what Personalize tells names apart: its letters and digits, whatever their case."""
    return re.sub(r"[^A-Za-z0-9]", "", name).lower()
