"""Schemas with one fault each: every one is refused, and the message names the field and what is wrong with it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from schema_documents import INTERACTIONS, RIGHT_FIELDS, changed, schema, without

from schemas.datasets import parse_schema, parse_schema_document
from schemas.errors import SchemaError

LONG = "A" * 151
TEXT = {"type": "string", "textual": True}
DEEP: Any = "x"
for _ in range(40):
    DEEP = [DEEP]

FORMS = [
    ([], "schema: a schema is a JSON object (got [])"),
    ("record", "schema: a schema is a JSON object (got 'record')"),
    (schema(type="enum"), "schema.type: the type is not that of a dataset (got 'enum'). Allowed: \"record\""),
    (schema(type=["record"]), "schema.type: the type is not that of a dataset (got ['record'])"),
    (schema() | {"name": "Events"}, "schema.name: the record's name is no dataset type (got 'Events')"),
    (schema() | {"name": "Interaction"}, "schema.name: the record's name is no dataset type (got 'Interaction')"),
    (schema() | {"name": None}, "schema.name: the record's name is no dataset type (got None)"),
    (schema() | {"name": ["Items"]}, "Allowed: Interactions, Users, Items, Actions, Action_Interactions"),
    (schema(version="2"), "schema.version: this version is not known (got '2')"),
    (schema(version=True), "schema.version: this version is not known (got True)"),
    (schema(version=None), "schema.version: this version is not known (got None)"),
    (schema(fields={}), "schema.fields: fields are missing (got {})"),
    (schema(fields=[]), "schema.fields: fields are missing (got [])"),
    (schema("X"), "schema.fields[3]: a field is a JSON object (got 'X')"),
    (schema(None), "schema.fields[3]: a field is a JSON object (got None)"),
    (schema(doc=DEEP), "schema: the schema cannot be used: it is nested too deeply"),
    (schema(doc="\ud800"), r"schema: the schema cannot be used: the text '\ud800' holds half of a surrogate pair"),
    (schema(doc={1, 2}), "schema: this is no value that JSON can hold"),
    (schema(doc=float("nan")), "schema: this is no value that JSON can hold (got nan)"),
]

NAMES = [
    (schema({"type": "int"}), "schema.fields[3].name: a field's name is missing or wrong (got None)"),
    (schema({"name": "", "type": "int"}), "schema.fields[3].name: a field's name is missing or wrong (got '')"),
    (schema({"name": "9LIVES", "type": "int"}), "schema.fields[3].name: a field's name is missing or wrong (got '9LIVES')"),
    (schema({"name": "EVENT TYPE", "type": "int"}), "schema.fields[3].name: a field's name is missing or wrong"),
    (schema({"name": "GRÖSSE", "type": "int"}), "schema.fields[3].name: a field's name is missing or wrong (got 'GRÖSSE')"),
    (schema({"name": "A-B", "type": "int"}), "schema.fields[3].name: a field's name is missing or wrong (got 'A-B')"),
    (schema({"name": "OS\n", "type": "int"}), r"schema.fields[3].name: a field's name is missing or wrong (got 'OS\n')"),
    (schema({"name": LONG, "type": "int"}), "schema.fields[3].name: a field's name is missing or wrong"),
    (schema({"name": 7, "type": "int"}), "schema.fields[3].name: a field's name is missing or wrong (got 7)"),
    (
        schema({"name": "GENRES_FIELD_1", "type": "int"}, {"name": "GENRESFIELD1", "type": "int"}),
        "schema.fields: two fields clash: GENRES_FIELD_1 and GENRESFIELD1",
    ),
    (schema({"name": "OS", "type": "int"}, {"name": "os", "type": "int"}), "schema.fields: two fields clash: OS and os"),
    (schema({"name": "OS", "type": "int"}, {"name": "OS", "type": "int"}), "schema.fields: two fields clash: OS and OS"),
    (schema({"name": "USERID", "type": "string"}), "schema.fields: two fields clash: USER_ID and USERID"),
    (schema({"name": "_TIMESTAMP_", "type": "long"}), "schema.fields: two fields clash: TIMESTAMP and _TIMESTAMP_"),
    (schema({"name": "INPUT_ORDER", "type": "long"}), "schema.fields: this name is the platform's own (got 'INPUT_ORDER')"),
    (schema({"name": "input_order", "type": "long"}), "schema.fields: this name is the platform's own (got 'input_order')"),
]

TYPES = [
    (schema({"name": "X", "type": form}), "schema.fields[3] (X).type: the type of the field is not allowed (got")
    for form in (
        *("bytes", "null", "String", "date", "", None, 3, True, "fixed"),
        *([], ["null"], ["null", "null", "int"], ["null", "int", "long"], ["int", "int"], ["int", None], [["null", "int"]]),
        {"type": "array", "items": "string"},
        {"type": "map", "values": "long"},
        {"type": "enum", "symbols": ["A"]},
        {"type": "record", "name": "Inner", "fields": []},
        {"type": "string"},
        ["null", {"type": "array", "items": "string"}],
    )
]

MARKS = [
    (
        schema({"name": "X", "type": "string", "categorical": "true"}),
        "schema.fields[3] (X).categorical: categorical is a truth value (got 'true')",
    ),
    (schema({"name": "X", "type": "string", "textual": 1}), "schema.fields[3] (X).textual: textual is a truth value (got 1)"),
    (schema({"name": "X", "type": "string", "itemName": None}), "schema.fields[3] (X).itemName: itemName is a truth value"),
    *(
        (
            schema({"name": "X", "type": kind, mark: True}, name="Items"),
            f"schema.X.{mark}: only a string is {mark} (got '{kind}'). Allowed: type \"string\"",
        )
        for kind, mark in (("int", "categorical"), ("boolean", "categorical"), ("long", "textual"), ("double", "itemName"))
    ),
    *(
        (schema({"name": "X", "type": "string", mark: True}, name=name), f"schema.X.{mark}: {mark} is for Items only")
        for mark in ("textual", "itemName")
        for name in ("Interactions", "Users", "Actions", "Action_Interactions")
    ),
    (
        schema({"name": "X", "categorical": True, **TEXT}, name="Items"),
        "schema.X: a field is categorical or textual, not both. Leave one of them out.",
    ),
    (
        schema(*({"name": f"N{n}", "type": "string", "itemName": True} for n in range(2)), name="Items"),
        "schema.fields: more than one field is the items' name (got ['N0', 'N1'])",
    ),
]

RESERVED = [
    *(
        (
            schema({"name": name, "type": form}, name=dataset),
            f"schema.{name}.type: a reserved field has one type only (got '{form}'). Allowed: \"{allowed}\"",
        )
        for dataset, name, form, allowed in (
            ("Interactions", "EVENT_TYPE", "int", "string"),
            ("Interactions", "EVENT_VALUE", "int", "float"),
            ("Interactions", "EVENT_VALUE", "double", "float"),
            ("Interactions", "IMPRESSION", "long", "string"),
            ("Interactions", "RECOMMENDATION_ID", "long", "string"),
            ("Interactions", "EVENT_ATTRIBUTION_SOURCE", "boolean", "string"),
            ("Items", "CREATION_TIMESTAMP", "string", "long"),
            ("Items", "CREATION_TIMESTAMP", "int", "long"),
            ("Actions", "CREATION_TIMESTAMP", "int", "long"),
            ("Actions", "VALUE", "float", "long"),
            ("Actions", "TYPE", "int", "string"),
            ("Actions", "EXPIRATION_TIMESTAMP", "string", "long"),
            ("Actions", "REPEAT_FREQUENCY", "int", "long"),
            ("Action_Interactions", "IMPRESSION", "int", "string"),
            ("Action_Interactions", "RECOMMENDATION_ID", "int", "string"),
        )
    ),
    *(
        (
            schema({"name": name, "type": ["null", kind]}, name=dataset),
            f"schema.{name}.type: this field must not allow null (got ['null', '{kind}']). Allowed: \"{kind}\"",
        )
        for dataset, name, kind in (
            ("Interactions", "EVENT_TYPE", "string"),
            ("Items", "CREATION_TIMESTAMP", "long"),
            ("Actions", "CREATION_TIMESTAMP", "long"),
        )
    ),
    *(
        (schema({"name": name, "type": "string", mark: True}, name=dataset), f"schema.{name}: a reserved field is neither")
        for dataset, name, mark in (
            ("Interactions", "EVENT_TYPE", "categorical"),
            ("Interactions", "IMPRESSION", "categorical"),
            ("Interactions", "RECOMMENDATION_ID", "textual"),
            ("Actions", "TYPE", "textual"),
            ("Action_Interactions", "IMPRESSION", "categorical"),
        )
    ),
    (changed("Action_Interactions", "EVENT_TYPE", categorical=True), "schema.EVENT_TYPE: a reserved field is neither"),
    (changed("Items", "ITEM_ID", categorical=True), "schema.ITEM_ID: a reserved field is neither"),
    (changed("Users", "USER_ID", itemName=True), "schema.USER_ID: a reserved field is neither"),
]

REQUIRED_FIELDS = [
    ("Interactions", "USER_ID"),
    ("Interactions", "ITEM_ID"),
    ("Interactions", "TIMESTAMP"),
    ("Users", "USER_ID"),
    ("Items", "ITEM_ID"),
    ("Actions", "ACTION_ID"),
    ("Action_Interactions", "USER_ID"),
    ("Action_Interactions", "ACTION_ID"),
    ("Action_Interactions", "EVENT_TYPE"),
    ("Action_Interactions", "TIMESTAMP"),
]
REQUIRED = [
    *(
        (changed(dataset, name, type="float"), f"schema.{name}.type: a reserved field has one type only (got 'float')")
        for dataset, name in REQUIRED_FIELDS
    ),
    *(
        (
            changed(dataset, name, type=["null", "long" if name == "TIMESTAMP" else "string"]),
            f"schema.{name}.type: this field must not allow null",
        )
        for dataset, name in REQUIRED_FIELDS
    ),
    *(
        (without(dataset, name), f"schema.fields: required fields are missing: {name} (got")
        for dataset, name in REQUIRED_FIELDS
        if name != "TIMESTAMP"
    ),
    (schema(fields=INTERACTIONS[2:]), "schema.fields: required fields are missing: ITEM_ID, USER_ID (got ['TIMESTAMP'])"),
    (
        changed("Interactions", "USER_ID", name="user_id"),
        "required fields are missing: USER_ID (got ['user_id', 'ITEM_ID', 'TIMESTAMP']). Interactions cannot do without: "
        "rename user_id to USER_ID in the schema and in the CSV header.",
    ),
    (
        schema() | {"name": "Actions"},
        "schema.fields: required fields are missing: ACTION_ID (got ['USER_ID', 'ITEM_ID', 'TIMESTAMP'])",
    ),
    *(
        (without(dataset, name), f"schema.fields: {dataset} need at least one metadata field beyond {key} (got ['{key}'])")
        for dataset, key, name in (
            ("Items", "ITEM_ID", "PRICE"),
            ("Users", "USER_ID", "AGE"),
            ("Actions", "ACTION_ID", "LEVEL"),
        )
    ),
    (
        changed("Users", "AGE", type="string"),
        "schema.fields: Users need at least one metadata field beyond USER_ID (got ['USER_ID', 'AGE']). "
        "Allowed: a categorical string, a number or a boolean.",
    ),
]

MUTATIONS = [*FORMS, *NAMES, *TYPES, *MARKS, *RESERVED, *REQUIRED]


@pytest.mark.parametrize(("document", "message"), MUTATIONS)
def test_a_broken_rule_is_one_message_that_names_the_field(document: Any, message: str) -> None:
    with pytest.raises(SchemaError) as raised:
        parse_schema_document(document)
    assert message in str(raised.value)


def test_the_table_of_mutations_is_long_and_has_each_fault_once() -> None:
    assert len(MUTATIONS) >= 90
    assert len({repr(document) for document, _ in MUTATIONS}) == len(MUTATIONS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the schema is not JSON"),
        ("{'type': 'record'}", "line 1 column 2"),
        ("[" * 15_000, "the schema is not JSON (it is nested too deeply)"),
        ("1" * 5_000, "the schema is not JSON (the number 11111111111111111111… has more than 1,000 digits)"),
        ('{"version": NaN}', "the schema is not JSON (NaN is no number of JSON)"),
        ('{"type": 1, "type": 1}', 'the schema is not JSON (the key "type" stands twice in one object)'),
        (" " * 20_001, "the schema is too long (got 20001). Allowed: at most 20,000 characters"),
    ],
)
def test_a_text_that_is_no_schema_is_one_message(text: str, message: str) -> None:
    with pytest.raises(SchemaError) as raised:
        parse_schema(text, "s3://bucket/schema.json")
    assert message in str(raised.value)
    assert str(raised.value).startswith("s3://bucket/schema.json: ")


WORDS = st.sampled_from(["USER_ID", "ITEM_ID", "TIMESTAMP", "EVENT_TYPE", "string", "long", "null", "record", "Items", "1.0"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | WORDS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5) | WORDS, inner, max_size=4),
    max_leaves=8,
)
KEYS = st.sampled_from(["name", "type", "fields", "version", "namespace", "categorical", "textual", "itemName", "doc"])


@settings(max_examples=100, deadline=None)
@given(
    name=st.sampled_from(sorted(RIGHT_FIELDS)), top=st.dictionaries(KEYS, JSON, max_size=2), field=st.dictionaries(KEYS, JSON)
)
def test_whatever_a_schema_holds_it_is_taken_or_refused_in_words(name: str, top: dict[str, Any], field: dict[str, Any]) -> None:
    document = schema({"name": "X", "type": "int"} | field, name=name)
    for spoiled in (document, document | top, top, field.get("type")):
        try:
            parsed = parse_schema_document(spoiled)
        except SchemaError:
            continue
        assert parse_schema(json.dumps(parsed.document)) == parsed
        assert parsed.model_dump_json()


def test_the_longest_schema_is_taken() -> None:
    text = '{"type":"record","name":"Interactions","version":"1.0","fields":'
    text += '[{"name":"USER_ID","type":"string"},{"name":"ITEM_ID","type":"string"},{"name":"TIMESTAMP","type":"long"}]}'
    assert parse_schema(text.ljust(20_000)).names == ["USER_ID", "ITEM_ID", "TIMESTAMP"]
