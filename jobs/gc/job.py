"""Remove what killed runs left and nobody reads: `hrnn gc`.

Below a workspace only the folders of steps are looked at, `<job>/<name>/<fingerprint>/`; below an output only `_hrnn/` and the
uploads of `.out` objects. What a manifest names stays, and so does everything younger than the age, which must be longer than
any run. Files are listed before their manifest is read, so that what a run publishes meanwhile is seen to be named.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, get_args

from jobs.batch.output_record import RECORD_FOLDER
from jobs.platform.process.scratch import sweep
from jobs.platform.storage import StoredFile, is_object, join, normalise, store_for
from jobs.platform.storage.folders import ATTEMPT_NAME, StepFolder
from jobs.workspace.generations import read_summary, summary_uris
from jobs.workspace.steps import STEP, all_old, at_work, files_of_steps
from schemas.errors import ConfigError, StorageError
from schemas.manifest import MANIFEST_NAME, Manifest
from schemas.nights import PUBLISHING

Kind = Literal["upload", "part", "leftover", "unfinished step", "old step"]

LEAST_AGE = timedelta(hours=1)
_DEPTH = 3  # <job>/<name>/<fingerprint>
_TRAINING = re.compile(r"^(?:checkpoints|trials)/")  # what a training needs to go on; nothing once it is published


@dataclass(frozen=True)
class Garbage:
    """Something to be removed.

    Attributes:
        kind: Why.
        place: URI of the folder of its step, or of its output.
        files: It, in the order in which it is removed.
    """

    kind: Kind
    place: str
    files: tuple[StoredFile, ...]


def gc(
    *,
    workspace_uri: str,
    output_uris: Sequence[str] = (),
    older_than: timedelta = timedelta(days=7),
    keep_nights: int | None = None,
    dry_run: bool = False,
    now: datetime | None = None,
) -> dict[str, Any]:
    """Remove leftovers from a workspace and from the outputs of its nights.

    Args:
        workspace_uri: Of a dataset group.
        output_uris: Further folders of batch outputs, beside those to which nights have published.
        older_than: What is younger stays.
        keep_nights: Also remove finished steps, but for those of so many newest finished nights and all that these were
            made of; none goes while a step is at work. None: every finished step stays.
        dry_run: Only say what would go, on stderr.
        now: What ages count to; None: this moment by the clock of each place's files.

    Returns:
        The summary: how many of each kind, files and bytes.

    Raises:
        ConfigError: The age or the number of nights is out of range.
        IntegrityError: A manifest or the summary of a night is damaged; then nothing is removed.
        StorageError: This is no workspace, or the store refuses.
    """
    began = time.monotonic()
    if older_than < LEAST_AGE:
        raise ConfigError(
            "this age is too short: files of runs that are still at work would go",
            where="older_than",
            value=str(older_than),
            allowed="1h or more, and longer than any run",
        )
    if keep_nights is not None and keep_nights < 1:
        raise ConfigError("at least one night must be kept", where="keep_nights", value=keep_nights, allowed="1 or more")
    workspace = normalise(workspace_uri).rstrip("/")

    def before_in(place: str) -> datetime:
        return (now or store_for(place).now(place + "/")) - older_than

    before = before_in(workspace)
    files = store_for(workspace).list(workspace + "/")
    _require_workspace(workspace, files)
    nights = _nights(files)
    outputs = {normalise(uri).rstrip("/") for uri in output_uris}
    outputs |= {step["folder"].rstrip("/") for night in nights for step in night if step["job"] in PUBLISHING}
    candidates = [*_steps(workspace, files, nights, keep_nights, before), *_uploads(workspace, STEP, before)]
    ages = [before] * len(candidates)  # by the clock of each place
    for output in sorted(outputs):  # of temporary files, those in an output below the workspace were found already
        of_output = before_in(output)
        candidates += [
            garbage for garbage in _output(output, of_output) if garbage.kind != "upload" or not _holds(candidates, garbage)
        ]
        ages += [of_output] * (len(candidates) - len(ages))
    for garbage, age in zip(candidates, ages, strict=True):
        if dry_run:
            print(*(f"{garbage.kind}: {file.uri} ({file.size:,} bytes)" for file in garbage.files), sep="\n", file=sys.stderr)
        else:
            _remove(garbage, age)
    removed = [file for garbage in candidates for file in garbage.files]
    stale = sweep(dry_run=dry_run)  # on this machine; whether a run lives is known by its lock, not by its age
    for folder in stale if dry_run else ():
        print(f"temporary files of a killed run: {folder}", file=sys.stderr)
    counts = {kind: sum(garbage.kind == kind for garbage in candidates) for kind in get_args(Kind)}
    return {
        "job": "gc",
        "output": workspace,
        "dry_run": dry_run,
        "before": before.isoformat(timespec="seconds"),
        "outputs": len(outputs),
        "uploads": counts["upload"],
        "parts": counts["part"],
        "leftovers": counts["leftover"],
        "unfinished_steps": counts["unfinished step"],
        "old_steps": counts["old step"],
        "scratch": len(stale),
        "files": len(removed),
        "bytes": sum(file.size for file in removed),
        "seconds": round(time.monotonic() - began, 1),
    }


def _require_workspace(workspace: str, files: Sequence[StoredFile]) -> None:
    """Refuse a folder without a single step or night: a mistyped URI, most likely.

    Raises:
        StorageError: It is such a place.
    """
    ours = re.compile(rf"{STEP.pattern}|nights/|deletions/")
    if not any(ours.match(file.uri.removeprefix(workspace + "/")) for file in files):
        raise StorageError(
            "this is no workspace: no step and no night has written here",
            where=workspace,
            remedy="Name the workspace of a dataset group, as in its night's config.",
        )


def _nights(files: Iterable[StoredFile]) -> list[list[dict[str, Any]]]:
    """The records of the steps of every finished night, the newest first."""
    return [read_summary(uri)["steps"] for uri in summary_uris(file.uri for file in files)]


def _steps(
    workspace: str,
    files: Sequence[StoredFile],
    nights: Sequence[Sequence[dict[str, Any]]],
    keep_nights: int | None,
    before: datetime,
) -> Iterator[Garbage]:
    """Leftovers in the folders of steps, and folders that go as a whole."""
    # Manifests are read after the files were listed: what a run publishes meanwhile is then named by a manifest.
    of_folder = files_of_steps(workspace, files)
    manifests = {folder: StepFolder(folder).manifest() for folder in of_folder}
    young = {folder for folder, held in of_folder.items() if not all_old(held, before)}
    # Of finished steps stay: those of the kept nights, those young enough to be of a night that still runs, and their sources.
    used = {_in(workspace, step["folder"]) for night in nights[:keep_nights] for step in night}
    kept = _with_sources(used | young, manifests, workspace)
    finished = {folder for folder, manifest in manifests.items() if manifest is not None}
    working = at_work(of_folder, finished, before)  # a night, which may read any finished step
    for folder, held in of_folder.items():
        manifest = manifests[folder]
        if manifest is None:
            if folder not in young:
                yield Garbage("unfinished step", folder, tuple(held))
        elif keep_nights is not None and nights and not working and folder not in kept:
            # Without its manifest the step does not exist; a killed run of this job leaves an unfinished step.
            yield Garbage("old step", folder, tuple(sorted(held, key=lambda file: file.name != MANIFEST_NAME)))
        else:
            yield from (Garbage("leftover", folder, (file,)) for file in _leftovers(folder, manifest, held, before))


def _in(workspace: str, folder: str) -> str:
    """A step's folder where it lies now: the workspace may have been moved since it was written, or have another name."""
    return join(workspace, *folder.rstrip("/").split("/")[-_DEPTH:])


def _with_sources(folders: set[str], manifests: dict[str, Manifest | None], workspace: str) -> set[str]:
    """Folders with all that they were made of."""
    visited, stack = set[str](), list(folders)
    while stack:
        folder = stack.pop()
        manifest = manifests.get(folder)
        if folder not in visited and manifest is not None:
            stack += [_in(workspace, reference.uri) for reference in manifest.inputs]
        visited.add(folder)
    return visited


def _leftovers(folder: str, manifest: Manifest, held: Sequence[StoredFile], before: datetime) -> Iterator[StoredFile]:
    """Files of a published step that its manifest does not name."""
    named = {join(folder, entry.path) for entry in manifest.files}
    unnamed = {file.uri.removeprefix(folder + "/"): file for file in held if file.uri not in named}
    training = [file for path, file in unnamed.items() if _TRAINING.match(path)]
    if all_old(training, before):  # else one goes on from them
        yield from training
    for path, file in unnamed.items():
        if not _TRAINING.match(path) and ATTEMPT_NAME.search(path) and all_old([file], before):
            yield file


def _output(output: str, before: datetime) -> Iterator[Garbage]:
    """Parts of answers, and unfinished uploads of answers; never the answers."""
    record = join(output, RECORD_FOLDER)
    files = store_for(record).list(record + "/")
    manifest = StepFolder(record).manifest()
    named = {join(record, entry.path) for entry in manifest.files} if manifest else set()
    for file in files:
        if file.uri not in named and ATTEMPT_NAME.search(file.name) and all_old([file], before):
            yield Garbage("part", output, (file,))
    yield from _uploads(output, re.compile(rf"[^/]+\.out$|_CHECK$|{RECORD_FOLDER}/"), before)


def _uploads(folder: str, ours: re.Pattern[str], before: datetime) -> Iterator[Garbage]:
    """Unfinished uploads in our places below a folder; local temporary files bear our name wherever they are."""
    for file in store_for(folder).uploads(folder + "/", before):
        if not is_object(folder) or ours.match(file.uri.removeprefix(folder + "/")):
            yield Garbage("upload", folder, (file,))


def _holds(listed: Sequence[Garbage], garbage: Garbage) -> bool:
    return any(garbage.files == each.files for each in listed)


def _remove(garbage: Garbage, before: datetime) -> None:
    """Remove it, unless the step was started again meanwhile."""
    store = store_for(garbage.place)
    if garbage.kind == "upload":
        store.abort_uploads(garbage.files[0].uri, before)
    elif garbage.kind != "unfinished step" or all_old(store.list(garbage.place + "/"), before):
        store.delete(file.uri for file in garbage.files)
