"""A step's folder exists when its manifest does, and holds exactly what the manifest names."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from unfinished_uploads import begin_upload

from jobs.platform.storage import join, store_for
from jobs.platform.storage.folders import StepFolder, StepInput, sha256_of
from schemas.errors import CommitLost, IntegrityError, StorageError
from schemas.manifest import InputRef, Manifest


@pytest.fixture(params=["local", "moto"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URI of a folder that does not exist yet."""
    return join(request.getfixturevalue("s3") if request.param == "moto" else str(tmp_path), "step")


def _publish(place: str, content: bytes = b"rows", fingerprint: str = "f1") -> Manifest:
    folder = StepFolder(place)
    return _finish(folder, content, fingerprint)


def _finish(folder: StepFolder, content: bytes, fingerprint: str) -> Manifest:
    entry = folder.put(folder.attempt_path("data/part-0.parquet"), content, rows=1)
    return folder.publish("dataset", fingerprint, {"a": 1}, [InputRef(uri="x", version="1")], [entry], {"rows": 1}, {"b": [2]})


def _names(place: str) -> list[str]:
    return [file.uri.removeprefix(place) for file in store_for(place).list(place + "/")]


def test_a_folder_does_not_exist_before_it_is_published(place: str) -> None:
    folder = StepFolder(place)
    folder.put(folder.attempt_path("data/part-0.parquet"), b"rows")
    assert StepFolder(place).manifest() is None
    with pytest.raises(StorageError, match=r"no finished step lies here .*Run the step that writes it"):
        StepFolder(place).require("dataset")


def test_a_published_folder_reads_back(place: str, tmp_path: Path) -> None:
    written = _publish(place)
    folder = StepFolder(place + "/")
    manifest = folder.require("dataset")
    assert manifest == written
    assert (manifest.config, manifest.counts, manifest.metadata) == ({"a": 1}, {"rows": 1}, {"b": [2]})
    (entry,) = manifest.files_below("data")
    assert folder.read(entry) == folder.fetch(entry, tmp_path).read_bytes() == b"rows"
    assert folder.reference(manifest) == StepInput(uri=place, version="f1")


def test_another_kind_is_refused(place: str) -> None:
    _publish(place)
    with pytest.raises(StorageError, match=r"the folder holds something else \(got 'dataset'\)\. Allowed: sequences"):
        StepFolder(place).require("sequences")


def test_a_step_finds_its_own_result_and_refuses_to_replace_another_s(place: str) -> None:
    assert StepFolder(place).published("dataset") is None
    _publish(place)
    assert StepFolder(place).published("dataset") == StepFolder(place).require("dataset")
    with pytest.raises(StorageError, match=r"another step's result lies here, .* \(got 'dataset'\)\. Allowed: evaluation, or"):
        StepFolder(place).published("evaluation")


def test_large_files_are_put_by_path(place: str, tmp_path: Path) -> None:
    (tmp_path / "local.bin").write_bytes(b"x" * 100_000)
    folder = StepFolder(place)
    entry = folder.put_file(tmp_path / "local.bin", folder.attempt_path("model.bin"))
    assert (entry.size, entry.sha256) == (100_000, sha256_of(tmp_path / "local.bin"))
    assert folder.read(entry) == b"x" * 100_000


@pytest.mark.parametrize("damaged", [b"rowz", b"row", b"rowss", b""], ids=["flipped", "cut", "longer", "empty"])
def test_damage_is_found_before_use(place: str, tmp_path: Path, damaged: bytes) -> None:
    folder = StepFolder(place)
    (entry,) = _publish(place).files
    store_for(place).write(folder.uri_of(entry.path), damaged)
    with pytest.raises(IntegrityError, match="the bytes differ from its manifest"):
        folder.read(entry)
    with pytest.raises(IntegrityError, match="the bytes differ from its manifest"):
        folder.fetch(entry, tmp_path)


def test_a_missing_file_is_an_error(place: str, tmp_path: Path) -> None:
    folder = StepFolder(place)
    (entry,) = _publish(place).files
    store_for(place).delete([folder.uri_of(entry.path)])
    with pytest.raises((IntegrityError, StorageError)):
        folder.fetch(entry, tmp_path)


@pytest.mark.parametrize("damaged", [b"", b"{}", b"\xff\xfe", b'{"kind": "dataset"', b"[]"])
def test_a_damaged_manifest_is_an_error_not_an_empty_folder(place: str, damaged: bytes) -> None:
    _publish(place)
    store_for(place).write(join(place, "manifest.json"), damaged)
    with pytest.raises(IntegrityError, match=r"manifest\.json: damaged manifest"):
        StepFolder(place).manifest()


def test_what_killed_runs_left_goes_and_what_is_not_ours_stays(place: str) -> None:
    killed = StepFolder(place)
    killed.put(killed.attempt_path("data/part-0.parquet"), b"half")
    store_for(place).write(join(place, "notes.txt"), b"somebody's")
    (entry,) = _publish(place).files
    assert _names(place) == sorted(["/manifest.json", "/notes.txt", "/" + entry.path])


def test_publishing_again_replaces_and_removes_the_former_files(place: str) -> None:
    _publish(place, b"old", "f1")
    (entry,) = _publish(place, b"new", "f2").files
    assert _names(place) == sorted(["/manifest.json", "/" + entry.path])
    assert StepFolder(place).read(entry) == b"new"


def test_of_two_runs_one_publishes_and_the_other_says_that_it_lost(place: str) -> None:
    first, second = StepFolder(place), StepFolder(place)
    manifest = _finish(first, b"first", "f1")
    with pytest.raises(CommitLost):
        _finish(second, b"second", "f2")
    assert StepFolder(place).manifest() == manifest
    assert StepFolder(place).read(manifest.files[0]) == b"first"


def test_of_two_runs_that_replace_one_publishes(place: str) -> None:
    _publish(place, b"old", "f0")
    first, second = StepFolder(place), StepFolder(place)
    manifest = _finish(first, b"first", "f1")
    with pytest.raises(CommitLost):
        _finish(second, b"second", "f2")
    assert StepFolder(place).read(manifest.files[0]) == b"first"


def test_a_run_that_lost_to_the_same_result_takes_it(place: str) -> None:
    first, second = StepFolder(place), StepFolder(place)
    manifest = _finish(first, b"same", "f1")
    assert _finish(second, b"same", "f1") == manifest
    assert _names(place) == sorted(["/manifest.json", "/" + manifest.files[0].path])


def test_a_run_that_begins_during_a_publication_keeps_its_files(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the commit of the first run and its tidying, a second one begins, writes and then publishes."""
    first = StepFolder(place)
    tidy = StepFolder._sweep

    def slow(folder: StepFolder, *arguments: object) -> None:
        monkeypatch.setattr(StepFolder, "_sweep", tidy)
        second = StepFolder(place)
        entries.append(second.put(second.attempt_path("data/part-0.parquet"), b"second"))
        tidy(folder, *arguments)  # type: ignore[arg-type]
        second.publish("dataset", "f2", {}, [], entries)

    entries: list = []  # type: ignore[type-arg]
    monkeypatch.setattr(StepFolder, "_sweep", slow)
    _finish(first, b"first", "f1")
    manifest = StepFolder(place).require("dataset")
    assert manifest.fingerprint == "f2"
    assert StepFolder(place).read(manifest.files[0]) == b"second"


def test_of_eight_nights_at_once_one_publishes_and_its_files_are_whole(place: str) -> None:
    folders = [StepFolder(place) for _ in range(8)]

    def night(number: int) -> Manifest | None:
        try:
            return _finish(folders[number], b"night %d" % number, f"f{number}")
        except CommitLost:
            return None

    with ThreadPoolExecutor(8) as pool:
        published = [manifest for manifest in pool.map(night, range(8)) if manifest is not None]
    assert [StepFolder(place).manifest()] == published
    assert StepFolder(place).read(published[0].files[0]) == b"night " + published[0].fingerprint[1:].encode()


@pytest.mark.parametrize("other", ["f1", "f2"])
def test_a_run_whose_files_another_s_sweep_took_has_lost_to_it(place: str, other: str) -> None:
    late, early = StepFolder(place), StepFolder(place)
    entry = late.put(late.attempt_path("data/part-0.parquet"), b"late", rows=1)
    published = _finish(early, b"early", other)
    if other == "f1":
        assert late.publish("dataset", "f1", {"a": 1}, [], [entry]) == published
    else:
        with pytest.raises(CommitLost, match="another run published first"):
            late.publish("dataset", "f1", {"a": 1}, [], [entry])
    assert StepFolder(place).read(StepFolder(place).require("dataset").files[0]) == b"early"


def test_tidying_that_fails_does_not_fail_what_is_published(
    place: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = StepFolder(place)

    def refuse(*_: object) -> int:
        raise StorageError("access is denied", where=place)

    monkeypatch.setattr(folder._store, "abort_uploads", refuse)
    _finish(folder, b"rows", "f1")
    assert StepFolder(place).require("dataset").fingerprint == "f1"
    assert "leftovers of earlier runs could not be removed" in caplog.text


def test_uploads_below_spared_folders_stay_with_those_who_began_them(place: str) -> None:
    for key in ("data/killed", "trials/other/checkpoint"):
        begin_upload(place, key)
    folder = StepFolder(place)
    written = [folder.put(folder.attempt_path("data/part.parquet"), b"rows")]
    folder.publish("dataset", "f" * 64, {}, [], written, spared=("checkpoints", "trials"))
    left = store_for(place).uploads(place + "/", datetime.now(UTC))
    assert [Path(file.uri).parent.name for file in left] == ["other"]
    assert store_for(place).abort_uploads(place + "/", datetime.now(UTC)) == 1


def _read(place: str) -> tuple[StepFolder, StepInput]:
    """A folder beside the place that a step reads, and what the step makes of it."""
    source = StepFolder(place + "-source")
    manifest = source.publish("sequences", "1" * 64, {}, [], [source.put(source.attempt_path("a.parquet"), b"users")])
    return source, source.reference(manifest)


def _changed(source: StepFolder) -> None:
    """Its users leave."""
    folder = StepFolder(source.uri)
    folder.publish("sequences", "2" * 64, {}, [], [folder.put(folder.attempt_path("a.parquet"), b"others")])


def _gone(source: StepFolder) -> None:
    store_for(source.uri).delete([source.uri_of("manifest.json")])


@pytest.mark.parametrize("change", [_changed, _gone])
@pytest.mark.parametrize("published_before", [False, True])
@pytest.mark.parametrize("moment", ["before the commit", "after the look", "after the commit"])
def test_nothing_is_published_of_an_input_that_changed_meanwhile(
    place: str, change: Callable[[StepFolder], None], published_before: bool, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = _publish(place, b"before", "0" * 64) if published_before else None
    source, used = _read(place)
    folder = StepFolder(place)
    entry = folder.put(folder.attempt_path("data/part-0.parquet"), b"rows", rows=1)
    _at(monkeypatch, folder, moment, lambda: change(source))
    with pytest.raises(StorageError, match=r"-source: this input changed, or went, .* Nothing was published"):
        folder.publish("dataset", "f" * 64, {}, [used], [entry])
    assert StepFolder(place).manifest() == before
    if before is not None:
        assert StepFolder(place).read(before.files[0]) == b"before"


@pytest.mark.parametrize("moment", ["before the commit", "after the look", "after the commit"])
def test_a_manifest_never_names_a_file_that_somebody_removed(place: str, moment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = StepFolder(place)
    entry = folder.put(folder.attempt_path("data/part-0.parquet"), b"rows", rows=1)
    _at(monkeypatch, folder, moment, lambda: store_for(place).delete([folder.uri_of(entry.path)]))
    with pytest.raises(StorageError, match=r"part-0-.*parquet: a file that the step wrote was removed"):
        folder.publish("dataset", "f" * 64, {}, [], [entry])
    assert StepFolder(place).manifest() is None


def test_an_input_that_an_earlier_run_read_may_have_changed_since(place: str) -> None:
    _, used = _read(place)
    folder = StepFolder(place)
    first = folder.publish("dataset", "1" * 64, {}, [used], [folder.put("a.csv", b"1")])
    _changed(StepFolder(used.uri))
    folder = StepFolder(place)
    assert folder.publish("dataset", "2" * 64, {}, first.inputs, [folder.put("a.csv", b"2")]).inputs == first.inputs


def _at(monkeypatch: pytest.MonkeyPatch, folder: StepFolder, moment: str, happens: Callable[[], None]) -> None:
    """Have something happen at a moment of the folder's publication."""
    if moment == "before the commit":
        happens()
        return
    store, done = type(folder._store), list[str]()
    for name in ("create", "replace"):
        commit = getattr(store, name)

        def overtaken(self: Any, uri: str, *rest: Any, commit: Any = commit) -> None:
            ours = uri == folder.uri_of("manifest.json") and not done
            if ours:
                done.append(uri)
            if ours and moment == "after the look":
                happens()
            commit(self, uri, *rest)
            if ours and moment == "after the commit":
                happens()

        monkeypatch.setattr(store, name, overtaken)
