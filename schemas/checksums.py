"""JSON documents with a checksum: each carries the SHA-256 of its own content, so that damage is found when it is read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from schemas.documents import read_json
from schemas.errors import IntegrityError

DIGEST = "digest"  # key of the checksum, beside the document's own


def with_checksum(document: Mapping[str, Any]) -> bytes:
    """The JSON text of a document and its checksum: indented, UTF-8, ending in a newline."""
    # As a reader will see it: texts as keys, lists for tuples, null for what is no number of JSON.
    plain = json.loads(json.dumps(document), parse_constant=lambda _: None)
    return (json.dumps(plain | {DIGEST: checksum_of(plain)}, indent=1) + "\n").encode()


def verified(data: bytes, *, where: str, what: str, remedy: str) -> dict[str, Any]:
    """The document that `with_checksum` wrote, its checksum verified and taken out.

    Args:
        data: The file's bytes.
        where: Its URI.
        what: Such as "manifest".
        remedy: What to do where it is damaged, without a full stop.

    Raises:
        IntegrityError: The bytes are not JSON, carry no checksum, or another content's.
    """
    try:
        document = read_json(data.decode())
        stored = document.pop(DIGEST, None) if isinstance(document, dict) else None
        matches = stored == checksum_of(document)
    except (ValueError, RecursionError):
        raise damaged("it is not JSON", where=where, what=what, remedy=remedy) from None
    if stored is None:
        raise damaged("it carries no digest", where=where, what=what, remedy=remedy)
    if not matches:
        raise damaged("its digest belongs to another text", where=where, what=what, remedy=remedy)
    return dict(document)


def damaged(how: str, *, where: str, what: str, remedy: str) -> IntegrityError:
    """The error of a damaged file: `…/manifest.json: damaged manifest (it is not JSON); delete it and run the step again.`"""
    return IntegrityError(f"{where}: damaged {what} ({how}); {remedy}.")


def checksum_of(document: Any) -> str:
    """Hex SHA-256 of a JSON value's canonical text: keys in order, no blanks, ASCII."""
    return hashlib.sha256(json.dumps(document, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
