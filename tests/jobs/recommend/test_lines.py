from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from plain_lines import result_line

from hrnn.data.ragged import Ragged
from jobs.recommend.answers import Answers
from jobs.recommend.lines import LineWriter, read_requests
from jobs.recommend.request_batch import RequestBatch
from schemas.batch import BadLine, LineKind, Request, error_line, parse_line

UNUSUAL = [
    b"",
    b"{}",
    b'{"userId": 12}',
    b'{"userId": "a", "userId": "b"}',
    b'{"userId": "a", "itemList": ["1", 2.50, 1e3]}',
    b' {"userId" :\t"a\\u00e9\\n\\u001f/\\"\\u2028"}\r',
    b'{"userId": "\\ud83d\\ude00"}',
    b'{"userId": "\\ud83d"}',
    b'{"userId": ""}',
    b'{"userId": "' + b"y" * 256 + b'"}',
    b'{"userId": "' + b"y" * 257 + b'"}',
    b'{"userId": "a", "n": 123456789012345678901234567890}',
    b"[1]",
    b"\xff",
]


def as_the_rules_say(line: bytes, items: list[str], scores: list[int] | None) -> bytes:
    parsed = parse_line(line)
    return error_line(parsed) if isinstance(parsed, BadLine) else result_line(parsed, items, scores)


def written(lines: list[bytes], ids: list[str], rows: list[int], scores: list[int], *, has_scores: bool = True) -> list[bytes]:
    requests = read_requests(lines)
    shape = (len(requests.subjects), 1)
    item_rows, units = np.tile(np.array(rows, np.int32), shape), np.tile(np.array(scores, np.int32), shape)
    return list(LineWriter(ids, has_scores).output_lines(requests, Answers.of_rows(item_rows, units)))


@pytest.mark.parametrize("line", UNUSUAL, ids=range(len(UNUSUAL)))
def test_unusual_lines_are_read_and_written_by_the_rules(line: bytes) -> None:
    assert written([line], ["é", "b"], [1, 0], [9, 3]) == [as_the_rules_say(line, ["b", "é"], [9, 3])]


IDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@given(IDS, st.lists(st.integers(0, 10_000_000), max_size=9), st.booleans())
def test_fast_lines_are_those_of_the_rules(user_id: str, scores: list[int], has_scores: bool) -> None:
    line = json.dumps({"userId": user_id}, ensure_ascii=False).encode()
    falling = sorted(scores, reverse=True)
    ids = [f'item "{number}" ☃' for number in range(len(scores))]
    expected = as_the_rules_say(line, ids, falling if has_scores else None)
    assert written([line], ids, list(range(len(scores))), falling, has_scores=has_scores) == [expected]


@given(st.lists(st.binary(max_size=30).map(lambda data: data.replace(b"\n", b"")), max_size=8))
def test_any_lines_are_read_as_the_rules_say(lines: list[bytes]) -> None:
    assert written(lines, ["a"], [0], [1]) == [as_the_rules_say(line, ["a"], [1]) for line in lines]


def test_good_and_bad_lines_keep_their_places() -> None:
    requests = read_requests([b'{"userId":"a"}', b"?", b'{"userId":"b"}', b"?"])
    assert requests.num_lines == 4
    assert requests.positions.tolist() == [0, 2]
    assert requests.subjects == ["a", "b"]
    assert sorted(requests.errors) == [1, 3]
    rows = np.array([[0], [1]], np.int32)
    answers = Answers.of_rows(rows, rows)
    users = [json.loads(line)["output"] for line in LineWriter(["x", "y"], True).output_lines(requests, answers)]
    assert users == [{"recommendedItems": ["x"], "scores": [0.0]}, None, {"recommendedItems": ["y"], "scores": [1e-7]}, None]


def test_many_lines_are_written_a_part_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.recommend.lines._LINES_AT_ONCE", 2)
    lines = [b'{"userId":"%d"}' % number for number in range(5)]
    assert written(lines, ["a"], [0], [1]) == [as_the_rules_say(line, ["a"], [1]) for line in lines]


def test_no_lines_give_no_lines() -> None:
    assert written([], ["a"], [0], [1]) == []


def test_a_request_is_what_the_rules_parse() -> None:
    parsed = parse_line(b'{"userId": "a"}')
    assert isinstance(parsed, Request)
    assert read_requests([b'{"userId": "a"}']).inputs == [parsed.given.encode()]


RANKINGS = [
    b'{"userId": "a", "itemList": ["1", "2"]}',
    b'{"itemList":["\xc3\xa9","2","2"],"userId":"\xc3\xa9"}',
    b'{"userId": "a", "itemList": ["1", 2]}',
    b'{"userId": 5, "itemList": ["1"]}',
    b'{"userId": "a", "itemList": ["1"], "context": {"DEVICE": "phone"}}',
    b'{"userId": "a", "itemList": ["1"], "n": 1e3}',
    b'{"userId": "a", "itemList": []}',
    b'{"userId": "a", "itemList": ["1", ""]}',
    b'{"userId": "a", "itemList": "1"}',
    b'{"userId": "a"}',
    b"[]",
]


@pytest.mark.parametrize("line", RANKINGS, ids=range(len(RANKINGS)))
def test_lines_of_rankings_are_read_and_written_by_the_rules(line: bytes) -> None:
    parsed = parse_line(line, "ranking")
    requests = read_requests([line], "ranking")
    places = np.array([*range(1, len(requests.item_lists[0])), 0] if requests.item_lists else [], np.int32)
    answers = Answers(np.array([0, len(places)] if len(places) else [0]), places, places[::-1] * 100)
    (found,) = LineWriter([], True).output_lines(requests, answers)
    if isinstance(parsed, BadLine):
        assert found == error_line(parsed)
    else:
        assert found == result_line(parsed, [parsed.item_list[place] for place in places], (places[::-1] * 100).tolist())


@pytest.mark.parametrize(
    "line", [b'{"itemId": "a"}', b'{"itemId": 7}', b'{"itemId": ""}', b'{"userId": "a"}', b'{"itemId":"a","x":1}']
)
def test_lines_of_items_are_read_and_written_by_the_rules(line: bytes) -> None:
    parsed = parse_line(line, "item")
    requests = read_requests([line], "item")
    rows = np.zeros((len(requests.subjects), 1), np.int32)
    (found,) = LineWriter(["x"], False).output_lines(requests, Answers.of_rows(rows, rows))
    assert found == (error_line(parsed) if isinstance(parsed, BadLine) else result_line(parsed, ["x"], None))


def test_filter_values_are_asked_about_once_and_bad_ones_become_errors() -> None:
    asked: list[dict[str, str]] = []

    def fault(given: Mapping[str, str]) -> str | None:
        asked.append(dict(given))
        return None if given else "GENRE is missing"

    values = [{"GENRE": "a"}, {}, {"GENRE": "b"}, {"GENRE": "a"}, {}]
    lines = [json.dumps({"userId": f"{number}", "filterValues": given}).encode() for number, given in enumerate(values)]
    requests = read_requests(lines, "user", fault)
    assert asked == [{"GENRE": "a"}, {}, {"GENRE": "b"}]
    assert requests.subjects == ["0", "2", "3"]
    assert requests.values_of.tolist() == [0, 1, 0]
    assert requests.filter_values == [{"GENRE": "a"}, {"GENRE": "b"}]
    assert json.loads(requests.errors[1])["error"] == "GENRE is missing"


def test_entries_that_are_missing_are_left_out() -> None:
    requests = read_requests([b'{"userId":"a"}', b'{"userId":"b"}', b'{"userId":"c"}'])
    rows, scores = np.array([[0, 1], [1, -1], [-1, -1]], np.int32), np.array([[20_000, 3], [7, 0], [0, 0]], np.int32)
    found = [
        json.loads(line)["output"]
        for line in LineWriter(["x", "y"], True).output_lines(requests, Answers.of_rows(rows, scores))
    ]
    assert found == [
        {"recommendedItems": ["x", "y"], "scores": [0.002, 3e-7]},
        {"recommendedItems": ["y"], "scores": [7e-7]},
        {"recommendedItems": [], "scores": []},
    ]


def test_batches_survive_the_way() -> None:
    two, three = Ragged.from_rows([[3, 1], [-1]], np.int64), Ragged.from_rows([[9]], np.int64)
    one = RequestBatch(pa.array(["a", "b"]), two, [{"G": "1"}, {"G": "2"}], np.array([1, 0]))
    other = RequestBatch(pa.array(["c"]), three, [{"G": "2"}], np.array([0]))
    lines, joined = RequestBatch.from_tables([one.to_table(np.array([5, 7])), other.to_table(np.array([0]))])
    assert lines.tolist() == [5, 7, 0]
    assert joined.subjects.to_pylist() == ["a", "b", "c"]
    assert [joined.lists.row(line).tolist() for line in range(3)] == [[3, 1], [-1], [9]]
    assert [joined.filter_values[place]["G"] for place in joined.values_of] == ["2", "1", "2"]
    some = joined.take(np.array([2, 0]))
    assert some.subjects.to_pylist() == ["c", "a"]
    assert [some.lists.row(line).tolist() for line in range(2)] == [[9], [3, 1]]


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        (b'{"userId":"1","userId":"2"}', "user"),
        (b'{"userId":1,"userId":"2"}', "user"),
        (b'{"itemId":"1","itemId":"1"}', "item"),
        (b'{"userId":"1","itemList":["a"],"itemList":["b"]}', "ranking"),
        (b'{"userId":"1","userId":"2","itemList":["b"]}', "ranking"),
    ],
)
def test_a_key_that_stands_twice_is_an_error_line(line: bytes, kind: LineKind) -> None:
    read = read_requests([line], kind)
    assert read.subjects == []
    assert b"stands twice in one object" in read.errors[0]
