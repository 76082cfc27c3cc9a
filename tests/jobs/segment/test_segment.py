"""Segments against full sorts of plain softmaxes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from called_jobs import segment
from segment_solution import SegmentSolution, publish_segments
from tiny_solution import publish_solution

import jobs.segment.job
from hrnn.inference.segments import sets_of
from jobs.platform.storage import list_input, store_for
from jobs.platform.storage.folders import StepFolder
from jobs.segment import best, users
from jobs.segment.lines import MOST_LINES, LineReader
from jobs.solutions.solution import Solution
from schemas.batch import BadLine
from schemas.datasets import parse_schema_document
from schemas.errors import ConfigError, DataError, IntegrityError
from schemas.filters import FilterError

pytestmark = pytest.mark.usefixtures("spark")


@pytest.fixture(scope="module")
def of_items(tmp_path_factory: pytest.TempPathFactory) -> SegmentSolution:
    return publish_segments(str(tmp_path_factory.mktemp("items")))


@pytest.fixture(scope="module")
def of_attributes(tmp_path_factory: pytest.TempPathFactory) -> SegmentSolution:
    return publish_segments(str(tmp_path_factory.mktemp("attributes")), "aws-item-attribute-affinity", seed=1)


def answered(solution: SegmentSolution, tmp_path: Path, lines: list[dict[str, Any]], **given: Any) -> list[dict[str, Any]]:
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (tmp_path / "lines.json").write_text(text)
    segment(solution_uri=solution.uri, input_uri=str(tmp_path / "lines.json"), output_uri=str(tmp_path / "out"), **given)
    return [json.loads(line) for line in (tmp_path / "out" / "lines.json.out").read_bytes().splitlines()]


def lists(answers: list[dict[str, Any]]) -> list[list[str]]:
    assert all(answer["error"] is None for answer in answers), answers
    return [answer["output"]["usersList"] for answer in answers]


@pytest.mark.parametrize("num_results", [1, 7, 150, 5_000_000])
def test_the_best_users_of_items_are_found(of_items: SegmentSolution, tmp_path: Path, num_results: int) -> None:
    rows = [0, 56, 3, 17, 3]
    found = lists(answered(of_items, tmp_path, [{"itemId": f"item {row}"} for row in rows], num_results=num_results))
    assert found == [of_items.expected([row], num_results) for row in rows]


def test_however_little_fits_at_once_the_users_are_the_same(
    of_items: SegmentSolution, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs.segment.job, "_ENTRIES_AT_ONCE", 1)  # a block a line
    monkeypatch.setattr(best, "MOST_WAITING", 11)  # in this process only: the merge's seams are tested below
    found = lists(answered(of_items, tmp_path, [{"itemId": f"item {row}"} for row in range(9)], num_results=4))
    assert found == [of_items.expected([row], 4) for row in range(9)]


@pytest.mark.parametrize("most_waiting", [1, 10, 1000])
@pytest.mark.parametrize("num_results", [1, 6, 100])
def test_the_best_of_shards_are_the_best_of_all(monkeypatch: pytest.MonkeyPatch, most_waiting: int, num_results: int) -> None:
    monkeypatch.setattr(best, "MOST_WAITING", most_waiting)
    random = np.random.default_rng(0)
    affinities = random.integers(-4, 0, (60, 3)).astype(float)  # many are equal
    affinities[random.random((60, 3)) < 0.2] = -np.inf
    ids = np.array(sorted(f"u{number}" for number in range(60)))
    merged = {number: best.BestOfSet(num_results) for number in range(3)}
    for shard in (slice(40, 60), slice(0, 40)):
        gathered = best.BestOfShard(best.pa.array(ids[shard]), num_results)
        tables = []
        for first in range(0, len(ids[shard]), 9):
            tables += gathered.add(first, affinities[shard][first : first + 9])
        for table in [*tables, *gathered.rest()]:
            for number in range(3):
                merged[number].add(table.filter(best.pa.array(table["set"].to_numpy() == number)))
    for number in range(3):
        users = [user for user in range(60) if np.isfinite(affinities[user, number])]
        users.sort(key=lambda user: (-affinities[user, number], ids[user]))
        assert merged[number].user_ids() == [ids[user] for user in users[:num_results]]


def test_lines_look_as_personalize_writes_them(of_attributes: SegmentSolution, tmp_path: Path) -> None:
    answered(of_attributes, tmp_path, [{"itemAttributes": 'ITEMS.GENRES = "Comedy"'}], num_results=3)
    (line,) = (tmp_path / "out" / "lines.json.out").read_text().splitlines(keepends=True)
    listed = ",".join(f'"{user}"' for user in of_attributes.expected(of_attributes.with_genre("Comedy"), 3))
    assert line == (
        '{"input": {"itemAttributes": "ITEMS.GENRES = \\"Comedy\\""}, "output": {"usersList": ['
        + listed
        + ']}, "error": null}\n'
    )
    assert (tmp_path / "out" / "_CHECK").read_bytes() == b""


def test_attributes_are_joined_by_and_within_several_categories(of_attributes: SegmentSolution, tmp_path: Path) -> None:
    asked = [("Comedy",), ("Comedy", "Action"), ("Horror", "Comedy", "Action")]
    texts = [" AND ".join(f'items.genres = "{genre}"' for genre in genres) for genres in asked]
    found = lists(answered(of_attributes, tmp_path, [{"itemAttributes": text} for text in texts], num_results=50))
    assert found == [of_attributes.expected(of_attributes.with_genre(*genres), 50) for genres in asked]
    assert found[0] != found[1]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"itemId": "item 99"}, "itemId: the solution version does not know this item (got 'item 99')"),
        ({"itemId": "item 58"}, "the item had no interactions"),
        ({"itemAttributes": "x"}, "itemId is missing"),
        ({"itemId": 5.5}, "itemId is not a text"),
    ],
)
def test_a_bad_item_is_an_error_line_and_the_others_go_on(
    of_items: SegmentSolution, tmp_path: Path, line: dict[str, Any], message: str
) -> None:
    bad, good = answered(of_items, tmp_path, [line, {"itemId": "item 3"}], num_results=2)
    assert (bad["input"], bad["output"]) == (line, None)
    assert message in bad["error"]
    assert good["output"]["usersList"] == of_items.expected([3], 2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('ITEMS.BRAND = "x"', "itemAttributes, character 1: "),
        ('ITEMS.NOTES = "x"', "itemAttributes, character 1: "),
        ('ITEMS.GENRES = "Western"', "no item with interactions has these attributes"),
        ('ITEMS.GENRES = "comedy"', "no item with interactions has these attributes"),
        ('ITEMS.GENRES > "x"', "> compares numbers"),
        ('ITEMS.GENRES = "a" OR ITEMS.GENRES = "b"', "OR is not known here"),
    ],
)
def test_bad_attributes_make_an_error_line(of_attributes: SegmentSolution, tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=r"every line is an error line") as told:  # Spark has nothing to do
        answered(of_attributes, tmp_path, [{"itemAttributes": text}])
    assert message in str(told.value)


def test_too_many_error_lines_keep_a_segment_from_being_published(of_items: SegmentSolution, tmp_path: Path) -> None:
    lines = [{"itemId": "item 99"}, {"itemId": "item 3"}]
    with pytest.raises(DataError, match=r"1 of 2 lines are error lines.*does not know this item"):
        answered(of_items, tmp_path, lines, max_error_fraction=0.4)
    assert not (tmp_path / "out" / "lines.json.out").exists()
    assert len(answered(of_items, tmp_path, lines, max_error_fraction=0.5)) == 2


def test_segments_of_nobody_are_counted(of_items: SegmentSolution, tmp_path: Path) -> None:
    (tmp_path / "lines.json").write_text('{"itemId": "item 3"}\n{"itemId": "item 99"}\n')
    told = segment(
        solution_uri=of_items.uri,
        input_uri=str(tmp_path / "lines.json"),
        output_uri=str(tmp_path / "out"),
        filter_expression='INCLUDE UserID WHERE Users.COUNTRY IN ("Atlantis")',
    )
    assert (told["lines"], told["errors"], told["empty_lists"]) == (2, 1, 1)


def test_a_filter_keeps_users_out(of_items: SegmentSolution, tmp_path: Path) -> None:
    wanted = (
        'INCLUDE UserID WHERE Users.COUNTRY IN ("Japan", "Kenya") | EXCLUDE UserID WHERE Interactions.EVENT_TYPE IN ("buy")'
    )
    found = lists(answered(of_items, tmp_path, [{"itemId": "item 5"}], num_results=200, filter_expression=wanted))
    kept = [
        country in ("Japan", "Kenya") and not bought
        for country, bought in zip(of_items.country, of_items.has_bought, strict=True)
    ]
    assert 10 < sum(kept) < 100
    assert found == [of_items.expected([5], 200, kept)]


def test_every_line_has_filter_values_of_its_own(of_items: SegmentSolution, tmp_path: Path) -> None:
    lines = [{"itemId": "item 5", "filterValues": {"COUNTRY": f'"{name}"'}} for name in ("Japan", "England", "Atlantis")]
    lines += [{"itemId": "item 5", "filterValues": {"COUNTRY": '"United States""'}}, {"itemId": "item 5"}]
    found = answered(
        of_items, tmp_path, lines, num_results=300, filter_expression="INCLUDE UserID WHERE Users.COUNTRY IN ($COUNTRY)"
    )
    for answer, name in zip(found, ("Japan", "England", "Atlantis"), strict=False):
        assert answer["output"]["usersList"] == of_items.expected([5], 300, [country == name for country in of_items.country])
    assert found[2]["output"]["usersList"] == []
    assert "filterValues.COUNTRY" in found[3]["error"]
    assert "placeholder $COUNTRY has no value" in found[4]["error"]


def test_several_files_are_answered_and_done_once(of_items: SegmentSolution, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name, rows in (("a.json", [1, 2]), ("b.json", []), ("c.json", [3])):
        (tmp_path / "in" / name).write_text("".join(f'{{"itemId": "item {row}"}}\n' for row in rows))
    asked = {"solution_uri": of_items.uri, "input_uri": str(tmp_path / "in"), "output_uri": str(tmp_path / "out")}
    first, again = segment(**asked), segment(**asked)
    assert (first["files"], first["lines"], first["errors"], first["skipped"], again["skipped"]) == (3, 3, 0, False, True)
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["_CHECK", "_hrnn", "a.json.out", "b.json.out", "c.json.out"]
    assert (tmp_path / "out" / "b.json.out").read_bytes() == b""
    assert segment(**asked, num_results=3)["skipped"] is False
    assert not store_for(str(tmp_path)).list(str(tmp_path / "out" / "_hrnn" / "parts") + "/")


def test_more_lines_than_personalize_takes_are_refused_unless_allowed(of_attributes: SegmentSolution, tmp_path: Path) -> None:
    lines = [{"itemAttributes": 'ITEMS.GENRES = "Comedy"'}] * 11
    with pytest.raises(DataError, match=r"too many lines.*Allowed: 10 lines.*--max-lines"):
        answered(of_attributes, tmp_path, lines)
    assert len(lists(answered(of_attributes, tmp_path, lines, most_lines=11))) == 11


def test_five_hundred_lines_of_items_are_taken_and_no_more(of_items: SegmentSolution, tmp_path: Path) -> None:
    folder = StepFolder(of_items.uri)
    solution = Solution.of(folder, folder.require("solution_version"))
    catalogue = pq.read_table(folder.fetch(solution.catalogue, tmp_path))
    reader = LineReader("item_users", catalogue, {})
    for name, lines in (("some", 500), ("more", 501)):
        (tmp_path / f"{name}.json").write_text('{"itemId": "item 3"}\n' * lines)
    [some, more] = (list_input(str(tmp_path / f"{name}.json")) for name in ("some", "more"))
    assert sum(len(block.lines) for block in reader.read(some, MOST_LINES["item_users"], 100).blocks) == 500
    with pytest.raises(DataError, match=r"more\.json: .*too many lines.*Allowed: 500 lines in all, as in Personalize"):
        reader.read(more, MOST_LINES["item_users"], 100)
    with pytest.raises(DataError, match="Allowed: 500 lines"):  # of all files together
        reader.read([*some, *list_input(str(tmp_path / "some.json"))], MOST_LINES["item_users"], 100)
    with pytest.raises(DataError, match="Allowed: 500 lines"):
        answered(of_items, tmp_path, [{"itemId": "item 3"}] * 501)  # the job's own bound


def test_numbers_are_asked_for_as_numbers_and_as_texts(tmp_path: Path) -> None:
    items = pa.table({"ITEM_ID": ["a", "b", "c"], "num_events": [3, 2, 1], "YEAR": pa.array([1990, 2001, 1990], pa.int32())})
    fields = [{"name": "ITEM_ID", "type": "string"}, {"name": "YEAR", "type": "int"}]
    schema = parse_schema_document({"type": "record", "name": "Items", "fields": fields, "version": "1.0"})
    lines = ["ITEMS.YEAR = 1990", 'ITEMS.YEAR = "1990"', 'ITEMS.YEAR = "soon"', "ITEMS.YEAR = 1991", 'ITEMS.YAER = "1990"']
    (tmp_path / "lines.json").write_text("".join(json.dumps({"itemAttributes": line}) + "\n" for line in lines))
    read = LineReader("attribute_users", items, {"Items": schema}).read(list_input(str(tmp_path / "lines.json")), 10, 10)
    assert read.sets.values.tolist() == [0, 2, 0, 2]
    [block] = read.blocks
    assert block.sets == (0, 1, -1, -1, -1)
    faults = [line.error for line in block.lines if isinstance(line, BadLine)]
    assert "YEAR is a int, and this is a text" in faults[0]
    assert "no item with interactions has these attributes" in faults[1]
    assert faults[2].endswith("Did you mean YEAR?")


def test_what_can_not_be_done_is_refused(of_items: SegmentSolution, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"num_results.*Allowed: a whole number from 1 to 5,000,000"):
        answered(of_items, tmp_path, [], num_results=0)
    with pytest.raises(FilterError, match="UserID"):
        answered(of_items, tmp_path, [], filter_expression='EXCLUDE ItemID WHERE Items.GENRES IN ("x")')
    with pytest.raises(FilterError, match="AGE"):
        answered(of_items, tmp_path, [], filter_expression="EXCLUDE UserID WHERE Users.AGE > 5")
    lists_of_items = publish_solution(str(tmp_path / "other"))
    with pytest.raises(ConfigError, match=r"makes no segments.*aws-item-affinity.*hrnn recommend"):
        segment(solution_uri=lists_of_items.uri, input_uri=str(tmp_path), output_uri=str(tmp_path / "out"))


def test_a_model_that_does_not_fit_is_refused(of_items: SegmentSolution) -> None:
    folder = StepFolder(of_items.uri)
    solution = Solution.of(folder, folder.require("solution_version"))
    with pytest.raises(IntegrityError, match="doesn't fit its catalogue"):
        users.load_model(solution, sets_of([[0]]), num_ranked=61)
