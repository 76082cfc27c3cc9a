"""`hrnn delete-users`: users leave all that the platform wrote (Personalize's data deletion job)."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from jobs.delete_users.folders import PlaceScan, clean, clean_output, drop_unfinished, look, look_at_output, rows_deleted
from jobs.delete_users.places import Places, find_places
from jobs.delete_users.report import deletion_html
from jobs.delete_users.users import Users, read_users, rows_in_csv
from jobs.platform.storage import join, normalise, store_for
from jobs.platform.storage.folders import StepFolder
from jobs.workspace.steps import at_work
from schemas.errors import ConfigError, DataError, StorageError
from schemas.manifest import fingerprint

AT_WORK = timedelta(hours=1)  # longer than a step that is at work writes nothing: checkpoints come every few minutes


def delete_users(
    *,
    users_uri: str,
    workspace_uri: str | None = None,
    dataset_uris: Sequence[str] = (),
    batch_output_uris: Sequence[str] = (),
    output_uri: str | None = None,
    older_than: timedelta = AT_WORK,
) -> dict[str, Any]:
    """Take users out of datasets, sequences, solution versions, batch outputs and pages, and prove it by a second scan.

    Trained parameters stay as they are; the next night trains without the users. CSV files and batch inputs are the caller's:
    the report says in which of the CSV files the users still stand. A killed run is finished by the next one. While a step of
    the workspace is at work nothing is done; a step that begins meanwhile cannot publish what it made of a folder that changed,
    and what it has published is found by the second scan.

    Args:
        users_uri: CSV with the single column USER_ID.
        workspace_uri: Of a dataset group: all that its nights wrote, their batch outputs elsewhere included.
        dataset_uris: Further folders that a step wrote, or folders of such folders.
        batch_output_uris: Further folders with `.out` objects.
        output_uri: Folder for `deletion.json` and `report.html`; None: below the workspace.
        older_than: A step that is not finished was killed if all its files are older; else it is at work. 0: none is at work.

    Returns:
        The document that `deletion.json` holds (`status`, `numDeleted`, `places`, `inputs`, …), and what every job returns.

    Raises:
        ConfigError: Nothing to look through is named, or no place for the report.
        DataError: The list of users is wrong, or a user is still found afterwards.
        CommitLost: Another run published into one of the folders meanwhile.
        StorageError: A step of the workspace is at work, or something cannot be read or written.
    """
    began = time.monotonic()
    if workspace_uri is None and not dataset_uris and not batch_output_uris:
        raise ConfigError(
            "nothing to look through is named", where="workspace", allowed="--workspace, --dataset or --batch-output"
        )
    users = read_users(users_uri)
    if output_uri is None:
        if workspace_uri is None:
            raise ConfigError("where the report goes is not named", where="output", remedy="Name a folder, or a --workspace.")
        output_uri = join(normalise(workspace_uri), "deletions", users.identity[:12])
    folder = StepFolder(output_uri)
    folder.published("deletion")  # refused before anything is deleted
    places = find_places(workspace_uri, dataset_uris, batch_output_uris)
    _refuse_while_at_work(places, older_than)
    inputs = _inputs(places, users)  # before sequences go, and with them what they name
    before = [look(uri, users) for uri in places.folders]
    outputs = [look_at_output(uri, users) for uri in places.outputs]
    pages = [uri for uri in places.pages if users.may_be_named_in(store_for(uri).read(uri).decode(errors="replace"))]
    for scan in _derived_first(before):
        if not scan.is_clean:
            clean(scan, users)
    for scan in outputs:
        if not scan.is_clean:
            clean_output(scan, users)
    for uri in pages:
        store_for(uri).delete([uri])
    for uri, files in places.unfinished.items():
        drop_unfinished(uri, files)
    again = find_places(workspace_uri, dataset_uris, batch_output_uris, again=True)  # with what was published meanwhile
    after = [look(uri, users) for uri in sorted({*places.folders, *again.folders})]
    after += [look_at_output(uri, users) for uri in sorted({*places.outputs, *again.outputs})]
    after += [
        PlaceScan(uri, "unfinished step", leftovers=[file.uri for file in files]) for uri, files in again.unfinished.items()
    ]
    document = _document(users, [*before, *outputs], after, pages, places, inputs)
    earlier = _earlier_report(folder, document)
    skipped = earlier is not None and earlier["inputs"] == inputs
    document = document if earlier is None else earlier | {"inputs": inputs}
    if skipped:
        folder.show()
    else:
        _publish_report(folder, users, document)
    if document["status"] != "COMPLETED":
        remaining = [scan.uri for scan in after if not scan.is_clean]
        raise DataError(
            "users are still there after the deletion", where=remaining[0], remedy="Does another run write there? Run it again."
        )
    return {
        "job": "delete-users",
        "output": folder.uri,
        "skipped": skipped,
        **document,
        "report": folder.uri_of("report.html"),
        "seconds": round(time.monotonic() - began, 1),
    }


def _refuse_while_at_work(places: Places, older_than: timedelta) -> None:
    """Raise StorageError while a step may still be running: it would publish what it has read of the users."""
    if not older_than:  # whatever a clock says that was set since
        return
    working = [
        step for step, files in places.unfinished.items() if at_work({step: files}, (), store_for(step).now(step) - older_than)
    ]
    if working:
        raise StorageError(
            "a step of the workspace is at work, and may hold the users",
            where=working[0],
            remedy="Wait for its end. Where it was killed, run it again, or say --older-than 0m: then its files go.",
        )


def _derived_first(scans: list[PlaceScan]) -> list[PlaceScan]:
    """Datasets last: if this run is killed, the next one still finds the users where they came from."""
    return sorted(scans, key=lambda each: each.kind == "dataset")


def _inputs(places: Places, users: Users) -> list[dict[str, Any]]:
    """The CSV files that the datasets were imported from, and what they hold of the users now."""
    named: set[str] = set()
    for uri in places.folders:
        manifest = StepFolder(uri).manifest()
        if manifest is not None and manifest.kind == "dataset" and manifest.metadata["dataset_type"] in _WITH_USERS:
            named.update(file["uri"] for file in manifest.metadata.get("input_files", []))
    return [_input(uri, users) for uri in sorted(named)]


_WITH_USERS = frozenset({"Interactions", "Users", "Action_Interactions"})


def _input(uri: str, users: Users) -> dict[str, Any]:
    try:
        stored = store_for(uri).stat(uri)
        if stored is None:
            return {"uri": uri, "state": "gone", "rows": 0, "users": 0}
        _, rows, ids = rows_in_csv([stored], uri, users)
    except (DataError, StorageError) as error:
        return {"uri": uri, "state": f"not readable: {error.problem}", "rows": 0, "users": 0}
    return {"uri": uri, "state": "holds them" if rows else "clean", "rows": rows, "users": len(ids)}


def _document(
    users: Users,
    before: list[PlaceScan],
    after: list[PlaceScan],
    pages: list[str],
    places: Places,
    inputs: list[dict[str, Any]],
) -> dict[str, Any]:
    ids = set[str]().union(*(each.held.ids for each in before))
    seen = {each.uri: each for each in before}
    return {
        "status": "COMPLETED" if all(each.is_clean for each in after) else "FAILED",
        "users": len(users.ids),
        "users_found": len(ids),
        "numDeleted": sum(rows_deleted(uri, users.identity) for uri in places.folders),
        "places": [_place(seen.get(scan.uri) or PlaceScan(scan.uri, scan.kind), scan) for scan in after],
        "pages_removed": pages,
        "unfinished_removed": sorted(places.unfinished),
        "inputs": inputs,
    }


def _place(before: PlaceScan, after: PlaceScan) -> dict[str, Any]:
    return {
        "uri": before.uri,
        "kind": before.kind,
        "state": _state(before, after),
        "rows_before": before.held.rows,
        "rows_of_users": before.held.rows_of_users,
        "users": len(before.held.ids),
        "rows_after": after.held.rows,
        "rows_of_users_after": after.held.rows_of_users,
        "pages_removed": len(before.pages),
        "leftovers_removed": len(before.leftovers),
    }


def _state(before: PlaceScan, after: PlaceScan) -> str:
    if before.is_clean:
        return "rewritten before" if before.earlier else "clean"
    return "removed" if after.kind == "removed" else "rewritten"


def _earlier_report(folder: StepFolder, document: dict[str, Any]) -> dict[str, Any] | None:
    """The report of an earlier run of the same deletion, where this run found nothing to do; None otherwise."""
    manifest = folder.published("deletion")
    idle = all(place["state"] in {"clean", "rewritten before"} for place in document["places"])
    if manifest is None or not idle or document["pages_removed"] or document["unfinished_removed"]:
        return None
    earlier: dict[str, Any] = json.loads(folder.read(manifest.file("deletion.json")))
    return earlier if earlier["status"] == "COMPLETED" else None


def _publish_report(folder: StepFolder, users: Users, document: dict[str, Any]) -> None:
    """Publish `deletion.json` and the page; neither names a user."""
    files = [
        folder.put_page("deletion.json", (json.dumps(document, indent=1) + "\n").encode()),
        folder.put_page("report.html", deletion_html(document).encode()),
    ]
    counts = {name: document[name] for name in ("users", "users_found", "numDeleted")}
    identity = {
        "deletion": users.identity,
        "token": folder.token,
    }  # each run publishes its own report, though of the same users
    folder.publish("deletion", fingerprint("delete-users", identity, []), {}, [], files, counts, {"status": document["status"]})
