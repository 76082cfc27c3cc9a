"""What a batch job says of lines that failed, got nothing, or had values that its filter does not take."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from called_jobs import recommend
from commands import hrnn
from pyspark.sql import SparkSession
from tiny_solution import TinySolution, publish_solution

from jobs.batch.tally import Tally, filter_value_counts, total
from jobs.nightly.wording import counts_text
from schemas.errors import DataError

FILTER = "EXCLUDE ItemID WHERE Items.GENRES IN ($GENRE)"


def test_tallies_add_up_and_keep_names_and_the_first_error() -> None:
    first = Tally(lines=3, errors=1, unused_filter_values=2, unused_names=("GENRES",), first_error="bad")
    other = Tally(lines=5, errors=2, empty_lists=1, unused_names=("GENRE", "GENRES"), first_error="worse")
    added = total([Tally(lines=1), first, other])
    assert (added.lines, added.errors, added.empty_lists, added.unused_filter_values) == (9, 3, 1, 2)
    assert (added.unused_names, added.first_error) == (["GENRE", "GENRES"], "bad")


def test_values_are_unused_or_missing_by_the_filters_placeholders() -> None:
    told = filter_value_counts([({"GENRES": ""}, 4), ({"GENRE": ""}, 2), ({}, 1)], ["GENRE"])
    assert (told["unused_filter_values"], told["unused_names"]) == (4, ["GENRES"])
    assert (told["missing_filter_values"], told["missing_names"]) == (5, ["GENRE"])


@pytest.mark.parametrize(
    ("errors", "fraction", "refused"),
    [(0, 0.0, False), (1, 1.0, False), (1, 0.1, False), (2, 0.1, True), (1, 0.0, True), (10, 1.0, True)],
)
def test_too_many_error_lines_are_refused_and_only_error_lines_always(errors: int, fraction: float, refused: bool) -> None:
    tally = Tally(lines=10, errors=errors, first_error="the line is blank")
    if not refused:
        return tally.check(fraction, "in")
    with pytest.raises(
        DataError, match=r"(every line is an|lines? are) error lines?.*the line is blank.*Nothing was published"
    ):
        tally.check(fraction, "in")


def test_a_night_tells_of_what_somebody_should_look_at() -> None:
    counts = {"lines": 19, "unknown_users": 0, "errors": 15}
    assert counts_text("recommend", counts) == "19 lists, 0 for unknown users, 15 error lines"
    counts |= {"empty_lists": 2, "unused_filter_values": 3, "missing_filter_values": 4}
    assert counts_text("recommend", counts).endswith("2 empty, 3 with unused filter values, 4 without a filter value")


@pytest.fixture(scope="module")
def solution(tmp_path_factory: pytest.TempPathFactory) -> TinySolution:
    return publish_solution(str(tmp_path_factory.mktemp("solution")))


def test_errors_empty_lists_and_values_are_counted_and_warned_of(
    solution: TinySolution, tmp_path: Path, spark: SparkSession, caplog: pytest.LogCaptureFixture
) -> None:
    del spark
    genres = '"horror","comedy","drama"'
    lines: list[object] = [{"userId": "user 1", "filterValues": {"GENRES": genres}}] * 2
    lines += [{"userId": "user 1", "filterValues": {"GENRE": genres}}, {"user": "user 1"}]
    data = "".join(json.dumps(line) + "\n" for line in lines).encode()
    (tmp_path / "in.json.gz").write_bytes(gzip.compress(data))
    places = {"solution_uri": solution.uri, "input_uri": str(tmp_path / "in.json.gz"), "output_uri": str(tmp_path / "out")}
    with pytest.raises(DataError, match=r"1 of 4 lines are error lines.*userId is missing"):
        recommend(**places, filter_expression=FILTER, max_error_fraction=0.2)
    assert not (tmp_path / "out" / "in.json.gz.out").exists()
    told = recommend(**places, filter_expression=FILTER, max_error_fraction=0.25)
    answers = [json.loads(line) for line in (tmp_path / "out" / "in.json.gz.out").read_bytes().splitlines()]
    empty = sum(answer["output"] is not None and not answer["output"]["recommendedItems"] for answer in answers)
    expected = {"lines": 4, "errors": 1, "empty_lists": empty, "unused_filter_values": 2, "missing_filter_values": 2}
    assert {name: told[name] for name in expected} == expected
    assert "1 of 4 lines are error lines; the first says: userId is missing" in caplog.text
    assert "2 lines have filterValues that no placeholder of the filter takes (GENRES)" in caplog.text
    assert "2 lines have no value for a placeholder of the filter (GENRE)" in caplog.text
    assert [path.name for path in (tmp_path / "out").rglob("*") if path.is_file() and "parts" in str(path)] == []
    with pytest.raises(DataError, match="1 of 4 lines are error lines"):  # also where nothing is left to do
        recommend(**places, filter_expression=FILTER, max_error_fraction=0.2)


def test_lists_that_a_filter_leaves_empty_are_counted_and_warned_of(
    solution: TinySolution, tmp_path: Path, spark: SparkSession, caplog: pytest.LogCaptureFixture
) -> None:
    del spark
    lines = [{"userId": "user 1", "filterValues": {"GENRE": f'"{genre}"'}} for genre in ("western", "comedy", "western")]
    (tmp_path / "in.json").write_text("".join(json.dumps(line) + "\n" for line in lines))
    told = recommend(
        solution_uri=solution.uri,
        input_uri=str(tmp_path / "in.json"),
        output_uri=str(tmp_path / "out"),
        filter_expression="INCLUDE ItemID WHERE Items.GENRES IN ($GENRE)",
    )
    assert (told["lines"], told["errors"], told["empty_lists"]) == (3, 0, 2)
    assert "2 of 3 lines got an empty list" in caplog.text


@pytest.mark.parametrize("job", ["recommend", "segment"])
def test_the_command_passes_its_bound_on(job: str, monkeypatch: pytest.MonkeyPatch) -> None:
    told: dict[str, Any] = {}
    monkeypatch.setattr(f"jobs.{job}.job.{job}", lambda **given: told.update(given) or {"job": job})
    hrnn(job, "--solution", "s", "--input", "i", "--output", "o", "--max-error-fraction", "0.25")
    assert told["settings"].max_error_fraction == 0.25


def test_where_every_line_is_an_error_nothing_is_published(solution: TinySolution, tmp_path: Path, spark: SparkSession) -> None:
    del spark
    (tmp_path / "in.json").write_bytes(b'{"itemId": "1"}\n' * 3)
    with pytest.raises(DataError, match=r"every line is an error line.*userId is missing"):
        recommend(solution_uri=solution.uri, input_uri=str(tmp_path / "in.json"), output_uri=str(tmp_path / "out"))
    assert [path.name for path in (tmp_path / "out").rglob("*") if path.is_file()] == []
