from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from publishing_runs import FILES, shop

from jobs.batch import inputs
from jobs.batch.inputs import Split, check_places, cut, input_files, read_lines
from jobs.platform.storage import StoredFile, join, normalise, store_for
from schemas.batch import MOST_LINE_BYTES
from schemas.errors import ConfigError, DataError, StorageError


def put(uri: str, data: bytes = b"x\n") -> str:
    store_for(uri).write(uri, data)
    return uri


def names(uri: str) -> list[str]:
    return [file.name for file in input_files(uri)]


def splits_of(path: Path, data: bytes, size: int) -> list[Split]:
    file = input_files(put(str(path), data))[0]
    starts = range(0, file.size, size)
    return [
        Split(number=number, file=file, file_number=0, start=start, end=min(start + size, file.size))
        for number, start in enumerate(starts)
    ]


def plain_lines(data: bytes) -> list[bytes]:
    lines = data.split(b"\n")
    lines = lines[:-1] if lines[-1] == b"" else lines
    return [lines[0].removeprefix(b"\xef\xbb\xbf"), *lines[1:]] if lines else []


LINES = st.sampled_from([b"", b"a", b"bcd", b"\xef\xbb\xbf", b"\r", b"longer than a split"])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200)
@given(st.lists(LINES), st.booleans(), st.integers(1, 12))
def test_splits_hold_every_line_once_and_in_order(tmp_path: Path, lines: list[bytes], ends: bool, size: int) -> None:
    data = b"\n".join(lines) + (b"\n" if ends else b"")
    splits = splits_of(tmp_path / "file", data, size)
    assert [line for split in splits for line in read_lines(split)] == plain_lines(data)


def test_a_byte_order_mark_is_dropped(tmp_path: Path) -> None:
    assert read_lines(splits_of(tmp_path / "file", b"\xef\xbb\xbf{}\n", 100)[0]) == [b"{}"]


def test_a_line_that_is_too_long_is_cut_off_but_stays_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "_READ_BYTES", 1 << 16)
    data = b"short\n" + b"x" * (3 * MOST_LINE_BYTES) + b"\nlast"
    lines = [line for split in splits_of(tmp_path / "file", data, 1000) for line in read_lines(split)]
    assert (len(lines), lines[0], lines[2]) == (3, b"short", b"last")
    assert MOST_LINE_BYTES < len(lines[1]) < MOST_LINE_BYTES + 2000


def test_a_file_that_changes_meanwhile_is_an_error(tmp_path: Path) -> None:
    split = splits_of(tmp_path / "file", b"one\n", 100)[0]
    put(str(tmp_path / "file"), b"another\n")
    with pytest.raises(StorageError, match="changed while it was being read"):
        read_lines(split)


def test_cuts_cover_every_byte_once_and_skip_empty_files(tmp_path: Path) -> None:
    for name, size in (("a", 200_000), ("b", 0), ("c", 70_000)):
        put(str(tmp_path / name), b"x" * size)
    splits = cut(input_files(str(tmp_path)), parallelism=2)
    assert [split.number for split in splits] == list(range(len(splits)))
    assert [(split.file_number, split.start, split.end) for split in splits] == [
        (0, 0, 65_536),
        (0, 65_536, 131_072),
        (0, 131_072, 196_608),
        (0, 196_608, 200_000),
        (2, 0, 65_536),
        (2, 65_536, 70_000),
    ]


def test_large_inputs_are_cut_in_half_mebibytes(monkeypatch: pytest.MonkeyPatch) -> None:
    file = inputs.StoredFile("s3://b/k", 5 << 30, "v")
    assert {split.end - split.start for split in cut([file], parallelism=8)} == {512 << 10}


@pytest.mark.parametrize("smallest", [False, True])
def test_two_thousand_small_files_are_a_few_bundles_and_large_ones_none(smallest: bool) -> None:
    small = [inputs.StoredFile(f"s3://b/{number}", 200, "v") for number in range(2000)]
    large = inputs.StoredFile("s3://b/k", 5 << 20, "v")
    splits = cut([*small, large], 2, smallest=smallest)
    bundles = inputs.bundle(splits, 2, smallest=smallest)
    assert [split for bundled in bundles for split in bundled] == splits
    sizes = [len(bundled) for bundled in bundles if bundled[0].file_number < 2000]
    assert len(sizes) <= 16
    assert max(sum(split.size for split in bundled) for bundled in bundles) <= (64 if smallest else 512) << 10


def test_a_split_travels_as_it_is() -> None:
    split = cut([inputs.StoredFile("s3://b/ü +%20/k\n.json", 5 << 20, '"etag"')], 2)[3]
    assert inputs.Split.of_bytes(split.to_bytes()) == split


@pytest.mark.parametrize("place", ["local", "s3"])
def test_a_file_and_a_folder_are_what_they_are(place: str, tmp_path: Path, s3: str) -> None:
    base = str(tmp_path) if place == "local" else s3
    for name in ("in/a.json", "in/b.json", "in/_SUCCESS", "in/.hidden", "in/a.json.bak"):
        put(join(base, name))
    assert names(join(base, "in") + "/") == ["a.json", "a.json.bak", "b.json"]
    assert names(join(base, "in/a.json")) == ["a.json"]
    with pytest.raises(StorageError):
        input_files(join(base, "nothing"))


def test_on_s3_a_path_without_a_slash_is_a_prefix(s3: str) -> None:
    for name in ("folder/a.json", "folder_test/b.json", "other/c.json"):
        put(join(s3, name))
    assert names(join(s3, "folder")) == ["a.json", "b.json"]
    assert names(join(s3, "folder") + "/") == ["a.json"]
    assert names(s3) == ["a.json", "b.json", "c.json"]


def test_two_files_of_one_name_are_refused(s3: str) -> None:
    for name in ("folder/a.json", "folder_test/a.json"):
        put(join(s3, name))
    with pytest.raises(DataError, match=r"answered in a\.json\.out.*end the input with /"):
        input_files(join(s3, "folder"))


@pytest.mark.parametrize(
    ("given", "output", "fine"),
    [
        ("in/a.json", "out", True),
        ("in/a.json", "in/out", True),
        ("in/a.json", "in", False),
        ("in/", "in", False),
        ("in/", "in/out", False),
        ("in/", "out", True),
        ("in", "in-out", False),  # a prefix takes it, on S3
        ("in/", "in-out", True),
        ("in/a.json", ".", True),
    ],
)
def test_answers_never_lie_where_they_would_be_taken_for_input(given: str, output: str, fine: bool, s3: str) -> None:
    put(join(s3, "in/a.json"))
    files, target = input_files(f"{s3}/{given}"), s3 if output == "." else join(s3, output)
    if fine:
        check_places(files, f"{s3}/{given}", target)
    else:
        with pytest.raises(ConfigError, match="the output lies where the input is"):
            check_places(files, f"{s3}/{given}", target)


@pytest.mark.parametrize(
    "output",
    [
        "{0}/x/../in",
        "{0}/in/./",
        "{0}//in",
        "file://{0}/in",
        "file:{0}/in/sub",
        "{0}/to-in",
        "{0}/x/../to-in/out",
        "{0}/linked-into",
        "{0}/linked-into/deeper",
        "{0}/twice",
    ],
)
@pytest.mark.parametrize("given", ["{0}/in", "{0}/in/", "{0}/to-in", "{0}/x/../in/"])
def test_no_spelling_of_a_place_hides_that_it_is_the_inputs(given: str, output: str, tmp_path: Path) -> None:
    put(str(tmp_path / "in" / "a.json"))
    (tmp_path / "x").mkdir()
    (tmp_path / "to-in").symlink_to(tmp_path / "in")
    (tmp_path / "linked-into").mkdir()
    (tmp_path / "twice").mkdir()
    (tmp_path / "in" / "link").symlink_to(tmp_path / "linked-into")
    (tmp_path / "linked-into" / "link").symlink_to(tmp_path / "twice")
    (tmp_path / "twice" / "back").symlink_to(tmp_path / "in")
    source = given.format(tmp_path)
    files = [StoredFile(str(tmp_path / "in" / "a.json"), 1, "1")]
    with pytest.raises(ConfigError, match="the output lies where the input is"):
        check_places(files, source, normalise(output.format(tmp_path)).rstrip("/"))
    check_places(files, source, str(tmp_path / "x"))


def test_what_is_above_a_link_is_where_the_link_leads(tmp_path: Path) -> None:
    (tmp_path / "far" / "away").mkdir(parents=True)
    (tmp_path / "near").symlink_to(tmp_path / "far" / "away")
    assert normalise(f"{tmp_path}/near/../out/") == f"{tmp_path}/far/out/"
    assert normalise(f"{tmp_path}/near/out") == f"{tmp_path}/near/out"  # a place keeps the name that it was given


def test_a_local_folder_is_no_prefix(tmp_path: Path) -> None:
    put(str(tmp_path / "in" / "a.json"))
    put(str(tmp_path / "in-out" / "b.json"))
    files = input_files(str(tmp_path / "in"))
    assert [file.name for file in files] == ["a.json"]
    check_places(files, str(tmp_path / "in"), str(tmp_path / "in-out"))
    with pytest.raises(ConfigError):
        check_places(files, str(tmp_path / "in"), str(tmp_path / "in" / "out"))


def _requests(files: int) -> list[str]:
    """What a job of so many small files asks the store of its output."""
    with shop("s3") as here:
        for number in range(files):
            Path(here.input, "in", f"{number}.json").write_bytes(b"{}\n")
        for name in FILES:
            Path(here.input, "in", name).unlink()
        run = here.begin(0).run
        run.finish(100_000)
        assert run.error is None
        return run.steps


def test_requests_of_many_small_files_grow_as_the_files_do() -> None:
    """Each file costs as much as any other, however many there are."""
    few, more, many = (len(_requests(number)) for number in (10, 20, 40))
    assert many - more == 2 * (more - few)
    assert (more - few) / 10 <= 20, "requests a file"
