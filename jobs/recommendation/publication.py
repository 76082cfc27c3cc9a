"""Make answers visible: `<input file name>.out` each at once and whole, `_CHECK` last, then a record of what was done.

The output folder holds what Personalize's does, and `_hrnn/`: parts while a run lasts, and a manifest by which the next run
sees that nothing is left to do. A killed run leaves parts there, which nobody reads and the next run removes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from jobs.recommendation.parts import Part, stored_whole
from jobs.storage import StoredFile, is_s3, join, store_for
from schemas.manifest import Manifest

CHECK = "_CHECK"
RECORD_FOLDER = "_hrnn"
_READ_BYTES = 16 << 20


def output_uri_of(output: str, file: StoredFile) -> str:
    """Where the answers to an input file lie."""
    return join(output, f"{file.name}.out")


def still_there(output: str, manifest: Manifest) -> bool:
    """Whether everything that a run wrote is there as it was written."""
    store = store_for(output)
    if store.stat(join(output, CHECK)) is None:
        return False
    for written in manifest.facts["outputs"]:
        stored = store.stat(join(output, written["name"]))
        if stored is None or (stored.size, stored.version) != (written["size"], written["version"]):
            return False
    return True


def drop_leftovers(output: str, files: Sequence[StoredFile], began: datetime) -> None:
    """Abort unfinished uploads of these answers that a killed run left, and take back the sign that they are complete."""
    store = store_for(output)
    store.delete([join(output, CHECK)])
    for target in [output_uri_of(output, file) for file in files] if is_s3(output) else [f"{output}/"]:
        store.abort_uploads(target, began)


def assemble(output: str, file: StoredFile, parts: Sequence[Part]) -> dict[str, Any]:
    """Put the parts of one file together, in order; the answers appear at once. Returns what the record says of them."""
    uri = output_uri_of(output, file)
    store_for(uri).concatenate([part.file for part in parts], uri)
    stored = stored_whole(uri, sum(part.size for part in parts))
    return {
        "name": stored.name,
        "size": stored.size,
        "version": stored.version,
        "sha256": _sha256(stored),
        "lines": sum(part.lines for part in parts),
        "errors": sum(part.errors for part in parts),
        "unknown_users": sum(part.unknown_users for part in parts),
    }


def _sha256(stored: StoredFile) -> str:
    """Hex SHA-256 of what was stored, read back: parts are put together by the store, and their hashes can't be."""
    store, digest = store_for(stored.uri), hashlib.sha256()
    for start in range(0, stored.size, _READ_BYTES):
        digest.update(store.read(stored.uri, start, min(start + _READ_BYTES, stored.size), stored.version))
    return digest.hexdigest()


def finish(output: str) -> None:
    """Write the sign that all answers are there, and remove the parts they were made of, with those that nobody will read.

    All of them go before the record is published: a run that is killed later finds nothing left to do.
    """
    store = store_for(output)
    store.write(join(output, CHECK), b"")
    store.delete(file.uri for file in store.list(join(output, RECORD_FOLDER, "parts") + "/"))
