"""Published files that several processes of a node read: the first one fetches a file, the others wait for it."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from jobs.platform.process.scratch import node_folder
from jobs.platform.storage.folders import StepFolder
from schemas.manifest import FileEntry


def fetch(folder: StepFolder, entry: FileEntry) -> Path:
    """A local path that holds a published file, which stays until the run, or the Spark application, ends.

    Args:
        folder: The folder that it is published in.
        entry: Its entry in the manifest.

    Returns:
        The file itself where it is local; else the node's copy, which is named by its SHA-256 and has that name once it is
        whole and checked.

    Raises:
        IntegrityError: The bytes are not those that the manifest promises.
    """
    if folder.uri.startswith("/"):
        return folder.fetch(entry, Path(folder.uri))
    place = node_folder() / "fetched"
    place.mkdir(mode=0o700, exist_ok=True)
    copy = place / entry.sha256
    with open(place / f"{entry.sha256}.lock", "w") as lock:
        with suppress(OSError):  # a file system without locks: it may be fetched twice, and is whole all the same
            fcntl.flock(lock, fcntl.LOCK_EX)
        if not copy.is_file():
            with TemporaryDirectory(dir=place) as coming:
                os.replace(folder.fetch(entry, Path(coming)), copy)
    return copy
