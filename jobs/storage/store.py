"""What a place of files must be able to do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class StoredFile:
    """A file as a listing shows it.

    Attributes:
        uri: Full URI; plain absolute path for local files.
        size: Bytes.
        version: Changes when the bytes change: ETag on S3, size and modification time locally.
        modified: When it was written; None where that was not asked for. Two looks at one file are equal without it.
    """

    uri: str
    size: int
    version: str
    modified: datetime | None = field(default=None, compare=False)

    @property
    def name(self) -> str:
        """Last part of the URI."""
        return self.uri.rsplit("/", 1)[-1]


def is_left_out(uri: str, listed: str, without: tuple[str, ...]) -> bool:
    """Whether a part of a URI begins with one of some marks; those that were asked for by name don't count.

    Args:
        uri: Of a file or a folder that a listing found.
        listed: What its URI starts with, as it was asked for.
        without: The marks, such as `_` and `.`.
    """
    parts = uri[len(listed) :].split("/")
    return any(part.startswith(without) for part in (parts if listed.endswith("/") else parts[1:]))


class Store(Protocol):
    """What a place must be able to do. All methods raise StorageError, naming the URI, where they can't."""

    def list(self, uri: str, without: tuple[str, ...] = (".",)) -> list[StoredFile]:
        """Files whose URI starts with `uri` (a folder ends in `/`), by name.

        Left out is what `is_left_out` says of `without`; by default hidden and temporary files.
        """

    def stat(self, uri: str) -> StoredFile | None:
        """One file, or None where there is none."""

    def read(self, uri: str, start: int = 0, end: int | None = None, version: str | None = None) -> bytes:
        """Bytes [start, end); with `version`, an error when the file has changed since."""

    def write(self, uri: str, data: bytes) -> None:
        """Write a whole file, replacing any other."""

    def upload(self, path: Path, uri: str) -> None:
        """Copy a local file there."""

    def download(self, uri: str, path: Path) -> None:
        """Copy a file from there to a local path."""

    def create(self, uri: str, data: bytes) -> None:
        """Write a file that must not exist. Raises CommitLost where it does, CommitUnknown where the store won't say."""

    def replace(self, uri: str, data: bytes, version: str) -> None:
        """Write over the file of that version only. Raises CommitLost and CommitUnknown as `create` does."""

    def concatenate(self, sources: Sequence[StoredFile], uri: str) -> None:
        """Make one file of several of the same kind of place, in order; it appears at once, whole."""

    def delete(self, uris: Iterable[str]) -> None:
        """Remove files; those that are gone already are no error."""

    def uploads(self, uri: str, before: datetime) -> Sequence[StoredFile]:
        """Unfinished uploads below `uri` that began before a moment, with their bytes so far; `modified` is when they began."""

    def abort_uploads(self, uri: str, before: datetime) -> int:
        """Drop unfinished uploads below `uri` that began before a moment; returns how many."""
