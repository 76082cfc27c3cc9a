"""How places are written: each spelling that others use names the same place, or is refused with the right one."""

from __future__ import annotations

import pytest

from schemas.errors import StorageError
from schemas.uris import parse_uri


@pytest.mark.parametrize(
    ("uri", "place"),
    [
        ("s3://b/k", "s3://b/k"),
        ("S3://b/k", "s3://b/k"),
        ("s3a://b/k", "s3://b/k"),
        ("s3n://b/k/", "s3://b/k/"),
        ("s3://b/a%20b//c+d ü?#/", "s3://b/a%20b//c+d ü?#/"),
        ("file:/x/y", "/x/y"),
        ("file:///x/y/", "/x/y/"),
        ("file://localhost/x/y", "/x/y"),
        ("FILE:///x", "/x"),
        ("file:///a%20b/%C3%BC%25+c", "/a b/ü%+c"),
        ("/a%20b", "/a%20b"),
        ("//x/y", "/x/y"),
        ("///x//y/", "/x//y/"),
        ("./s3:/bucket", "./s3:/bucket"),
        ("12:30.csv", "12:30.csv"),
        ("day:monday/x.csv", "day:monday/x.csv"),
    ],
)
def test_each_spelling_names_its_place(uri: str, place: str) -> None:
    assert parse_uri(uri) == place


@pytest.mark.parametrize(
    ("uri", "meant"),
    [
        ("s3:/bucket/x", "s3://bucket/x"),
        ("s3:bucket/x", "s3://bucket/x"),
        ("s3a:/bucket/x", "s3://bucket/x"),
        ("file:x/y", "file:///x/y"),
        ("file://x/y", "file:///x/y"),
    ],
)
def test_a_spelling_that_is_nearly_right_is_answered_with_the_right_one(uri: str, meant: str) -> None:
    with pytest.raises(StorageError, match="Did you mean") as raised:
        parse_uri(uri)
    assert f"Did you mean {meant}?" in str(raised.value)


@pytest.mark.parametrize("uri", ["hdfs:/x", "gs:/x", "gs://bucket/key", "http://host/file", "abfss:///x", "C:/x", " s3://b/k"])
def test_a_place_of_another_kind_is_refused_and_never_a_local_folder(uri: str) -> None:
    with pytest.raises(StorageError, match=r"this kind of place is not known .* Allowed: s3://bucket/path, file:///path or"):
        parse_uri(uri)


@pytest.mark.parametrize(
    "uri",
    [
        *("", "a\0b", "file:///a%00b", "s3://", "s3:", "s3:///key", "caf\udce9.csv", "file:///caf%E9.csv"),
        *("s3://bucket/a/../b", "s3://bucket/./b", "s3://bucket/.."),
    ],
)
def test_what_names_nothing_is_refused(uri: str) -> None:
    with pytest.raises(StorageError) as raised:
        parse_uri(uri)
    str(raised.value).encode()
