"""Checkpoints in the workspace, local or on S3."""

from __future__ import annotations

from jobs.platform.storage import join, normalise, store_for


class WorkspaceCheckpoints:
    """hrnn.training.checkpoints.CheckpointStore over a folder by URI."""

    def __init__(self, uri: str) -> None:
        self._uri = normalise(uri).rstrip("/")
        self._store = store_for(self._uri)

    def names(self) -> list[str]:
        """Names of all files in the folder."""
        return [file.name for file in self._store.list(self._uri + "/")]

    def read(self, name: str) -> bytes:
        """Bytes of one file."""
        return self._store.read(join(self._uri, name))

    def write(self, name: str, data: bytes) -> None:
        """Write one file; it appears whole or not at all."""
        self._store.write(join(self._uri, name), data)

    def delete(self, name: str) -> None:
        """Remove one file."""
        self._store.delete([join(self._uri, name)])

    def clear(self) -> None:
        """Remove all of them."""
        self._store.delete([file.uri for file in self._store.list(self._uri + "/")])
