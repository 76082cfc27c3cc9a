"""Numbers the nights of a dataset group: of two that overlap, one publishes and the other fails with CommitLost.

A night reads the number N of the newest generation when it begins. Before its first list is published it creates
`<workspace>/nights/gen-<N+1>.json`, which must not exist. A night that was killed after that goes on under its own number when
it is run again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from jobs.platform.storage import join, store_for
from jobs.platform.storage.records import create_record, read_record
from schemas.checksums import damaged
from schemas.errors import CommitLost
from schemas.nights import Claim, Summary
from schemas.version import VERSION

_CLAIM = re.compile(r"/nights/gen-([0-9]{6,})\.json$")
_SUMMARY = re.compile(r"/nights/gen-([0-9]{6,})/summary\.json$")
_READING = {"what": "record of a night", "remedy": "move it away, then run again"}


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
        if newest and _night_of(workspace, newest) == night:
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

    def claim(self, began: str, *, anew: bool) -> Generation:
        """Take the number, or check that nobody has a later one; returns the generation to publish under.

        Args:
            began: When the run began, for people to read.
            anew: Whether a step was run, or will be: a night that was finished before then stays as it is, and this is another.

        Raises:
            CommitLost: Another night has published since this one began.
            CommitUnknown: The store won't say whether the number was taken.
        """
        if self.claimed and anew and store_for(self.summary_uri).stat(self.summary_uri) is not None:
            return replace(self, number=self.number + 1, claimed=False).claim(began, anew=anew)
        if not self.claimed:
            document = {"generation": self.number, "night": self.night, "began": began, "software": VERSION}
            try:
                create_record(_claim_uri(self.workspace, self.number), document)
            except CommitLost:
                raise CommitLost(self._lost()) from None
        self.check()
        return self

    def check(self) -> None:
        """Check that nobody has claimed a later number; called right before anything is published.

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
    return max(_numbered(_CLAIM, (file.uri for file in store_for(folder).list(folder + "/gen-"))), default=0)


def summary_uris(uris: Iterable[str]) -> list[str]:
    """Those of a workspace's files that are summaries of finished nights, the newest first."""
    by_number = _numbered(_SUMMARY, uris)
    return [by_number[number] for number in sorted(by_number, reverse=True)]


def read_summary(uri: str) -> dict[str, Any]:
    """The summary of a night, as schemas.nights.Summary and more.

    Raises:
        IntegrityError: It is damaged, or names a place that is none.
    """
    return read_record(uri, Summary, **_READING)


def last_summary(workspace: str) -> dict[str, Any] | None:
    """The summary of the newest finished night, or None."""
    folder = join(workspace, "nights")
    summaries = summary_uris(file.uri for file in store_for(folder).list(folder + "/gen-"))
    return read_summary(summaries[0]) if summaries else None


def _numbered(pattern: re.Pattern[str], uris: Iterable[str]) -> dict[int, str]:
    """Number of a night -> the URI that bears it, as `_name` writes it."""
    matches = ((match, uri) for uri in uris if (match := pattern.search(uri)))
    return {int(match[1]): uri for match, uri in matches if f"/{_name(int(match[1]))}" in uri}


def _name(number: int) -> str:
    return f"gen-{number:06}"


def _claim_uri(workspace: str, number: int) -> str:
    return join(workspace, "nights", _name(number) + ".json")


def _night_of(workspace: str, number: int) -> str:
    """Fingerprint of the night that has claimed a number."""
    uri = _claim_uri(workspace, number)
    claim = Claim.model_validate(read_record(uri, Claim, **_READING))
    if claim.generation != number:
        raise damaged(f"it is the claim of night {claim.generation}", where=uri, **_READING)
    return claim.night
