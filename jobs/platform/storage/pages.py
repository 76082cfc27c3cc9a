"""Pages for people in a step's folder: each gets a copy under a plain name, made once the manifest names the page.

No program reads the copies. They follow the manifest, whichever run makes them: of two runs the one that lost, or a later one
that finds nothing to do, copies the winner's pages as the winner does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import datetime

from jobs.platform.storage.store import Store, StoredFile
from schemas.errors import CommitLost, StorageError
from schemas.manifest import FileEntry, Manifest

_READ_BYTES = 16 << 20  # of a copy that is looked at whole; of a larger one only the size is compared
_MOST_TRIES = 10  # each but the first for a run that has published or shown something meanwhile


def show_pages(
    store: Store, folder_uri: str, published: Callable[[], tuple[StoredFile, Manifest] | None], began: datetime
) -> None:
    """Copy every page of a folder to its plain name, by the manifest of this moment.

    Args:
        store: Of the folder.
        folder_uri: The folder, without a slash at its end.
        published: Returns its manifest, as a file and read.
        began: Copies that were begun before are of killed runs, and dropped.

    Raises:
        StorageError: A page cannot be read or written.
        CommitLost: Others write there all the time.
    """
    touched: set[str] = set()
    left = store.uploads(folder_uri + "/", began, sized=False)
    for tries_left in reversed(range(_MOST_TRIES)):
        current = published()
        entries = [] if current is None else [entry for entry in current[1].files if entry.shown]
        targets = {f"{folder_uri}/{entry.shown}": entry for entry in entries}
        store.delete(touched - targets.keys())  # a page that has left the folder meanwhile may name a user who has left too
        if current is None:
            return
        stored, touched = current[0], touched | targets.keys()
        for upload in left:
            if upload.uri in targets:
                store.drop(upload.uri, upload.version)
        try:
            for target, entry in targets.items():
                _show(store, f"{folder_uri}/{entry.path}", target, entry, stored)
        except CommitLost:
            if not tries_left:
                raise
        except StorageError:  # of a run whose files are gone, perhaps, since another has published
            if not tries_left or store.stat(stored.uri) == stored:
                raise
        else:
            if store.stat(stored.uri) == stored:
                return


def _show(store: Store, page: str, target: str, entry: FileEntry, claim: StoredFile) -> None:
    """Copy one page, if the plain name holds anything else.

    Raises:
        CommitLost: Something was written under that name meanwhile, or somebody published.
    """
    seen = store.stat(target)
    if seen is not None and seen.size == entry.size and _is_equal(store, seen, entry):
        return
    source = store.stat(page)
    if source is None:
        raise StorageError("a page that the manifest names is gone", where=page, remedy="Run the step again.")
    store.reveal(store.stage([source], target), seen, claim)


def _is_equal(store: Store, seen: StoredFile, entry: FileEntry) -> bool:
    return seen.size > _READ_BYTES or hashlib.sha256(store.read(seen.uri)).hexdigest() == entry.sha256
