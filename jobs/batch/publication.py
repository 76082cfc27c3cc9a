"""Make answers visible: all `<input file name>.out` of one run, and `_CHECK`, or nothing of it (docs/adr/0014).

The output folder holds what Personalize's does, and `_hrnn/`: parts while a run lasts, and a record, the manifest by which the
next run sees that nothing is left to do. Whoever publishes takes the record first, on the condition that nobody has published
since the run began:

    look ─▶ compute parts ─▶ claim the record ─▶ fence who held it ─▶ stage all files ─▶ name them in the claim
         ─▶ take `_CHECK` away ─▶ reveal the files ─▶ remove parts ─▶ write the finished record ─▶ reveal `_CHECK`

A claim may be taken over at any moment, by a run that can't tell whether its holder was killed or only waits: it drops all that
the claim names, and what was dropped is never revealed. So `_CHECK` means at every moment that all files are there, of one run.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, NoReturn

from jobs.batch.parts import Part, stored_whole
from jobs.batch.tally import total
from jobs.platform.storage import Staged, StoredFile, join, store_for
from jobs.platform.storage.at_once import at_once
from jobs.platform.storage.folders import StepFolder
from schemas.errors import CommitLost, CommitUnknown, IntegrityError, StorageError
from schemas.manifest import MANIFEST_NAME, Kind, Manifest, fingerprint
from schemas.version import VERSION

BatchJob = Literal["recommend", "segment"]
CHECK = "_CHECK"
RECORD_FOLDER = "_hrnn"

_LOG = logging.getLogger(__name__)
_MOST_CLAIMS = 5  # where the record changes and still tells of the same run
_EVER = datetime.max.replace(tzinfo=UTC)
_NAME = re.compile(r"[0-9a-f]{12}")


@dataclass(frozen=True, kw_only=True)
class Answered:
    """The answers to one input file.

    Attributes:
        file: The input file.
        parts: Its answers, stored, in order.
    """

    file: StoredFile
    parts: Sequence[Part]

    @property
    def name(self) -> str:
        """Of the file that holds them."""
        return f"{self.file.name}.out"


def batch_identity(job: BatchJob, config: dict[str, Any], solution: str, files: Sequence[StoredFile]) -> str:
    """What tells answers from others.

    Args:
        job, config: As jobs.batch.run.run_batch takes them.
        solution: Fingerprint of the solution version.
        files: Of the input.
    """
    return fingerprint(job, config, [solution, *(f"{file.name}:{file.size}:{file.version}" for file in files)])


class Publication:
    """One run's way to make its answers visible.

    Args:
        output: The output folder, normalised.
        kind: Of the record.
        identity: Fingerprint of what is answered with what: equal ones have equal answers.
    """

    def __init__(self, output: str, kind: Kind, identity: str) -> None:
        self._output, self._kind, self._identity = output, kind, identity
        self._store = store_for(output)
        self._folder = StepFolder(join(output, RECORD_FOLDER))
        self.token = self._folder.token
        self._record_uri = self._folder.uri_of(MANIFEST_NAME)
        self._found = self._folder.versioned()  # what a run that lost no race must find when it claims
        self._held: StoredFile | None = None  # the record as this run has written it

    @property
    def parts_uri(self) -> str:
        """Where parts of these answers lie, this run's and those that an earlier run left."""
        return self._parts_of(self._identity[:12])

    def done(self) -> Manifest | None:
        """The record, where these answers are there already; `_CHECK` is put back if a run was killed before it could.

        Raises:
            CommitLost: Another run publishes at this moment.
        """
        if self._found is None or not self.is_done():
            return None
        self._put_check_back(*self._found)
        return self._found[1]

    def is_done(self) -> bool:
        """Whether these answers are there already; nothing is written."""
        record = None if self._found is None else self._found[1]
        if record is None or record.fingerprint != self._identity:
            return False
        return all(at_once(self._is_there, record.facts.get("outputs", [])))

    def publish(
        self,
        answered: Callable[[], Sequence[Answered]],
        record: Callable[[list[dict[str, Any]]], Manifest],
        before_publication: Callable[[], None] | None = None,
    ) -> Manifest:
        """Compute answers, and publish them.

        Args:
            answered: Gives the answers to each input file.
            record: (what is to be said of each output) -> the finished record, to which this class adds what it needs.
            before_publication: Called when all answers are ready and none is visible; what it raises keeps them so.

        Returns:
            The record; another run's, where that has published the same answers meanwhile.

        Raises:
            CommitLost: Another run has published since this one began, or has begun to publish since this one did.
            CommitUnknown: The store won't say whether the record was written; nothing was deleted.
            StorageError: Something can't be written.
        """
        asking = False
        try:
            with self._losing():
                ready = answered()
            if before_publication is not None:
                asking = True
                before_publication()
                asking = False
            with self._losing():
                return self._publish(ready, record)
        except CommitLost:
            self._clear_away_parts()
            if asking:
                raise
            self._found, self._held = self._folder.versioned(), None
            if self._found is not None and self._is_ours(self._found[1]):
                self._put_check_back(*self._found)
                return self._found[1]
            if (theirs := self.done()) is None:
                raise
            return theirs
        except CommitUnknown:
            raise  # nothing is known, nothing is deleted
        except BaseException:  # Ctrl-C and SIGTERM too
            self._clear_away_parts()
            raise

    @contextmanager
    def _losing(self) -> Iterator[None]:
        """What fails because another run has published meanwhile, and removed what this one needs, is told as that."""
        try:
            yield
        except (StorageError, IntegrityError):
            if self._is_lost():
                self._lose()
            raise

    def _publish(self, answered: Sequence[Answered], record: Callable[[list[dict[str, Any]]], Manifest]) -> Manifest:
        left = self._store.list(self.parts_uri + "/")  # also of other runs for the same answers, which lose when we claim
        fenced = self._claim()
        staged: list[Staged] = []
        try:
            self._fence(fenced)
            at_once(lambda of_file: staged.append(self._staged(of_file.name, of_file.parts)), answered)
            check = self._staged(CHECK, ())
            staged.append(check)
            nameless = self._uploads(but=staged)  # begun, but the answer that would have named them got lost
            self._write_record(self._claim_of(staged))  # so nobody else has begun any meanwhile
            self._drop_uploads(nameless)
            self._take_check_away()
            of_uri = {each.uri: each for each in staged}
            outputs = at_once(lambda of_file: self._revealed(of_uri[join(self._output, of_file.name)], of_file), answered)
            self._store.delete({file.uri for file in [*left, *self._own_parts()]})
            try:
                finished = record(outputs)
            except StorageError:  # the solution version changed since: users have left it, who may be in the lists
                self._withdraw(outputs)
                raise
            finished = finished.model_copy(update={"facts": finished.facts | {"run": self.token, "check": check.id}})
            self._write_record(finished)
            self._reveal(check)
        except CommitUnknown:
            raise
        except BaseException:
            self._drop(staged)
            raise
        return finished

    def _claim(self) -> Manifest | None:
        """Take the record, on the condition that nobody has published since; gives what it was, where it was one."""
        for _ in range(_MOST_CLAIMS):
            before = _state(self._found)
            try:
                self._write_record(self._claim_of([]))
                return None if self._found is None else self._found[1]
            except CommitLost:
                self._found = self._folder.versioned()
                if self._found is None or _state(self._found) != before:
                    raise
        self._lose()

    def _claim_of(self, staged: Sequence[Staged]) -> Manifest:
        """The record while this run publishes: what it may reveal, and until it has fenced the run before, that one's."""
        earlier = [] if self._found is None or staged else _claims_of(self._found[1])
        own = {"run": self.token, "answers": self._identity[:12], "staged": [[_name_of(each.uri), each.id] for each in staged]}
        return Manifest(
            kind=self._kind,
            fingerprint=fingerprint("publishing", own, [self._identity]),
            software=VERSION,
            config={},
            inputs=(),
            files=(),
            facts={"publishing": [*earlier, own]},
        )

    def _write_record(self, record: Manifest) -> None:
        data = record.to_bytes()
        if self._held is not None:
            version = self._store.replace(self._record_uri, data, self._held.version)
        elif self._found is not None:
            version = self._store.replace(self._record_uri, data, self._found[0].version)
        else:
            version = self._store.create(self._record_uri, data)
        self._held = StoredFile(self._record_uri, len(data), version)

    def _fence(self, before: Manifest | None) -> None:
        """See that runs which held the record before never reveal anything again, and take away what they left."""
        claims = [] if before is None else _claims_of(before)
        staged = [(name, staged_id) for claim in claims for name, staged_id in claim["staged"]]
        at_once(lambda each: self._store.drop(join(self._output, each[0]), each[1]), staged)
        # Whoever staged more than its claim names can't name it any more; what is there while we hold the claim is theirs.
        uploads = self._uploads()
        if self._is_lost():
            self._lose()
        self._drop_uploads(uploads)
        for claim in claims:
            parts = self._store.list(self._parts_of(claim["answers"]) + "/")
            self._store.delete(file.uri for file in parts if f"-{claim['run']}." in file.name)

    def _uploads(self, but: Sequence[Staged] = ()) -> list[StoredFile]:
        """What is staged in the output folder under names that are ours to write."""
        known = {staged.id for staged in but}
        found = self._store.uploads(self._output + "/", _EVER, sized=False)
        return [file for file in found if self._is_own(file.uri) and file.version not in known]

    def _drop_uploads(self, uploads: Sequence[StoredFile]) -> None:
        at_once(lambda file: self._store.drop(file.uri, file.version), uploads)

    def _is_own(self, uri: str) -> bool:
        """Whether it lies in the output folder itself under a name that is ours to write."""
        folder, _, name = uri.rpartition("/")
        return folder == self._output and name.endswith((".out", ".tmp", CHECK))

    def _staged(self, name: str, parts: Sequence[Part]) -> Staged:
        return self._store.stage([part.file for part in parts], join(self._output, name))

    def _withdraw(self, outputs: Sequence[dict[str, Any]]) -> None:
        """Take back what this run made visible, where no other has published since."""
        assert self._held is not None
        with suppress(CommitLost):
            for each in outputs if not self._is_lost() else ():
                self._store.withdraw(join(self._output, each["name"]), self._held, each["version"])

    def _reveal(self, staged: Staged) -> None:
        assert self._held is not None
        self._store.reveal(staged, self._store.stat(staged.uri), self._held)

    def _revealed(self, staged: Staged, of_file: Answered) -> dict[str, Any]:
        """Make the answers to a file visible; gives what the record says of them."""
        self._reveal(staged)
        stored = stored_whole(staged.uri, staged.size)
        return {
            "name": of_file.name,
            "size": stored.size,
            "version": stored.version,
            "parts": [[part.size, part.sha256] for part in of_file.parts],
            **total(of_file.parts).counts(),
        }

    def _take_check_away(self) -> None:
        """Remove `_CHECK`; where it turns out to be another run's by now, it is put back."""
        assert self._held is not None
        check = join(self._output, CHECK)
        if self._store.stat(check) is None:
            return
        try:
            self._store.withdraw(check, self._held)
        except CommitLost:
            if (found := self._folder.versioned()) is not None and "outputs" in found[1].facts:
                self._put_check_back(*found)
            raise

    def _is_ours(self, record: Manifest) -> bool:
        """Whether it is what this run finished with, be it that users have been deleted from the answers since."""
        return "outputs" in record.facts and record.facts.get("run") == self.token

    def _put_check_back(self, stored: StoredFile, record: Manifest) -> None:
        """Write `_CHECK` where a finished record stands without it; the record names it first, so that it can be fenced."""
        check = join(self._output, CHECK)
        if self._store.stat(check) is not None:
            return
        if "check" in record.facts:
            self._store.drop(check, record.facts["check"])
        staged = self._staged(CHECK, ())
        try:
            again = record.model_copy(update={"facts": record.facts | {"check": staged.id}})
            data = again.to_bytes()
            version = self._store.replace(self._record_uri, data, stored.version)
            self._store.reveal(staged, None, StoredFile(self._record_uri, len(data), version))
        except CommitUnknown:
            raise
        except BaseException:
            self._drop([staged])
            raise

    def _is_there(self, output: dict[str, Any]) -> bool:
        stored = self._store.stat(join(self._output, output["name"]))
        return stored is not None and (stored.size, stored.version) == (output["size"], output["version"])

    def _is_lost(self) -> bool:
        """Whether another run has published since this one looked, or taken over since it claimed."""
        now = self._store.stat(self._record_uri)
        if self._held is not None:
            return now != self._held
        if now == (None if self._found is None else self._found[0]):
            return False
        return _state(self._folder.versioned()) != _state(self._found)

    def _lose(self) -> NoReturn:
        raise CommitLost(f"{self._record_uri}: another run has published, or is about to; this one publishes nothing.")

    def _parts_of(self, answers: str) -> str:
        return self._folder.uri_of(f"parts/{answers}")

    def _own_parts(self) -> list[StoredFile]:
        return [file for file in self._store.list(self.parts_uri + "/") if f"-{self.token}." in file.name]

    def _clear_away_parts(self) -> None:
        """Remove what this run no longer needs; what fails is left to `hrnn gc`, and must not hide why the run fails."""
        with _only_warning():
            self._store.delete(file.uri for file in self._own_parts())

    def _drop(self, staged: Sequence[Staged]) -> None:
        with _only_warning():
            for each in staged:
                self._store.drop(each.uri, each.id)


@contextmanager
def _only_warning() -> Iterator[None]:
    try:
        yield
    except StorageError as error:
        _LOG.warning("leftovers of a run that failed could not be removed: %s", error)


def _state(found: tuple[StoredFile, Manifest] | None) -> tuple[str, ...]:
    """What a record tells of: equal where it was only amended by the run that holds it, or got its `_CHECK` back."""
    if found is None:
        return ()
    claims = found[1].facts.get("publishing")
    return (claims[-1]["run"],) if claims else (found[1].fingerprint, found[1].facts.get("run", ""))


def _claims_of(record: Manifest) -> list[dict[str, Any]]:
    """The runs that may still reveal something on the strength of a record: what each has staged.

    Raises:
        IntegrityError: It does not say so in the form in which it was written.
    """
    finished = {
        "run": record.facts.get("run"),
        "answers": record.fingerprint[:12],
        "staged": [[CHECK, record.facts.get("check")]],
    }
    claims = record.facts.get("publishing", [finished] if "check" in record.facts else [])
    for claim in claims:
        names = [claim["run"], claim["answers"]]
        files = [name for name, _ in claim["staged"]]
        if not all(map(_NAME.fullmatch, names)) or any("/" in name or name in {".", ".."} for name in files):
            raise IntegrityError(f"{RECORD_FOLDER}/{MANIFEST_NAME}: damaged record of a batch job; remove it, then run again.")
    return list(claims)


def _name_of(uri: str) -> str:
    return uri.rpartition("/")[2]
