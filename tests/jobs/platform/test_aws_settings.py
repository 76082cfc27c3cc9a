"""A wrong AWS setting is named with its value, unless that is a secret, and with its own remedy."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from jobs.platform.storage import s3_client, store_for
from jobs.platform.storage.s3_client import client
from schemas.errors import StorageError

Settings = dict[str, str | None]


@pytest.fixture(autouse=True)
def _one_attempt(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(s3_client, "ATTEMPTS", 1)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    client.cache_clear()
    yield
    client.cache_clear()


def _complaint(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> str:
    for name, value in settings.items():
        if value is None:
            monkeypatch.delenv(name)
        else:
            monkeypatch.setenv(name, value)
    before = dict(os.environ)
    with pytest.raises(StorageError) as raised:
        store_for("s3://bucket").list("s3://bucket/in/")
    assert dict(os.environ) == before
    return str(raised.value)


ENDPOINTS = [
    "localhost:9000",
    "localhost",
    "http//localhost:9000",
    "http:/localhost:9000",
    "http://",
    "http://host:99999",
    "http://host:port",
    "ftp://127.0.0.1:9",
    " http://127.0.0.1:9",
    "http://127.0.0.1:9 ",
    "http://[::1",
    "http://exa mple",
    "http://127.0.0.1:9?x=1",
    "s3://bucket",
]


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"])
@pytest.mark.parametrize("url", ENDPOINTS)
def test_an_endpoint_that_is_none_is_named(monkeypatch: pytest.MonkeyPatch, name: str, url: str) -> None:
    said = _complaint(monkeypatch, {name: url})
    assert said.startswith(f"{name}: this is no URL")
    assert said.endswith(f"(got {url!r}). Write http://host:port or https://host, or unset it for AWS itself.")


@pytest.mark.parametrize(
    ("settings", "name", "value"),
    [
        ({"AWS_DEFAULT_REGION": "eu west"}, "AWS_DEFAULT_REGION", "eu west"),
        ({"AWS_PROFILE": "nope"}, "AWS_PROFILE", "nope"),
        ({"AWS_SECRET_ACCESS_KEY": None}, "AWS_ACCESS_KEY_ID", None),
        ({"AWS_DEFAULTS_MODE": "loud"}, "AWS_DEFAULTS_MODE", "loud"),
        ({"AWS_REQUEST_CHECKSUM_CALCULATION": "never"}, "AWS_REQUEST_CHECKSUM_CALCULATION", "never"),
        ({"AWS_METADATA_SERVICE_TIMEOUT": "soon"}, "AWS_METADATA_SERVICE_TIMEOUT", "soon"),
        ({"AWS_CONFIG_FILE": "@/broken"}, "AWS_CONFIG_FILE", "@/broken"),
        ({"AWS_SHARED_CREDENTIALS_FILE": "@/broken"}, "AWS_SHARED_CREDENTIALS_FILE", "@/broken"),
        ({"AWS_CA_BUNDLE": "@/absent"}, "AWS_CA_BUNDLE", "@/absent"),
        ({"AWS_WEB_IDENTITY_TOKEN_FILE": "@/absent", "AWS_ROLE_ARN": "r"}, "AWS_WEB_IDENTITY_TOKEN_FILE", "@/absent"),
    ],
)
def test_any_other_setting_that_is_wrong_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, settings: Settings, name: str, value: str | None
) -> None:
    (tmp_path / "broken").write_text("[default\nx")
    said = _complaint(monkeypatch, {key: text and text.replace("@", str(tmp_path)) for key, text in settings.items()})
    assert said.startswith(f"{name}: ")
    assert said.endswith("Mend or unset it.")
    assert (f"(got '{value.replace('@', str(tmp_path))}')" in said) if value else "(got" not in said


def test_a_config_file_that_is_wrong_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "config").write_text("[default]\nendpoint_url = localhost:9000\n")
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    said = _complaint(monkeypatch, {"AWS_CONFIG_FILE": str(tmp_path / "config")})
    assert said == f"AWS_CONFIG_FILE: Invalid endpoint: localhost:9000 (got '{tmp_path}/config'). Mend or unset it."


SECRET = "s3cr3t-s3cr3t"
THROUGH, DO = "Requests go through", "check it, or name the store in NO_PROXY."


@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"])
@pytest.mark.parametrize("ending", ["\n", " ", "ü"])
def test_a_key_that_was_copied_badly_is_named_and_never_shown(monkeypatch: pytest.MonkeyPatch, name: str, ending: str) -> None:
    said = _complaint(monkeypatch, {name: SECRET + ending})
    assert said == f"{name}: this key holds a blank, a line end or a letter that no key has. Copy it again."


def test_a_password_in_an_endpoint_is_refused_and_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    said = _complaint(monkeypatch, {"AWS_ENDPOINT_URL": f"http://user:{SECRET}@127.0.0.1:9"})
    assert said.startswith("AWS_ENDPOINT_URL: a URL with a user name or a password is not taken.")
    assert SECRET not in said


@pytest.mark.parametrize(
    ("settings", "remedy"),
    [
        ({}, "Check AWS_ENDPOINT_URL and the network."),
        ({"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9"}, "Check AWS_ENDPOINT_URL_S3 and the network."),
        (
            {"AWS_ENDPOINT_URL": "http://store.invalid", "HTTP_PROXY": f"http://user:{SECRET}@127.0.0.1:9"},
            f"and the network. {THROUGH} HTTP_PROXY=http://127.0.0.1:9: check it, or name the store in NO_PROXY.",
        ),
        (
            {"AWS_ENDPOINT_URL": "https://127.0.0.1:9", "https_proxy": f"u:{SECRET}@127.0.0.1:9"},
            f"{THROUGH} https_proxy=127.0.0.1:9: {DO}",
        ),
        (
            {"HTTP_PROXY": "http://127.0.0.1:9", "http_proxy": "http://localhost:9"},
            f"{THROUGH} http_proxy=http://localhost:9: {DO}",
        ),
        ({"HTTPS_PROXY": "http://127.0.0.1:9"}, "Check AWS_ENDPOINT_URL and the network."),  # of another scheme
        ({"HTTP_PROXY": "http://127.0.0.1:9", "NO_PROXY": "127.0.0.1"}, "Check AWS_ENDPOINT_URL and the network."),
        ({"AWS_MAX_ATTEMPTS": "many"}, "Check AWS_ENDPOINT_URL and the network."),  # there is one policy, and it is ours
    ],
)
def test_what_cannot_be_reached_has_the_remedy_of_its_setting(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, remedy: str
) -> None:
    said = _complaint(monkeypatch, settings)
    assert said.startswith("s3://bucket/in/: ")
    assert said.endswith(remedy)
    assert SECRET not in said


def test_a_store_that_speaks_no_https_is_told(moto_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    said = _complaint(monkeypatch, {"AWS_ENDPOINT_URL": moto_endpoint.replace("http:", "https:")})
    assert said.endswith("Check whether the store speaks https, or name its certificate authority in AWS_CA_BUNDLE.")


def test_without_an_endpoint_the_region_is_to_be_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    refuse = SimpleNamespace(list_objects_v2=lambda **_: (_ for _ in ()).throw(TimeoutError("nothing came")))
    monkeypatch.setattr(s3_client, "client", lambda: refuse)
    said = _complaint(monkeypatch, {"AWS_DEFAULT_REGION": "eu-wst-1"})
    assert said == "s3://bucket/in/: nothing came. Check AWS_DEFAULT_REGION ('eu-wst-1') and the network."
