from __future__ import annotations

import json
import re
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plain_lines import result_line

from schemas.batch import (
    MOST_LINE_BYTES,
    BadLine,
    LineKind,
    Request,
    error_line,
    parse_line,
    score_text,
    segment_line,
)

# Two scores of each magnitude from lines that the service itself wrote (aws-samples/amazon-personalize-samples, MIT-0).
WRITTEN_BY_PERSONALIZE = ["0.8449224", "0.008885", "0.0012491", "7.699E-4", "3.773E-4", "7.17E-5", "3.1E-5"]


def good(line: bytes, kind: LineKind = "user") -> Request:
    parsed = parse_line(line, kind)
    assert isinstance(parsed, Request), parsed
    return parsed


def fault(line: bytes, kind: LineKind = "user") -> str:
    parsed = parse_line(line, kind)
    assert isinstance(parsed, BadLine), parsed
    return parsed.error


@pytest.mark.parametrize("text", WRITTEN_BY_PERSONALIZE)
def test_scores_are_written_as_the_service_writes_them(text: str) -> None:
    assert score_text(round(float(text) * 10_000_000)) == text


@pytest.mark.parametrize(
    ("units", "text"),
    [
        (0, "0.0"),
        (1, "1.0E-7"),
        (10, "1.0E-6"),
        (9_999, "9.999E-4"),
        (10_000, "0.001"),
        (5_000_000, "0.5"),
        (10_000_000, "1.0"),
    ],
)
def test_scores_at_the_edges(units: int, text: str) -> None:
    assert score_text(units) == text


@given(st.integers(0, 10_000_000))
def test_every_score_reads_back_and_has_no_trailing_zero(units: int) -> None:
    text = score_text(units)
    assert round(json.loads(text) * 10_000_000) == units
    assert not re.search(r"\.\d+0(E|$)", text)


def test_a_result_line_has_the_shape_of_the_service() -> None:
    line = result_line(good(b'{"userId": "4638"}'), ["63992", "115149"], [152_238, 717])
    assert line == (
        b'{"input":{"userId":"4638"},"output":{"recommendedItems":["63992","115149"],"scores":[0.0152238,7.17E-5]},"error":null}\n'
    )


def test_recipes_without_scores_write_none() -> None:
    line = result_line(good(b'{"userId": "12"}'), ["105", "106", "441"], None)
    assert line == b'{"input":{"userId":"12"},"output":{"recommendedItems":["105","106","441"]},"error":null}\n'


def test_other_keys_are_given_back_in_their_order() -> None:
    line = b'{"filterValues":{"GENRES":"\\"horror\\",\\"comedy\\""}, "userId": "5", "big": 12345678901234567890123}\r'
    assert good(line) == Request(
        given='{"filterValues":{"GENRES":"\\"horror\\",\\"comedy\\""},"userId":"5","big":12345678901234567890123}',
        user_id="5",
        filter_values={"GENRES": '"horror","comedy"'},
    )


def test_characters_beyond_ascii_stay_as_they_are() -> None:
    assert "Zoë/☃" in result_line(good('{"userId":"Zoë/☃"}'.encode()), ["ß"], None).decode()


def test_a_number_is_taken_as_its_digits() -> None:
    assert good(b'{"userId": 4638}') == Request(given='{"userId":4638}', user_id="4638")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"", "the line is blank"),
        (b" \t\r", "the line is blank"),
        (b"userId,4638", "the line is not JSON (Expecting value)"),
        (b'{"userId": "1"} x', "the line is not JSON (Extra data)"),
        (b'{"userId": "1", "x": NaN}', "the line is not JSON (NaN is no number of JSON)"),
        (b'{"userId": "1", "x": 1e999}', "the line is not JSON (the number 1e999 is too large)"),
        (b'\xef\xbb\xbf{"userId": "1"}', "the line is not JSON"),
        (b'{"userId": "\xff"}', "the line is not UTF-8 text (byte 12)"),
        (b'{"userId": "\\ud800"}', "the line holds half of a surrogate pair"),
        (b'["4638"]', "the line is not a JSON object"),
        (b'"4638"', "the line is not a JSON object"),
        (b"null", "the line is not a JSON object"),
        (b"{}", "userId is missing"),
        (b'{"userid": "4638"}', "userId is missing"),
        (b'{"userId": null}', "userId is not a text"),
        (b'{"userId": true}', "userId is not a text"),
        (b'{"userId": 1.5}', "userId is not a text"),
        (b'{"userId": ["1"]}', "userId is not a text"),
        (b'{"userId": ""}', "userId is empty"),
        (b'{"userId": "' + b"x" * 257 + b'"}', "userId is longer than 256 characters"),
        (b'{"userId": ' + b"1" * 257 + b"}", "userId is longer than 256 characters"),
        (b'{"userId": ' + b"1" * 5000 + b"}", "the line is not JSON"),
        (b"[" * 100_000, "the line is not JSON"),
        (b"x" * (MOST_LINE_BYTES + 1), "the line is longer than 262,144 bytes"),
    ],
    ids=range(24),
)
def test_a_bad_line_says_why_and_is_given_back(line: bytes, reason: str) -> None:
    parsed = parse_line(line)
    assert isinstance(parsed, BadLine)
    assert parsed.error.startswith(reason)
    document = json.loads(error_line(parsed))
    assert list(document) == ["input", "output", "error"]
    assert document["output"] is None
    assert document["error"] == parsed.error


def test_what_is_json_is_given_back_as_json_and_the_rest_as_text() -> None:
    assert json.loads(error_line(parse_line(b'{"user": 7}')))["input"] == {"user": 7}  # type: ignore[arg-type]
    assert json.loads(error_line(parse_line(b"hello \xff")))["input"] == "hello \ufffd"  # type: ignore[arg-type]


@given(st.binary(max_size=60))
def test_any_bytes_give_one_line_of_json(line: bytes) -> None:
    parsed = parse_line(line.replace(b"\n", b" "))
    written = error_line(parsed) if isinstance(parsed, BadLine) else result_line(parsed, ["a"], [1])
    assert written.count(b"\n") == 1
    assert list(json.loads(written)) == ["input", "output", "error"]


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40), st.booleans())
def test_any_user_id_comes_back_whole(user_id: str, ascii_only: bool) -> None:
    request = good(json.dumps({"userId": user_id}, ensure_ascii=ascii_only).encode())
    assert request.user_id == user_id
    assert json.loads(result_line(request, [], None))["input"] == {"userId": user_id}


def test_every_kind_of_line_is_read() -> None:
    ranking = good(b'{"userId": "891", "itemList": ["27", 886, "27"], "context": {"DEVICE": "phone"}}', "ranking")
    assert (ranking.user_id, ranking.item_list, ranking.context) == ("891", ("27", "886", "27"), {"DEVICE": "phone"})
    assert ranking.given == '{"userId":"891","itemList":["27",886,"27"],"context":{"DEVICE":"phone"}}'
    assert good(b'{"itemId": "105", "filterValues": null}', "item").item_id == "105"
    assert good(b'{"itemId": 105}', "item_users").item_id == "105"
    line = json.dumps({"itemAttributes": 'ITEMS.genres = "Comedy"', "filterValues": {"COUNTRY": '"Japan"'}}).encode()
    segment = good(line, "attribute_users")
    assert (segment.item_attributes, segment.filter_values) == ('ITEMS.genres = "Comedy"', {"COUNTRY": '"Japan"'})


def test_lines_of_segments_have_the_blanks_of_the_service() -> None:
    # As the service wrote it (aws-samples/amazon-personalize-samples, MIT-0), with fewer users.
    written = (
        b'{"input": {"itemAttributes": "ITEMS.CATEGORY_L1 = \\"tools\\""}, '
        b'"output": {"usersList": ["2131","2504"]}, "error": null}\n'
    )
    request = good(json.dumps({"itemAttributes": 'ITEMS.CATEGORY_L1 = "tools"'}).encode(), "attribute_users")
    assert segment_line(request, ["2131", "2504"]) == written
    assert segment_line(good(b'{"itemId":"105"}', "item_users"), []).endswith(b'{"usersList": []}, "error": null}\n')
    bad = parse_line(b'{"user":"1"}', "item_users")
    assert isinstance(bad, BadLine)
    assert error_line(bad, "item_users").startswith(b'{"input": {"user": "1"}, "output": null, "error": "itemId is missing')


LONG = "x" * 1001


@pytest.mark.parametrize(
    ("kind", "document", "reason"),
    [
        ("ranking", {"userId": "1"}, 'itemList is missing; allowed: {"userId": "…", "itemList"'),
        ("ranking", {"itemList": ["1"]}, "userId is missing"),
        ("ranking", {"userId": "1", "itemList": "27"}, "itemList is not a list"),
        ("ranking", {"userId": "1", "itemList": None}, "itemList is not a list"),
        ("ranking", {"userId": "1", "itemList": []}, "itemList is empty"),
        ("ranking", {"userId": "1", "itemList": ["27", None]}, "itemList[1] is not a text"),
        ("ranking", {"userId": "1", "itemList": [2.5]}, "itemList[0] is not a text"),
        ("ranking", {"userId": "1", "itemList": [""]}, "itemList[0] is empty"),
        ("ranking", {"userId": "1", "itemList": ["y" * 257]}, "itemList[0] is longer than 256 characters"),
        ("ranking", {"userId": "1", "itemList": ["1"] * 5001}, "itemList holds 5,001 items; allowed: 5,000"),
        ("item", {"userId": "1"}, 'itemId is missing; allowed: {"itemId": "…"}'),
        ("item", {"itemId": ["1"]}, "itemId is not a text"),
        ("item", {"itemId": ""}, "itemId is empty"),
        ("item_users", {"itemId": "y" * 257}, "itemId is longer than 256 characters"),
        ("attribute_users", {"itemId": "1"}, "itemAttributes is missing"),
        ("attribute_users", {"itemAttributes": 7}, "itemAttributes is not a text"),
        ("attribute_users", {"itemAttributes": " "}, "itemAttributes is empty"),
        ("attribute_users", {"itemAttributes": "x" * 2501}, "itemAttributes is longer than 2,500 characters"),
        ("user", {"userId": "1", "filterValues": ["a"]}, "filterValues is not a JSON object"),
        ("user", {"userId": "1", "filterValues": {"A": 1}}, "filterValues.A is not a text"),
        ("user", {"userId": "1", "filterValues": {"A": ["a"]}}, "filterValues.A is not a text"),
        ("user", {"userId": "1", "filterValues": {"A": LONG}}, "filterValues.A is longer than 1,000 characters"),
        ("user", {"userId": "1", "filterValues": {"$A": "a"}}, 'filterValues holds the name "$A"; allowed: 1 to 50 of A-Z'),
        ("user", {"userId": "1", "filterValues": {"A\n": "a"}}, "filterValues holds the name"),
        ("user", {"userId": "1", "filterValues": {"A" * 51: "a"}}, "filterValues holds the name"),
        (
            "user",
            {"userId": "1", "filterValues": {f"A{n}": "a" for n in range(26)}},
            "filterValues holds 26 values; allowed: 25",
        ),
        ("item", {"itemId": "1", "context": "phone"}, "context is not a JSON object"),
        ("item", {"itemId": "1", "context": {"": "a"}}, "context holds the name"),
        ("item", {"itemId": "1", "context": {"DEVICE": None}}, "context.DEVICE is not a text"),
        ("item", {"itemId": "1", "context": {"DEVICE": LONG}}, "context.DEVICE is longer than 1,000 characters"),
        ("item", {"itemId": "1", "context": {f"A{n}": "a" for n in range(151)}}, "context holds 151 values; allowed: 150"),
    ],
    ids=range(31),
)
def test_a_bad_member_says_why(kind: LineKind, document: dict[str, object], reason: str) -> None:
    assert fault(json.dumps(document).encode(), kind).startswith(reason)


@given(st.binary(max_size=60), st.sampled_from(get_args(LineKind)))
def test_any_bytes_give_one_line_of_json_in_every_kind(line: bytes, kind: LineKind) -> None:
    parsed = parse_line(line.replace(b"\n", b" "), kind)
    written = error_line(parsed, kind) if isinstance(parsed, BadLine) else segment_line(parsed, ["a"])
    assert written.count(b"\n") == 1
    assert list(json.loads(written)) == ["input", "output", "error"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
)


@given(
    st.dictionaries(st.sampled_from(["userId", "itemId", "itemList", "itemAttributes", "filterValues", "context"]), JSON),
    st.sampled_from(get_args(LineKind)),
)
def test_any_members_give_a_request_or_a_reason(document: dict[str, object], kind: LineKind) -> None:
    parsed = parse_line(json.dumps(document).encode(), kind)
    assert json.loads(parsed.given) == document
    assert isinstance(parsed, Request) or parsed.error
