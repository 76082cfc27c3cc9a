"""Temporary files of this machine: one folder a run, its user's alone, that goes when the run does.

    $HRNN_SCRATCH, or the system's temporary folder
    └── hrnn-scratch-<user id>/     only its user may look inside
        └── run-<random>/           of one run, with Spark's shuffles, Java's and torchrun's files
            └── lock                held by the run while it lives

A folder whose lock nobody holds is of a run that was killed; the next run and `hrnn gc` remove it. No clock has a part in it.
Tasks on a cluster write below the folders that Spark gave their executor, which the cluster clears.
"""

from __future__ import annotations

import atexit
import errno
import fcntl
import os
import shutil
import stat
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from schemas.errors import StorageError

RUN_FOLDER = "HRNN_RUN_FOLDER"  # set for the processes that a run starts: they share its folder
_LOCK = "lock"
_FULL = {errno.ENOSPC: "no space is left on the disk", errno.EDQUOT: "the disk quota is used up"}
_REMEDY = "Free some space, or set HRNN_SCRATCH to a folder of another disk, then run again."


class _Run:
    """The run of this process."""

    def __init__(self) -> None:
        self.process, self.folder, self.at_end = os.getpid(), _locked_folder(), ExitStack()

    def end(self) -> None:
        """End what was started in the folder, then remove it; a process forked from the run leaves both alone."""
        if self.process == os.getpid():
            try:
                self.at_end.close()
            finally:
                shutil.rmtree(self.folder, ignore_errors=True)


_making = threading.Lock()
_run: _Run | None = None


def run_folder() -> Path:
    """The folder of this run, made at the first call.

    Raises:
        StorageError: It can't be made: no such place, no right, no space.
    """
    global _run
    for folder in (os.environ.get(RUN_FOLDER), _of_executor()):
        if folder and os.path.isdir(folder):
            return Path(folder)
    with _making:
        if _run is None:
            sweep()
            _run = _Run()
            atexit.register(end_run)
        return _run.folder


def node_folder() -> Path:
    """What a run's processes here share: the run's folder; on YARN the application's, on other clusters an executor's."""
    here, of_executor = run_folder(), _executor_folders()
    if str(here) not in of_executor:
        return here
    of_application = os.environ.get("LOCAL_DIRS") if "CONTAINER_ID" in os.environ else None
    return Path(min(of_application.split(",") if of_application else of_executor))  # containers list them in different orders


def run_begun() -> bool:
    """Whether this process has a run with temporary files."""
    return _run is not None


def at_end_of_run(end: Callable[[], object]) -> None:
    """Register a function that is called before the run's folder is removed; the last one first."""
    run_folder()
    if _run is not None:
        _run.at_end.callback(end)


def end_run() -> None:
    """End what the run has started, and remove its folder; harmless when there is none."""
    global _run
    run, _run = _run, None
    if run is not None:
        run.end()


@contextmanager
def scratch_folder(purpose: str) -> Iterator[str]:
    """A private folder below the run's, which goes when it is closed.

    Raises:
        StorageError: The disk became full; the message names the file, or the folder.
    """
    with tempfile.TemporaryDirectory(prefix=f"{purpose}-", dir=run_folder()) as folder:
        try:
            yield folder
        except Exception as error:
            if not isinstance(error, StorageError) and (full := space_error(error, where=folder)) is not None:
                raise full from None
            raise


@contextmanager
def temporary_files_here() -> Iterator[None]:
    """Have Python's own temporary files, those of libraries too, made in the run's folder."""
    before, tempfile.tempdir = tempfile.tempdir, str(run_folder())
    try:
        yield
    finally:
        tempfile.tempdir = before


def sweep(*, dry_run: bool = False) -> list[Path]:
    """Remove the folders of runs that are no more.

    Args:
        dry_run: Only return those that would be removed.

    Raises:
        StorageError: The folder of all runs is somebody else's.
    """
    swept: list[Path] = []
    if not _root_path().exists():
        return swept
    for folder in sorted(_root().glob("run-*")):
        with suppress(OSError):  # another process sweeps it, or the file system knows no locks
            lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                swept.append(folder)
                if not dry_run:
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)
    return swept


def space_error(error: BaseException, where: str | None = None, remedy: str = _REMEDY) -> StorageError | None:
    """The error as one that names a full disk; None where it is about something else.

    Args:
        error: What was raised: by Python, by Arrow, or by a library whose message alone names the cause.
        where: The place, where the error doesn't name a file.
        remedy: What makes room there.
    """
    number = error.errno if isinstance(error, OSError) else None
    if number not in _FULL:
        if "No space left on device" not in str(error):
            return None
        number = errno.ENOSPC
    place = error.filename if isinstance(error, OSError) and error.filename else where
    return no_space(None if place is None else str(place), _FULL[number or errno.ENOSPC], remedy)


def no_space(where: str | None, problem: str = _FULL[errno.ENOSPC], remedy: str = _REMEDY) -> StorageError:
    """The error that a disk is full, with its remedy."""
    return StorageError(problem, where=where, remedy=remedy)


def scratch_place() -> str:
    """Where folders of runs lie: HRNN_SCRATCH, else the system's temporary folder."""
    return os.environ.get("HRNN_SCRATCH") or tempfile.gettempdir()


def _root_path() -> Path:
    return Path(scratch_place()).absolute() / f"hrnn-scratch-{os.getuid()}"


def _root() -> Path:
    """The folder of this user's runs, which nobody else may open.

    Raises:
        StorageError: It can't be made, or is somebody else's.
    """
    root = _root_path()
    try:
        if not root.exists():
            root.parent.stat()
            root.mkdir(mode=0o700, exist_ok=True)
        status = root.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
            raise StorageError("this is another user's", where=str(root), remedy="Remove it, or set HRNN_SCRATCH.")
        if status.st_mode & 0o077:
            root.chmod(0o700)
    except OSError as error:
        raise _unusable(error, root) from None
    return root


def _locked_folder() -> Path:
    """A new folder, and its lock, which this process holds until it ends."""
    root = _root()
    while True:
        try:
            folder = Path(tempfile.mkdtemp(prefix="run-", dir=root))
            with suppress(FileNotFoundError):  # swept before it was locked
                lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
                with suppress(OSError):  # a file system without locks: nobody will sweep it
                    fcntl.flock(lock, fcntl.LOCK_EX)
                if os.path.samestat(os.fstat(lock), os.stat(folder / _LOCK)):
                    return folder
        except OSError as error:
            raise _unusable(error, root) from None


def _unusable(error: OSError, root: Path) -> StorageError:
    """Why there can be no temporary files."""
    variable = "HRNN_SCRATCH" if os.environ.get("HRNN_SCRATCH") else "TMPDIR"
    return space_error(error, where=str(root)) or StorageError(
        f"temporary files can't be written here: {error.strerror}",
        where=f"{variable}={scratch_place()}",
        remedy="Set HRNN_SCRATCH to a folder that can be written.",
    )


def _of_executor() -> str | None:
    """In a Spark task: one of its executor's local folders."""
    folders = _executor_folders()
    return folders[os.getpid() % len(folders)] if folders else None


def _executor_folders() -> list[str]:
    """In a Spark task: its executor's local folders."""
    if "PYTHON_WORKER_FACTORY_SECRET" not in os.environ and "PYTHON_WORKER_FACTORY_SOCK_DIR" not in os.environ:
        return []
    return os.environ.get("SPARK_LOCAL_DIRS", "").split(",")
