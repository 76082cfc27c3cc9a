"""Dataset schemas: what is taken, and what is said about it; tests/schemas/test_schema_mutations.py has what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from schema_documents import INTERACTIONS, schema

from schemas.dataset_rules import DATASET_RULES
from schemas.datasets import parse_schema, parse_schema_document, require_complete
from schemas.errors import SchemaError
from schemas.quotas import Quotas

OWN = Path(__file__).parents[1] / "samples" / "schemas.jsonl"
SAMPLES = Path(__file__).parents[3] / "shared" / "personalize_samples" / "schemas"


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


def test_what_describe_schema_answers_is_taken_as_the_schema_in_it() -> None:
    document = schema()
    inner = {
        "name": "rows",
        "schemaArn": "arn:aws:personalize:::schema/rows",
        "schema": json.dumps(document),
        "creationDateTime": 1,
    }
    for given in ({"schema": inner, "ResponseMetadata": {}}, inner, {"schema": document}):
        assert parse_schema(json.dumps(given)).document == document
        assert parse_schema_document(given).document == document
    assert parse_schema_document(json.dumps(document)).document == document
    with pytest.raises(SchemaError, match="not JSON"):
        parse_schema_document({"schema": '{"type": '})
    with pytest.raises(SchemaError, match="a schema is a JSON object"):
        parse_schema_document({"schema": {"schema": 7}})


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
        (
            schema({"name": "event_value", "type": "float"}),
            "schema.event_value: this is taken as metadata; the keyword is EVENT_VALUE.",
        ),
        (
            schema(
                fields=[{"name": "ITEM_ID", "type": "string"}, {"name": "CREATION_TIMESTAMP", "type": "long"}], name="Items"
            ),
            "Personalize asks Items for a metadata field as well",
        ),
    ],
)
def test_what_only_personalize_would_refuse_is_a_warning(document: dict[str, Any], warning: str) -> None:
    assert any(warning in found for found in parse_schema_document(document).warnings)


@pytest.mark.parametrize("name", ["EVENT_VALUE", "IMPRESSION", "RECOMMENDATION_ID", "EVENT_ATTRIBUTION_SOURCE"])
def test_optional_keywords_may_be_null(name: str) -> None:
    kind = "float" if name == "EVENT_VALUE" else "string"
    field = parse_schema_document(schema({"name": name, "type": ["null", kind]})).field(name)
    assert field is not None
    assert field.nullable


def test_every_shape_that_samples_have_is_taken() -> None:
    """tests/samples/schemas.jsonl is made up; every form of AWS's samples occurs in it."""
    documents = [json.loads(line) for line in OWN.read_text().splitlines()]
    taken = [parse_schema_document(document, strict=True) for document in documents]
    assert [schema.dataset_type for schema in taken] == [document["name"].capitalize() for document in documents]
    assert [document["fields"][-1]["name"] for document, schema in zip(documents, taken, strict=True) if schema.missing] == [
        "EVENT_TYPE"  # the one without TIMESTAMP
    ]
    lower = [
        document["name"]
        for document, schema in zip(documents, taken, strict=True)
        if "was taken as" in " ".join(schema.warnings)
    ]
    assert lower == ["interactions", "items", "users"]
    fields = [field for document in documents for field in document["fields"]]
    forms = {json.dumps(field["type"]) for field in fields}
    assert forms == {
        *('"string"', '"long"', '"int"', '"float"', '"double"', '["string"]', '["null", "string"]', '["string", "null"]'),
        *('["null", "float"]', '["float", "null"]'),
    }
    assert {document.get("version") for document in documents} == {"1.0", "1.1", 1, None}
    assert {key for field in fields for key in field} == {"name", "type", "categorical", "textual"}


@pytest.mark.data
def test_every_sample_schema_is_taken() -> None:
    if not SAMPLES.is_dir():
        pytest.skip("the sample schemas are not beside the project; tests/samples has their shapes")
    paths = sorted(SAMPLES.glob("[0-9]*.json"))
    taken = {path.stem: parse_schema(path.read_text(), path.name) for path in paths}
    assert len(taken) == 42
    assert all(stem.split("_")[1].capitalize() == schema.dataset_type for stem, schema in taken.items())
    assert {stem: schema.missing for stem, schema in taken.items() if schema.missing} == {"034_Interactions": ("TIMESTAMP",)}
    lower = {"023_interactions", "024_items", "031_users", "033_interactions"}
    assert {stem for stem, schema in taken.items() if any("was taken as" in warning for warning in schema.warnings)} == lower
    for path in paths:  # none of AWS's own exceeds a quota
        parse_schema(path.read_text(), path.name, strict=True)


@pytest.mark.parametrize("name", ["Interactions", "Action_Interactions"])
def test_a_schema_without_times_parses_and_is_refused_where_data_are_read(name: str) -> None:
    document = schema(name=name)
    document["fields"] = [field for field in document["fields"] if field["name"] != "TIMESTAMP"]
    parsed = parse_schema_document(document, "s.json")
    assert parsed.missing == ("TIMESTAMP",)
    assert any("required fields are missing: TIMESTAMP" in warning for warning in parsed.warnings)
    with pytest.raises(SchemaError, match=r"s\.json\.fields: required fields are missing: TIMESTAMP"):
        require_complete(parsed, "s.json")
    require_complete(parse_schema_document(schema(name=name)))


def test_a_schema_of_actions_tells_its_key_and_its_metadata() -> None:
    reserved = [
        {"name": "CREATION_TIMESTAMP", "type": "long"},
        {"name": "VALUE", "type": ["null", "long"]},
        {"name": "TYPE", "type": ["string", "null"]},
        {"name": "EXPIRATION_TIMESTAMP", "type": ["long", "null"]},
        {"name": "REPEAT_FREQUENCY", "type": "long"},
    ]
    parsed = parse_schema_document(schema(*reserved, name="Actions"))
    assert (parsed.dataset_type, parsed.rules.key, parsed.rules.target) == ("Actions", "ACTION_ID", None)
    assert [field.name for field in parsed.metadata] == ["LEVEL"]
    assert parsed.warnings == ()


@pytest.mark.parametrize("name", ["action_interactions", "ActionInteractions", "ACTIONINTERACTIONS", "ACTION_INTERACTIONS"])
def test_other_names_of_action_interactions_are_taken_with_a_warning(name: str) -> None:
    parsed = parse_schema_document(schema(name="Action_Interactions") | {"name": name})
    assert (parsed.dataset_type, parsed.rules.key, parsed.rules.target) == ("Action_Interactions", None, "ACTION_ID")
    assert parsed.warnings == (f'schema.name: "{name}" was taken as "Action_Interactions".',)


def test_every_dataset_type_has_either_a_key_or_a_target() -> None:
    for rules in DATASET_RULES.values():
        assert (rules.key is None) != (rules.target is None)
        assert {rules.key or rules.target} <= rules.required <= set(rules.reserved)


def test_the_keyword_type_of_actions_may_be_categorical() -> None:
    field = {"name": "TYPE", "type": ["null", "string"], "categorical": True}
    assert parse_schema_document(schema(field, name="Actions")).warnings == ()


def test_a_byte_order_mark_before_a_schema_is_no_fault() -> None:
    assert parse_schema("\ufeff" + json.dumps(schema())).dataset_type == "Interactions"


def columns_of(kind: str, count: int, **marks: bool) -> list[dict[str, Any]]:
    return [{"name": f"M{number}", "type": kind, **marks} for number in range(count)]


@pytest.mark.parametrize(
    ("name", "quota", "kind", "marks", "own", "most"),
    [
        ("Interactions", "interactions_metadata", "int", {}, 0, 5),
        ("Users", "users_metadata", "int", {}, 1, 25),
        ("Items", "items_metadata", "int", {}, 1, 100),
        ("Actions", "actions_metadata", "int", {}, 1, 10),
        ("Items", "items_textual", "string", {"textual": True}, 0, 1),
    ],
)
def test_a_quota_of_fields_holds_n_and_not_one_more(
    name: str, quota: str, kind: str, marks: dict[str, bool], own: int, most: int
) -> None:
    right = schema(*columns_of(kind, most - own, **marks), name=name)
    assert parse_schema_document(right, strict=True).warnings == ()
    wrong = schema(*columns_of(kind, most - own + 1, **marks), name=name)
    (warning,) = parse_schema_document(wrong).warnings
    assert warning.startswith("schema.fields: there are ")
    assert f"{most + 1} " in warning
    assert f"more than the quota {quota} of Personalize, {most}: " in warning
    assert f"M{most - own}" in warning
    with pytest.raises(SchemaError) as raised:
        parse_schema_document(wrong, strict=True)
    message = str(raised.value)
    assert message.startswith("schema.fields: there are ")
    assert f"{most + 1} " in message
    assert f"Allowed: at most {most}. Leave fields out, or raise it with --quota {quota}={most + 1}." in message
    raised_quotas = Quotas().with_changes([f"{quota}={most + 1}"])
    assert parse_schema_document(wrong, quotas=raised_quotas, strict=True).warnings == ()


def test_event_type_and_event_value_count_with_the_metadata_of_interactions() -> None:
    quotas = Quotas(interactions_metadata=20)
    optional = [{"name": "EVENT_TYPE", "type": "string"}, {"name": "EVENT_VALUE", "type": "float"}]
    uncounted = {"name": "IMPRESSION", "type": "string"}
    right = schema(*optional, uncounted, *columns_of("int", 8))
    assert parse_schema_document(right, quotas=quotas, strict=True).warnings == ()
    wrong = schema(*optional, uncounted, *columns_of("int", 9))
    (warning,) = parse_schema_document(wrong, quotas=quotas).warnings
    assert "there are 11 optional fields" in warning
    with pytest.raises(SchemaError, match="more than the quota event_types_and_metadata"):
        parse_schema_document(wrong, quotas=quotas, strict=True)


def test_no_quota_is_published_for_the_metadata_of_action_interactions() -> None:
    document = schema(*columns_of("int", 200), name="Action_Interactions")
    assert parse_schema_document(document, strict=True).warnings == ()
