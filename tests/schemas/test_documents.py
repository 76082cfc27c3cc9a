"""JSON and TOML of others: what two readers could take differently, or what has no end, is refused in one line."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from schemas.automation import Places, from_automation
from schemas.batch import BadLine, parse_line
from schemas.config import parse_document
from schemas.documents import read_json, read_toml
from schemas.errors import ConfigError

Read = Callable[[str], Any]


@pytest.mark.parametrize(
    ("read", "text", "reason"),
    [
        (read_json, '{"a": 1, "a": 1}', 'the key "a" stands twice in one object'),
        (read_json, '{"x": [{"b": 1, "\\u0062": 2}]}', 'the key "b" stands twice in one object'),
        (read_json, '{"a": Infinity}', "Infinity is no number of JSON"),
        (read_json, '{"a": 1e999}', "the number 1e999 is too large"),
        (read_json, "1" * 5_000, "the number 11111111111111111111… has more than 1,000 digits"),
        (read_json, "[" * 100_000, "it is nested too deeply"),
        (read_toml, "a = 1\na = 2", "Cannot overwrite a value (at end of document)"),
        (read_toml, "[a]\n[a]", "Cannot declare ('a',) twice (at line 2, column 3)"),
        (read_toml, "a = " + "1" * 5_000, "a number has more than 1,000 digits"),
        (read_toml, "a = " + "[" * 100_000, "it is nested too deeply"),
        (read_toml, ".".join(["a"] * 20_000) + " = 1", "a key has more than 100 parts"),
        (read_toml, '[b]\n[ "x".' + ".".join(["'a'"] * 20_000) + "]", "a key has more than 100 parts"),
        (read_toml, "x = { " + ".".join(["a"] * 20_000) + " = 1 }", "a key has more than 100 parts"),
    ],
)
def test_a_text_that_is_no_document_has_one_reason(read: Read, text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(reason)}$"):
        read(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"a": ' * 101 + "1" + "}" * 101, "it is nested too deeply"),
        ("a = 0x" + "f" * 9_000, "a number has more than 1,000 digits"),
        ('{"a": "\\ud800"}', r"the text '\ud800' holds half of a surrogate pair"),
        ('{"\\udfff": 1}', r"the text '\udfff' holds half of a surrogate pair"),
        ('{"solutions": {"a": {}, "a": {}}}', 'the key "a" stands twice'),
        ('{"a": ' + "9" * 5_000 + "}", "has more than 1,000 digits"),
    ],
)
def test_a_config_that_cannot_be_written_down_again_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=r"^c\.toml: this (JSON|TOML) cannot be used: ") as raised:
        parse_document(text, "c.toml")
    assert reason in str(raised.value)


@pytest.mark.parametrize("kind", ["user", "ranking", "item", "item_users", "attribute_users"])
@pytest.mark.parametrize("line", [b'{"userId":"1","userId":"2"}', b'{"userId":"1","x":{"y":1,"y":1}}'])
def test_a_batch_line_with_a_key_twice_is_an_error_line(line: bytes, kind: Any) -> None:
    read = parse_line(line, kind)
    assert isinstance(read, BadLine)
    assert "stands twice in one object" in read.error


SOLUTION = {"serviceConfig": {"name": "for-you", "recipeArn": "arn:aws:personalize:::recipe/aws-hrnn"}}
FILTER = {"serviceConfig": {"name": "seen", "filterExpression": "EXCLUDE ItemID WHERE Interactions.EVENT_TYPE IN (*)"}}
DATASET = {"dataset": {"serviceConfig": {"name": "d"}}, "schema": {"serviceConfig": {"name": "s", "schema": {}}}}
RANGE = {"name": "bptt", "minValue": 2, "maxValue": 8}
RANGES_AT = "solutions.0.solutionConfig.hpoConfig.algorithmHyperParameterRanges"


def configured(settings: dict[str, Any]) -> dict[str, Any]:
    return {"solutions": [{"serviceConfig": {**SOLUTION["serviceConfig"], "performHPO": True, "solutionConfig": settings}}]}


PLACES = Places(workspace="w", data=lambda name: f"data/{name}.csv", batch=lambda _: None)


@pytest.mark.parametrize(
    ("change", "second", "first"),
    [
        ({"solutions": [SOLUTION, SOLUTION | {"campaigns": []}]}, "solutions.1", "solutions.0"),
        ({"solutions": [SOLUTION, {"serviceConfig": {"name": "for-you", "recipeArn": "other"}}]}, "solutions.1", "solutions.0"),
        ({"filters": [FILTER, {"serviceConfig": {"name": "other"}}, FILTER]}, "filters.2", "filters.0"),
        ({"datasets": {"interactions": {"schema": {}}, "Interactions": {"schema": {}}}}, "datasets.Interactions", "datasets.i"),
        ({"datasets": {"interactions": DATASET, "users": DATASET}}, "datasets.users.dataset", "datasets.interactions.dataset"),
        (
            configured({"hpoConfig": {"algorithmHyperParameterRanges": {"integerHyperParameterRanges": [RANGE, RANGE]}}}),
            f"{RANGES_AT}.integerHyperParameterRanges.1",
            f"{RANGES_AT}.integerHyperParameterRanges.0",
        ),
        (
            configured({"algorithmHyperParameters": {"bptt": "8"}, "featureTransformationParameters": {"bptt": "9"}}),
            "solutions.0.solutionConfig.featureTransformationParameters.bptt",
            "solutions.0.solutionConfig.algorithmHyperParameters.bptt",
        ),
    ],
)
def test_two_of_one_name_in_a_config_of_aws_are_both_named(change: dict[str, Any], second: str, first: str) -> None:
    document = {
        "datasetGroup": {"serviceConfig": {"name": "shop"}},
        "datasets": {"interactions": DATASET},
        "solutions": [SOLUTION],
        "filters": [FILTER],
    }
    from_automation(json.loads(json.dumps(document)), PLACES, "config.json")
    with pytest.raises(ConfigError, match=r"has this name too \(got '.*'\)\. Rename or remove one of them\.$") as raised:
        from_automation(document | change, PLACES, "config.json")
    assert str(raised.value).startswith(f"config.json: {second}: {first}")
