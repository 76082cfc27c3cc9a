"""What every place of files promises, asked of each kind of place: this disk, a mock S3, a real S3 server."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from staged_files import concatenate
from unfinished_uploads import begin_upload

from jobs.platform.storage import STORES, Store, assembly, join, list_input, normalise, read_text, store_for
from jobs.platform.storage.store import StoredFile
from schemas.errors import CommitLost, StorageError
from schemas.uris import OBJECT_STORES


@pytest.fixture(params=["local", "moto", "seaweedfs"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URI of an empty folder or bucket."""
    fixture = {"moto": "s3", "seaweedfs": "seaweed"}.get(request.param)
    return request.getfixturevalue(fixture) if fixture else str(tmp_path / "place")


@pytest.fixture
def store(place: str) -> Store:
    return store_for(place)


def test_every_scheme_has_a_store() -> None:
    assert set(STORES) == {"", *OBJECT_STORES.values()}


def test_a_written_file_reads_back(store: Store, place: str) -> None:
    store.write(join(place, "folder/file.bin"), b"0123456789")
    assert store.read(join(place, "folder/file.bin")) == b"0123456789"


def test_an_empty_file_reads_back(store: Store, place: str) -> None:
    store.write(join(place, "empty"), b"")
    found = store.stat(join(place, "empty"))
    assert found is not None
    assert found.size == 0
    assert store.read(found.uri, 0, 0, found.version) == store.read(found.uri) == store.read(found.uri, 0, 10) == b""


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (0, 4, b"0123"),
        (4, None, b"456789"),
        (3, 3, b""),
        (5, 2, b""),
        (8, 100, b"89"),
        (10, 20, b""),
        (50, 60, b""),
        (50, None, b""),
    ],
)
def test_a_range_is_from_start_to_before_end(store: Store, place: str, start: int, end: int | None, expected: bytes) -> None:
    store.write(join(place, "file"), b"0123456789")
    assert store.read(join(place, "file"), start, end) == expected


def test_a_missing_file_has_no_stat_and_is_an_error_to_read(store: Store, place: str) -> None:
    store.write(join(place, "other"), b"")
    assert store.stat(join(place, "missing")) is None
    with pytest.raises(StorageError, match=r"missing: there is no such (file|object)") as raised:
        store.read(join(place, "missing"))
    assert "Check the path." in str(raised.value)


def test_a_folder_is_not_a_file(store: Store, place: str) -> None:
    store.write(join(place, "folder/file"), b"x")
    assert store.stat(join(place, "folder")) is None


def test_the_place_itself_is_not_a_file(store: Store, place: str) -> None:
    store.write(join(place, "file"), b"x")
    assert store.stat(place) is None
    assert [file.name for file in list_input(place)] == ["file"]


def test_a_listing_is_by_name_and_recursive_and_hides_temporary_files(store: Store, place: str) -> None:
    for name in ["b", "a/2", "a/10", "ab", "a/.hidden", "a/.folder/file", "é and ü", "100%+&=#?.csv"]:
        store.write(join(place, name), name.encode())
    names = ["100%+&=#?.csv", "a/10", "a/2", "ab", "b", "é and ü"]
    assert [(file.uri, file.size) for file in store.list(place + "/")] == [(join(place, n), len(n.encode())) for n in names]
    assert [file.uri for file in store.list(join(place, "a"))] == [join(place, n) for n in ["a/10", "a/2", "ab"]]
    assert [file.uri for file in store.list(join(place, "a") + "/")] == [join(place, n) for n in ["a/10", "a/2"]]
    assert store.list(join(place, "nothing") + "/") == []


def test_stat_and_listing_agree(store: Store, place: str) -> None:
    store.write(join(place, "file"), b"abc")
    assert [store.stat(join(place, "file"))] == store.list(place + "/")


def test_odd_names_read_back(store: Store, place: str) -> None:
    for name in ["with space", "é and ü", "100%+&=#?.csv", "a=b/c=d.parquet", "x" * 200]:
        store.write(join(place, name), name.encode())
        assert store.read(join(place, name)) == name.encode()


def test_a_pinned_version_never_gives_other_bytes(store: Store, place: str) -> None:
    uri = join(place, "file")
    store.write(uri, b"first")
    before = store.stat(uri)
    assert before is not None
    assert store.read(uri, 0, 5, before.version) == b"first"
    store.write(uri, b"second, longer")
    with pytest.raises(StorageError, match="changed while it was being read"):
        store.read(uri, 0, 5, before.version)


def test_upload_and_download_copy_bytes(store: Store, place: str, tmp_path: Path) -> None:
    source, back = tmp_path / "source", tmp_path / "back"
    source.write_bytes(bytes(range(256)) * 5000)
    store.upload(source, join(place, "deep/er/file"))
    store.download(join(place, "deep/er/file"), back)
    assert back.read_bytes() == source.read_bytes()


def test_upload_of_a_missing_file_names_it(store: Store, place: str, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="absent: there is no such file"):
        store.upload(tmp_path / "absent", join(place, "file"))


def test_download_of_a_missing_file_names_it(store: Store, place: str, tmp_path: Path) -> None:
    store.write(join(place, "other"), b"")
    with pytest.raises(StorageError, match="missing: there is no such"):
        store.download(join(place, "missing"), tmp_path / "file")


def test_create_refuses_a_second_time(store: Store, place: str) -> None:
    store.create(join(place, "folder/manifest.json"), b"mine")
    with pytest.raises(CommitLost, match=r"manifest\.json: another run published first"):
        store.create(join(place, "folder/manifest.json"), b"theirs")
    assert store.read(join(place, "folder/manifest.json")) == b"mine"


def test_replace_wants_the_version_it_saw(store: Store, place: str) -> None:
    uri = join(place, "manifest.json")
    store.create(uri, b"first")
    first = store.stat(uri)
    assert first is not None
    store.replace(uri, b"again", first.version)
    with pytest.raises(CommitLost):
        store.replace(uri, b"third", first.version)
    assert store.read(uri) == b"again"


def test_replace_of_a_missing_file_is_lost(store: Store, place: str) -> None:
    store.write(join(place, "other"), b"x")
    with pytest.raises(CommitLost):
        store.replace(join(place, "missing"), b"x", '"0123"')
    assert store.stat(join(place, "missing")) is None


def _winners(race: Callable[[int], None]) -> list[int]:
    """Which of 16 racers did not lose."""

    def run(racer: int) -> int | None:
        try:
            race(racer)
        except CommitLost:
            return None
        return racer

    with ThreadPoolExecutor(16) as pool:
        return [racer for racer in pool.map(run, range(16)) if racer is not None]


def test_of_sixteen_creators_one_wins(store: Store, place: str) -> None:
    for key in range(3):
        uri = join(place, f"manifest-{key}.json")
        winners = _winners(lambda racer, uri=uri: store.create(uri, b"racer %02d" % racer))  # type: ignore[misc]
        assert [store.read(uri)] == [b"racer %02d" % winner for winner in winners]


def test_of_sixteen_replacers_one_wins(store: Store, place: str) -> None:
    uri = join(place, "manifest.json")
    store.create(uri, b"racer --")
    for lap in range(3):
        seen = store.stat(uri)
        assert seen is not None
        winners = _winners(lambda r, lap=lap, seen=seen: store.replace(uri, b"lap %d, %02d" % (lap, r), seen.version))  # type: ignore[misc]
        assert [store.read(uri)] == [b"lap %d, %02d" % (lap, winner) for winner in winners]


def _concatenated(store: Store, place: str, contents: list[bytes]) -> bytes:
    for number, content in enumerate(contents):
        store.write(join(place, f"parts/{number:04d}"), content)
    sources = store.list(join(place, "parts") + "/")
    assert len(sources) == len(contents)
    concatenate(store, sources, join(place, "whole"))
    return store.read(join(place, "whole"))


@pytest.mark.parametrize("contents", [[b""], [b"", b"abc", b""], [b"one\n", b"two\n", b"three"]])
def test_small_files_concatenate_in_order(store: Store, place: str, contents: list[bytes]) -> None:
    assert _concatenated(store, place, contents) == b"".join(contents)


def test_no_file_at_all_concatenates_to_an_empty_one(store: Store, place: str) -> None:
    concatenate(store, [], join(place, "whole"))
    assert store.read(join(place, "whole")) == b""


@pytest.mark.parametrize(
    "mebibytes",
    [[6, 6], [5, 5], [9], [1] * 12, [0.5, 6, 0.25, 0.25, 7, 0], [6, 0.1, 6, 0.1], [4.99, 5.01]],
    ids=lambda sizes: "-".join(map(str, sizes)),
)
def test_files_of_mixed_sizes_concatenate_in_order(store: Store, place: str, mebibytes: list[float]) -> None:
    contents = [bytes([65 + number]) * int(size * (1 << 20)) for number, size in enumerate(mebibytes)]
    assert _concatenated(store, place, contents) == b"".join(contents)


def test_files_of_odd_names_concatenate(store: Store, place: str) -> None:
    names = ["with space", "é and ü", "100%+&=#?.csv"]
    for number, name in enumerate(names):
        store.write(join(place, name), b"%d" % number * (5 << 20))
    sources = [store.stat(join(place, name)) for name in names]
    concatenate(store, [source for source in sources if source is not None], join(place, "a=b/whole ü"))
    assert store.read(join(place, "a=b/whole ü")) == b"".join(b"%d" % number * (5 << 20) for number in range(3))


def test_concatenation_replaces_and_leaves_no_upload(store: Store, place: str) -> None:
    store.write(join(place, "whole"), b"of yesterday")
    contents = [b"a" * (6 << 20), b"b" * (6 << 20)]
    assert _concatenated(store, place, contents) == b"".join(contents)
    assert store.abort_uploads(place + "/", datetime.now(UTC) + timedelta(hours=1)) == 0


@pytest.mark.parametrize("place", ["local", "seaweedfs"], indirect=True)  # the mock copies whatever is there
def test_concatenation_refuses_a_changed_source(store: Store, place: str) -> None:
    store.write(join(place, "parts/0"), b"a" * (6 << 20))
    store.write(join(place, "parts/1"), b"b" * (6 << 20))
    sources = store.list(join(place, "parts") + "/")
    store.write(join(place, "parts/1"), b"changed" * (1 << 20))
    with pytest.raises(StorageError, match="changed"):
        concatenate(store, sources, join(place, "whole"))
    assert store.stat(join(place, "whole")) is None
    assert store.abort_uploads(place + "/", datetime.now(UTC) + timedelta(hours=1)) == 0


def test_concatenation_with_a_missing_source_leaves_nothing(store: Store, place: str) -> None:
    store.write(join(place, "parts/0"), b"a" * (6 << 20))
    store.write(join(place, "parts/1"), b"b" * (6 << 20))
    sources = store.list(join(place, "parts") + "/")
    store.delete([join(place, "parts/1")])
    with pytest.raises(StorageError):
        concatenate(store, sources, join(place, "whole"))
    assert store.stat(join(place, "whole")) is None


def test_sources_that_end_inside_a_part_concatenate(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many shapes of small sources; the mock wants 5 MiB a part, so what is sent is gathered, what is copied is large."""
    monkeypatch.setattr(assembly, "LARGEST_COPY", 6 << 20)
    contents = [b"a" * (13 << 20), b"b" * 1000, b"c" * (5 << 20), b"d" * (12 << 20)]
    assert _concatenated(store_for(s3), s3, contents) == b"".join(contents)


def test_only_the_version_that_was_meant_is_withdrawn(store: Store, place: str) -> None:
    uri, beside = join(place, "file"), join(place, "_hrnn/claim")
    store.write(uri, b"mine")
    claim, mine = StoredFile(beside, 1, store.create(beside, b"1")), store.stat(uri)
    assert mine is not None
    store.write(uri, b"another's")
    store.withdraw(uri, claim, mine.version)
    assert store.read(uri) == b"another's"
    store.withdraw(uri, claim)
    assert store.stat(uri) is None
    store.replace(beside, b"2", claim.version)
    with pytest.raises(CommitLost):
        store.withdraw(uri, claim)


def test_deleting_twice_is_no_error(store: Store, place: str) -> None:
    store.write(join(place, "file"), b"x")
    store.delete([join(place, "file")])
    store.delete([join(place, "file"), join(place, "never/was")])
    assert store.stat(join(place, "file")) is None


@pytest.mark.parametrize("place", ["local", "seaweedfs"], indirect=True)  # the mock's uploads all began in 2010
def test_uploads_of_a_killed_run_are_dropped_and_younger_ones_kept(store: Store, place: str, tmp_path: Path) -> None:
    begin_upload(place, "folder/whole")
    now = datetime.now(UTC)
    assert store.abort_uploads(join(place, "folder") + "/", now - timedelta(hours=1)) == 0
    assert store.abort_uploads(join(place, "elsewhere") + "/", now + timedelta(hours=1)) == 0
    assert store.abort_uploads(join(place, "folder") + "/", now + timedelta(hours=1)) == 1
    assert store.abort_uploads(join(place, "folder") + "/", now + timedelta(hours=1)) == 0
    assert store.list(place + "/") == []


def test_input_is_a_file_or_a_folder(store: Store, place: str) -> None:
    for name in ["raw/b.csv", "raw/a.csv", "raw/_SUCCESS", "raw/.crc", "raw2/c.csv"]:
        store.write(join(place, name), b"x")
    assert [file.name for file in list_input(join(place, "raw/a.csv"))] == ["a.csv"]
    assert [file.name for file in list_input(join(place, "raw"))] == ["a.csv", "b.csv"]
    assert [file.name for file in list_input(join(place, "raw") + "/")] == ["a.csv", "b.csv"]
    with pytest.raises(StorageError, match=r"no file is there\. Name a file"):
        list_input(join(place, "missing"))


def test_text_is_utf8_with_or_without_byte_order_mark(store: Store, place: str) -> None:
    store.write(join(place, "plain"), "grün".encode())
    store.write(join(place, "marked"), "grün".encode("utf-8-sig"))
    store.write(join(place, "latin"), "grün".encode("latin-1"))
    assert read_text(join(place, "plain")) == read_text(join(place, "marked")) == "grün"
    with pytest.raises(StorageError, match=r"not UTF-8 text \(byte 2\)"):
        read_text(join(place, "latin"))


@pytest.mark.parametrize(
    ("uri", "expected"),
    [("s3a://b/k", "s3://b/k"), ("s3n://b/k/", "s3://b/k/"), ("file:///x/y", "/x/y"), ("/x/y/", "/x/y/"), ("s3://b", "s3://b")],
)
def test_one_place_has_one_spelling(uri: str, expected: str) -> None:
    assert normalise(uri) == expected


@pytest.mark.parametrize("uri", ["s3://", "s3:///key", "gs://bucket/key", "http://host/file", "", "a\0b"])
def test_a_place_that_is_none_is_refused(uri: str) -> None:
    with pytest.raises(StorageError):
        normalise(uri)
