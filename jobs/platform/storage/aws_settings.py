"""Checks of this process's AWS settings: an error names the variable, its value unless it is a secret, and a remedy."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from botocore.exceptions import (
    BotoCoreError,
    CredentialRetrievalError,
    NoCredentialsError,
    SSLError,
    SSOError,
    TokenRetrievalError,
)
from botocore.utils import should_bypass_proxies

from schemas.errors import StorageError

ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")  # the first that is set counts
_SECRETS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
_FILES = ("AWS_CA_BUNDLE", "AWS_WEB_IDENTITY_TOKEN_FILE")
_SHOWN = re.compile(r"(?!.*(KEY|SECRET|TOKEN))AWS_\w+|AWS_WEB_IDENTITY_TOKEN_FILE")  # variables whose value may be shown
_REMEDIES: dict[type[Exception] | tuple[type[Exception], ...], str] = {
    NoCredentialsError: "Set AWS_PROFILE, AWS_ACCESS_KEY_ID or a role.",
    SSLError: "Check whether the store speaks https, or name its certificate authority in AWS_CA_BUNDLE.",
    (CredentialRetrievalError, TokenRetrievalError, SSOError): "Renew the credentials, or mend the profile that names them.",
}


def checked(make: Callable[[], Any]) -> Any:
    """The client that `make` creates from these settings.

    Raises:
        StorageError: A setting is wrong; the error names it.
    """
    for name in ENDPOINTS:
        if fault := _endpoint_fault(os.environ.get(name, "")):
            raise _wrong(name, fault, "Write http://host:port or https://host, or unset it for AWS itself.")
    for name in _SECRETS:
        if not re.fullmatch(r"[!-~]*", os.environ.get(name, "")):
            raise _wrong(name, "this key holds a blank, a line end or a letter that no key has", "Copy it again.")
    for name in _FILES:
        if (path := os.environ.get(name)) and not os.path.exists(path):
            raise _wrong(name, "there is no such file", "Mend or unset it.")
    try:
        return make()
    except (BotoCoreError, ValueError, OSError) as error:
        culprit = _culprit(make)
        if culprit is None:
            raise StorageError(
                error_text(error), where="the AWS settings", remedy="Mend the config file that holds it."
            ) from None
        raise _wrong(culprit, error_text(error), "Mend or unset it.") from None


def error_text(error: Exception) -> str:
    """boto3's message, without a full stop; never a header, which may hold a secret."""
    return str(error).partition("Invalid header value")[0].rstrip(".: ") or type(error).__name__


def remedy_of(error: Exception) -> str:
    """What to do where the store can't be reached or its answers don't come."""
    for kinds, remedy in _REMEDIES.items():
        if isinstance(error, kinds):
            return remedy
    name = next((name for name in ENDPOINTS if os.environ.get(name)), None)
    region = os.environ.get("AWS_DEFAULT_REGION")
    place = name or (f"AWS_DEFAULT_REGION ({region!r})" if region else "the region of the AWS config")
    return f"Check {place} and the network.{_proxy_remedy(os.environ[name] if name else 'https://s3.amazonaws.com')}"


def _proxy_remedy(url: str) -> str:
    """Which variable has requests to an endpoint go through a proxy, its value without a password, and what to do."""
    scheme = urlsplit(url).scheme
    name = next((name for name in (f"{scheme}_proxy", f"{scheme.upper()}_PROXY") if os.environ.get(name)), None)
    if name is None or should_bypass_proxies(url):
        return ""
    begin, slashes, rest = os.environ[name].rpartition("://")
    shown = f"{begin}{slashes}{rest.rpartition('@')[2]}"
    return f" Requests go through {name}={shown}: check it, or name the store in NO_PROXY."


def _endpoint_fault(url: str) -> str | None:
    """What is wrong with an endpoint's URL; None where it is right, or not set."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "this is no URL, or its port is none"
    if parts.username is not None or parts.password is not None:
        return "a URL with a user name or a password is not taken"
    is_host = re.fullmatch(r"[A-Za-z0-9._-]+|[0-9a-f:.]+", parts.hostname or "") is not None
    is_plain = parts.scheme in {"http", "https"} and url == url.strip() and not parts.query and not parts.fragment
    return None if not url or (is_host and is_plain and port != 0) else "this is no URL of a store"


def _culprit(make: Callable[[], Any]) -> str | None:
    """The variable without which a client can be made; None where it is none, so that a config file is at fault."""
    for name in sorted(name for name in os.environ if name.startswith("AWS_")):
        value = os.environ.pop(name)
        try:
            make()
            return name
        except (BotoCoreError, ValueError, OSError):
            continue
        finally:
            os.environ[name] = value
    return None


def _wrong(name: str, problem: str, remedy: str) -> StorageError:
    """The error of a variable, with its value if that may be shown."""
    value = os.environ.get(name, "")
    shown: dict[str, str] = {"value": value} if _SHOWN.fullmatch(name) and "@" not in value else {}
    return StorageError(problem, where=name, remedy=remedy, **shown)
