"""Configs and schemas that are no files, have no end or an impossible name, at the console: one clear line, exit status 1."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from jobs.cli import main
from jobs.platform.storage import MOST_TEXT_BYTES, join, read_text, store_for
from schemas.errors import StorageError

CONFIG = """
[dataset_group]
name = "shop"
workspace = "WORKSPACE"

[datasets.interactions]
schema = "schema.json"
data = "raw/"

[solutions.for-you]
recipe = "aws-hrnn"
"""
Complain = Callable[..., str]


@pytest.fixture
def complain(capfd: pytest.CaptureFixture[str]) -> Complain:
    """Runs `hrnn` in this process, which must end with status 1 and say one line; gives that line."""

    def run(*arguments: str) -> str:
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        complained = capfd.readouterr().err
        assert ended.value.code == 1, complained
        (line,) = complained.splitlines()
        assert line.startswith("hrnn: ")
        line.encode()
        return line

    return run


def _written(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    return str(path)


def _pipe(folder: Path) -> str:
    os.mkfifo(folder / "pipe.toml")
    return str(folder / "pipe.toml")


def _large(folder: Path) -> str:
    with open(folder / "large.toml", "wb") as file:
        file.truncate(MOST_TEXT_BYTES + 1)
    return str(folder / "large.toml")


NO_TEXTS = {
    "a pipe": (_pipe, r"/pipe\.toml: this is a pipe"),
    "an endless device": (lambda _: "/dev/zero", r"/dev/zero: this is a pipe, a socket or a device"),
    "too large": (_large, r"/large\.toml: the file is too large for a config or a schema \(got 16777217\)"),
    "no UTF-8 name": (lambda folder: f"{folder}/caf\udce9.toml", r"/caf\\udce9\.toml: the name is not UTF-8"),
    "a name of two lines": (lambda folder: f"{folder}/a\nb.toml", r"/a\\nb\.toml: there is no such file"),
    "a folder": (str, "this is a folder, not a file"),
}


@pytest.mark.parametrize(("make", "says"), NO_TEXTS.values(), ids=NO_TEXTS.keys())
def test_what_is_no_text_is_named_as_config_and_as_schema(
    tmp_path: Path, complain: Complain, make: Callable[[Path], str], says: str
) -> None:
    uri = make(tmp_path)
    assert re.search(says, complain("nightly", "--config", uri))
    assert re.search(says, complain("validate", "--schema", uri, "--data", str(tmp_path), "--output", str(tmp_path / "out")))


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("[solutions.for-you]", '[solutions."for\\nyou"]', r"solutions\.for\\nyou: this text has the wrong form"),
        ("[solutions.for-you]", '[solutions."for\\u001b[31m"]', r"solutions\.for\\x1b\[31m: this text has the wrong form"),
        ('name = "shop"', 'name = "shop\\n"', r"dataset_group\.name: this text has the wrong form \(got 'shop\\n'\)"),
        ('name = "shop"', "name = " + "1" * 5_000, r"a number has more than 1,000 digits"),
        ('name = "shop"', "name = 0x" + "f" * 5_000, r"a number has more than 1,000 digits"),
        ('name = "shop"', ".".join(["a"] * 20_000) + " = 1", r"a key has more than 100 parts"),
        ('"WORKSPACE"', '"hdfs:/shop"', r"dataset_group\.workspace: this kind of place is not known \(got 'hdfs:/shop'\)"),
        ('"WORKSPACE"', '"s3:/bucket/shop"', r"workspace: an S3 URI has two .* Did you mean s3://bucket/shop\?"),
        ('"WORKSPACE"', '"a\\u0000b"', r"workspace: the path is empty or holds a NUL byte \(got 'a\\x00b'\)"),
        ('recipe = "aws-hrnn"', 'recipe = "aws-hrnn"\n"a\\nb" = 1', r"solutions\.for-you\.a\\nb: .*not known"),
    ],
)
def test_a_hostile_value_of_a_config_is_one_line(tmp_path: Path, complain: Complain, old: str, new: str, says: str) -> None:
    assert old in CONFIG
    config = _written(tmp_path / "config.toml", CONFIG.replace(old, new).encode())
    assert re.search(says, complain("nightly", "--config", config))


def test_a_large_object_is_not_read(s3: str) -> None:
    store_for(s3).write(join(s3, "schema.json"), b" " * (MOST_TEXT_BYTES + 1))
    with pytest.raises(StorageError, match=r"schema\.json: the file is too large for a config or a schema"):
        read_text(join(s3, "schema.json"))
