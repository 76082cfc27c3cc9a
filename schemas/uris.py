"""URIs of places: `s3://bucket/key`, `file:///path`, or a plain path."""

from __future__ import annotations

import os
import re
from typing import Annotated
from urllib.parse import unquote

from pydantic import AfterValidator, StringConstraints
from pydantic_core import PydanticCustomError

from schemas.errors import StorageError

ALLOWED = "s3://bucket/path, file:///path or a plain path"
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(/*)(.*)", re.DOTALL)
OBJECT_STORES = {"s3": "s3", "s3a": "s3", "s3n": "s3"}  # schemes as people write them -> one of those that name the same


def parse_uri(uri: str) -> str:
    """Parse the URI of a place: `s3://bucket/key` as it stands, or a local path, which a file URI holds percent-encoded.

    Raises:
        StorageError: It names none, or one of a kind that is not known.
    """
    if not uri or "\0" in uri:
        raise StorageError("the path is empty or holds a NUL byte", value=uri)
    match = _SCHEME.fullmatch(uri)
    scheme, slashes, rest = (match[1].lower(), match[2], match[3]) if match else ("", "", uri)
    if scheme in OBJECT_STORES:
        return _object(uri, OBJECT_STORES[scheme], slashes, rest)
    if scheme == "file":
        return check_name(_local(uri, slashes, rest))
    if slashes or "://" in uri:
        raise StorageError(
            "this kind of place is not known",
            value=uri,
            allowed=ALLOWED,
            remedy=f"A path that begins so is written ./{uri[:80]}",
        )
    # POSIX leaves it open what two slashes at the beginning mean; here a root and a path were put together.
    return check_name("/" + uri.lstrip("/") if uri.startswith("//") else uri)


def scheme_of(uri: str) -> str:
    """The object store of a URI that `parse_uri` gave; empty for a local path."""
    scheme, found, _ = uri.partition("://")
    return scheme if found and scheme in OBJECT_STORES else ""


def _object(uri: str, scheme: str, slashes: str, rest: str) -> str:
    """`s3://bucket/key`; the key is taken as it stands."""
    if slashes == "//" and {".", ".."} & set(rest.split("/")):
        raise StorageError(f"a part of an {scheme.upper()} URI is . or ..", value=uri, remedy="Write the key without them.")
    if slashes == "//" and rest:
        return f"{scheme}://{rest}"
    if slashes.startswith("//") or not rest:
        raise StorageError("the bucket name is missing", value=uri, allowed=f"{scheme}://bucket/path")
    problem = f"an {scheme.upper()} URI has two slashes before its bucket"
    raise StorageError(problem, value=uri, remedy=f"Did you mean {scheme}://{rest}?")


def _local(uri: str, slashes: str, rest: str) -> str:
    """The path of a file URI, in any of Hadoop's spellings: file:/path, file:///path, file://localhost/path."""
    if slashes == "//" and rest.startswith("localhost/"):
        slashes, rest = "/", rest.removeprefix("localhost/")
    if slashes not in {"/", "///", "////"}:
        raise StorageError("a file URI holds a whole path of this machine", value=uri, remedy=f"Did you mean file:///{rest}?")
    path = "/" + unquote(rest, errors="surrogateescape")
    if "\0" in path:
        raise StorageError("the path is empty or holds a NUL byte", value=uri)
    return path


def check_name(path: str) -> str:
    """The path of a local file, if it can be printed and stored.

    Raises:
        StorageError: It holds bytes that are not UTF-8.
    """
    try:
        path.encode()
    except UnicodeEncodeError:
        raise StorageError("the name is not UTF-8", where=path, remedy="Rename it.") from None
    return path


def canonical(uri: str) -> str:
    """The one name of a place that may be written in several ways, without a slash at its end: links are followed.

    Raises:
        StorageError: It names no place.
    """
    path = parse_uri(uri)
    return path.rstrip("/") if scheme_of(path) else os.path.realpath(os.path.expanduser(path))


def lies_in(uri: str, folder: str) -> bool:
    """Whether a place is a folder, or lies below it, however both are written."""
    return f"{canonical(uri)}/".startswith(canonical(folder).rstrip("/") + "/")


def _checked(uri: str) -> str:
    """A URI of a config as it stands, for pydantic."""
    try:
        parse_uri(uri)
    except StorageError as error:
        raise PydanticCustomError("uri", "{problem}", {"problem": error.problem, "remedy": error.remedy}) from None
    return uri


Uri = Annotated[str, StringConstraints(strict=True, min_length=1), AfterValidator(_checked)]
