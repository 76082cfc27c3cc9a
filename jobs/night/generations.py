"""The order among the nights of a dataset group: of two that overlap, one publishes and the other says that it lost.

A night reads the newest generation N when it begins. Before its first list is published it creates
`<workspace>/nights/gen-<N+1>.json`, which must not exist. A night that was killed after that goes on under its own number when
it is run again.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from jobs.storage import join, store_for
from schemas.errors import CommitLost, IntegrityError
from schemas.version import VERSION

_CLAIM = re.compile(r"/nights/gen-(\d{6,})\.json$")


@dataclass(frozen=True, kw_only=True)
class Generation:
    """The number under which a night publishes.

    Attributes:
        workspace: Normalised URI of the workspace.
        night: Fingerprint of the night.
        number: Its number, from 1.
        claimed: An earlier run of the same night has claimed it.
    """

    workspace: str
    night: str
    number: int
    claimed: bool

    @classmethod
    def begin(cls, workspace: str, night: str) -> Generation:
        """Read the newest generation; nothing is written.

        Raises:
            IntegrityError: The newest claim is damaged.
        """
        newest = newest_generation(workspace)
        if newest and _read(_claim_uri(workspace, newest)).get("night") == night:
            return cls(workspace=workspace, night=night, number=newest, claimed=True)
        return cls(workspace=workspace, night=night, number=newest + 1, claimed=False)

    @property
    def folder(self) -> str:
        """Where the night's summary and page lie."""
        return join(self.workspace, "nights", _name(self.number))

    @property
    def summary_uri(self) -> str:
        """The summary; where it exists, the night was finished."""
        return join(self.folder, "summary.json")

    def claim(self, began: str) -> None:
        """Take the number, or see that nobody has a later one.

        Args:
            began: When the run began, for people.

        Raises:
            CommitLost: Another night has published since this one began.
            CommitUnknown: The store won't say.
        """
        if not self.claimed:
            document = {"generation": self.number, "night": self.night, "began": began, "software": VERSION}
            uri = _claim_uri(self.workspace, self.number)
            try:
                store_for(uri).create(uri, (json.dumps(document) + "\n").encode())
            except CommitLost:
                raise CommitLost(self._lost()) from None
        self.check()

    def check(self) -> None:
        """See that nobody has claimed a later number; to be called right before anything is published.

        Raises:
            CommitLost: Somebody has.
        """
        later = _claim_uri(self.workspace, self.number + 1)
        if store_for(later).stat(later) is not None:
            raise CommitLost(self._lost())

    def _lost(self) -> str:
        return (
            f"{join(self.workspace, 'nights')}: another night of this dataset group has published since this one began; "
            "this one publishes nothing. Run it again if its data are the newer ones."
        )


def newest_generation(workspace: str) -> int:
    """The highest number that has been claimed; 0 where there is none."""
    folder = join(workspace, "nights")
    found = (_CLAIM.search(file.uri) for file in store_for(folder).list(folder + "/gen-"))
    return max((int(match[1]) for match in found if match), default=0)


def last_summary(workspace: str) -> dict[str, Any] | None:
    """The summary of the newest finished night, or None."""
    for number in range(newest_generation(workspace), 0, -1):
        uri = join(workspace, "nights", _name(number), "summary.json")
        if store_for(uri).stat(uri) is not None:
            return _read(uri)
    return None


def _name(number: int) -> str:
    return f"gen-{number:06}"


def _claim_uri(workspace: str, number: int) -> str:
    return join(workspace, "nights", _name(number) + ".json")


def _read(uri: str) -> dict[str, Any]:
    try:
        document: dict[str, Any] = json.loads(store_for(uri).read(uri))
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise IntegrityError(f"{uri}: damaged record of a night; move it away, then run again.") from None
    return document
