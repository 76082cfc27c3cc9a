"""A step's folder: files under attempt-unique names, and one manifest, written last, that makes them exist."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jobs.platform.storage import Store, StoredFile, join, normalise, store_for
from jobs.platform.storage.pages import show_pages
from schemas.errors import CommitLost, IntegrityError, StorageError
from schemas.manifest import MANIFEST_NAME, FileEntry, InputRef, Kind, Manifest
from schemas.version import VERSION

_LOG = logging.getLogger(__name__)
ATTEMPT_NAME = re.compile(r"-[0-9a-f]{12}\.\w+$")  # the end of what `StepFolder.attempt_path` makes


class StepInput(InputRef):
    """A step's folder as an input; `StepFolder.publish` checks that it has not changed since it was read."""


class StepFolder:
    """The folder that one step writes and the next one reads.

    Writers add files under attempt-unique names (`attempt_path`, `put_page`), then `publish`. Until then the folder, for
    everyone else, does not exist or holds its former content.
    Readers take the `manifest` (or `require` one of a kind) and get every file checked against size and SHA-256.
    """

    def __init__(self, uri: str) -> None:
        self.uri = normalise(uri).rstrip("/")
        self.token = uuid.uuid4().hex[:12]  # in the names of this attempt's files
        self._store: Store = store_for(self.uri)
        self._began = datetime.now(UTC)
        self._seen: StoredFile | None = self._store.stat(self._manifest_uri)

    @property
    def _manifest_uri(self) -> str:
        return join(self.uri, MANIFEST_NAME)

    def uri_of(self, path: str) -> str:
        """Where a file of this folder lies."""
        return join(self.uri, path)

    def manifest(self) -> Manifest | None:
        """The published manifest, or None where there is none.

        Raises:
            IntegrityError: It is there but damaged.
        """
        if self._store.stat(self._manifest_uri) is None:
            return None
        return Manifest.from_bytes(self._store.read(self._manifest_uri), self._manifest_uri)

    def versioned(self) -> tuple[StoredFile, Manifest] | None:
        """The published manifest as a file of its store, and read; None where there is none.

        Raises:
            IntegrityError: It is there but damaged.
            StorageError: It can't be read, or changes all the time.
        """
        for last in (False, False, True):
            stored = self._store.stat(self._manifest_uri)
            if stored is None:
                return None
            try:
                return stored, Manifest.from_bytes(
                    self._store.read(self._manifest_uri, version=stored.version), self._manifest_uri
                )
            except StorageError:  # replaced since
                if last:
                    raise
        raise AssertionError

    def require(self, kind: Kind) -> Manifest:
        """The published manifest of the given kind.

        Raises:
            StorageError: There is none, or it is of another kind.
        """
        manifest = self.manifest()
        if manifest is None:
            raise StorageError(
                "no finished step lies here (no manifest.json)", where=self.uri, remedy="Run the step that writes it."
            )
        if manifest.kind != kind:
            raise StorageError("the folder holds something else", where=self.uri, value=manifest.kind, allowed=kind)
        return manifest

    def published(self, kind: Kind) -> Manifest | None:
        """What a step of this kind has published here before, or None.

        Raises:
            StorageError: What another kind of step published lies here; this one would replace it.
        """
        manifest = self.manifest()
        if manifest is not None and manifest.kind != kind:
            problem = "another step's result lies here, which this one would replace"
            raise StorageError(
                problem, where=self.uri, value=manifest.kind, allowed=f"{kind}, or nothing", remedy="Name another folder."
            )
        return manifest

    def is_whole(self, manifest: Manifest) -> bool:
        """Whether every file that the manifest names is there, in its size: else there is something left to do."""
        return next(self._missing(manifest, self._store.list(self.uri + "/")), None) is None

    def reference(self, manifest: Manifest) -> StepInput:
        """This folder as an input of the next step."""
        return StepInput(uri=self.uri, version=manifest.fingerprint)

    def attempt_path(self, path: str) -> str:
        """This attempt's name for a data file: `data/part-0.parquet` becomes `data/part-0-<token>.parquet`."""
        stem, dot, suffix = path.rpartition(".")
        return f"{stem}-{self.token}{dot}{suffix}"

    def put(self, path: str, data: bytes, rows: int | None = None) -> FileEntry:
        """Write a small file; not visible before `publish`."""
        self._store.write(self.uri_of(path), data)
        return FileEntry(path=path, size=len(data), sha256=hashlib.sha256(data).hexdigest(), rows=rows)

    def put_file(self, local: Path, path: str, rows: int | None = None, sha256: str | None = None) -> FileEntry:
        """Copy a local file in; not visible before `publish`. `sha256` is the file's, where that is known already."""
        entry = FileEntry(path=path, size=local.stat().st_size, sha256=sha256 or sha256_of(local), rows=rows)
        self._store.upload(local, self.uri_of(path))
        return entry

    def put_page(self, path: str, page: bytes | Path, rows: int | None = None) -> FileEntry:
        """Write a page for people, under an attempt-unique name; `publish` puts a copy of it at `path`."""
        unique = self.attempt_path(path)
        entry = self.put(unique, page, rows) if isinstance(page, bytes) else self.put_file(page, unique, rows)
        return entry.model_copy(update={"shown": path})

    def show(self) -> None:
        """Put copies of pages under their plain names, whichever run published them; a killed one may not have done so."""
        show_pages(self._store, self.uri, self.versioned, self._began)

    def fetch(self, entry: FileEntry, scratch: Path) -> Path:
        """A local path that holds a published file, checked: the file itself where it is local, else a copy in `scratch`.

        Raises:
            IntegrityError: The bytes are not those the manifest promises.
        """
        uri = self.uri_of(entry.path)
        local = Path(uri) if uri.startswith("/") else scratch / f"{entry.sha256[:16]}-{os.path.basename(entry.path)}"
        for _ in range(1 if uri.startswith("/") else 2):  # what changed on the way comes right when it is fetched again
            if not uri.startswith("/"):
                self._store.download(uri, local)
            if local.is_file() and local.stat().st_size == entry.size and sha256_of(local) == entry.sha256:
                return local
        raise IntegrityError(f"{uri}: the bytes differ from its manifest; delete the folder and run the step again.")

    def read(self, entry: FileEntry) -> bytes:
        """The bytes of a published file, checked as `fetch` does."""
        data = self._store.read(self.uri_of(entry.path))
        if len(data) != entry.size or hashlib.sha256(data).hexdigest() != entry.sha256:
            raise IntegrityError(
                f"{self.uri_of(entry.path)}: the bytes differ from its manifest; delete the folder and run the step again."
            )
        return data

    @contextmanager
    def made_of(self, *inputs: StepInput) -> Iterator[None]:
        """While results are computed from folders of other steps: an error names the input, if that changed meanwhile.

        Raises:
            StorageError: Something failed, and an input is not any more what it was; this run's files are removed.
        """
        try:
            yield
        except Exception:
            try:
                check_unchanged(inputs)
            except StorageError:
                self._store.delete(file.uri for file in self._store.list(self.uri + "/") if f"-{self.token}." in file.name)
                raise
            raise

    def publish(
        self,
        kind: Kind,
        fingerprint: str,
        config: dict[str, Any],
        inputs: Iterable[InputRef],
        files: Iterable[FileEntry],
        counts: dict[str, int] | None = None,
        metadata: dict[str, Any] | None = None,
        spared: tuple[str, ...] = (),
    ) -> Manifest:
        """Make the folder exist with exactly these files; then remove what earlier attempts left.

        Where another run has published the same fingerprint meanwhile, its manifest stands and is returned. Before and after
        the commit the inputs that are folders of steps (`reference`) and the files are looked at: what was made of something
        that has changed or gone meanwhile is not published. What earlier attempts left below folders that are `spared`
        stays: others go on from it.

        Raises:
            StorageError: An input is not any more what it was, or a file is gone; the folder is as it was.
            CommitLost: Another run published something else meanwhile.
            CommitUnknown: The store won't say whether the manifest landed.
        """
        read = list(inputs)
        manifest = Manifest(
            kind=kind,
            fingerprint=fingerprint,
            software=VERSION,
            config=config,
            inputs=tuple(InputRef(uri=each.uri, version=each.version) for each in read),
            files=tuple(sorted(files, key=lambda file: file.path)),
            counts=counts or {},
            metadata=metadata or {},
        )
        former = None if self._seen is None else self._store.read(self._manifest_uri)
        try:
            listing = self._check(manifest, read)
        except StorageError:
            self._drop(manifest, former)
            if self._store.stat(self._manifest_uri) == self._seen:
                raise
            # Another run has published meanwhile, and swept this run's files away.
            published = self.manifest()
            if published is None or published.fingerprint != fingerprint:
                raise CommitLost(f"{self._manifest_uri}: another run published first.") from None
            return published
        # Files of a run that begins after the commit must stay; all others here then belong to runs that will lose.
        others = tuple(f"{self.uri}/{place}/" for place in spared)
        present = [file for file in listing if ATTEMPT_NAME.search(file.name) and not file.uri.startswith(others)]
        try:
            if self._seen is None:
                self._store.create(self._manifest_uri, manifest.to_bytes())
            else:
                self._store.replace(self._manifest_uri, manifest.to_bytes(), self._seen.version)
        except CommitLost:
            published = self.manifest()
            if published is None or published.fingerprint != fingerprint:
                self._store.delete(file.uri for file in present if f"-{self.token}." in file.name)
                raise
            manifest = published
            present = [file for file in present if f"-{self.token}." in file.name]
        else:
            try:
                self._check(manifest, read)  # what changed between the look and the commit
            except StorageError:
                self._take_back(manifest, former)
                self._drop(manifest, former)
                raise
        self._sweep(manifest, present, others)
        if any(entry.shown for entry in manifest.files):
            self.show()
        return manifest

    def _check(self, manifest: Manifest, inputs: Iterable[InputRef]) -> list[StoredFile]:
        """Check that inputs have not changed and files are there; returns all files of the folder.

        Raises:
            StorageError: One is not.
        """
        check_unchanged(inputs)
        listing = self._store.list(self.uri + "/")
        for uri in self._missing(manifest, listing):
            raise StorageError(
                "a file that the step wrote was removed before it was published",
                where=uri,
                remedy="Nothing was published. Run it again when no delete-users or gc is at work there.",
            )
        return listing

    def _missing(self, manifest: Manifest, listing: Iterable[StoredFile]) -> Iterator[str]:
        """URIs of files that a manifest names and a listing has not, or in another size."""
        sizes = {file.uri: file.size for file in listing}
        yield from (uri for entry in manifest.files if sizes.get(uri := self.uri_of(entry.path)) != entry.size)

    def _take_back(self, manifest: Manifest, former: bytes | None) -> None:
        """Undo a commit, unless another run has published since."""
        now = self._store.stat(self._manifest_uri)
        if now is None or self._store.read(self._manifest_uri) != manifest.to_bytes():
            return
        if former is None:
            self._store.delete([self._manifest_uri])
        else:
            with suppress(CommitLost):
                self._store.replace(self._manifest_uri, former, now.version)

    def _drop(self, manifest: Manifest, former: bytes | None) -> None:
        """Remove this attempt's files, as they may hold users who have left the inputs; those of the former manifest stay."""
        kept = Manifest.from_bytes(former, self._manifest_uri).files if former else ()
        named = {file.path for file in kept}
        self._store.delete(self.uri_of(entry.path) for entry in manifest.files if entry.path not in named)

    def _sweep(self, manifest: Manifest, present: list[StoredFile], spared: tuple[str, ...]) -> None:
        """Remove what of `present` the manifest does not name, and unfinished uploads; what fails is left to the next run.

        Uploads below `spared` may be of others that are at work: no file of theirs tells, so only their age can (`hrnn gc`).
        """
        named = {self.uri_of(file.path) for file in manifest.files}
        try:
            self._store.delete(file.uri for file in present if file.uri not in named)
            # By the clock that dates uploads too; this machine's may be ahead of it, and others' uploads would go.
            written = [file.modified for file in present if f"-{self.token}." in file.name and file.modified is not None]
            self._store.abort_uploads(self.uri + "/", min(written, default=self._began), spared)
        except StorageError as error:
            _LOG.warning("leftovers of earlier runs could not be removed: %s", error)


def check_unchanged(inputs: Iterable[InputRef]) -> None:
    """Check that folders of steps, among inputs, have not changed.

    Raises:
        StorageError: One is not.
    """
    for each in (each for each in inputs if isinstance(each, StepInput)):
        current = StepFolder(each.uri).manifest()
        if current is None or current.fingerprint != each.version:
            raise StorageError(
                "this input changed, or went, while a step made something of it",
                where=each.uri,
                remedy="Nothing was published. Run it again when no other run, as of delete-users, changes its inputs.",
            )


def sha256_of(path: Path) -> str:
    """Hex SHA-256 of a local file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
