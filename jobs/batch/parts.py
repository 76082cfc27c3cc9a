"""Parts of an output file: the lines of one split, stored under a unique name until all parts are put together."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from jobs.batch.tally import Tally
from jobs.platform.process.scratch import scratch_folder
from jobs.platform.storage import StoredFile, join, store_for
from schemas.errors import IntegrityError


@dataclass(frozen=True, kw_only=True)
class Part(Tally):
    """The output lines of one split, stored, and their counts.

    Attributes:
        split: Number of the split.
        uri, size, version: The stored file.
        sha256: Hex digest of its bytes.
    """

    split: int
    uri: str
    size: int
    version: str
    sha256: str

    @property
    def file(self) -> StoredFile:
        """The part as a file of its store."""
        return StoredFile(self.uri, self.size, self.version)

    def to_json(self) -> str:
        """JSON, as a task sends it to the driver."""
        return json.dumps(asdict(self))


def store_part(lines: Iterable[bytes], folder_uri: str, token: str, split: int, tally: Tally) -> Part:
    """Write lines under a name that no other attempt, and no other run, uses.

    Args:
        lines: With their line feeds.
        folder_uri: Where parts lie.
        token: Of this run: 12 hex digits.
        split: Number of the split.
        tally: Counts of the lines.
    """
    uri = join(folder_uri, f"part-{split:06d}-{uuid.uuid4().hex[:12]}-{token}.out")
    with scratch_folder("part") as folder:
        path, digest = Path(folder) / "part", hashlib.sha256()
        with open(path, "wb") as file:
            for line in lines:
                file.write(line)
                digest.update(line)
        store_for(uri).upload(path, uri)
        stored = stored_whole(uri, path.stat().st_size)
    return Part(**asdict(tally), split=split, uri=uri, size=stored.size, version=stored.version, sha256=digest.hexdigest())


def stored_whole(uri: str, size: int) -> StoredFile:
    """A file that was just written, as the store lists it.

    Raises:
        IntegrityError: It is not there, or not of that size.
    """
    stored = store_for(uri).stat(uri)
    if stored is None or stored.size != size:
        raise IntegrityError(f"{uri}: what is stored is not what was written ({size} bytes); does another run write here?")
    return stored
