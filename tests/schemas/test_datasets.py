"""Dataset schemas: what is taken, what is refused, and in which words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from schemas.datasets import parse_schema, parse_schema_document
from schemas.errors import SchemaError

SAMPLES = Path(__file__).parents[3] / "shared" / "personalize_samples" / "schemas"

INTERACTIONS = [
    {"name": "USER_ID", "type": "string"},
    {"name": "ITEM_ID", "type": "string"},
    {"name": "TIMESTAMP", "type": "long"},
]
ITEMS = [{"name": "ITEM_ID", "type": "string"}, {"name": "PRICE", "type": "float"}]
USERS = [{"name": "USER_ID", "type": "string"}, {"name": "AGE", "type": "int"}]
BASE = {"Interactions": INTERACTIONS, "Items": ITEMS, "Users": USERS}


def schema(*more: dict[str, Any], name: str = "Interactions", **top: Any) -> dict[str, Any]:
    """A right schema of one dataset type, with more fields and other top-level keys."""
    return {"type": "record", "name": name, "fields": [*BASE[name], *more], "version": "1.0"} | top


def test_a_schema_tells_type_order_and_attributes_of_every_field() -> None:
    text = json.dumps(
        schema(
            {"name": "GENRES", "type": ["null", "string"], "categorical": True},
            {"name": "PLOT", "type": "string", "textual": True},
            {"name": "TITLE", "type": "string", "itemName": True},
            {"name": "CREATION_TIMESTAMP", "type": "long"},
            name="Items",
        )
    )
    parsed = parse_schema(text)
    assert parsed.dataset_type == "Items"
    assert parsed.names == ["ITEM_ID", "PRICE", "GENRES", "PLOT", "TITLE", "CREATION_TIMESTAMP"]
    assert [field.name for field in parsed.metadata] == ["PRICE", "GENRES", "PLOT", "TITLE"]
    genres, plot, title = parsed.fields[2:5]
    assert (genres.type, genres.nullable, genres.categorical) == ("string", True, True)
    assert (plot.textual, title.item_name, plot.nullable) == (True, True, False)
    assert parsed.field("NOPE") is None
    assert parsed.warnings == ()


@pytest.mark.parametrize(
    ("form", "nullable"),
    [("int", False), (["int"], False), (["null", "int"], True), (["int", "null"], True)],
)
def test_every_spelling_of_a_type_is_taken(form: Any, nullable: bool) -> None:
    field = parse_schema_document(schema({"name": "QUANTITY", "type": form})).field("QUANTITY")
    assert field is not None
    assert (field.type, field.nullable) == ("int", nullable)


@pytest.mark.parametrize("version", [1, 1.0, "1", "1.0", "1.1"])
def test_versions_that_occur_are_taken(version: Any) -> None:
    assert parse_schema_document(schema(version=version)).warnings == ()


def test_a_schema_without_version_is_taken() -> None:
    document = schema()
    del document["version"]
    assert parse_schema_document(document).dataset_type == "Interactions"


@pytest.mark.parametrize(
    ("document", "warning"),
    [
        (
            {"type": "record", "name": "interactions", "fields": INTERACTIONS},
            'schema.name: "interactions" was taken as "Interactions".',
        ),
        (schema(namespace="shop"), "Personalize expects \"com.amazonaws.personalize.schema\", not 'shop'"),
        (schema({"name": "OS", "type": "string", "doc": "system"}), "unknown attributes are ignored: doc"),
        (schema(*({"name": f"M{n}", "type": "int"} for n in range(6))), "6 metadata fields; Personalize takes 5"),
        (
            schema(*({"name": f"T{n}", "type": "string", "textual": True} for n in range(2)), name="Items"),
            "2 textual fields; Personalize takes one",
        ),
    ],
)
def test_what_only_personalize_would_refuse_is_a_warning(document: dict[str, Any], warning: str) -> None:
    assert any(warning in found for found in parse_schema_document(document).warnings)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], "schema: a schema is a JSON object (got [])"),
        (schema(type="enum"), "schema.type: the type is not that of a dataset (got 'enum'). Allowed: \"record\""),
        (
            schema() | {"name": "Events"},
            "schema.name: the record's name is no dataset type (got 'Events'). Allowed: Interactions, Users, Items",
        ),
        (schema(version="2"), "schema.version: this version is not known (got '2')"),
        (schema(version=True), "schema.version: this version is not known (got True)"),
        (schema(fields={}), "schema.fields: fields are missing (got {})"),
        (schema(fields=INTERACTIONS[:2]), "required fields are missing: TIMESTAMP"),
        (schema(fields=ITEMS[:1], name="Items"), "Items need at least one field beyond ITEM_ID"),
        (schema(fields=USERS[:1], name="Users"), "Users need at least one field beyond USER_ID"),
        (schema("X"), "schema.fields[3]: a field is a JSON object (got 'X')"),  # type: ignore[arg-type]
        (schema({"type": "int"}), "schema.fields[3].name: a field's name is missing or wrong (got None)"),
        (schema({"name": "9LIVES", "type": "int"}), "a field's name is missing or wrong (got '9LIVES')"),
        (schema({"name": "A" * 151, "type": "int"}), "at most 150 characters"),
        (
            schema({"name": "X", "type": "bytes"}),
            "schema.fields[3] (X).type: the type of the field is not allowed (got 'bytes')",
        ),
        (schema({"name": "X", "type": ["null", "int", "long"]}), "the type of the field is not allowed"),
        (schema({"name": "X", "type": ["null"]}), "the type of the field is not allowed"),
        (schema({"name": "X", "type": ["null", "null", "int"]}), "the type of the field is not allowed"),
        (schema({"name": "X", "type": {"type": "array", "items": "string"}}), "no records, arrays, maps or enums"),
        (schema({"name": "X"}), "the type of the field is not allowed (got None)"),
        (
            schema({"name": "X", "type": "string", "categorical": "yes"}),
            "(X).categorical: categorical is a truth value (got 'yes')",
        ),
        (
            schema({"name": "X", "type": "int", "categorical": True}),
            "schema.X.categorical: only a string is categorical (got 'int')",
        ),
        (
            schema({"name": "X", "type": "string", "textual": True}),
            "schema.X.textual: textual is for Items only (got 'Interactions')",
        ),
        (schema({"name": "X", "type": "string", "textual": True}, name="Users"), "textual is for Items only"),
        (schema({"name": "X", "type": "string", "itemName": True}), "itemName is for Items only"),
        (
            schema({"name": "X", "type": "string", "categorical": True, "textual": True}, name="Items"),
            "schema.X: a field is categorical or textual, not both",
        ),
        (
            schema(*({"name": f"N{n}", "type": "string", "itemName": True} for n in range(2)), name="Items"),
            "more than one field is the items' name",
        ),
        (
            schema({"name": "EVENT_TYPE", "type": "string", "categorical": True}),
            "schema.EVENT_TYPE: a reserved field is neither",
        ),
        (schema({"name": "EVENT_TYPE", "type": ["null", "string"]}), "schema.EVENT_TYPE.type: this field must not allow null"),
        (
            schema({"name": "EVENT_VALUE", "type": "int"}),
            "schema.EVENT_VALUE.type: a reserved field has one type only (got 'int')",
        ),
        (
            schema({"name": "GENRES_FIELD_1", "type": "int"}, {"name": "GENRESFIELD1", "type": "int"}),
            "GENRES_FIELD_1 and GENRESFIELD1",
        ),
        (schema({"name": "OS", "type": "int"}, {"name": "os", "type": "int"}), "two fields clash: OS and os"),
        (schema({"name": "OS", "type": "int"}, {"name": "OS", "type": "int"}), "two fields clash: OS and OS"),
        (schema({"name": "INPUT_ORDER", "type": "long"}), "this name is the platform's own (got 'INPUT_ORDER')"),
    ],
)
def test_a_broken_rule_is_one_message(document: Any, message: str) -> None:
    with pytest.raises(SchemaError) as raised:
        parse_schema_document(document)
    assert message in str(raised.value)


@pytest.mark.parametrize("name", ["USER_ID", "ITEM_ID", "TIMESTAMP"])
@pytest.mark.parametrize(("form", "message"), [("float", "a reserved field has one type only"), (None, "must not allow null")])
def test_required_fields_keep_their_type_and_take_no_null(name: str, form: str | None, message: str) -> None:
    fields = [dict(field) for field in INTERACTIONS]
    for field in fields:
        if field["name"] == name:
            field["type"] = form or ["null", field["type"]]  # type: ignore[assignment]
    with pytest.raises(SchemaError, match=message):
        parse_schema_document(schema(fields=fields))


@pytest.mark.parametrize("name", ["EVENT_VALUE", "IMPRESSION", "RECOMMENDATION_ID", "EVENT_ATTRIBUTION_SOURCE"])
def test_optional_keywords_may_be_null(name: str) -> None:
    kind = "float" if name == "EVENT_VALUE" else "string"
    field = parse_schema_document(schema({"name": name, "type": ["null", kind]})).field(name)
    assert field is not None
    assert field.nullable


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the schema is not JSON"),
        ("{'type': 'record'}", "line 1 column 2"),
        ("[" * 15_000, "the schema is not JSON (nested too deeply)"),
        (" " * 20_001, "the schema is too long (got 20001). Allowed: at most 20,000 characters"),
    ],
)
def test_a_text_that_is_no_schema_is_one_message(text: str, message: str) -> None:
    with pytest.raises(SchemaError) as raised:
        parse_schema(text, "s3://bucket/schema.json")
    assert message in str(raised.value)
    assert str(raised.value).startswith("s3://bucket/schema.json: ")


@pytest.mark.data
def test_every_sample_schema_is_taken_but_the_one_that_lacks_a_required_field() -> None:
    if not SAMPLES.is_dir():
        pytest.skip("the sample schemas are not beside the project")
    paths = sorted(SAMPLES.glob("[0-9]*.json"))
    incomplete = SAMPLES / "034_Interactions.json"
    with pytest.raises(SchemaError, match="required fields are missing: TIMESTAMP"):
        parse_schema(incomplete.read_text(), incomplete.name)
    taken = {path.stem: parse_schema(path.read_text(), path.name).dataset_type for path in paths if path != incomplete}
    assert len(taken) == 41
    assert all(stem.split("_")[1].capitalize() == dataset_type for stem, dataset_type in taken.items())
