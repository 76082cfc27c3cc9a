from __future__ import annotations

import gzip
import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from jobs.compare import reading
from jobs.compare.job import compare
from jobs.platform.storage import list_input
from jobs.platform.storage.folders import StepFolder
from schemas.errors import ConfigError, DataError, StorageError

SAMPLES = Path(__file__).parents[4] / "shared" / "personalize_samples" / "batch"
OWN = Path(__file__).parents[2] / "samples"  # made up in the shapes of what the service writes
needs_samples = pytest.mark.skipif(not SAMPLES.is_dir(), reason="the samples beside the project are not there; OWN has copies")
REAL = SAMPLES / "real_user_personalization_num_results_10.json.out"
REAL_SEGMENTS = SAMPLES / "real_segment_item_attribute_affinity_num_results_10.json.out"


def answer(user: Any, items: list[str], scores: list[float] | None = None, **more: Any) -> str:
    output = {"recommendedItems": items} | ({} if scores is None else {"scores": scores})
    return json.dumps({"input": {"userId": user, **more}, "output": output, "error": None})


def put(path: Path, *lines: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(line + "\n" for line in lines))
    return str(path)


@pytest.mark.parametrize(
    ("real", "count"), [(OWN / "lists.json.out", 12), pytest.param(REAL, 15, marks=needs_samples, id="the service's")]
)
def test_real_output_equals_itself_in_any_order_and_notation(real: Path, count: int, tmp_path: Path) -> None:
    lines = real.read_text().splitlines()
    # Some users stand there several times, with the lists of several solution versions: these stay in their order.
    documents = sorted(map(json.loads, lines), key=lambda document: str(document["input"]["userId"]))
    for document in documents:
        document["input"]["userId"] = int(document["input"]["userId"])
        del document["error"]  # older outputs have none
    other = put(tmp_path / "b.out", *(json.dumps(document, indent=None) for document in documents))
    found = compare(old_uri=str(real), new_uri=other)
    assert found["lines"]["compared"] == len(lines) == count
    assert found["overlap"] == {"5": 1.0, "10": 1.0}
    assert (found["rank_biased_overlap"]["mean"], found["same_first"], found["identical_lists"]) == (1.0, 1.0, 1.0)
    assert found["score_correlation"] == 1.0
    assert found["differ_most"] == []


@pytest.mark.parametrize(
    "real", [OWN / "segments.json.out", pytest.param(REAL_SEGMENTS, marks=needs_samples, id="the service's")]
)
def test_real_segments_hold_users_and_each_query_twice(real: Path) -> None:
    found = compare(old_uri=str(real), new_uri=str(real))
    assert found["lines"] | {"matched": 10, "compared": 10, "only_in_old": 0} == found["lines"]
    assert found["listed"]["what"] == "users"
    assert found["identical_lists"] == 1.0  # the second answer of a query met the second
    lines = real.read_text().splitlines()
    assert len({json.dumps(json.loads(line)["input"]) for line in lines}) == 5


@pytest.mark.parametrize("folder", [OWN, pytest.param(SAMPLES, marks=needs_samples, id="the guide's")])
def test_every_documented_output_is_read(folder: Path) -> None:
    paths = sorted(folder.glob("*.out"))
    assert len(paths) >= 6
    for path in paths:
        found = compare(old_uri=str(path), new_uri=str(path))
        assert found["identical_lists"] == 1.0, path
        assert found["lines"]["only_in_old"] == 0


def test_figures_of_a_few_lines_by_hand(tmp_path: Path) -> None:
    old = put(
        tmp_path / "old.out",
        answer("1", ["a", "b", "c"], [0.5, 0.3, 0.2]),
        answer("2", ["a", "b", "c"], [0.5, 0.3, 0.2]),
        answer("3", ["a"]),
        answer("4", ["a"]),
        '{"input":{"userId":"5"},"output":null,"error":"no such user"}',
        answer("6", ["a"]),
        answer("6", ["b"]),
    )
    new = put(
        tmp_path / "new.out",
        '{"input":{"userId":"5"},"output":null,"error":"the line is blank"}',
        answer("6", ["a"]),
        "",
        answer("2", ["x", "y", "z"], [0.9, 0.05, 0.05]),
        answer("1", ["b", "a", "d"], [0.6, 0.2, 0.2]),
        '{"input":{"userId":"3"},"output":null,"error":"no such user"}',
        answer("7", ["a"]),
    )
    found = compare(old_uri=old, new_uri=new, output_uri=str(tmp_path / "report"))
    assert found["counts"] == {"old": {"lines": 7, "errors": 1}, "new": {"lines": 6, "errors": 2}}
    assert found["lines"] == {
        "matched": 5,
        "compared": 3,
        "errors_in_old_only": 0,
        "errors_in_new_only": 1,
        "errors_in_both": 1,
        "only_in_old": 2,
        "only_in_new": 1,
    }
    assert found["overlap"] == {"3": pytest.approx((2 / 3 + 0 + 1) / 3, abs=1e-6)}
    assert found["same_first"] == found["identical_lists"] == pytest.approx(1 / 3, abs=1e-6)
    assert (found["listed"]["old"]["distinct"], found["listed"]["new"]["distinct"], found["listed"]["either"]) == (3, 6, 7)
    assert (found["share_only_in_old"], found["share_only_in_new"]) == (
        pytest.approx(1 / 7, abs=1e-6),
        pytest.approx(4 / 7, abs=1e-6),
    )
    assert found["scored_pairs"] == 2
    assert [line["input"] for line in found["differ_most"]] == ['{"userId":"2"}', '{"userId":"1"}']
    assert found["differ_most"][0]["new"] == ["x", "y", "z"]
    assert found["lines_only_in"] == {"old": ['{"userId":"4"}', '{"userId":"6"}'], "new": ['{"userId":"7"}']}
    # Of 9 pairs of lines: a stands in 3 old and 2 new lists, b in 2 and 1: 8 common entries, of 7/3 a list.
    assert found["overlap_if_lists_were_shuffled"] == pytest.approx(8 / 9 / (7 / 3), abs=1e-6)


def test_the_page_and_the_document_are_published_once(tmp_path: Path) -> None:
    nasty = "<script>alert(1)</script>"
    old = put(tmp_path / "a.out", answer("1", ["a", nasty]), answer("2", ["b", "c"]))
    new = put(tmp_path / "b.out", answer("1", ["c", "d"]), answer("2", ["b", "c"]))
    output = tmp_path / "report"
    found = compare(old_uri=old, new_uri=new, output_uri=str(output))
    page = (output / "report.html").read_text()
    assert page.index("Much alike.") < page.index("How alike the lists are") < page.index("The lines that differ most")
    assert "<script" not in page
    document = json.loads((output / "compare.json").read_text())
    assert {key: found[key] for key in document} == document
    folder = StepFolder(str(output))
    assert [entry.shown for entry in folder.require("comparison").files] == ["compare.json", "report.html"]
    before = (output / "report.html").stat().st_mtime_ns
    assert compare(old_uri=old, new_uri=new, output_uri=str(output))["skipped"] is True
    assert (output / "report.html").stat().st_mtime_ns == before
    put(Path(new), answer("1", ["a", nasty]), answer("2", ["b", "c"]))
    assert compare(old_uri=old, new_uri=new, output_uri=str(output))["identical_lists"] == 1.0


def test_parts_and_blocks_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dice = random.Random(5)

    def lines() -> list[str]:
        users = [dice.randrange(400) for _ in range(1500)]  # each several times
        made = [answer(str(user), [f"é{item}" for item in dice.sample(range(60), dice.randint(0, 12))]) for user in users]
        return [*made, '{"input":"nonsense","output":null,"error":"the line is not JSON"}']

    old, new = put(tmp_path / "a.out", *lines()), put(tmp_path / "b.out", *lines())
    once = compare(old_uri=old, new_uri=new)
    monkeypatch.setattr(reading, "_PART_BYTES", 20_000)
    monkeypatch.setattr(reading, "_BLOCK_BYTES", 777)
    assert reading.num_parts(list_input(old)) > 5
    parts = compare(old_uri=old, new_uri=new)
    for found in (once, parts):
        del found["seconds"]
    assert parts["score_correlation"] is None
    assert json.loads(json.dumps(parts), parse_float=lambda text: round(float(text), 5)) == json.loads(
        json.dumps(once), parse_float=lambda text: round(float(text), 5)
    )


def test_folders_are_matched_by_name_and_signs_left_out(tmp_path: Path) -> None:
    for side in ("old", "new"):
        put(tmp_path / side / "users.json.out", answer("1", ["a"]))
        put(tmp_path / side / "_CHECK")
        put(tmp_path / side / "_hrnn" / "part.out", "not a line")
    put(tmp_path / "old" / "b.json.out", answer("1", ["b"]))
    put(tmp_path / "new" / "c.json.out", answer("1", ["b"]))
    found = compare(old_uri=str(tmp_path / "old"), new_uri=str(tmp_path / "new") + "/")
    assert (found["files"], found["files_only_in"]) == (1, {"old": ["b.json.out"], "new": ["c.json.out"]})
    assert found["lines"]["compared"] == 1
    one = compare(old_uri=str(tmp_path / "old" / "users.json.out"), new_uri=str(tmp_path / "new" / "c.json.out"))
    assert one["overlap"] == {"1": 0.0}


def test_s3_and_a_file_beside_a_folder_of_one(s3: str, tmp_path: Path) -> None:
    from jobs.platform.storage import store_for

    store_for(s3).write(f"{s3}/out/users.json.out", answer("1", ["a", "b"]).encode() + b"\n")
    local = put(tmp_path / "personalize.out", answer("1", ["b", "a"]))
    found = compare(old_uri=local, new_uri=f"{s3}/out/", output_uri=f"{s3}/report")
    assert found["overlap"] == {"2": 1.0}
    assert store_for(s3).stat(found["report"]) is not None


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('{"userId":"1"}', "the line is no answer: it has no output"),
        ('{"output":{"recommendedItems":["a"]},"error":null}', "the line is no answer: it has no input"),
        ('{"output":null,"error":"no such user"}', "the line is no answer: it has no input"),
        ('{"users":"1","output":{"usersList":["a"]}}', "the line is no answer: it has no input"),
        ("{", "the line is not JSON"),
        ("[1]", "the line is no answer"),
        (
            '{"input":{"userId":"1"},"output":{"items":[]},"error":null}',
            "none of recommendedItems, usersList, recommendedUsers",
        ),
        ('{"input":{"userId":"1"},"output":[],"error":null}', "none of recommendedItems"),
        (answer("1", [1, 2]), "not a list of texts"),  # type: ignore[list-item]
        (answer("1", ["a"], [0.5, 0.5]), "scores is not a list of 1 numbers"),
        (answer("1", ["a"], [True]), "scores is not a list of 1 numbers"),
    ],
)
def test_a_line_that_is_none_is_named(tmp_path: Path, line: str, says: str) -> None:
    good = put(tmp_path / "good.out", answer("1", ["a"]))
    bad = put(tmp_path / "bad.out", answer("1", ["a"]), "", line)
    with pytest.raises(DataError, match=r"bad\.out, line 3") as caught:
        compare(old_uri=good, new_uri=bad)
    assert says in str(caught.value)


def test_wrong_pairs_are_refused(tmp_path: Path) -> None:
    items = put(tmp_path / "one" / "a.out", answer("1", ["a"]))
    users = put(tmp_path / "two" / "b.out", '{"input":{"itemId":"1"},"output":{"usersList":["1"]},"error":null}')
    put(tmp_path / "three" / "a.out", answer("1", ["a"]))
    put(tmp_path / "three" / "b.out", answer("1", ["a"]))
    put(tmp_path / "none" / "users.json", answer("1", ["a"]))
    with pytest.raises(DataError, match="some lists hold items and others users"):
        compare(old_uri=items, new_uri=users)
    with pytest.raises(DataError, match="no file of one folder has the name"):
        compare(old_uri=str(tmp_path / "one"), new_uri=str(tmp_path / "two"))
    with pytest.raises(ConfigError, match="a folder of several"):
        compare(old_uri=items, new_uri=str(tmp_path / "three"))
    with pytest.raises(DataError, match=r"no file there ends in \.out"):
        compare(old_uri=str(tmp_path / "none"), new_uri=str(tmp_path / "one"))
    with pytest.raises(StorageError):
        compare(old_uri=str(tmp_path / "missing.out"), new_uri=items)
    with pytest.raises(ConfigError, match="the output holds the files"):
        compare(old_uri=items, new_uri=items, output_uri=str(tmp_path / "one"))


def test_empty_outputs_and_lists_without_partner_make_a_page_too(tmp_path: Path) -> None:
    empty, one = put(tmp_path / "empty.out"), put(tmp_path / "one.out", answer("1", []))
    found = compare(old_uri=empty, new_uri=one, output_uri=str(tmp_path / "report"))
    assert (found["lines"]["compared"], found["overlap"]) == (0, {})
    assert "Nothing to compare" in (tmp_path / "report" / "report.html").read_text()
    same = compare(old_uri=one, new_uri=one, output_uri=str(tmp_path / "again"))
    assert (same["rank_biased_overlap"]["mean"], same["overlap"]) == (1.0, {})


def test_an_id_that_stands_twice_in_a_list_counts_once(tmp_path: Path) -> None:
    old = put(tmp_path / "a.out", answer("1", ["a", "a", "b"], [0.5, 0.4, 0.1]))
    new = put(tmp_path / "b.out", answer("1", ["a", "b"], [0.5, 0.1]))
    assert compare(old_uri=old, new_uri=new)["identical_lists"] == 1.0


def test_places_after_the_first_of_an_id_are_left_out(tmp_path: Path) -> None:
    old = put(tmp_path / "a.out", answer("1", ["a", "b"]))
    new = put(tmp_path / "b.out", answer("1", ["a", "a", "a"]))
    found = compare(old_uri=old, new_uri=new)
    assert (found["longest_list"], found["overlap"]) == (2, {"2": 0.5})
    assert compare(old_uri=new, new_uri=old)["overlap"] == found["overlap"]


def test_gzipped_files_of_a_folder_are_taken(tmp_path: Path) -> None:
    for name in ("old", "new"):
        put(tmp_path / name / "a.out", answer("1", ["a"]))
        (tmp_path / name / "b.out.gz").write_bytes(gzip.compress(answer("2", ["a"]).encode()))
    assert compare(old_uri=str(tmp_path / "old"), new_uri=str(tmp_path / "new"))["lines"]["compared"] == 2


def test_a_gzipped_file_is_read_as_the_plain_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.compare.reading._BLOCK_BYTES", 100)
    plain = put(tmp_path / "a.out", *(answer(str(user), ["a", "b", str(user % 7)]) for user in range(50)))
    packed = tmp_path / "b.out"
    packed.write_bytes(gzip.compress(Path(plain).read_bytes()))
    found = compare(old_uri=plain, new_uri=str(packed))
    assert (found["lines"]["compared"], found["identical_lists"]) == (50, 1.0)
    packed.write_bytes(packed.read_bytes()[:-9])
    with pytest.raises(DataError, match=r"b\.out: the gzip data ends too early"):
        compare(old_uri=plain, new_uri=str(packed))


def test_another_format_is_named(tmp_path: Path) -> None:
    plain = put(tmp_path / "a.out", answer("1", ["a"]))
    (tmp_path / "b.out").write_bytes(b"PAR1" + bytes(100))
    with pytest.raises(DataError, match=r"b\.out: this is a Parquet file, not JSON lines in UTF-8\. Name a file that a batch"):
        compare(old_uri=plain, new_uri=str(tmp_path / "b.out"))


def test_the_command_prints_one_line_of_json(tmp_path: Path) -> None:
    old = put(tmp_path / "a.out", answer("1", ["a", "b"]))
    new = put(tmp_path / "b.out", answer("1", ["b", "c"]))
    done = subprocess.run([sys.executable, "-m", "jobs.compare", old, new], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["overlap"] == {"2": 0.5}
    assert "On average the two lists of an input share 1.0 of 2 items." in done.stderr
    wrong = subprocess.run([sys.executable, "-m", "jobs.compare", old, __file__], capture_output=True, text=True, check=False)
    assert (wrong.returncode, wrong.stderr.startswith("hrnn: "), "Traceback" in wrong.stderr) == (1, True, False)
