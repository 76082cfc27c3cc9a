"""Batch input as plain JSON lines: gzip data is unpacked; other formats are refused, with a remedy."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from pathlib import Path

from jobs.batch.parts import stored_whole
from jobs.platform.process.scratch import scratch_folder
from jobs.platform.storage import StoredFile, join, read_chunks, store_for
from jobs.platform.storage.at_once import at_once
from jobs.platform.storage.gzipped import MAGIC, first_bytes, refuse_foreign, unpack
from schemas.batch import EXAMPLES, LineKind
from schemas.errors import DataError

_HEAD_BYTES = 64 << 10
_CHUNK_BYTES = 8 << 20


def plain_lines(files: Sequence[StoredFile], kind: LineKind, folder_uri: str, token: str) -> list[StoredFile]:
    """The input files, gzipped ones replaced by unpacked copies.

    Args:
        files: Input files.
        kind: Kind of their lines, for messages.
        folder_uri: Folder of the run's parts; unpacked copies are removed with them.
        token: The run's.

    Raises:
        DataError: A file is UTF-16 text, a JSON array, JSON over several lines, or no text at all.
    """
    return at_once(lambda file: _plain(file, kind, folder_uri, token), files)


def _plain(file: StoredFile, kind: LineKind, folder_uri: str, token: str) -> StoredFile:
    head = store_for(file.uri).read(file.uri, 0, min(_HEAD_BYTES, file.size), file.version)
    if not head.startswith(MAGIC):
        _check(head, len(head) == file.size, kind, file.uri)
        return file
    _check(*first_bytes(head, _HEAD_BYTES, is_whole=len(head) == file.size, where=file.uri), kind, file.uri)
    uri = join(folder_uri, f"unpacked-{uuid.uuid4().hex[:12]}-{token}.json")
    with scratch_folder("unpacked") as scratch:
        path = Path(scratch) / "lines"
        with open(path, "wb") as target:
            target.writelines(unpack(read_chunks(file, _CHUNK_BYTES), file.uri))
        store_for(uri).upload(path, uri)
        return stored_whole(uri, path.stat().st_size)


def _check(head: bytes, is_whole: bool, kind: LineKind, where: str) -> None:
    """Refuse what would give error lines only."""
    remedy = f"Give JSON lines in UTF-8, plain or gzipped: one {EXAMPLES[kind]} a line."
    refuse_foreign(head, "JSON lines", where, remedy)
    if b"\0" in head[:2]:  # without a byte-order mark
        raise DataError("this is UTF-16 text, or binary, not JSON lines in UTF-8", where=where, remedy=remedy)
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    first, feed, rest = text.partition(b"\n")
    first = first.strip()
    if first.startswith(b"["):
        following = rest.lstrip()[:1]
        if (first == b"[" and following in (b"{", b'"', b"]")) or first.startswith((b"[{", b"[ {")):
            raise DataError("this is a JSON array, not JSON lines", where=where, remedy=f"{remedy} `jq -c '.[]'` makes them.")
    if first.startswith(b"{") and feed and _ends_later(text, len(first)):
        raise DataError(
            "this is JSON over several lines, not JSON lines", where=where, remedy=f"{remedy} `jq -c .` makes them."
        )


def _ends_later(text: bytes, first: int) -> bool:
    """Whether the JSON object at the beginning ends behind the first line."""
    try:
        _, end = json.JSONDecoder().raw_decode(text.decode(errors="ignore"))
    except (ValueError, RecursionError):
        return False
    return end > first
