"""Files by URI: `s3://bucket/key`, `file:///path` or a plain path; one small interface over both kinds of place.

Whatever is written appears whole or not at all. Local files are written beside their target and renamed; S3 objects are
single PUTs or multipart uploads that are completed or aborted. Commit points (`create`, `replace`) are conditional, and
settle a lost response by reading back the writer's token.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from jobs.platform.storage.local import LocalStore, local_errors
from jobs.platform.storage.store import Staged, Store, StoredFile
from schemas.documents import is_json
from schemas.errors import StorageError
from schemas.uris import canonical, parse_uri, scheme_of

__all__ = [
    "STORES",
    "Staged",
    "Store",
    "StoredFile",
    "folders_read",
    "input_below",
    "is_object",
    "join",
    "list_input",
    "normalise",
    "read_chunks",
    "read_given",
    "read_text",
    "store_for",
]

MOST_TEXT_BYTES = 16 << 20  # of a config or a schema


def _s3() -> Store:
    from jobs.platform.storage.s3 import S3Store  # boto3 loads slowly, and local files do without

    return S3Store()


STORES: dict[str, Callable[[], Store]] = {"": LocalStore, "s3": _s3}
"""Stores by the schemes of schemas/uris.py; local paths have none."""


def is_object(uri: str) -> bool:
    """Whether a normalised URI names an object, or a prefix of some, and no local path."""
    return bool(scheme_of(uri))


def normalise(uri: str) -> str:
    """One spelling for one place: `s3://…`, or an absolute local path. A trailing slash is kept.

    Raises:
        StorageError: It names no place, or one of a kind that is not known.
    """
    path = parse_uri(uri)
    if is_object(path):
        return path
    with local_errors(path):
        absolute = str(Path(os.path.expanduser(path)).absolute())
        if ".." in absolute.split("/"):
            absolute = os.path.realpath(absolute)  # only the file system knows what is above a link
    return absolute + "/" if path.endswith("/") and absolute != "/" else absolute


def join(folder: str, *parts: str) -> str:
    """A URI below a folder."""
    return "/".join([folder.rstrip("/"), *(part.strip("/") for part in parts)])


def store_for(uri: str) -> Store:
    """The store of a normalised URI."""
    return STORES[scheme_of(uri)]()


def list_input(uri: str) -> list[StoredFile]:
    """The files that a URI names: the file itself, or every file below a folder, by name, as `input_below` finds them.

    A URI without a trailing slash that names no file is taken as a folder.

    Raises:
        StorageError: Nothing is there.
    """
    uri = normalise(uri)
    store = store_for(uri)
    if not uri.endswith("/") and (file := store.stat(uri)) is not None:
        return [file]
    files = input_below(uri if uri.endswith("/") else uri + "/")
    if not files:
        raise StorageError("no file is there", where=uri, remedy="Name a file, or a folder that holds at least one file.")
    return files


def input_below(uri: str) -> list[StoredFile]:
    """The files whose URI starts with a normalised one, by name.

    Left out, as Spark, Glue and Athena do, is what lies behind a part that begins with `_` or `.`: what a killed job left, or
    wrote about its data. A part that the user named is taken as it is.
    """
    return store_for(uri).list(uri, without=("_", "."))


def folders_read(folder: str) -> set[str]:
    """A local folder, and where links below it lead: whatever lies in one of them is input."""
    visited, ahead = set[str](), [canonical(folder)]
    while ahead:
        place = ahead.pop()
        if place not in visited:
            linked = (os.path.join(root, name) for root, folders, _ in os.walk(place) for name in folders)
            ahead += [os.path.realpath(path) for path in linked if os.path.islink(path)]
            visited.add(place)
    return visited


def read_chunks(file: StoredFile, chunk_bytes: int) -> Iterator[bytes]:
    """The bytes of a file as it was listed, so many at a time."""
    for start in range(0, file.size, chunk_bytes):
        yield store_for(file.uri).read(file.uri, start, min(start + chunk_bytes, file.size), file.version)


def read_text(uri: str) -> str:
    """A whole small file as UTF-8 text; a byte-order mark is dropped.

    Raises:
        StorageError: It is missing, unreadable, not UTF-8, or larger than MOST_TEXT_BYTES.
    """
    uri = normalise(uri)
    store = store_for(uri)
    file = store.stat(uri)
    if file is not None and file.size > MOST_TEXT_BYTES:
        allowed = f"at most {MOST_TEXT_BYTES:,} bytes"
        raise StorageError("the file is too large for a config or a schema", where=uri, value=file.size, allowed=allowed)
    try:
        return store.read(uri).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise StorageError(f"the file is not UTF-8 text (byte {error.start})", where=uri) from None


def read_given(text: str, option: str) -> tuple[str, str]:
    """An argument that is a JSON document, or the URI of its file: the JSON, and its name for messages.

    Args:
        text: The argument.
        option: The option that it was given to, which is the name of a document.

    Raises:
        StorageError: It is a URI, and the file is missing, unreadable or not UTF-8.
    """
    return (text, option) if is_json(text) else (read_text(text), normalise(text))
