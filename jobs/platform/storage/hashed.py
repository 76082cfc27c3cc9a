"""Local files whose SHA-256 is computed while they are written, so that they need not be read again for it."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any


class HashedFile(io.BufferedWriter):
    """A new local file, written from beginning to end."""

    def __init__(self, path: Path) -> None:
        super().__init__(io.FileIO(path, "wb"))
        self._digest = hashlib.sha256()

    def write(self, data: Any) -> int:
        """Append bytes."""
        self._digest.update(data)
        return super().write(data)

    @property
    def sha256(self) -> str:
        """Hex SHA-256 of what was written."""
        return self._digest.hexdigest()
