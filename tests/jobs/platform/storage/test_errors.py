"""What a place can't do is one StorageError that names the place, the reason and the remedy; nothing half-written stays."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from staged_files import concatenate

from jobs.platform.storage import Store, join, list_input, s3_client, store_for
from jobs.platform.storage.s3_client import client
from jobs.platform.storage.store import StoredFile
from schemas.errors import StorageError

MEBIBYTE = 1 << 20
Call = Callable[[Store, str, Path], object]


def _upload(store: Store, uri: str, scratch: Path) -> None:
    (scratch / "source").write_bytes(b"x" * MEBIBYTE * 2)
    store.upload(scratch / "source", uri)


def _concatenate(store: Store, uri: str, scratch: Path) -> None:
    (scratch / "source").write_bytes(b"x" * MEBIBYTE * 2)
    source = LOCAL.stat(str(scratch / "source"))
    assert source is not None
    concatenate(store, [source], uri)


LOCAL = store_for("/")
READS: dict[str, Call] = {
    "list": lambda store, uri, _: store.list(uri + "/"),
    "stat": lambda store, uri, _: store.stat(uri),
    "now": lambda store, uri, _: store.now(uri),
    "read": lambda store, uri, _: store.read(uri),
    "download": lambda store, uri, scratch: store.download(uri, scratch / "file"),
}
WRITES: dict[str, Call] = {
    "write": lambda store, uri, _: store.write(uri, b"x" * MEBIBYTE * 2),
    "create": lambda store, uri, _: store.create(uri, b"x" * MEBIBYTE * 2),
    "replace": lambda store, uri, _: store.replace(uri, b"x" * MEBIBYTE * 2, '"0123"'),
    "upload": _upload,
}
SENT_WHOLE: dict[str, Call] = {
    "concatenate small": lambda store, uri, _: concatenate(store, [], uri),
    "concatenate large": lambda store, uri, _: concatenate(store, [StoredFile(uri + "1", 9 * MEBIBYTE, '"0"')], uri),
}


def _named(calls: dict[str, Call]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("call", calls.values(), ids=calls.keys())


@_named(READS | WRITES | SENT_WHOLE)
def test_a_missing_bucket_is_named(s3: str, call: Call, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"^s3://no-such-bucket-here/file.*there is no such (object or )?bucket\..*Check"):
        call(store_for(s3), "s3://no-such-bucket-here/file", tmp_path)


@_named(READS | WRITES | SENT_WHOLE)
def test_a_missing_bucket_is_named_by_a_real_server(seaweed: str, call: Call, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"^s3://no-such-bucket-here/file.*there is no such (object or )?bucket\..*Check"):
        call(store_for(seaweed), "s3://no-such-bucket-here/file", tmp_path)


def test_an_impossible_bucket_name_is_one_clear_line(s3: str) -> None:
    with pytest.raises(StorageError, match=r"^s3://no bucket!/file: this is no valid bucket and object name\. Allowed"):
        store_for(s3).read("s3://no bucket!/file")


@pytest.fixture
def reader(seaweed: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A bucket whose one file these credentials may read, but not change."""
    store_for(seaweed).write(join(seaweed, "file"), b"theirs")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "reader")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "reader-secret")
    client.cache_clear()
    yield seaweed
    client.cache_clear()


@_named(WRITES | {"concatenate small": SENT_WHOLE["concatenate small"]})
def test_a_refused_write_is_named(reader: str, call: Call, tmp_path: Path) -> None:
    store = store_for(reader)
    with pytest.raises(StorageError, match=r"^s3://.*/new: access is denied\. Grant these credentials"):
        call(store, join(reader, "new"), tmp_path)
    assert store.read(join(reader, "file")) == b"theirs"
    assert store.stat(join(reader, "new")) is None


@pytest.mark.parametrize(
    ("variable", "problem"),
    [("AWS_ACCESS_KEY_ID", "the access key is not known"), ("AWS_SECRET_ACCESS_KEY", "the secret key is wrong")],
)
def test_wrong_credentials_are_named(seaweed: str, monkeypatch: pytest.MonkeyPatch, variable: str, problem: str) -> None:
    monkeypatch.setenv(variable, "WRONGWRONGWRONG")
    client.cache_clear()
    with pytest.raises(StorageError, match=problem) as raised:
        store_for(seaweed).list(seaweed + "/")
    assert "WRONG" not in str(raised.value)
    with pytest.raises(StorageError, match="access is denied"):  # a HEAD has no body to say more
        store_for(seaweed).stat(join(seaweed, "file"))


def test_missing_credentials_are_named(s3: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    client.cache_clear()
    for call in READS["list"], WRITES["create"]:
        with pytest.raises(StorageError, match=r"no AWS credentials were found\. Set AWS_PROFILE"):
            call(store_for(s3), join(s3, "file"), tmp_path)


def test_an_unreachable_endpoint_is_named(s3: str, free_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that begins anew is waited for; one that never comes is named."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port}")
    client.cache_clear()
    waits: list[float] = []
    monkeypatch.setattr(s3_client, "time", SimpleNamespace(sleep=waits.append, monotonic=time.monotonic))
    with pytest.raises(StorageError, match=rf"127\.0\.0\.1:{free_port}.* Check AWS_ENDPOINT_URL and the network\."):
        store_for(s3).list(s3 + "/")
    assert len(waits) == s3_client.ATTEMPTS - 1
    assert 10 < sum(waits) < 30


@_named({**WRITES, "concatenate": _concatenate} | {"replace": lambda store, uri, _: _replace_by_a_large_file(store, uri)})
def test_a_full_disk_is_named_and_nothing_half_written_stays(no_space: Path, call: Call, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"small-disk/file: no space is left on the disk\. Free some space"):
        call(LOCAL, str(no_space / "file"), tmp_path)
    assert not (no_space / "file").exists() or (no_space / "file").read_bytes() == b"old"
    assert list(no_space.glob(".hrnn-*")) == []


def _replace_by_a_large_file(store: Store, uri: str) -> None:
    store.write(uri, b"old")
    old = store.stat(uri)
    assert old is not None
    store.replace(uri, b"x" * MEBIBYTE * 2, old.version)


@pytest.mark.parametrize("kind", ["local", "s3"])
def test_a_download_to_a_full_disk_is_named(no_space: Path, s3: str, tmp_path: Path, kind: str) -> None:
    folder = s3 if kind == "s3" else str(tmp_path)
    store_for(folder).write(join(folder, "file"), b"x" * MEBIBYTE * 2)
    with pytest.raises(StorageError, match="small-disk/file: no space is left on the disk"):
        store_for(folder).download(join(folder, "file"), no_space / "file")


@_named(WRITES)
def test_a_name_that_is_too_long_is_named(call: Call, tmp_path: Path) -> None:
    if call is not WRITES["replace"]:
        with pytest.raises(StorageError, match=r"the name is too long\. Choose a shorter one\."):
            call(LOCAL, str(tmp_path / ("x" * 300)), tmp_path)
    with pytest.raises(StorageError, match=r"the name is too long\. Choose a shorter one\."):
        call(LOCAL, str(tmp_path / ("x" * 300) / "file"), tmp_path)


def test_a_long_but_possible_name_in_any_script_works(tmp_path: Path) -> None:
    for name in ["x" * 255, "ü" * 127, "🛒" * 63]:
        LOCAL.write(str(tmp_path / name), b"x")
        LOCAL.create(str(tmp_path / "other" / name), b"x")
        assert LOCAL.read(str(tmp_path / name)) == b"x"


@_named(WRITES)
def test_a_file_in_the_place_of_a_folder_is_named(call: Call, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(StorageError, match=r"a part of the path is a file, not a folder|File exists"):
        call(LOCAL, str(tmp_path / "file" / "below"), tmp_path)


@pytest.mark.parametrize("call", [READS["read"], READS["download"], WRITES["write"], WRITES["upload"]])
def test_a_folder_in_the_place_of_a_file_is_named(call: Call, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageError, match=r"folder: this is a folder, not a file\. Name a file\."):
        call(LOCAL, str(tmp_path / "folder"), tmp_path)
    assert list(tmp_path.glob(".hrnn-*")) == []


@pytest.fixture
def forbidden(tmp_path: Path) -> Iterator[Path]:
    """A folder with one file that this user, even root, may not enter."""
    folder = tmp_path / "forbidden"
    folder.mkdir()
    (folder / "file").write_bytes(b"x")
    folder.chmod(0)
    me = os.geteuid()
    if me == 0:
        os.seteuid(65534)
    yield folder
    os.seteuid(me)
    folder.chmod(0o700)


@_named(READS | {"write": WRITES["write"], "create": WRITES["create"]})
def test_a_forbidden_folder_is_named(call: Call, forbidden: Path, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"forbidden.*permission denied\. Run as a user who may"):
        call(LOCAL, str(forbidden / "file"), tmp_path)


def test_a_forbidden_folder_inside_the_input_is_not_passed_over(forbidden: Path) -> None:
    with pytest.raises(StorageError, match="permission denied"):
        list_input(str(forbidden.parent))
