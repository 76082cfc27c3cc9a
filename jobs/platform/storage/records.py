"""Small JSON documents of the platform beside manifests: with a checksum as those have, verified at every read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from jobs.platform.storage import store_for
from schemas.checksums import damaged, verified, with_checksum


def write_record(uri: str, document: Mapping[str, Any]) -> None:
    """Write one, replacing any other."""
    store_for(uri).write(uri, with_checksum(document))


def create_record(uri: str, document: Mapping[str, Any]) -> None:
    """Write one that must not exist. Raises CommitLost where it does, CommitUnknown where the store won't say."""
    store_for(uri).create(uri, with_checksum(document))


def read_record(uri: str, shape: type[Any], *, what: str, remedy: str) -> dict[str, Any]:
    """The document that `write_record` or `create_record` wrote.

    Args:
        uri: Where it lies.
        shape: A model or dataclass that it must match.
        what: Such as "record of a night".
        remedy: What to do where it is damaged, without a full stop.

    Raises:
        IntegrityError: It was damaged since, or has another shape.
        StorageError: It is not there, or cannot be read.
    """
    document = verified(store_for(uri).read(uri), where=uri, what=what, remedy=remedy)
    try:
        TypeAdapter(shape).validate_python(document)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise damaged(f"{key}: {first['msg']}", where=uri, what=what, remedy=remedy) from None
    return document
