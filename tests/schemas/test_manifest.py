"""A manifest, and every other record, is read as it was written or not at all."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from damaged_records import manifest, records
from fuzz_records import attack

from schemas.checksums import DIGEST, verified, with_checksum
from schemas.errors import IntegrityError
from schemas.manifest import FileEntry, Manifest
from schemas.paths import plain_folder

OUTSIDE = ["../../../victim.txt", "a/../../victim", "..", "/etc/passwd", "", ".", "./a", "a//b", "a/", "a/./b", "a\\b", "a\0b"]


def read(data: bytes) -> Manifest:
    return Manifest.from_bytes(data, "/x/manifest.json")


def test_what_was_written_is_read() -> None:
    assert read(manifest().to_bytes()) == manifest()


def test_metadata_is_stored_as_facts() -> None:
    document = json.loads(manifest().to_bytes())
    assert document["facts"] == manifest().metadata
    del document[DIGEST]
    document["metadata"] = document.pop("facts")
    with pytest.raises(IntegrityError, match="damaged manifest"):
        read(with_checksum(document))


def test_another_program_may_write_it_in_another_layout() -> None:
    data = manifest().to_bytes()
    assert read(json.dumps(json.loads(data), sort_keys=True, indent=4).encode()) == manifest()


def test_one_letter_of_a_fact_is_damage() -> None:
    data = manifest().to_bytes()
    with pytest.raises(IntegrityError, match=r"^/x/manifest\.json: damaged manifest \(its digest .*delete it and run the step"):
        read(data.replace(b"purchase", b"purchasf"))


@pytest.mark.parametrize("value", ["1", 1.5, None, [], {}, True])
def test_a_fact_of_another_type_is_damage(value: Any) -> None:
    document = json.loads(manifest().to_bytes())
    document["counts"]["users"] = value
    with pytest.raises(IntegrityError, match="damaged manifest"):
        read(json.dumps(document).encode())


@pytest.mark.parametrize("key", [*(field.alias or name for name, field in Manifest.model_fields.items()), DIGEST])
def test_a_missing_key_is_damage(key: str) -> None:
    document = json.loads(manifest().to_bytes())
    del document[key]
    with pytest.raises(IntegrityError, match="damaged manifest"):
        read(json.dumps(document).encode())


@pytest.mark.parametrize(
    "data",
    [b"", b"{}", b"[]", b"null", b"\xff\xfe", b"{" * 100_000, b"[" * 100_000, b"9" * 5000, b'{"digest": 1}'],
    ids=["empty", "no keys", "a list", "null", "UTF-16", "braces", "brackets", "digits", "a number"],
)
def test_what_is_no_manifest_is_damage(data: bytes) -> None:
    with pytest.raises(IntegrityError, match="damaged manifest"):
        read(data)


def test_a_key_that_stands_there_twice_is_damage() -> None:
    data = manifest().to_bytes()
    with pytest.raises(IntegrityError, match="it is not JSON"):
        read(data.replace(b'"users": 7', b'"users": 7, "users": 7'))


def test_a_manifest_of_an_older_version_has_no_digest_and_is_refused() -> None:
    document = json.loads(manifest().to_bytes())
    del document[DIGEST]
    with pytest.raises(IntegrityError, match="it carries no digest"):
        read(json.dumps(document).encode())


@pytest.mark.parametrize("path", OUTSIDE)
def test_no_path_leads_out_of_the_folder_though_the_digest_be_right(path: str) -> None:
    document = json.loads(manifest().to_bytes())
    del document[DIGEST]
    document["files"][0]["path"] = path
    with pytest.raises(IntegrityError, match=r"damaged manifest \(files\.0\.path"):
        read(with_checksum(document))
    with pytest.raises(ValueError, match="path"):
        FileEntry(path=path, size=0, sha256="0" * 64)


@pytest.mark.parametrize("path", ["a", "data/part-0.parquet", "..a", "a..b/...", "data_docs/a b+ü.html", "~"])
def test_other_paths_are_taken(path: str) -> None:
    assert FileEntry(path=path, size=0, sha256="0" * 64).path == path


@pytest.mark.parametrize("uri", ["s3://bucket/a//b/", "s3://bucket/out", "/a/b/", "/a"])
def test_normalised_folders_are_taken(uri: str) -> None:
    assert plain_folder(uri) == uri


@pytest.mark.parametrize("uri", ["", "/", "out", "/a/../b", "/a/./b", "/a//b", "s3://b/a/../c", "s3://", "file:///a", "/a\0b"])
def test_other_folders_are_refused(uri: str) -> None:
    with pytest.raises(ValueError, match=r"path|place"):
        plain_folder(uri)


def test_a_file_that_no_manifest_names_is_an_error_not_a_fault() -> None:
    with pytest.raises(IntegrityError, match=r"names no file 'nothing'"):
        manifest().file("nothing")


def test_odd_values_come_back_as_a_reader_of_json_sees_them() -> None:
    document = {"a": (1, 2), "b": "\ud800", "c": float("inf"), "d": {"é": -0.0}}
    assert verified(with_checksum(document), where="x", what="y", remedy="z") == {**document, "a": [1, 2], "c": None}


@pytest.mark.parametrize("kind", list(records()))
@pytest.mark.parametrize("seed", range(4))
def test_damaged_records_are_refused_or_read_as_they_were(tmp_path: Path, kind: str, seed: int) -> None:
    chance = random.Random(seed)
    told = {attack(tmp_path / kind, kind, records()[kind], chance) for _ in range(50)}
    assert told == {"refused", "equal"}
