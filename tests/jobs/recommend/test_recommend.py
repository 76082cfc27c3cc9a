from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from called_jobs import recommend
from pyspark.sql import SparkSession
from tiny_solution import TinySolution, publish_solution

from jobs.batch import inputs
from jobs.batch.options import Options
from jobs.batch.publication import Publication
from jobs.platform.spark.items import one_task_each
from jobs.platform.storage import join, normalise, store_for
from jobs.platform.storage.folders import StepFolder
from jobs.recommend import pipeline
from jobs.solutions.solution import Solution
from schemas.errors import ConfigError, StorageError

pytestmark = pytest.mark.usefixtures("spark")


@pytest.fixture(scope="module")
def solution(tmp_path_factory: pytest.TempPathFactory) -> TinySolution:
    return publish_solution(str(tmp_path_factory.mktemp("solution")))


def many_lines(solution: TinySolution, count: int, seed: int = 1) -> list[bytes]:
    """Known users (often the same one twice), unknown ones and a few bad lines, in random order."""
    random = np.random.default_rng(seed)
    names = random.choice([*solution.user_ids, "nobody", "ünknown"], count).tolist()
    lines = [json.dumps({"userId": name}, ensure_ascii=False).encode() for name in names]
    for place, bad in zip(random.integers(0, count, 6), [b"", b"{", b"[]", b"{}", b"\xff\xfe", b'{"userId":7.5}'], strict=True):
        lines[place] = bad
    return lines


def write(uri: str, lines: list[bytes]) -> None:
    store_for(uri).write(uri, b"".join(line + b"\n" for line in lines))


def read(uri: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in store_for(uri).read(uri).splitlines()]


def names_in(folder: str) -> list[str]:
    return [file.uri.removeprefix(folder + "/") for file in store_for(folder).list(folder + "/")]


def assert_answers(lines: list[bytes], answers: list[dict[str, Any]], solution: TinySolution, num_results: int) -> None:
    assert len(lines) == len(answers)
    for line, answer in zip(lines, answers, strict=True):
        assert list(answer) == ["input", "output", "error"]
        if answer["error"] is not None:
            assert not line.startswith(b'{"userId": ')
            assert answer["output"] is None
            continue
        user_id = json.loads(line)["userId"]
        items, shares = solution.expected(user_id, num_results)
        assert answer["input"] == {"userId": user_id}
        assert answer["output"]["recommendedItems"] == items
        np.testing.assert_allclose(answer["output"]["scores"], shares, rtol=3e-7, atol=0.6e-7)  # half a unit, and float32


@pytest.fixture
def small_splits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "_LEAST_SPLIT_BYTES", 700)
    monkeypatch.setattr(inputs, "_MOST_SPLIT_BYTES", 700)


@pytest.mark.usefixtures("small_splits")
def test_every_line_is_answered_in_its_place(solution: TinySolution, tmp_path: Path) -> None:
    lines = many_lines(solution, 400)
    write(str(tmp_path / "in" / "users.json"), lines)
    summary = recommend(solution_uri=solution.uri, input_uri=str(tmp_path / "in"), output_uri=str(tmp_path / "out"))
    assert_answers(lines, read(str(tmp_path / "out" / "users.json.out")), solution, 25)
    assert {name: summary[name] for name in ("job", "skipped", "files", "lines")} == {
        "job": "recommend",
        "skipped": False,
        "files": 1,
        "lines": 400,
    }
    assert summary["errors"] == sum(answer["error"] is not None for answer in read(str(tmp_path / "out" / "users.json.out")))
    assert summary["unknown_users"] == sum(b"nobody" in line or b"nknown" in line for line in lines)
    assert names_in(str(tmp_path / "out")) == ["_CHECK", "_hrnn/manifest.json", "users.json.out"]
    (output,) = json.loads((tmp_path / "out" / "_hrnn" / "manifest.json").read_text())["facts"]["outputs"]
    written = (tmp_path / "out" / "users.json.out").read_bytes()
    for size, digest in output["parts"]:
        assert hashlib.sha256(written[:size]).hexdigest() == digest
        written = written[size:]
    assert written == b""
    assert len(output["parts"]) > 1


@pytest.mark.usefixtures("small_splits")
def test_three_stages_give_the_same_bytes_as_one(
    solution: TinySolution, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = many_lines(solution, 300, seed=2)
    lines[100:140] = [b"bad"] * 40  # at least one split holds bad lines only
    write(str(tmp_path / "in" / "users.json"), lines)
    first = recommend(solution_uri=solution.uri, input_uri=str(tmp_path / "in"), output_uri=str(tmp_path / "one"))
    monkeypatch.setattr(pipeline, "MOST_BYTES_IN_WORKER", 0)
    monkeypatch.setattr(pipeline, "_LINES_AT_ONCE", 50)
    second = recommend(solution_uri=solution.uri, input_uri=str(tmp_path / "in"), output_uri=str(tmp_path / "three"))
    assert (tmp_path / "one" / "users.json.out").read_bytes() == (tmp_path / "three" / "users.json.out").read_bytes()
    assert [first[name] for name in ("lines", "errors", "unknown_users")] == [
        second[name] for name in ("lines", "errors", "unknown_users")
    ]


def test_s3_gives_the_same_bytes_as_local_files(solution: TinySolution, s3: str, tmp_path: Path) -> None:
    lines = many_lines(solution, 120)
    on_s3 = publish_solution(join(s3, "solution"))
    for place in (str(tmp_path), s3):
        write(join(place, "in/users.json"), lines)
        write(join(place, "in/more.json"), lines[:7])
    recommend(solution_uri=solution.uri, input_uri=str(tmp_path / "in"), output_uri=str(tmp_path / "out"))
    recommend(solution_uri=on_s3.uri, input_uri=join(s3, "in/"), output_uri=join(s3, "out/"))
    assert names_in(join(s3, "out")) == ["_CHECK", "_hrnn/manifest.json", "more.json.out", "users.json.out"]
    for name in ("users.json.out", "more.json.out"):
        assert store_for(s3).read(join(s3, "out", name)) == (tmp_path / "out" / name).read_bytes()


def test_answers_together_and_apart_agree(solution: TinySolution, tmp_path: Path) -> None:
    lines = [json.dumps({"userId": user_id}).encode() for user_id in solution.user_ids[:3]]
    write(str(tmp_path / "in" / "all.json"), lines)
    for number, line in enumerate(lines):
        write(str(tmp_path / "in" / f"{number}.json"), [line])
    recommend(solution_uri=solution.uri, input_uri=str(tmp_path / "in"), output_uri=str(tmp_path / "out"))
    apart = b"".join((tmp_path / "out" / f"{number}.json.out").read_bytes() for number in range(3))
    assert apart == (tmp_path / "out" / "all.json.out").read_bytes()


def test_a_user_given_twice_is_answered_twice_and_other_keys_come_back(solution: TinySolution, tmp_path: Path) -> None:
    user_id = solution.user_ids[0]
    write(
        str(tmp_path / "in.json"),
        [json.dumps({"userId": user_id}).encode(), json.dumps({"userId": user_id, "x": [1]}).encode()],
    )
    recommend(solution_uri=solution.uri, input_uri=str(tmp_path / "in.json"), output_uri=str(tmp_path / "out"), num_results=3)
    first, second = read(str(tmp_path / "out" / "in.json.out"))
    assert first["output"] == second["output"]
    assert second["input"] == {"userId": user_id, "x": [1]}
    assert len(first["output"]["recommendedItems"]) == 3


def test_asking_for_more_than_the_catalogue_gives_all_items_with_events(solution: TinySolution, tmp_path: Path) -> None:
    lines = [b'{"userId": "user 1"}', b'{"userId": "nobody"}']
    write(str(tmp_path / "in.json"), lines)
    recommend(solution_uri=solution.uri, input_uri=str(tmp_path / "in.json"), output_uri=str(tmp_path / "out"), num_results=500)
    answers = read(str(tmp_path / "out" / "in.json.out"))
    assert_answers(lines, answers, solution, 500)
    assert all(sorted(answer["output"]["recommendedItems"]) == sorted(solution.item_ids[:-2]) for answer in answers)


def test_popularity_writes_the_same_list_for_everybody_and_no_scores(tmp_path: Path) -> None:
    solution = publish_solution(str(tmp_path / "solution"), dimension=0)
    write(str(tmp_path / "in.json"), [b'{"userId": "user 1"}', b'{"userId": "nobody"}'])
    summary = recommend(solution_uri=solution.uri, input_uri=str(tmp_path / "in.json"), output_uri=str(tmp_path / "out"))
    first, second = read(str(tmp_path / "out" / "in.json.out"))
    assert first["output"] == second["output"]
    assert list(first["output"]) == ["recommendedItems"]
    assert summary["unknown_users"] == 0


def test_an_empty_file_has_an_empty_answer(solution: TinySolution, tmp_path: Path) -> None:
    write(str(tmp_path / "in" / "empty.json"), [])
    write(str(tmp_path / "in" / "one.json"), [b'{"userId": "user 1"}'])
    recommend(solution_uri=solution.uri, input_uri=str(tmp_path / "in"), output_uri=str(tmp_path / "out"))
    assert (tmp_path / "out" / "empty.json.out").read_bytes() == b""
    assert len(read(str(tmp_path / "out" / "one.json.out"))) == 1


def test_a_rerun_does_nothing_until_something_changes(solution: TinySolution, tmp_path: Path) -> None:
    places = {"solution_uri": solution.uri, "input_uri": str(tmp_path / "in.json"), "output_uri": str(tmp_path / "out")}
    write(str(tmp_path / "in.json"), [b'{"userId": "user 1"}'])
    assert not recommend(**places)["skipped"]
    written = (tmp_path / "out" / "in.json.out").stat().st_mtime_ns
    again = recommend(**places)
    assert (again["skipped"], again["lines"]) == (True, 1)
    assert (tmp_path / "out" / "in.json.out").stat().st_mtime_ns == written
    assert not recommend(**places, num_results=3)["skipped"]
    (tmp_path / "out" / "in.json.out").write_bytes(b"damaged")
    assert not recommend(**places, num_results=3)["skipped"]
    assert len(read(str(tmp_path / "out" / "in.json.out"))) == 1
    (tmp_path / "out" / "_CHECK").unlink()  # as where a run is killed at its very end
    assert recommend(**places, num_results=3)["skipped"]
    assert (tmp_path / "out" / "_CHECK").read_bytes() == b""
    write(str(tmp_path / "in.json"), [b'{"userId": "user 2"}'] * 2)
    assert recommend(**places, num_results=3)["lines"] == 2


def test_what_a_killed_run_left_is_removed_and_what_another_run_needs_stays(
    solution: TinySolution, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = {"solution_uri": solution.uri, "input_uri": str(tmp_path / "in.json"), "output_uri": str(tmp_path / "out")}
    write(str(tmp_path / "in.json"), [b'{"userId": "user 1"}'])

    def be_killed() -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Publication, "_clear_away_parts", lambda _: None)  # SIGKILL leaves no time for it
        with pytest.raises(KeyboardInterrupt):
            recommend(**places, before_publication=be_killed)
    assert len(left := [name for name in names_in(str(tmp_path / "out")) if "/parts/" in name]) == 1
    others = tmp_path / "out" / "_hrnn" / "parts" / ("0" * 12) / "part-000000-0123456789ab-ba9876543210.out"
    others.parent.mkdir(parents=True)
    others.write_bytes(b"another run is at work")
    unfinished = tmp_path / "out" / ".hrnn-0123.tmp"
    unfinished.write_bytes(b"half")
    recommend(**places)
    assert not (tmp_path / "out" / left[0]).exists()
    assert not unfinished.exists()
    assert others.exists()


def test_a_missing_solution_or_input_is_said_clearly(solution: TinySolution, tmp_path: Path, s3: str) -> None:
    write(str(tmp_path / "in.json"), [b""])
    with pytest.raises(StorageError, match="no finished step lies here"):
        recommend(solution_uri=str(tmp_path / "x"), input_uri=str(tmp_path / "in.json"), output_uri=str(tmp_path / "out"))
    with pytest.raises(StorageError, match="no file is there"):
        recommend(solution_uri=solution.uri, input_uri=str(tmp_path / "x.json"), output_uri=str(tmp_path / "out"))
    with pytest.raises(StorageError, match="Invalid S3 input path"):
        recommend(solution_uri=solution.uri, input_uri=join(s3, "x.json"), output_uri=str(tmp_path / "out"))
    with pytest.raises(ConfigError, match=r"num_results.*got 0"):
        recommend(solution_uri=solution.uri, input_uri=str(tmp_path), output_uri=str(tmp_path / "out"), num_results=0)
    assert not (tmp_path / "out").exists()


def test_an_error_of_a_worker_comes_back_as_itself(solution: TinySolution, tmp_path: Path, spark: SparkSession) -> None:
    file = tmp_path / "in.json"
    write(str(file), [b'{"userId": "user 1"}'])
    stale = inputs.input_files(str(file))
    write(str(file), [b'{"userId": "user 2"}'] * 2)
    folder = StepFolder(solution.uri)
    found = pipeline.Work(
        solution=Solution.of(folder, folder.require("solution_version")),
        options=Options(num_results=2),
        parts_uri=normalise(str(tmp_path / "parts")),
        token="0" * 12,
    )
    with pytest.raises(StorageError, match="changed while it was being read"):
        pipeline.answer(spark, found, [inputs.cut(stale, 1)])


def test_a_task_carries_its_own_splits_alone(spark: SparkSession) -> None:
    items = [bytes([65 + number]) * 1000 for number in range(20)]
    table = one_task_each(spark, items)
    assert table.rdd.getNumPartitions() == 20
    assert table.rdd.mapPartitions(lambda rows: [[bytes(row.item) for row in rows]]).collect() == [[item] for item in items]
    fields = set(pipeline.Work.__dataclass_fields__)
    assert fields == {"solution", "options", "sources", "parts_uri", "token"}  # nothing that grows with the input
