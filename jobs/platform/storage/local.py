"""Local files behind the interface of jobs/platform/storage/store.py."""

from __future__ import annotations

import dataclasses
import errno
import fcntl
import itertools
import os
import re
import shutil
import stat
import tempfile
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from jobs.platform.storage.store import Staged, StoredFile, is_left_out
from schemas.errors import CommitLost, StorageError
from schemas.uris import check_name

_TEMPORARY = re.compile(r"\.hrnn-[^/]*\.tmp")
_MOST_LOCKED_SECONDS = 60  # that a lock is waited for; its holder only looks and renames
_LOOK_SECONDS = 0.05
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
    errno.ELOOP: ("this link leads back to itself", "Mend or remove it."),
}
_TAKE_AWAY = "Remove it, or give its contents as a file."


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

    def list(self, uri: str, without: tuple[str, ...] = (".",)) -> list[StoredFile]:
        files = [_stored(path) for path in _paths(uri, without)]
        return sorted((file for file in files if file is not None), key=lambda file: file.uri)

    def stat(self, uri: str) -> StoredFile | None:
        return _stored(uri)

    def now(self, uri: str) -> datetime:
        with local_errors(uri):
            folder = next(each for each in (Path(uri), *Path(uri).parents) if each.is_dir())
        try:
            with tempfile.TemporaryFile(dir=folder) as file:  # on another machine's disk, that machine dates it
                return datetime.fromtimestamp(os.fstat(file.fileno()).st_mtime, UTC)
        except OSError:  # nothing can be written there, nor removed
            return datetime.now(UTC)

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

    def create(self, uri: str, data: bytes) -> str:
        temporary = _temporary(uri)
        with local_errors(uri):
            temporary.parent.mkdir(parents=True, exist_ok=True)
            try:
                temporary.write_bytes(data)
                _sync(temporary)
                version = _version(os.stat(temporary))
                os.link(temporary, uri)  # unlike a rename, a link refuses to replace
                _sync(temporary.parent)
            except FileExistsError:
                raise CommitLost(f"{uri}: another run published first.") from None
            finally:
                temporary.unlink(missing_ok=True)
        return version

    def replace(self, uri: str, data: bytes, version: str) -> str:
        with local_errors(uri), _locked(Path(uri).parent), self._appearing(uri) as temporary:
            current = self.stat(uri)
            if current is None or current.version != version:
                raise CommitLost(f"{uri}: another run published first.")
            temporary.write_bytes(data)
            # Two replacements within one tick of the file system's clock must not look like the same version.
            later = max(os.stat(uri).st_mtime_ns + 1, os.stat(temporary).st_mtime_ns)
            os.utime(temporary, ns=(later, later))
            new = _version(os.stat(temporary))
        return new

    def stage(self, sources: Sequence[StoredFile], uri: str) -> Staged:
        temporary = _temporary(uri)
        with local_errors(uri):
            temporary.parent.mkdir(parents=True, exist_ok=True)
            try:
                with open(temporary, "wb") as target:
                    for source in sources:
                        with _opened(source.uri, source.version) as part:
                            shutil.copyfileobj(part, target, 1 << 20)
                _sync(temporary)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
        return Staged(uri=uri, id=temporary.name, size=sum(source.size for source in sources))

    def reveal(self, staged: Staged, seen: StoredFile | None, claim: StoredFile) -> None:
        with self._holding(claim):
            if self.stat(staged.uri) != seen:
                raise CommitLost(f"{staged.uri}: another program wrote here meanwhile.")
            folder = Path(staged.uri).parent
            try:
                os.replace(folder / staged.id, staged.uri)
            except FileNotFoundError:
                raise CommitLost(f"{staged.uri}: another run has published, or is about to.") from None
            _sync(folder)

    def withdraw(self, uri: str, claim: StoredFile, version: str | None = None) -> None:
        with self._holding(claim):
            if version is None or ((stored := self.stat(uri)) is not None and stored.version == version):
                self.delete([uri])

    def drop(self, uri: str, staged_id: str) -> None:
        if _TEMPORARY.fullmatch(staged_id):  # a record that was tampered with must not have other files removed
            self.delete([str(Path(uri).parent / staged_id)])

    @contextmanager
    def _holding(self, claim: StoredFile) -> Iterator[None]:
        """Nobody takes the claim over meanwhile."""
        with local_errors(claim.uri), _locked(Path(claim.uri).parent):
            if self.stat(claim.uri) != claim:
                raise CommitLost(f"{claim.uri}: another run has published, or is about to.")
            yield

    def delete(self, uris: Iterable[str]) -> None:
        for uri in uris:
            with local_errors(uri):
                Path(uri).unlink(missing_ok=True)

    def uploads(self, uri: str, before: datetime, *, sized: bool = True) -> Sequence[StoredFile]:
        """Temporary files that a killed run left in the folder of `uri` and below."""
        folder = uri if uri.endswith("/") else os.path.dirname(uri) + "/"
        files = [_stored(path) for path in _paths(folder) if _TEMPORARY.fullmatch(os.path.basename(path))]
        left = [file for file in files if file is not None and file.modified is not None and file.modified < before]
        return [dataclasses.replace(file, version=file.name) for file in left]

    def abort_uploads(self, uri: str, before: datetime, spared: tuple[str, ...] = ()) -> int:
        left = [file for file in self.uploads(uri, before) if not file.uri.startswith(spared)]
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
    return Path(uri).parent / f".hrnn-{uuid.uuid4().hex}.tmp"  # as _TEMPORARY has it


@contextmanager
def _opened(uri: str, version: str | None = None) -> Iterator[BinaryIO]:
    """A file open for reading, of that version where one is given."""
    with ExitStack() as stack:
        with local_errors(uri):
            file = stack.enter_context(open(uri, "rb", opener=_open_at_once))
        status = os.fstat(file.fileno())
        _require_regular(status, uri)
        if version is not None and _version(status) != version:
            raise StorageError("the file changed while it was being read", where=uri, remedy="Run again when it is complete.")
        yield file


def _open_at_once(path: str, flags: int) -> int:
    """Open a file without waiting, as a pipe would have it, for somebody at its other end."""
    return os.open(path, flags | os.O_NONBLOCK)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder against other replacements; the lock goes with the process that holds it.

    Raises:
        StorageError: Somebody holds it for longer than a step takes: a process that is stopped, perhaps.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".hrnn.lock", "wb") as lock:
        for waited in itertools.count():
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if waited * _LOOK_SECONDS >= _MOST_LOCKED_SECONDS:
                    remedy = f"See which process holds {lock.name} (`fuser` tells): let it go on, or end it; then run again."
                    raise StorageError("another run holds this folder", where=str(folder), remedy=remedy) from None
                time.sleep(_LOOK_SECONDS)
        yield


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _version(status: os.stat_result) -> str:
    return f"{status.st_size}-{status.st_mtime_ns}"


def _paths(prefix: str, without: tuple[str, ...] = ()) -> Iterator[str]:
    """Paths of all that starts with a prefix and is no folder. Links are followed; one to a folder above it leads nowhere new.

    Raises:
        StorageError: A folder can't be read, or a name is not UTF-8.
    """
    waiting: list[tuple[str, frozenset[tuple[int, int]]]] = [(prefix.rpartition("/")[0] or "/", frozenset())]
    while waiting:
        folder, above = waiting.pop()
        with local_errors(folder), suppress(FileNotFoundError, NotADirectoryError):  # it is gone, or never was
            status = os.stat(folder)
            identity = (status.st_dev, status.st_ino)
            if identity not in above:
                for path, is_folder in _entries(folder):
                    if not path.startswith(prefix) or is_left_out(path, prefix, without):
                        continue
                    if is_folder:
                        waiting.append((path, above | {identity}))
                    else:
                        yield check_name(path)


def _entries(folder: str) -> list[tuple[str, bool]]:
    """Paths of all in a folder, and which are folders or links to one."""
    with os.scandir(folder) as entries:
        return [(entry.path, os.path.isdir(entry.path)) for entry in entries]


def _stored(path: str) -> StoredFile | None:
    """The file there; None where there is none, or a folder.

    Raises:
        StorageError: There is something else, or a link that leads nowhere.
    """
    with local_errors(path):
        try:
            status = os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            if os.path.islink(path):
                raise StorageError("this link leads nowhere", where=path, value=os.readlink(path), remedy=_TAKE_AWAY) from None
            return None
    if stat.S_ISDIR(status.st_mode):
        return None
    _require_regular(status, path)
    return StoredFile(path, status.st_size, _version(status), datetime.fromtimestamp(status.st_mtime, UTC))


def _require_regular(status: os.stat_result, path: str) -> None:
    """StorageError for what has no end, or may never begin."""
    if not stat.S_ISREG(status.st_mode):
        raise StorageError("this is a pipe, a socket or a device, not a file", where=path, remedy=_TAKE_AWAY)
