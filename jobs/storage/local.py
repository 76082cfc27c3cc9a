"""Local files behind the interface of jobs/storage/store.py."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import stat
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

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
        folder = uri.rsplit("/", 1)[0] or "/"
        found: list[StoredFile | None] = []
        with local_errors(uri):
            for root, folders, names in os.walk(folder, onerror=_refuse):
                folders[:] = sorted(name for name in folders if not name.startswith("."))
                paths = (os.path.join(root, name) for name in names if not name.startswith("."))
                found += [_stored(path) for path in paths if path.startswith(uri)]
        return sorted((file for file in found if file is not None), key=lambda file: file.uri)

    def stat(self, uri: str) -> StoredFile | None:
        with local_errors(uri):
            return _stored(uri)

    def read(self, uri: str, start: int = 0, end: int | None = None, version: str | None = None) -> bytes:
        with local_errors(uri), _opened(uri, version) as file:
            file.seek(start)
            return file.read() if end is None else file.read(max(0, end - start))

    def write(self, uri: str, data: bytes) -> None:
        with self._appearing(uri) as temporary:
            temporary.write_bytes(data)

    def upload(self, path: Path, uri: str) -> None:
        with self._appearing(uri) as temporary, _opened(str(path)) as source, open(temporary, "wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)

    def download(self, uri: str, path: Path) -> None:
        with local_errors(str(path)), _opened(uri) as source, open(path, "wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)

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
        with local_errors(uri), _locked(Path(uri).parent), self._appearing(uri) as temporary:
            current = self.stat(uri)
            if current is None or current.version != version:
                raise CommitLost(f"{uri}: another run published first.")
            temporary.write_bytes(data)
            # Two replacements within one tick of the file system's clock must not look like the same version.
            later = max(os.stat(uri).st_mtime_ns + 1, os.stat(temporary).st_mtime_ns)
            os.utime(temporary, ns=(later, later))

    def concatenate(self, sources: Sequence[StoredFile], uri: str) -> None:
        with self._appearing(uri) as temporary, open(temporary, "wb") as target:
            for source in sources:
                with _opened(source.uri, source.version) as part:
                    shutil.copyfileobj(part, target, 1 << 20)

    def delete(self, uris: Iterable[str]) -> None:
        for uri in uris:
            with local_errors(uri):
                Path(uri).unlink(missing_ok=True)

    def uploads(self, uri: str, before: datetime) -> Sequence[StoredFile]:
        """Temporary files that a killed run left in the folder of `uri` and below."""
        folder = Path(uri if uri.endswith("/") else os.path.dirname(uri))
        with local_errors(uri):
            found = [_stored(str(path)) for path in (folder.rglob(".hrnn-*.tmp") if folder.is_dir() else ())]
        return [file for file in found if file is not None and file.modified is not None and file.modified < before]

    def abort_uploads(self, uri: str, before: datetime) -> int:
        left = self.uploads(uri, before)
        self.delete(file.uri for file in left)
        return len(left)

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
    return Path(uri).parent / f".hrnn-{uuid.uuid4().hex}.tmp"


@contextmanager
def _opened(uri: str, version: str | None = None) -> Iterator[BinaryIO]:
    """A file open for reading, of that version where one is given."""
    with ExitStack() as stack:
        with local_errors(uri):
            file = stack.enter_context(open(uri, "rb"))
        if version is not None and _version(os.fstat(file.fileno())) != version:
            raise StorageError("the file changed while it was being read", where=uri, remedy="Run again when it is complete.")
        yield file


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder against other replacements; the lock goes with the process that holds it."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".hrnn.lock", "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _refuse(error: OSError) -> None:
    """What os.walk should do about a folder that it can't read: pass over it only where it is gone."""
    if not isinstance(error, (FileNotFoundError, NotADirectoryError)):
        raise error


def _version(status: os.stat_result) -> str:
    return f"{status.st_size}-{status.st_mtime_ns}"


def _stored(path: str) -> StoredFile | None:
    """The file there; None where there is none, or something else."""
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    return StoredFile(path, status.st_size, _version(status), datetime.fromtimestamp(status.st_mtime, UTC))
