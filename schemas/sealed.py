"""JSON that carries a SHA-256 of itself, so that what the platform wrote is told from what was damaged since."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from schemas.documents import read_json
from schemas.errors import IntegrityError

DIGEST = "digest"  # the key beside the document's own


def seal(document: Mapping[str, Any]) -> bytes:
    """A document with its digest as JSON for people and programs, UTF-8, ending in a newline."""
    # As a reader will see it: texts as keys, lists for tuples, null for what is no number of JSON.
    plain = json.loads(json.dumps(document), parse_constant=lambda _: None)
    return (json.dumps(plain | {DIGEST: digest_of(plain)}, indent=1) + "\n").encode()


def unseal(data: bytes, *, where: str, what: str, remedy: str) -> dict[str, Any]:
    """What was sealed, without its digest.

    Args:
        data: The file's bytes.
        where: Its URI.
        what: Such as "manifest".
        remedy: What to do where it is damaged, without a full stop.

    Raises:
        IntegrityError: The bytes are not JSON of a sealed document, or say something else than was sealed.
    """
    try:
        document = read_json(data.decode())
        told = document.pop(DIGEST, None) if isinstance(document, dict) else None
        is_right = told == digest_of(document)
    except (ValueError, RecursionError):
        raise damaged("it is not JSON", where=where, what=what, remedy=remedy) from None
    if told is None:
        raise damaged("it carries no digest", where=where, what=what, remedy=remedy)
    if not is_right:
        raise damaged("its digest belongs to another text", where=where, what=what, remedy=remedy)
    return dict(document)


def damaged(how: str, *, where: str, what: str, remedy: str) -> IntegrityError:
    """The error that tells of it: `…/manifest.json: damaged manifest (it is not JSON); delete it and run the step again.`"""
    return IntegrityError(f"{where}: damaged {what} ({how}); {remedy}.")


def digest_of(document: Any) -> str:
    """Hex SHA-256 of a JSON value's canonical text: keys in order, no blanks, ASCII."""
    return hashlib.sha256(json.dumps(document, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
