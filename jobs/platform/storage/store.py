"""The interface of a file store, local or S3."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True)
class StoredFile:
    """A file as a listing shows it.

    Attributes:
        uri: Full URI; plain absolute path for local files.
        size: Bytes.
        version: Changes when the bytes change: ETag on S3, size and modification time locally.
        modified: When it was written; None where it is not known. It does not count in comparisons.
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
    """Whether a part of a URI, behind the prefix that was listed, begins with one of some marks.

    Args:
        uri: Of a file or a folder that a listing found.
        listed: The prefix that was listed; marks in it don't count.
        without: The marks, such as `_` and `.`.
    """
    parts = uri[len(listed) :].split("/")
    return any(part.startswith(without) for part in (parts if listed.endswith("/") else parts[1:]))


@dataclass(frozen=True, kw_only=True)
class Staged:
    """A whole file that nobody sees yet: an upload with all its parts, or a file beside its target.

    Attributes:
        uri: What it becomes.
        id: What drops it: the upload's id, or the temporary file's name.
        size: Bytes.
        token: Tells our file from another's.
        parts: What completing an upload must list.
    """

    uri: str
    id: str
    size: int
    token: str = ""
    parts: tuple[dict[str, Any], ...] = ()


class Store(Protocol):
    """A file store. All methods raise StorageError, naming the URI, where they can't."""

    def list(self, uri: str, without: tuple[str, ...] = (".",)) -> list[StoredFile]:
        """Files whose URI starts with `uri` (a folder ends in `/`), by name.

        Left out is what `is_left_out` says of `without`; by default hidden and temporary files.
        """

    def stat(self, uri: str) -> StoredFile | None:
        """One file, or None where there is none."""

    def now(self, uri: str) -> datetime:
        """This moment by the clock that dates files below `uri`; this machine's may be wrong, or be set meanwhile."""

    def read(self, uri: str, start: int = 0, end: int | None = None, version: str | None = None) -> bytes:
        """Bytes [start, end); with `version`, an error when the file has changed since."""

    def write(self, uri: str, data: bytes) -> None:
        """Write a whole file, replacing any other."""

    def upload(self, path: Path, uri: str) -> None:
        """Copy a local file there."""

    def download(self, uri: str, path: Path) -> None:
        """Copy a file from there to a local path."""

    def create(self, uri: str, data: bytes) -> str:
        """Write a file that must not exist; returns its version.

        Raises CommitLost where it does, CommitUnknown where the store won't say.
        """

    def replace(self, uri: str, data: bytes, version: str) -> str:
        """Write over the file of that version only; returns the new one.

        Raises CommitLost and CommitUnknown as `create` does.
        """

    def stage(self, sources: Sequence[StoredFile], uri: str) -> Staged:
        """Make one file of several of the same kind of place, in order; nobody sees it before `reveal`."""

    def reveal(self, staged: Staged, seen: StoredFile | None, claim: StoredFile) -> None:
        """Have a staged file take the place of what was seen there, at once and whole.

        Raises CommitLost where it was dropped, something else lies there by now, or the file `claim` is no longer of that
        version. Locally the claim is looked at under a lock; S3 has no such thing: who takes a claim over drops what was
        staged for it, and what was dropped can never be revealed.
        """

    def withdraw(self, uri: str, claim: StoredFile, version: str | None = None) -> None:
        """Remove a file if the file `claim` is of that version, else CommitLost; on S3 the file may be gone all the same.

        With a version of its own, only the file of that version is removed.
        """

    def drop(self, uri: str, staged_id: str) -> None:
        """Make sure that what was staged for `uri` is never revealed; what is gone already is no error."""

    def delete(self, uris: Iterable[str]) -> None:
        """Remove files; those that are gone already are no error."""

    def uploads(self, uri: str, before: datetime, *, sized: bool = True) -> Sequence[StoredFile]:
        """Unfinished uploads below `uri` that began before a moment: `version` is what drops them, `modified` when they began.

        Their size is 0 unless `sized`.
        """

    def abort_uploads(self, uri: str, before: datetime, spared: tuple[str, ...] = ()) -> int:
        """Drop unfinished uploads below `uri` that began before a moment, but for those below `spared`; returns how many."""
