"""Where a workspace holds users: folders of steps, batch outputs, pages of nights, and what killed runs left."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from jobs.batch.output_record import RECORD_FOLDER
from jobs.platform.storage import StoredFile, join, normalise, store_for
from jobs.workspace.generations import read_summary, summary_uris
from jobs.workspace.steps import files_of_steps
from schemas.errors import StorageError
from schemas.manifest import MANIFEST_NAME
from schemas.nights import PUBLISHING


@dataclass(frozen=True)
class Places:
    """Places that are scanned for the users.

    Attributes:
        folders: URIs of folders with a manifest, ascending.
        outputs: URIs of folders that hold `.out` objects.
        pages: URIs of the nights' pages.
        unfinished: Folder of a step that never published, as its run was killed or still runs -> its files.
    """

    folders: tuple[str, ...]
    outputs: tuple[str, ...]
    pages: tuple[str, ...]
    unfinished: dict[str, list[StoredFile]]


def find_places(workspace: str | None, folders: Iterable[str], outputs: Iterable[str], *, again: bool = False) -> Places:
    """List the places of a workspace and of further folders.

    Args:
        workspace: Of a dataset group, or None.
        folders: Further folders that hold a manifest, or folders of such folders.
        outputs: Further folders of batch outputs.
        again: Folders that were named may have been emptied since.

    Raises:
        StorageError: A folder that was named holds nothing.
        IntegrityError: The summary of a night is damaged.
    """
    steps, batch, pages = set[str](), {normalise(uri).rstrip("/") for uri in outputs}, set[str]()
    unfinished: dict[str, list[StoredFile]] = {}
    own = None if workspace is None else normalise(workspace).rstrip("/")
    for uri in [*([own] if own else []), *(normalise(folder).rstrip("/") for folder in folders)]:
        stored = store_for(uri).list(uri + "/")
        files = [file.uri for file in stored]
        published = {file.rpartition("/")[0] for file in files if file.endswith("/" + MANIFEST_NAME)}
        if not files and not again:
            raise StorageError("nothing lies here", where=uri, remedy="Check the URI.")
        if not published and uri != own:
            published = {uri}  # an earlier run may have removed its manifest, and not yet all files
        batch |= {folder.rpartition("/")[0] for folder in published if folder.endswith("/" + RECORD_FOLDER)}
        steps |= {folder for folder in published if not folder.endswith("/" + RECORD_FOLDER)}
        if uri == own:  # of the workspace also: pages of nights, their outputs elsewhere, steps that never finished
            nights = [file for file in files if file.startswith(join(uri, "nights") + "/")]
            pages |= {file for file in nights if file.endswith(".html")}
            batch |= {folder for file in summary_uris(nights) for folder in _published(file)}
            unfinished = {folder: held for folder, held in files_of_steps(uri, stored).items() if folder not in published}
    batch = {folder for folder in batch if store_for(folder).list(folder + "/")}
    return Places(tuple(sorted(steps)), tuple(sorted(batch)), tuple(sorted(pages)), unfinished)


def _published(summary_uri: str) -> list[str]:
    """Folders to which a night published lists."""
    return [step["folder"].rstrip("/") for step in read_summary(summary_uri)["steps"] if step["job"] in PUBLISHING]
