"""Scan one step's folder for the users, and rewrite it without them.

A dataset and a solution version get new files and a new manifest, under a new fingerprint, so that later steps see that they
changed; a page that may name a user goes. Sequences, exports and comparisons that hold a user go as a whole: a rerun of their
job makes them again from what is left. The manifest changes first and in one step, files that it no longer names go then: a
killed run leaves a folder that is right, and files that the next run removes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jobs.batch.output_record import RECORD_FOLDER
from jobs.batch.parts import stored_whole
from jobs.delete_users.lists import held_by_lines, write_lines_without
from jobs.delete_users.tables import Held, as_values, has_user_rows, held_by, write_without
from jobs.delete_users.users import Users, rows_in_csv
from jobs.platform.process.scratch import scratch_folder
from jobs.platform.storage import StoredFile, join, store_for
from jobs.platform.storage.folders import ATTEMPT_NAME, StepFolder
from schemas.columns import USER_ID, USER_ROW
from schemas.errors import CommitLost, StorageError
from schemas.manifest import MANIFEST_NAME, USERS_DELETED, FileEntry, Kind, Manifest, fingerprint

_REWRITTEN: frozenset[Kind] = frozenset({"dataset", "solution_version"})
_REMOVED: frozenset[Kind] = frozenset({"sequences", "export", "comparison"})
_NAMING = re.compile(r"(?:report|compare|explanations)(?:-[0-9a-f]{12})?\.json$")  # besides pages
_LEFTOVER = re.compile(
    r"^(?:failed|checkpoints|rejected|duplicates|data_docs|search)/|^(?:report|compare|explanations)\.(?:html|json)$"
)


@dataclass
class PlaceScan:
    """What a scan for the users found in one place.

    Attributes:
        uri: The place.
        kind: Of its manifest; "batch output".
        held: The users' rows or lines.
        pages: Paths of documents that may name a user.
        leftovers: URIs of files that no manifest names.
        earlier: Whether an earlier run of the same deletion has rewritten it.
    """

    uri: str
    kind: str
    held: Held = field(default_factory=Held)
    pages: list[str] = field(default_factory=list)
    leftovers: list[str] = field(default_factory=list)
    earlier: bool = False

    @property
    def is_clean(self) -> bool:
        """Whether nothing is left to do."""
        return not (self.held.rows_of_users or self.pages or self.leftovers)


def look(uri: str, users: Users) -> PlaceScan:
    """Scan the folder of a step.

    Raises:
        IntegrityError: A file differs from what its manifest promises.
    """
    folder = StepFolder(uri)
    manifest = folder.manifest()
    if manifest is None:  # a run before this one removed it
        return PlaceScan(folder.uri, "removed", leftovers=_leftovers(folder, None))
    scan = PlaceScan(folder.uri, manifest.kind, leftovers=_leftovers(folder, manifest))
    if manifest.kind not in _REWRITTEN | _REMOVED:
        return scan
    scan.earlier = any(made["deletion"] == users.identity for made in manifest.metadata.get(USERS_DELETED, []))
    for entry in manifest.files:
        with scratch_folder("delete") as scratch:
            if (held := _held(folder, entry, users, Path(scratch))) is not None:
                scan.held.add(held)
            elif _names_one(folder, manifest, entry, users):
                scan.pages.append(entry.path)
    return scan


def clean(scan: PlaceScan, users: Users) -> None:
    """Take the users out of a folder.

    Raises:
        CommitLost: Another run published there meanwhile.
    """
    folder = StepFolder(scan.uri)
    manifest = folder.manifest()
    if manifest is not None and (scan.held.rows_of_users or scan.pages):
        if manifest.kind in _REMOVED:
            store_for(folder.uri).delete([folder.uri_of(MANIFEST_NAME)])
            store_for(folder.uri).delete([folder.uri_of(path) for entry in manifest.files for path in entry.places])
        else:
            _rewrite(folder, manifest, scan, users)
    published = folder.manifest()  # as it is now, since a step may have finished since the scan
    named = {folder.uri_of(path) for entry in published.files for path in entry.places} if published else set()
    store_for(folder.uri).delete(uri for uri in scan.leftovers if uri not in named)


def drop_unfinished(uri: str, files: Sequence[StoredFile]) -> None:
    """Remove the files of a step that was not finished when they were listed.

    Where it has been since, it stays for the second scan; where that happened while its files went, it goes too.
    """
    folder, store = StepFolder(uri), store_for(uri)
    if folder.manifest() is not None:
        return
    store.delete(file.uri for file in files)
    manifest = folder.manifest()
    if manifest is not None and {folder.uri_of(entry.path) for entry in manifest.files} & {file.uri for file in files}:
        store.delete([folder.uri_of(MANIFEST_NAME)])


def rows_deleted(uri: str, identity: str) -> int:
    """Rows that a deletion took out of a dataset, in this run and in those before it."""
    manifest = StepFolder(uri).manifest()
    if manifest is None or manifest.kind != "dataset":
        return 0
    return sum(made["rows"] for made in manifest.metadata.get(USERS_DELETED, []) if made["deletion"] == identity)


def look_at_output(uri: str, users: Users) -> PlaceScan:
    """Scan a folder of `.out` objects."""
    scan = PlaceScan(uri, "batch output")
    with scratch_folder("delete") as scratch:
        for file in _outputs(uri):
            scan.held.add(held_by_lines(_local(file, Path(scratch)), users))
    record = join(uri, RECORD_FOLDER)
    scan.leftovers = [file.uri for file in store_for(uri).list(join(record, "parts") + "/")]
    return scan


def clean_output(scan: PlaceScan, users: Users) -> None:
    """Take lines that answer the users, and the users themselves in lists, out of `.out` objects; each changes at once.

    Raises:
        StorageError: A batch job is publishing there, or was killed while it did.
        CommitLost: One has begun to, or has published, since the lists were read; its own stay as they are.
    """
    store = store_for(scan.uri)
    record = StepFolder(join(scan.uri, RECORD_FOLDER))
    claim, manifest = record.versioned() or (None, None)
    if manifest is not None and "publishing" in manifest.metadata:
        raise StorageError(
            "a batch job is publishing here, or was killed while it did",
            where=scan.uri,
            remedy="Wait for its end, or run it again; then run delete-users again.",
        )
    changed: dict[str, tuple[StoredFile, int]] = {}
    with scratch_folder("delete") as scratch:
        for file in _outputs(scan.uri):
            local = _local(file, Path(scratch))
            if not held_by_lines(local, users).rows_of_users:
                continue
            target = Path(scratch) / "without"
            lines = write_lines_without(local, target, users)
            changed[file.name] = (_replaced(file, target, record, claim), lines)
    if changed and manifest is not None:
        outputs = [_described(output, changed) for output in manifest.metadata.get("outputs", [])]
        _publish_again(record, manifest, manifest.files, manifest.metadata | {"outputs": outputs}, manifest.counts, users, 0)
    store.delete(scan.leftovers)


def _replaced(file: StoredFile, target: Path, record: StepFolder, claim: StoredFile | None) -> StoredFile:
    """Replace the bytes of a list, unless a batch job has claimed the record since it was read."""
    store, uri = store_for(file.uri), record.uri_of(record.attempt_path(f"parts/{file.name}"))
    if claim is None:  # of no batch job of ours
        store.upload(target, file.uri)
    else:
        store.upload(target, uri)
        try:
            staged = store.stage([stored_whole(uri, target.stat().st_size)], file.uri)
            try:
                if store.stat(claim.uri) != claim:  # who claims it later drops what is staged before anything is revealed
                    raise _overtaken(claim.uri)
                store.reveal(staged, file, claim)
            finally:
                store.drop(staged.uri, staged.id)
        finally:
            store.delete([uri])
    written = store.stat(file.uri)
    if written is None or written.size != target.stat().st_size:
        raise _overtaken(file.uri)
    return written


def _overtaken(uri: str) -> CommitLost:
    return CommitLost(f"{uri}: a batch job has published meanwhile, or is about to; run delete-users again after it.")


def _described(output: dict[str, Any], changed: dict[str, tuple[StoredFile, int]]) -> dict[str, Any]:
    """Entry of a changed output in a batch job's record."""
    if output["name"] not in changed:
        return output
    written, lines = changed[output["name"]]
    kept = {name: value for name, value in output.items() if name != "parts"}  # digests of what it was made of
    return kept | {"size": written.size, "version": written.version, "lines": lines}


def _rewrite(folder: StepFolder, manifest: Manifest, scan: PlaceScan, users: Users) -> None:
    renamed: dict[str, FileEntry] = {}
    dropped: dict[str, FileEntry] = {}
    for entry in manifest.files:
        with scratch_folder("delete") as scratch:
            new = _rewritten(folder, manifest, entry, scan, users, Path(scratch))
        if new is not None:
            renamed[entry.path] = new
        elif entry.path in scan.pages:
            dropped[entry.path] = entry
    # Facts name files too: of those that are dropped no more, of those that are rewritten by their new names.
    facts = {name: value for name, value in manifest.metadata.items() if not (isinstance(value, str) and value in dropped)}
    facts = _with_names(facts, {path: entry.path for path, entry in renamed.items()})
    rows = {entry.path: entry.rows for entry in renamed.values()}
    for shard in facts.get("shards", []):
        if "num_users" in shard and shard["states"] in rows:
            shard["num_users"] = rows[shard["states"]]
    # A dataset counts rows, a solution version users.
    removed = scan.held.rows_of_users
    counted = "rows" if manifest.kind == "dataset" else "users"
    gone = removed if manifest.kind == "dataset" else len(scan.held.user_rows)
    counts = manifest.counts | ({counted: manifest.counts[counted] - gone} if counted in manifest.counts else {})
    files = [renamed.get(entry.path, entry) for entry in manifest.files if entry.path not in dropped]
    _publish_again(folder, manifest, files, facts, counts, users, removed)
    # Names that bear a run's token were swept by the publication; the others go now.
    store_for(folder.uri).delete([folder.uri_of(path) for entry in dropped.values() for path in entry.places])


def _publish_again(
    folder: StepFolder,
    manifest: Manifest,
    files: Any,
    facts: dict[str, Any],
    counts: dict[str, int],
    users: Users,
    rows: int,
) -> None:
    deletion = {"deletion": users.identity, "rows": rows, "before": manifest.fingerprint}
    folder.publish(
        manifest.kind,
        fingerprint("delete-users", {"deletion": users.identity, "rows": rows}, [manifest.fingerprint]),
        manifest.config,
        manifest.inputs,
        files,
        counts,
        facts | {USERS_DELETED: [*manifest.metadata.get(USERS_DELETED, []), deletion]},
    )


def _rewritten(
    folder: StepFolder, manifest: Manifest, entry: FileEntry, scan: PlaceScan, users: Users, scratch: Path
) -> FileEntry | None:
    """The new file in place of one that holds the users; None where it stays, or goes."""
    if entry.path == manifest.metadata.get("statistics"):
        document = _statistics_without(folder, entry, users)
        return None if document is None else folder.put(_new_path(folder, entry), document)
    if not entry.path.endswith(".parquet"):
        return None
    local, target = folder.fetch(entry, scratch), scratch / "without.parquet"
    held = held_by(local, users)
    if held is not None and held.rows_of_users:
        return folder.put_file(target, _new_path(folder, entry), rows=write_without(local, target, USER_ID, users.values))
    if held is None and manifest.kind == "solution_version" and scan.held.user_rows and has_user_rows(local):
        rows = write_without(local, target, USER_ROW, as_values(scan.held.user_rows))
        return folder.put_file(target, _new_path(folder, entry), rows=rows)
    return None


def _held(folder: StepFolder, entry: FileEntry, users: Users, scratch: Path) -> Held | None:
    """The users' rows in a file; None where it is no table of users."""
    if entry.path.endswith(".parquet"):
        return held_by(folder.fetch(entry, scratch), users)
    if entry.path.endswith(".csv") and entry.path.startswith("data/"):
        local = folder.fetch(entry, scratch)
        with open(local, encoding="utf-8") as file:
            if USER_ID not in file.readline().rstrip("\n").split(","):
                return None
        stored = StoredFile(str(local), local.stat().st_size, "")
        return Held(*rows_in_csv([store_for(str(local)).stat(str(local)) or stored], str(local), users))
    return None


def _names_one(folder: StepFolder, manifest: Manifest, entry: FileEntry, users: Users) -> bool:
    """Whether a document that is made for people may name one of the users, or the statistics of a dataset do."""
    if entry.path == manifest.metadata.get("statistics"):
        return _statistics_without(folder, entry, users) is not None
    schema = manifest.metadata.get("schema", {}).get("fields", [])
    if manifest.kind == "dataset" and USER_ID not in {each["name"] for each in schema}:
        return False
    if not entry.path.endswith(".html") and not _NAMING.match(entry.path):
        return False
    return users.may_be_named_in(folder.read(entry).decode(errors="replace"))


def _statistics_without(folder: StepFolder, entry: FileEntry, users: Users) -> bytes | None:
    """statistics.json of a dataset without the users it names; None where it names none of them."""
    document = json.loads(folder.read(entry))
    before = json.dumps(document)
    busiest = document.get("bots", {})
    if "worst" in busiest:
        busiest["worst"] = [each for each in busiest["worst"] if each["user"] not in users.ids]
    unknown = document.get("references", {}).get("users", {})
    if "examples" in unknown:
        unknown["examples"] = [each for each in unknown["examples"] if each not in users.ids]
    after = json.dumps(document)
    return None if after == before else (after + "\n").encode()


def _new_path(folder: StepFolder, entry: FileEntry) -> str:
    """The entry's name with this run's token in place of an earlier one's."""
    stem, _, suffix = entry.path.rpartition(".")
    return folder.attempt_path(f"{re.sub('-[0-9a-f]{12}$', '', stem)}.{suffix}")


def _with_names(value: Any, names: dict[str, str]) -> Any:
    """A JSON value with paths replaced by their new names."""
    if isinstance(value, dict):
        return {key: _with_names(each, names) for key, each in value.items()}
    if isinstance(value, list):
        return [_with_names(each, names) for each in value]
    return names.get(value, value) if isinstance(value, str) else value


def _leftovers(folder: StepFolder, manifest: Manifest | None) -> list[str]:
    """Files of the platform below a folder that its manifest does not name: of killed runs, checkpoints, failed imports."""
    named = {path for entry in manifest.files for path in entry.places} if manifest else set()
    paths = [file.uri.removeprefix(folder.uri + "/") for file in store_for(folder.uri).list(folder.uri + "/")]
    below = tuple(path.removesuffix(MANIFEST_NAME) for path in paths if path.endswith("/" + MANIFEST_NAME))
    unnamed = (path for path in paths if path not in named and not (below and path.startswith(below)))
    return [folder.uri_of(path) for path in unnamed if ATTEMPT_NAME.search(path) or _LEFTOVER.match(path)]


def _outputs(uri: str) -> Iterator[StoredFile]:
    for file in store_for(uri).list(uri + "/"):
        if "/" not in file.uri.removeprefix(uri + "/") and file.name.endswith(".out"):
            yield file


def _local(file: StoredFile, scratch: Path) -> Path:
    if file.uri.startswith("/"):
        return Path(file.uri)
    local = scratch / file.name
    store_for(file.uri).download(file.uri, local)
    return local
