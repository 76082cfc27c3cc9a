"""Which files a user means by a folder: all that lie there, through links too, and nothing that another job left."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from jobs.batch.inputs import input_files
from jobs.compare.job import _files_of
from jobs.delete_users.users import read_users
from jobs.gc.job import gc
from jobs.platform.storage import StoredFile, join, list_input, read_text, store_for
from schemas.errors import StorageError

LEFT = [
    "_temporary/0/_temporary/attempt_0/part-0.csv.out",
    "_spark_metadata/0",
    "day=1/.staging/part.csv.out",
    ".hidden/part.csv.out",
    "_SUCCESS",
    "day=1/_part.csv.out",
]
Listing = Callable[[str], list[StoredFile]]


def _compared(uri: str) -> list[StoredFile]:
    return list(_files_of(uri).values())


listings = pytest.mark.parametrize("listing", [list_input, input_files, _compared])


def _below(folder: str, files: list[StoredFile]) -> list[str]:
    return [file.uri.removeprefix(folder).lstrip("/") for file in files]


@pytest.fixture(params=["local", "moto"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URI of an empty folder or bucket."""
    return join(request.getfixturevalue("s3"), "in") if request.param == "moto" else str(tmp_path / "in")


@listings
def test_what_another_job_left_is_no_input(place: str, listing: Listing) -> None:
    for name in ["part-1.csv.out", "day=1/part-2.csv.out", *LEFT]:
        store_for(place).write(join(place, name), b"x")
    assert _below(place, listing(place + "/")) == ["day=1/part-2.csv.out", "part-1.csv.out"]
    assert _below(place, listing(place)) == ["day=1/part-2.csv.out", "part-1.csv.out"]


@listings
def test_a_part_that_the_user_names_is_taken_as_named(place: str, listing: Listing) -> None:
    store_for(place).write(join(place, "_sets/.new/part.csv.out"), b"x")
    for named in ["_sets/.new/", "_sets/.new", "_sets/.new/part.csv.out"]:
        assert _below(place, listing(join(place, named) + "/" * named.endswith("/"))) == ["_sets/.new/part.csv.out"]
    with pytest.raises(StorageError):
        listing(place + "/")


def test_a_prefix_may_end_within_a_name_that_begins_with_a_mark(s3: str) -> None:
    store_for(s3).write(join(s3, "_sets/part.json"), b"x")
    assert _below(s3, input_files(join(s3, "_se"))) == ["_sets/part.json"]


def test_a_key_may_hold_blanks_signs_and_any_letter(seaweed: str) -> None:
    _check_keys(seaweed, [" a b+c.csv", "100%25.csv", "d&e=f?#.csv", "ü/日本 é.csv"])


def test_a_key_may_hold_double_slashes(s3: str) -> None:
    """SeaweedFS keeps files in folders, and takes two slashes for one; S3 and the mock don't."""
    _check_keys(s3, ["/lead.csv", "d e//f+g.csv"])
    assert [file.uri for file in list_input(s3 + "/in/d e//")] == [f"{s3}/in/d e//f+g.csv"]
    assert [file.uri for file in list_input(s3 + "/in//")] == [f"{s3}/in//lead.csv"]


def _check_keys(place: str, names: list[str]) -> None:
    for name in names:
        store_for(place).write(f"{place}/in/{name}", name.encode())
    found = list_input(place + "/in")
    assert [file.uri for file in found] == [f"{place}/in/{name}" for name in names]
    assert [store_for(place).read(file.uri, version=file.version).decode() for file in found] == names


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one file."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "part-1.csv").write_bytes(b"x")
    return tmp_path / "in"


def test_links_are_followed(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "part-2.csv").write_bytes(b"x")
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    (folder / "part-3.csv").symlink_to(tmp_path / "elsewhere" / "part-2.csv")
    for listing in list_input, input_files:
        assert _below(str(folder), listing(str(folder))) == ["linked/part-2.csv", "part-1.csv", "part-3.csv"]


def test_users_to_be_deleted_are_read_through_links(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "more.csv").write_text("USER_ID\nu2\n")
    (folder / "part-1.csv").write_text("USER_ID\nu1\n")
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    (folder / "_left").mkdir()
    (folder / "_left" / "part.csv").write_text("USER_ID\nu3\n")
    assert read_users(str(folder)).ids == {"u1", "u2"}
    (folder / "dangling.csv").symlink_to("gone.csv")
    with pytest.raises(StorageError, match="this link leads nowhere"):
        read_users(str(folder))


def test_a_linked_folder_can_be_named_itself(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(folder)
    assert _below(str(tmp_path), list_input(str(tmp_path / "link"))) == ["link/part-1.csv"]


def test_a_link_to_a_folder_above_it_adds_nothing(folder: Path) -> None:
    (folder / "deep").mkdir()
    (folder / "deep" / "part-2.csv").write_bytes(b"x")
    (folder / "deep" / "up").symlink_to(folder)
    assert _below(str(folder), list_input(str(folder))) == ["deep/part-2.csv", "part-1.csv"]


def test_a_link_that_leads_nowhere_is_named(folder: Path) -> None:
    (folder / "part-2.csv").symlink_to("gone.csv")
    with pytest.raises(StorageError, match=r"in/part-2\.csv: this link leads nowhere \(got 'gone\.csv'\)"):
        list_input(str(folder))


def test_a_link_to_itself_is_named(folder: Path) -> None:
    (folder / "part-2.csv").symlink_to("part-2.csv")
    with pytest.raises(StorageError, match=r"in/part-2\.csv: this link leads back to itself"):
        list_input(str(folder))


@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_what_is_no_file_is_named_and_never_waited_for(folder: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)  # a socket's path must be short
    if kind == "pipe":
        os.mkfifo("odd.csv")
    else:
        socket.socket(socket.AF_UNIX).bind("odd.csv")
    for look in list_input, input_files, read_text:
        for named in [str(folder / "odd.csv"), str(folder)] if look is not read_text else [str(folder / "odd.csv")]:
            with pytest.raises(StorageError, match=r"in/odd\.csv: (this is a pipe, a socket or a device|No such device)"):
                look(named)


def test_a_device_without_end_is_no_file() -> None:
    with pytest.raises(StorageError, match="/dev/zero: this is a pipe, a socket or a device, not a file"):
        read_text("/dev/zero")


def test_what_is_odd_but_hidden_or_left_by_another_job_harms_nothing(folder: Path) -> None:
    (folder / ".#part-1.csv").symlink_to("somebody@host.4711")  # an editor's lock
    (folder / "_temporary").mkdir()
    os.mkfifo(folder / "_temporary" / "pipe")
    assert _below(str(folder), list_input(str(folder))) == ["part-1.csv"]


def test_a_name_that_is_not_utf8_is_one_clear_line(folder: Path) -> None:
    Path(os.fsdecode(bytes(folder) + b"/caf\xe9.csv")).write_bytes(b"x")
    with pytest.raises(StorageError, match=r"in/caf\\udce9\.csv: the name is not UTF-8\. Rename it\."):
        list_input(str(folder))


def test_gc_looks_through_links(tmp_path: Path) -> None:
    workspace, disk = tmp_path / "workspace", tmp_path / "disk"
    for place in workspace, disk:
        place.mkdir()
    (workspace / "train").symlink_to(disk)
    left = disk / "for-you" / "0123456789ab" / "part-0123456789ab.bin"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"x")
    os.utime(left, (0, 0))
    os.utime(left.parent, (0, 0))
    assert gc(workspace_uri=str(workspace), output_uris=[])["unfinished_steps"] == 1
    assert not left.exists()
