"""The record of a batch output: the manifest by which runs agree whose answers become visible (docs/adr/0014).

A run that publishes takes the record first, on the condition that nobody has published since the run began. The record of such
a claim names all that the run has staged; that of a finished run names the outputs and `_CHECK`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NoReturn

from jobs.platform.storage import Staged, StoredFile, join, store_for
from jobs.platform.storage.folders import StepFolder
from schemas.errors import CommitLost, IntegrityError
from schemas.manifest import MANIFEST_NAME, Kind, Manifest, fingerprint
from schemas.version import VERSION

CHECK = "_CHECK"
RECORD_FOLDER = "_hrnn"

_MOST_CLAIMS = 5  # attempts, where the record changes and still describes the same run
_TOKEN = re.compile(r"[0-9a-f]{12}")


class OutputRecord:
    """The record in an output folder, as one run reads, claims and finishes it.

    Args:
        output: The output folder, normalised.
        kind: Of the record.
        identity: Fingerprint of the answers: equal ones have equal answers.

    Attributes:
        folder: Where the record lies, and parts while a run lasts.
        token: This run's: 12 hex digits.
        uri: The record's.
        found: The record before this run claims it, as a file and read; a run that lost no race finds it unchanged then.
        held: The record as this run has written it last; None: it has not.
    """

    def __init__(self, output: str, kind: Kind, identity: str) -> None:
        self._kind, self._identity = kind, identity
        self._store = store_for(output)
        self.folder = StepFolder(join(output, RECORD_FOLDER))
        self.token = self.folder.token
        self.uri = self.folder.uri_of(MANIFEST_NAME)
        self.found = self.folder.versioned()
        self.held: StoredFile | None = None

    def look_again(self) -> None:
        """Forget a claim that was lost, and read the record of who won."""
        self.found, self.held = self.folder.versioned(), None

    def parts_uri(self, answers: str) -> str:
        """Folder of the parts of some answers, which the first 12 digits of their fingerprint name."""
        return self.folder.uri_of(f"parts/{answers}")

    def claim(self) -> Manifest | None:
        """Take the record, on the condition that nobody has published since; returns what it was, None where there was none.

        Raises:
            CommitLost: Somebody has.
        """
        for _ in range(_MOST_CLAIMS):
            before = _state(self.found)
            try:
                self.write(self.claim_of([]))
                return None if self.found is None else self.found[1]
            except CommitLost:
                self.found = self.folder.versioned()
                if self.found is None or _state(self.found) != before:
                    raise
        self.lose()

    def claim_of(self, staged: Sequence[Staged]) -> Manifest:
        """The record while this run publishes: what it may reveal; the claims of runs before too, until it has fenced them."""
        earlier = [] if self.found is None or staged else claims_of(self.found[1])
        names = [[each.uri.rpartition("/")[2], each.id] for each in staged]
        claim = {"run": self.token, "answers": self._identity[:12], "staged": names}
        return Manifest(
            kind=self._kind,
            fingerprint=fingerprint("publishing", claim, [self._identity]),
            software=VERSION,
            config={},
            inputs=(),
            files=(),
            metadata={"publishing": [*earlier, claim]},
        )

    def write(self, record: Manifest) -> None:
        """Write the record over the one that this run holds, or found.

        Raises:
            CommitLost: Another run has written it since.
            CommitUnknown: The store won't say whether it was written.
        """
        data = record.to_bytes()
        if self.held is not None:
            version = self._store.replace(self.uri, data, self.held.version)
        elif self.found is not None:
            version = self._store.replace(self.uri, data, self.found[0].version)
        else:
            version = self._store.create(self.uri, data)
        self.held = StoredFile(self.uri, len(data), version)

    def is_lost(self) -> bool:
        """Whether another run has published since this one looked, or taken over since it claimed."""
        now = self._store.stat(self.uri)
        if self.held is not None:
            return now != self.held
        if now == (None if self.found is None else self.found[0]):
            return False
        return _state(self.folder.versioned()) != _state(self.found)

    def lose(self) -> NoReturn:
        """Raise CommitLost: this run publishes nothing."""
        raise CommitLost(f"{self.uri}: another run has published, or is about to; this one publishes nothing.")

    def is_finished_by_us(self, record: Manifest) -> bool:
        """Whether it is the one that this run finished with, be it that users have been deleted from the answers since."""
        return "outputs" in record.metadata and record.metadata.get("run") == self.token


def claims_of(record: Manifest) -> list[dict[str, Any]]:
    """The runs that may still reveal something on the strength of a record, and what each has staged.

    Raises:
        IntegrityError: It is not in the form in which claims are written.
    """
    finished = {
        "run": record.metadata.get("run"),
        "answers": record.fingerprint[:12],
        "staged": [[CHECK, record.metadata.get("check")]],
    }
    claims = record.metadata.get("publishing", [finished] if "check" in record.metadata else [])
    for claim in claims:
        tokens = [claim["run"], claim["answers"]]
        files = [name for name, _ in claim["staged"]]
        if not all(map(_TOKEN.fullmatch, tokens)) or any("/" in name or name in {".", ".."} for name in files):
            raise IntegrityError(f"{RECORD_FOLDER}/{MANIFEST_NAME}: damaged record of a batch job; remove it, then run again.")
    return list(claims)


def _state(found: tuple[StoredFile, Manifest] | None) -> tuple[str, ...]:
    """Which run a record describes: equal where only the run that holds it amended it, or its `_CHECK` was put back."""
    if found is None:
        return ()
    claims = found[1].metadata.get("publishing")
    return (claims[-1]["run"],) if claims else (found[1].fingerprint, found[1].metadata.get("run", ""))
