"""`hrnn gc` removes what nobody reads, and nothing else: locally and on S3."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from wrong_clock import set_clock

from jobs.cli import main
from jobs.gc import job
from jobs.gc.job import gc
from jobs.platform.storage import is_object, join, store_for
from jobs.platform.storage.folders import StepFolder
from jobs.platform.storage.records import write_record
from jobs.platform.storage.s3 import client
from jobs.workspace.steps import parse_age
from schemas.errors import ConfigError, IntegrityError, StorageError
from schemas.manifest import InputRef

LATER = timedelta(days=8)
STEP, DEAD = "train/for-you/" + "a" * 12, "validate/items/" + "d" * 12


@pytest.fixture(params=["local", "seaweed"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URI of a folder that holds nothing."""
    # A real server: moto says that every upload began in 2010.
    return join(request.getfixturevalue("seaweed") if request.param == "seaweed" else str(tmp_path), "place")


def publish(uri: str, *, inputs: tuple[str, ...] = ()) -> str:
    """A finished step with one file; gives the file's path."""
    folder = StepFolder(uri)
    entry = folder.put(folder.attempt_path("data/part-0.parquet"), b"rows")
    folder.publish("dataset", folder.token, {}, [InputRef(uri=each, version="1") for each in inputs], [entry])
    return entry.path


def abandon(uri: str, path: str = "data/part-1.parquet") -> str:
    """A file of a run that was killed; gives its path."""
    folder = StepFolder(uri)
    return folder.put(folder.attempt_path(path), b"lost rows").path


def write_night(workspace: str, number: int, *folders: str, output: str | None = None) -> None:
    steps = [record(folder.removeprefix(workspace + "/").split("/")[0], folder) for folder in folders]
    steps += [record("recommend", output + "/")] if output else []
    write_record(join(workspace, "nights", f"gen-{number:06}", "summary.json"), {"steps": steps})


def record(job: str, folder: str) -> dict[str, Any]:
    """A step as a summary has it."""
    return {"job": job, "name": "x", "folder": folder, "fingerprint": "f", "settings": {}, "inputs": {}}


def begin_upload(uri: str) -> None:
    """An upload that nobody will ever complete."""
    if is_object(uri):
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        upload = client().create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
        client().upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=1, Body=b"12345")
    else:
        Path(uri).parent.mkdir(parents=True, exist_ok=True)
        Path(uri).with_name(".hrnn-0123.tmp").write_bytes(b"12345")


def names(place: str) -> set[str]:
    """Paths of all files."""
    return {file.uri.removeprefix(place + "/") for file in store_for(place).list(place + "/")}


def uploads(place: str) -> set[str]:
    """Unfinished uploads."""
    return {
        file.uri.removeprefix(place + "/") for file in store_for(place).uploads(place + "/", datetime.now(UTC) + timedelta(1))
    }


@pytest.fixture
def littered(place: str) -> tuple[set[str], set[str]]:
    """A workspace `ws`, an output `out` and leftovers of every kind: gives what must stay and what may go."""
    workspace, output = join(place, "ws"), join(place, "out")
    kept = {join("ws", STEP, publish(join(workspace, STEP))), join("ws", STEP, "manifest.json")}
    gone = {join("ws", STEP, abandon(join(workspace, STEP))), join("ws", DEAD, abandon(join(workspace, DEAD)))}
    part = "out/_hrnn/parts/part-000000-0123456789ab-ba9876543210.out"
    gone |= {join("ws", DEAD, "report.html"), join("ws", STEP, "checkpoints/step-1.safetensors"), part}
    kept |= {"ws/train/notes.txt", join("ws", STEP, "notes.txt"), f"ws/train/mine/{'b' * 11}/x-0123456789ab.csv"}
    kept |= {"out/users.json.out", "out/_CHECK", "out/_hrnn/manifest.json", "out/kept-0123456789ab.csv"}
    publish(join(output, "_hrnn"))
    kept |= {path for path in names(place) if path.startswith("out/_hrnn/data/")}
    for path in (kept | gone) - names(place):
        store_for(place).write(join(place, path), b"bytes")
    write_night(workspace, 1, join(workspace, STEP), output=output)
    return kept | {"ws/nights/gen-000001/summary.json"}, gone


def test_only_old_leftovers_go(place: str, littered: tuple[set[str], set[str]], capsys: pytest.CaptureFixture[str]) -> None:
    kept, gone = littered
    workspace = join(place, "ws")
    begin_upload(join(place, "out", "users.json.out"))
    begin_upload(join(workspace, STEP, "data", "large.parquet"))
    ours = uploads(place)
    assert len(ours) == 2
    foreign = set[str]()
    if is_object(place):
        for path in ("out/large.bin", "ws/large.bin"):
            begin_upload(join(place, path))
            foreign.add(path)

    def collect(**options: object) -> dict[str, object]:
        summary = gc(workspace_uri=workspace, **options)  # type: ignore[arg-type]
        return {key: summary[key] for key in ("uploads", "parts", "leftovers", "unfinished_steps", "old_steps", "files")}

    nothing = dict.fromkeys(("uploads", "parts", "leftovers", "unfinished_steps", "old_steps", "files"), 0)
    assert collect() == nothing
    assert names(place) == kept | gone
    found = {"uploads": 2, "parts": 1, "leftovers": 2, "unfinished_steps": 1, "old_steps": 0, "files": len(gone) + 2}
    later = datetime.now(UTC) + LATER
    assert collect(now=later, dry_run=True) == found
    listed = capsys.readouterr().err
    assert all(join(place, path) in listed for path in gone | ours)
    assert not any(join(place, path) + " " in listed for path in (kept | foreign) - ours)
    assert names(place) == kept | gone
    assert uploads(place) == ours | foreign
    assert collect(now=later) == found
    assert names(place) == kept
    assert uploads(place) == foreign
    assert collect(now=later) == nothing
    StepFolder(join(workspace, STEP)).read(StepFolder(join(workspace, STEP)).require("dataset").files[0])


def test_a_place_that_is_no_workspace_is_an_error(place: str, tmp_path: Path) -> None:
    store_for(place).write(join(place, "raw/train/part-0123456789ab.csv"), b"somebody's")
    for uri in (place, join(place, "typo"), str(tmp_path / "typo")):
        with pytest.raises(StorageError, match=rf"^{uri}: this is no workspace"):
            gc(workspace_uri=uri)


def test_temporary_files_of_killed_runs_on_this_machine_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HRNN_SCRATCH", str(tmp_path))
    left = tmp_path / f"hrnn-scratch-{os.getuid()}" / "run-left"
    left.mkdir(parents=True)
    publish(str(tmp_path / "ws" / STEP))
    assert (gc(workspace_uri=str(tmp_path / "ws"), dry_run=True)["scratch"], left.exists()) == (1, True)
    assert (gc(workspace_uri=str(tmp_path / "ws"))["scratch"], left.exists()) == (1, False)


def test_bytes_are_counted(tmp_path: Path) -> None:
    abandon(str(tmp_path / DEAD))
    begin_upload(str(tmp_path / "out" / "users.json.out"))
    summary = gc(workspace_uri=str(tmp_path), output_uris=[str(tmp_path / "out")], now=datetime.now(UTC) + LATER)
    assert (summary["bytes"], summary["files"], summary["outputs"]) == (len(b"lost rows") + 5, 2, 1)


def test_steps_of_the_newest_nights_and_what_they_are_made_of_stay(place: str) -> None:
    steps = {name: join(place, name) for name in (f"{job}/x/{digit * 12}" for job in ("validate", "train") for digit in "abc")}
    for name, uri in steps.items():
        publish(uri, inputs=(steps[name.replace("train", "validate")],) if name.startswith("train") else ())
    unread = join(place, "sessionize/x/" + "e" * 12)
    publish(unread)
    for number, digit in enumerate("abc", start=1):
        write_night(place, number, steps[f"train/x/{digit * 12}"])
    later = datetime.now(UTC) + LATER
    assert gc(workspace_uri=place, now=later)["old_steps"] == 0
    assert gc(workspace_uri=place, keep_nights=2)["old_steps"] == 0  # they are young
    assert gc(workspace_uri=place, keep_nights=2, now=later)["old_steps"] == 3
    left = {path.rsplit("/", 2)[0] for path in names(place) if path.endswith(".parquet")}
    assert left == {f"{job}/x/{digit * 12}" for job in ("validate", "train") for digit in "bc"}
    assert not any(path.startswith("sessionize/") or "a" * 12 + "/" in path for path in names(place))
    assert gc(workspace_uri=place, keep_nights=7, now=later)["files"] == 0


@pytest.mark.parametrize("how", ["moved", "linked"])
def test_a_workspace_that_has_another_name_now_keeps_its_nights(tmp_path: Path, how: str) -> None:
    before, now = tmp_path / "before", tmp_path / "now"
    steps = {name: str(before / name) for name in (f"{job}/x/{digit * 12}" for job in ("validate", "train") for digit in "ab")}
    for name, uri in steps.items():
        publish(uri, inputs=(steps[name.replace("train", "validate")],) if name.startswith("train") else ())
    for number, digit in enumerate("ab", start=1):
        write_night(str(before), number, steps[f"train/x/{digit * 12}"])
    if how == "moved":
        before.rename(now)
    else:
        now.symlink_to(before)
    assert gc(workspace_uri=str(now), keep_nights=1, now=datetime.now(UTC) + LATER)["old_steps"] == 2
    left = {path.rsplit("/", 2)[0] for path in names(str(now)) if path.endswith(".parquet")}
    assert left == {f"{job}/x/{'b' * 12}" for job in ("validate", "train")}


def test_without_a_finished_night_no_finished_step_goes(tmp_path: Path) -> None:
    publish(str(tmp_path / STEP))
    assert gc(workspace_uri=str(tmp_path), keep_nights=1, now=datetime.now(UTC) + LATER)["files"] == 0


@pytest.fixture
def aged(tmp_path: Path) -> Callable[[str], None]:
    """Makes every file below a folder of the workspace eight days old."""

    def aged(path: str) -> None:
        moment = time.time() - LATER.total_seconds()
        for file in (tmp_path / path).rglob("*"):
            if file.is_file():
                os.utime(file, (moment, moment))

    return aged


@pytest.mark.parametrize("published", [False, True])
def test_checkpoints_of_a_training_that_is_at_work_stay(
    tmp_path: Path, aged: Callable[[str], None], *, published: bool
) -> None:
    if published:  # users were deleted from it, and it is trained anew
        publish(str(tmp_path / STEP))
    first, second = tmp_path / STEP / "checkpoints" / "1.safetensors", tmp_path / STEP / "checkpoints" / "2.safetensors"
    first.parent.mkdir(parents=True, exist_ok=True)
    first.write_bytes(b"1")
    aged(".")
    second.write_bytes(b"2")
    assert gc(workspace_uri=str(tmp_path))["files"] == 0
    aged(".")
    assert gc(workspace_uri=str(tmp_path))["files"] == 2
    assert not first.exists()
    assert not second.exists()


def test_no_finished_step_goes_while_a_step_is_at_work(tmp_path: Path, aged: Callable[[str], None]) -> None:
    publish(str(tmp_path / STEP))
    write_night(str(tmp_path), 1)
    aged(".")
    abandon(str(tmp_path / DEAD))
    assert gc(workspace_uri=str(tmp_path), keep_nights=1)["files"] == 0
    aged(".")
    summary = gc(workspace_uri=str(tmp_path), keep_nights=1)
    assert (summary["old_steps"], summary["unfinished_steps"]) == (1, 1)


def test_what_is_published_between_the_listing_and_the_removal_stays(
    tmp_path: Path, aged: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = StepFolder(str(tmp_path / STEP))
    entry = run.put(run.attempt_path("data.parquet"), b"rows")
    aged(".")

    class Overtaken(StepFolder):
        def manifest(self):  # type: ignore[no-untyped-def]
            run.publish("dataset", "f", {}, [], [entry])
            return super().manifest()

    monkeypatch.setattr(job, "StepFolder", Overtaken)
    assert gc(workspace_uri=str(tmp_path))["files"] == 0
    assert StepFolder(run.uri).read(entry) == b"rows"


def test_an_unfinished_step_that_is_begun_again_stays(
    tmp_path: Path, aged: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = abandon(str(tmp_path / DEAD))
    aged(".")
    remove = job._remove

    def overtaken(*arguments: object) -> None:
        abandon(str(tmp_path / DEAD), "data/part-2.parquet")
        remove(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(job, "_remove", overtaken)
    gc(workspace_uri=str(tmp_path))
    assert (tmp_path / DEAD / path).exists()


def test_runs_that_go_on_meanwhile_lose_nothing(place: str) -> None:
    workspace, over = join(place, "ws"), threading.Event()
    abandon(join(workspace, DEAD))
    failures: list[Exception] = []

    def work(number: int) -> None:
        try:
            while not over.is_set():
                uri = join(workspace, f"train/run-{number}/" + "f" * 12)
                publish(uri)
                folder = StepFolder(uri)
                for entry in folder.require("dataset").files:
                    folder.read(entry)
        except Exception as error:
            failures.append(error)

    workers = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for worker in workers:
        worker.start()
    try:
        for _ in range(10):
            gc(workspace_uri=workspace, keep_nights=1)
    finally:
        over.set()
        for worker in workers:
            worker.join()
    assert not failures
    assert any(path.startswith("ws/" + DEAD) for path in names(place))


@pytest.mark.parametrize("damaged", [join(STEP, "manifest.json"), "nights/gen-000001/summary.json"])
def test_after_damage_nothing_is_removed(tmp_path: Path, damaged: str) -> None:
    publish(str(tmp_path / STEP))
    abandon(str(tmp_path / DEAD))
    (tmp_path / damaged).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / damaged).write_text('{"steps": 7')
    before = names(str(tmp_path))
    with pytest.raises(IntegrityError, match="damaged"):
        gc(workspace_uri=str(tmp_path), now=datetime.now(UTC) + LATER)
    assert names(str(tmp_path)) == before


@pytest.mark.parametrize(("text", "seconds"), [("90m", 5400), ("12h", 43_200), ("7d", 604_800), ("2w", 1_209_600)])
def test_ages(text: str, seconds: int) -> None:
    assert parse_age(text).total_seconds() == seconds


@pytest.mark.parametrize("text", ["", "7", "d", "-7d", "7 days", "1.5d", "9999999d", "999999d", "5250w", "٧d"])
def test_other_ages_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"this is no age .*such as 7d"):
        parse_age(text)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    abandon(str(tmp_path / DEAD))
    with pytest.raises(SystemExit) as ended:
        main(["gc", "--workspace", str(tmp_path), "--older-than", "10m"])
    assert ended.value.code == 1
    assert "this age is too short" in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        main(["gc", "--workspace", str(tmp_path), "--keep-nights", "3", "--dry-run"])
    assert ended.value.code == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["job"], summary["dry_run"], summary["files"]) == ("gc", True, 0)


@pytest.mark.parametrize("by", [timedelta(days=3650), timedelta(days=-3650)])
def test_ages_are_those_of_the_store_whatever_this_machine_takes_the_time_for(
    place: str, littered: tuple[set[str], set[str]], by: timedelta, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, begun = names(place), uploads(place)
    set_clock(monkeypatch, by)
    found = gc(workspace_uri=join(place, "ws"), output_uris=[join(place, "out")])
    assert found["files"] == 0
    assert (names(place), uploads(place)) == (before, begun)
