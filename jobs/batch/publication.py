"""Make answers visible: all `<input file name>.out` of one run, and `_CHECK`, or nothing of it (docs/adr/0014).

The output folder holds what Personalize's does, and `_hrnn/`: parts while a run lasts, and a record, the manifest by which the
next run sees that nothing is left to do (jobs/batch/output_record.py). A run that publishes claims the record first:

    look ─▶ compute parts ─▶ claim the record ─▶ fence the runs that held it ─▶ stage all files ─▶ name them in the claim
         ─▶ take `_CHECK` away ─▶ reveal the files ─▶ remove parts ─▶ write the finished record ─▶ reveal `_CHECK`

A claim may be taken over at any moment, by a run that can't tell whether its holder was killed or only waits: it drops all that
the claim names, and what was dropped is never revealed. So `_CHECK` means at every moment that all files are there, of one run.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from jobs.batch.output_record import CHECK, OutputRecord, claims_of
from jobs.batch.parts import Part, stored_whole
from jobs.batch.tally import total
from jobs.platform.storage import Staged, StoredFile, join, store_for
from jobs.platform.storage.at_once import at_once
from schemas.errors import CommitLost, CommitUnknown, IntegrityError, StorageError
from schemas.manifest import Kind, Manifest, fingerprint

BatchJob = Literal["recommend", "segment"]

_LOG = logging.getLogger(__name__)
_EVER = datetime.max.replace(tzinfo=UTC)


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
        """Name of the output file."""
        return f"{self.file.name}.out"


def batch_identity(job: BatchJob, config: dict[str, Any], solution: str, files: Sequence[StoredFile]) -> str:
    """Fingerprint of answers: equal ones have equal answers.

    Args:
        job, config: As jobs.batch.run.run_batch takes them.
        solution: Fingerprint of the solution version.
        files: The input files.
    """
    return fingerprint(job, config, [solution, *(f"{file.name}:{file.size}:{file.version}" for file in files)])


class Publication:
    """Makes the answers of one run visible.

    Args:
        output: The output folder, normalised.
        kind: Of the record.
        identity: From `batch_identity`.

    Attributes:
        token: This run's: 12 hex digits.
    """

    def __init__(self, output: str, kind: Kind, identity: str) -> None:
        self._output, self._identity = output, identity
        self._store = store_for(output)
        self._record = OutputRecord(output, kind, identity)
        self.token = self._record.token

    @property
    def parts_uri(self) -> str:
        """Folder of the parts of these answers, this run's and those that an earlier run left."""
        return self._record.parts_uri(self._identity[:12])

    def done(self) -> Manifest | None:
        """The record, where these answers are there already; `_CHECK` is put back if a run was killed before it could.

        Raises:
            CommitLost: Another run publishes at this moment.
        """
        found = self._record.found
        if found is None or not self.is_done():
            return None
        self._put_check_back(*found)
        return found[1]

    def is_done(self) -> bool:
        """Whether these answers are there already; nothing is written."""
        record = None if self._record.found is None else self._record.found[1]
        if record is None or record.fingerprint != self._identity:
            return False
        return all(at_once(self._is_there, record.metadata.get("outputs", [])))

    def publish(
        self,
        answered: Callable[[], Sequence[Answered]],
        record: Callable[[list[dict[str, Any]]], Manifest],
        before_publication: Callable[[], None] | None = None,
    ) -> Manifest:
        """Compute answers, and publish them.

        Args:
            answered: Computes the answers to each input file.
            record: (description of each output) -> the finished record, to which this class adds what it needs.
            before_publication: Called when all answers are ready and none is visible; what it raises keeps them so.

        Returns:
            The record; another run's, where that has published the same answers meanwhile.

        Raises:
            CommitLost: Another run has published since this one began, or has begun to publish since this one did.
            CommitUnknown: The store won't say whether the record was written; nothing was deleted.
            StorageError: Something can't be written.
        """
        in_callback = False
        try:
            with self._losing():
                ready = answered()
            if before_publication is not None:
                in_callback = True
                before_publication()
                in_callback = False
            with self._losing():
                return self._publish(ready, record)
        except CommitLost:
            self._clear_away_parts()
            if in_callback:  # the caller's own race: what lies in this folder has no part in it
                raise
            self._record.look_again()
            found = self._record.found
            if found is not None and self._record.is_finished_by_us(found[1]):  # it was amended after this run had finished
                self._put_check_back(*found)
                return found[1]
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
        """Raise CommitLost for what fails because another run has published meanwhile, and removed what this one needs."""
        try:
            yield
        except (StorageError, IntegrityError):
            if self._record.is_lost():
                self._record.lose()
            raise

    def _publish(self, answered: Sequence[Answered], record: Callable[[list[dict[str, Any]]], Manifest]) -> Manifest:
        left = self._store.list(self.parts_uri + "/")  # also of other runs for the same answers, which lose when we claim
        before = self._record.claim()
        staged: list[Staged] = []
        try:
            self._fence(before)
            at_once(lambda each: staged.append(self._stage(each.name, each.parts)), answered)
            check = self._stage(CHECK, ())
            staged.append(check)
            nameless = self._uploads(but=staged)  # begun, but the answer that would have named them got lost
            self._record.write(self._record.claim_of(staged))  # so nobody else has begun any meanwhile
            self._drop_uploads(nameless)
            self._take_check_away()
            by_uri = {each.uri: each for each in staged}
            outputs = at_once(lambda each: self._reveal_answers(by_uri[join(self._output, each.name)], each), answered)
            self._store.delete({file.uri for file in [*left, *self._own_parts()]})
            try:
                finished = record(outputs)
            except StorageError:  # the solution version changed since: users have left it, who may be in the lists
                self._withdraw(outputs)
                raise
            finished = finished.model_copy(update={"metadata": finished.metadata | {"run": self.token, "check": check.id}})
            self._record.write(finished)
            self._reveal(check)
        except CommitUnknown:
            raise
        except BaseException:
            self._drop(staged)
            raise
        return finished

    def _fence(self, before: Manifest | None) -> None:
        """Make sure that runs which held the record before never reveal anything again, and remove what they left."""
        claims = [] if before is None else claims_of(before)
        staged = [(name, staged_id) for claim in claims for name, staged_id in claim["staged"]]
        at_once(lambda each: self._store.drop(join(self._output, each[0]), each[1]), staged)
        # Whoever staged more than its claim names can't name it any more; what is there while we hold the claim is theirs.
        uploads = self._uploads()
        if self._record.is_lost():
            self._record.lose()
        self._drop_uploads(uploads)
        for claim in claims:
            parts = self._store.list(self._record.parts_uri(claim["answers"]) + "/")
            self._store.delete(file.uri for file in parts if f"-{claim['run']}." in file.name)

    def _uploads(self, but: Sequence[Staged] = ()) -> list[StoredFile]:
        """What is staged in the output folder under names of output files, but some of it."""
        known = {staged.id for staged in but}
        uploads = self._store.uploads(self._output + "/", _EVER, sized=False)
        return [file for file in uploads if self._is_output(file.uri) and file.version not in known]

    def _drop_uploads(self, uploads: Sequence[StoredFile]) -> None:
        at_once(lambda file: self._store.drop(file.uri, file.version), uploads)

    def _is_output(self, uri: str) -> bool:
        """Whether it lies in the output folder itself under the name of an output file, staged or not."""
        folder, _, name = uri.rpartition("/")
        return folder == self._output and name.endswith((".out", ".tmp", CHECK))

    def _stage(self, name: str, parts: Sequence[Part]) -> Staged:
        return self._store.stage([part.file for part in parts], join(self._output, name))

    def _withdraw(self, outputs: Sequence[dict[str, Any]]) -> None:
        """Take back what this run made visible, where no other has published since."""
        held = self._record.held
        assert held is not None
        with suppress(CommitLost):
            for each in outputs if not self._record.is_lost() else ():
                self._store.withdraw(join(self._output, each["name"]), held, each["version"])

    def _reveal(self, staged: Staged) -> None:
        assert self._record.held is not None
        self._store.reveal(staged, self._store.stat(staged.uri), self._record.held)

    def _reveal_answers(self, staged: Staged, answered: Answered) -> dict[str, Any]:
        """Make the answers to a file visible; returns their description for the record."""
        self._reveal(staged)
        stored = stored_whole(staged.uri, staged.size)
        return {
            "name": answered.name,
            "size": stored.size,
            "version": stored.version,
            "parts": [[part.size, part.sha256] for part in answered.parts],
            **total(answered.parts).counts(),
        }

    def _take_check_away(self) -> None:
        """Remove `_CHECK`; where it turns out to be another run's by now, it is put back."""
        assert self._record.held is not None
        check = join(self._output, CHECK)
        if self._store.stat(check) is None:
            return
        try:
            self._store.withdraw(check, self._record.held)
        except CommitLost:
            if (found := self._record.folder.versioned()) is not None and "outputs" in found[1].metadata:
                self._put_check_back(*found)
            raise

    def _put_check_back(self, stored: StoredFile, record: Manifest) -> None:
        """Write `_CHECK` where a finished record stands without it; the record names it first, so that it can be fenced."""
        check = join(self._output, CHECK)
        if self._store.stat(check) is not None:
            return
        if "check" in record.metadata:
            self._store.drop(check, record.metadata["check"])
        staged = self._stage(CHECK, ())
        try:
            again = record.model_copy(update={"metadata": record.metadata | {"check": staged.id}})
            data = again.to_bytes()
            version = self._store.replace(stored.uri, data, stored.version)
            self._store.reveal(staged, None, StoredFile(stored.uri, len(data), version))
        except CommitUnknown:
            raise
        except BaseException:
            self._drop([staged])
            raise

    def _is_there(self, output: dict[str, Any]) -> bool:
        stored = self._store.stat(join(self._output, output["name"]))
        return stored is not None and (stored.size, stored.version) == (output["size"], output["version"])

    def _own_parts(self) -> list[StoredFile]:
        return [file for file in self._store.list(self.parts_uri + "/") if f"-{self.token}." in file.name]

    def _clear_away_parts(self) -> None:
        """Remove this run's parts; what fails is left to `hrnn gc`, and must not hide why the run fails."""
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
