"""Local files behind the interface of jobs/storage/store.py."""

from __future__ import annotations

import errno
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from jobs.storage.store import StoredFile
from schemas.errors import CommitLost, StorageError

_REASONS = {
    errno.ENOENT: ("there is no such file or folder", "Check the path."),
    errno.ENOTDIR: ("a part of the path is a file, not a folder", "Check the path."),
    errno.EISDIR: ("this is a folder, not a file", "Name a file."),
    errno.EACCES: ("permission denied", "Run as a user who may read and write it."),
    errno.EPERM: ("permission denied", "Run as a user who may read and write it."),
    errno.EROFS: ("the file system is read-only", "Name a place that can be written."),
    errno.ENOSPC: ("no space is left on the disk", "Free some space or name another disk, then run again."),
    errno.EDQUOT: ("the disk quota is used up", "Free some space or name another disk, then run again."),
    errno.ENAMETOOLONG: ("the name is too long", "Choose a shorter one."),
}


@contextmanager
def local_errors(where: str) -> Iterator[None]:
    """Turn an OSError into a StorageError that names the file and the remedy."""
    try:
        yield
    except OSError as error:
        problem, remedy = _REASONS.get(error.errno or 0, (error.strerror or str(error), None))
        raise StorageError(problem, where=where, remedy=remedy) from None


class LocalStore:
    """Files of this machine, or of a file system that every node mounts."""

    def list(self, uri: str) -> list[StoredFile]:
        folder, prefix = uri.rsplit("/", 1)
        found: list[StoredFile] = []
        with local_errors(uri):
            if not os.path.isdir(folder or "/"):
                return []
            for root, folders, names in os.walk(folder or "/"):
                folders[:] = sorted(name for name in folders if not name.startswith("."))
                found += [_stored(os.path.join(root, name)) for name in names if not name.startswith(".")]
        return sorted((file for file in found if file.uri.startswith(f"{folder}/{prefix}")), key=lambda file: file.uri)

    def stat(self, uri: str) -> StoredFile | None:
        with local_errors(uri):
            return _stored(uri) if os.path.isfile(uri) else None

    def read(self, uri: str, start: int = 0, end: int | None = None, version: str | None = None) -> bytes:
        with local_errors(uri), open(uri, "rb") as file:
            if version is not None and _version(os.fstat(file.fileno())) != version:
                raise StorageError(
                    "the file changed while it was being read", where=uri, remedy="Run again when it is complete."
                )
            file.seek(start)
            return file.read() if end is None else file.read(max(0, end - start))

    def write(self, uri: str, data: bytes) -> None:
        with self._appearing(uri) as temporary:
            temporary.write_bytes(data)

    def upload(self, path: Path, uri: str) -> None:
        with self._appearing(uri) as temporary:
            shutil.copyfile(path, temporary)

    def download(self, uri: str, path: Path) -> None:
        with local_errors(uri):
            shutil.copyfile(uri, path)

    def create(self, uri: str, data: bytes) -> None:
        temporary = _temporary(uri)
        with local_errors(uri):
            temporary.parent.mkdir(parents=True, exist_ok=True)
            try:
                temporary.write_bytes(data)
                _sync(temporary)
                os.link(temporary, uri)  # unlike a rename, a link refuses to replace
                _sync(temporary.parent)
            except FileExistsError:
                raise CommitLost(f"{uri}: another run published first.") from None
            finally:
                temporary.unlink(missing_ok=True)

    def replace(self, uri: str, data: bytes, version: str) -> None:
        current = self.stat(uri)
        if current is None or current.version != version:
            raise CommitLost(f"{uri}: another run published first.")
        self.write(uri, data)

    def concatenate(self, sources: Sequence[StoredFile], uri: str) -> None:
        with self._appearing(uri) as temporary, open(temporary, "wb") as target:
            for source in sources:
                with open(source.uri, "rb") as part:
                    shutil.copyfileobj(part, target, 1 << 20)

    def delete(self, uris: Iterable[str]) -> None:
        for uri in uris:
            with local_errors(uri):
                Path(uri).unlink(missing_ok=True)

    def abort_uploads(self, uri: str, before: datetime) -> int:
        """Remove temporary files that a killed run left."""
        folder, dropped = Path(uri if uri.endswith("/") else os.path.dirname(uri)), 0
        if not folder.is_dir():
            return 0
        with local_errors(uri):
            for path in folder.rglob(".*.tmp"):
                if path.stat().st_mtime < before.timestamp():
                    path.unlink(missing_ok=True)
                    dropped += 1
        return dropped

    @contextmanager
    def _appearing(self, uri: str) -> Iterator[Path]:
        """A temporary file that becomes `uri` at the end, or nothing."""
        temporary = _temporary(uri)
        with local_errors(uri):
            temporary.parent.mkdir(parents=True, exist_ok=True)
            try:
                yield temporary
                _sync(temporary)
                os.replace(temporary, uri)
                _sync(temporary.parent)
            finally:
                temporary.unlink(missing_ok=True)


def _temporary(uri: str) -> Path:
    path = Path(uri)
    return path.with_name(f".{path.name[:100]}.{uuid.uuid4().hex}.tmp")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _version(status: os.stat_result) -> str:
    return f"{status.st_size}-{status.st_mtime_ns}"


def _stored(path: str) -> StoredFile:
    status = os.stat(path)
    return StoredFile(path, status.st_size, _version(status))
