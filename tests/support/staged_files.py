"""Several files made one, as a run that nobody disturbs does it."""

from __future__ import annotations

from collections.abc import Sequence

from jobs.platform.storage import Store, StoredFile, is_object


def concatenate(store: Store, sources: Sequence[StoredFile], uri: str) -> None:
    """Stage a file that is made of others, and reveal it; where that fails it is dropped."""
    claim = StoredFile(uri, 0, "")  # S3 does not look at it
    if not is_object(uri):
        beside = uri.rpartition("/")[0] + "/_hrnn/claim"
        claim = store.stat(beside) or StoredFile(beside, 1, store.create(beside, b"1"))
    staged = store.stage(sources, uri)
    try:
        store.reveal(staged, store.stat(uri), claim)
    except BaseException:
        store.drop(uri, staged.id)
        raise
