"""Temporary files."""

from __future__ import annotations

import errno

from schemas.errors import StorageError

_FULL = {errno.ENOSPC: "no space is left on the disk", errno.EDQUOT: "the disk quota is used up"}


def space_error(error: BaseException, where: str | None = None) -> StorageError | None:
    """The error as one that names a full disk; None where it speaks of something else.

    Args:
        error: What was raised: Python's own, Arrow's, or that of a library that only has words for it.
        where: The place, where the error doesn't name a file.
    """
    number = error.errno if isinstance(error, OSError) else None
    if number not in _FULL:
        if "No space left on device" not in str(error):
            return None
        number = errno.ENOSPC
    named = error.filename if isinstance(error, OSError) and error.filename else where
    return StorageError(
        _FULL[number or errno.ENOSPC],
        where=None if named is None else str(named),
        remedy="Free some space or name another disk, then run again.",
    )
