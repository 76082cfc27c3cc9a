"""Files by URI: `s3://bucket/key`, `file:///path` or a plain path; one small interface over both kinds of place.

Whatever is written appears whole or not at all. Local files are written beside their target and renamed; S3 objects are
single PUTs or multipart uploads that are completed or aborted. Commit points (`create`, `replace`) are conditional, and
settle a lost answer by reading back the writer's token.
"""

from __future__ import annotations

from pathlib import Path

from jobs.storage.local import LocalStore
from jobs.storage.s3 import S3Store
from jobs.storage.store import Store, StoredFile
from schemas.errors import StorageError

__all__ = ["Store", "StoredFile", "is_s3", "join", "list_input", "normalise", "read_text", "store_for"]


def is_s3(uri: str) -> bool:
    """True for `s3://…` (and `s3a://`, `s3n://`, which name the same objects)."""
    return uri.split("://", 1)[0] in {"s3", "s3a", "s3n"} and "://" in uri


def normalise(uri: str) -> str:
    """One spelling for one place: `s3://…`, or an absolute local path. A trailing slash is kept.

    Raises:
        StorageError: The scheme is none of `s3`, `s3a`, `s3n`, `file`, or a bucket name is missing.
    """
    if is_s3(uri):
        location = uri.split("://", 1)[1]
        if not location.split("/", 1)[0]:
            raise StorageError("the bucket name is missing", value=uri, allowed="s3://bucket/path")
        return "s3://" + location
    if "://" in uri and not uri.startswith("file://"):
        raise StorageError("this kind of place is not known", value=uri, allowed="s3://…, file://… or a plain path")
    if not uri or "\0" in uri:
        raise StorageError("the path is empty or holds a NUL byte", value=uri)
    path = uri.removeprefix("file://")
    absolute = str(Path(path).expanduser().absolute())
    return absolute + "/" if path.endswith("/") and absolute != "/" else absolute


def join(folder: str, *parts: str) -> str:
    """A URI below a folder."""
    return "/".join([folder.rstrip("/"), *(part.strip("/") for part in parts)])


def store_for(uri: str) -> Store:
    """The store that serves a normalised URI."""
    return S3Store() if is_s3(uri) else LocalStore()


def list_input(uri: str) -> list[StoredFile]:
    """The files a user means by a URI: the file itself, or every file below a folder, by name.

    A URI without a trailing slash that names no file is taken as a folder.

    Raises:
        StorageError: Nothing is there.
    """
    uri = normalise(uri)
    store = store_for(uri)
    if not uri.endswith("/") and (file := store.stat(uri)) is not None:
        return [file]
    files = [file for file in store.list(uri.rstrip("/") + "/") if not file.name.startswith(("_", "."))]
    if not files:
        raise StorageError("no file is there", where=uri, remedy="Name a file, or a folder that holds at least one file.")
    return files


def read_text(uri: str) -> str:
    """A whole small file as UTF-8 text; a byte-order mark is dropped.

    Raises:
        StorageError: It is missing, unreadable or not UTF-8.
    """
    uri = normalise(uri)
    try:
        return store_for(uri).read(uri).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise StorageError(f"the file is not UTF-8 text (byte {error.start})", where=uri) from None
