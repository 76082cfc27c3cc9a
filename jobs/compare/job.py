"""`hrnn compare`: two batch outputs, Personalize's or ours, in; how alike their lists are out."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from jobs.compare.measuring import SIDES, Comparison
from jobs.compare.reading import num_parts, read_part, write_parts
from jobs.compare.report import comparison_html
from jobs.platform.process.scratch import scratch_folder
from jobs.platform.storage import StoredFile, list_input, normalise
from jobs.platform.storage.folders import StepFolder
from schemas.errors import ConfigError, DataError
from schemas.manifest import InputRef, fingerprint
from schemas.uris import lies_in

_VERSION = 1  # of what is made of the same files
DETAILS = ("differ_most", "lines_only_in", "distribution")  # too long for a line on the terminal

Files = dict[str, StoredFile]  # by the name by which a file is matched with one of the other side


def compare(*, old_uri: str, new_uri: str, output_uri: str | None = None) -> dict[str, Any]:
    """Match the lines of two batch outputs by their input and compare their lists.

    A list that repeats an entry is compared as if only its first place were there: [a, b] and [a, a, a] share one entry of two.
    Gzipped files are unpacked while they are read.
    Of several lines with one input the first of one side meets the first of the other. Memory is bounded by the parts that the
    lines are written to, but for about 8 bytes a line and 24 bytes a distinct id.

    Args:
        old_uri: A file, or a folder of `.out` or `.out.gz` files.
        new_uri: The other side; folders are matched by the names of their files.
        output_uri: Folder for `compare.json` and `report.html`. None: nothing is written.

    Returns:
        The document that `compare.json` holds, and what every job returns.

    Raises:
        ConfigError: A file is compared with a folder, or the output lies in an input.
        DataError: A line is none of a batch output, one side lists items and the other users, or no file has a partner.
        StorageError: Something cannot be read or written.
    """
    began = time.monotonic()
    old_uri, new_uri = normalise(old_uri), normalise(new_uri)
    old, new = _files_of(old_uri), _files_of(new_uri)
    matched, alone = _partners(old, new, old_uri, new_uri)
    files = [(name, file) for side in matched for name, file in side.items()]
    folder = None if output_uri is None else StepFolder(output_uri)
    if folder and any(lies_in(file.uri, folder.uri) for file in [*old.values(), *new.values()]):
        raise ConfigError("the output holds the files to compare", where="output", value=folder.uri, allowed="a folder apart")
    versions = [f"{name} {file.size} {file.version}" for name, file in files]
    identity = fingerprint("compare", {"version": _VERSION, "alone": alone}, versions)
    done = folder.published("comparison") if folder else None
    if folder and done and done.fingerprint == identity and folder.is_whole(done):
        folder.show()
        document: dict[str, Any] = json.loads(folder.read(done.file("compare.json")))
        return _summary(document, folder, began, skipped=True)
    comparison = _compared(matched, old_uri, new_uri)
    sides = {"old": old_uri, "new": new_uri, "files": len(matched[0])}
    document = {**sides, **comparison.document(), "files_only_in": alone}
    if folder:
        entries = [
            folder.put_page("compare.json", (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode()),
            folder.put_page("report.html", comparison_html(document, comparison.listed).encode()),
        ]
        inputs = [InputRef(uri=file.uri, version=file.version) for _, file in files]
        folder.publish("comparison", identity, {"version": _VERSION}, inputs, entries, document["lines"])
    return _summary(document, folder, began, skipped=False)


def _files_of(uri: str) -> Files:
    """The `.out` files, gzipped or not, that a URI means; the name of a file itself is empty."""
    files = list_input(uri)
    if len(files) == 1 and files[0].uri == uri:
        return {"": files[0]}
    folder = uri.rstrip("/") + "/"
    outputs = {file.uri.removeprefix(folder): file for file in files if file.name.endswith((".out", ".out.gz"))}
    if not outputs:
        raise DataError(
            "no file there ends in .out or .out.gz", where=uri, remedy="Name the folder that a batch job wrote, or a file."
        )
    return outputs


def _partners(old: Files, new: Files, old_uri: str, new_uri: str) -> tuple[tuple[Files, Files], dict[str, list[str]]]:
    """The files of either side that have a partner, in the same order, and the names of the others.

    Raises:
        ConfigError: A file is compared with a folder of several.
        DataError: No file has a partner.
    """
    if ("" in old) != ("" in new):
        folder, folder_uri = (new, new_uri) if "" in old else (old, old_uri)
        if len(folder) > 1:
            raise ConfigError(
                "one side is a file, the other a folder of several",
                where=folder_uri,
                value=list(folder)[:5],
                remedy="Name the file of the folder that it is compared with.",
            )
        old, new = ({"": file} for side in (old, new) for file in side.values())
    alone = {"old": [name for name in old if name not in new], "new": [name for name in new if name not in old]}
    both = [name for name in old if name in new]
    if not both:
        raise DataError(
            "no file of one folder has the name of one of the other",
            where=old_uri,
            value=alone["old"][:3],
            allowed=", ".join(alone["new"][:3]),
            remedy="Rename them, or compare file by file.",
        )
    return ({name: old[name] for name in both}, {name: new[name] for name in both}), alone


def _compared(matched: tuple[Files, Files], old_uri: str, new_uri: str) -> Comparison:
    """All lines of both sides, compared.

    Raises:
        DataError: A line is none of a batch output, or some list items and others users.
    """
    comparison = Comparison()
    with scratch_folder("compare") as scratch_path:
        parts, sides = num_parts([file for files in matched for file in files.values()]), []
        for name, files in zip(SIDES, matched, strict=True):
            folder = Path(scratch_path) / name
            folder.mkdir()
            sides.append(write_parts(files, parts, folder))
        for old_path, new_path in zip(*sides, strict=True):
            comparison.add(read_part(old_path), read_part(new_path))
            if len(comparison.kinds) > 1:
                raise DataError(
                    "some lists hold items and others users, which cannot be compared",
                    where=f"{old_uri}, {new_uri}",
                    remedy="Compare inference with inference and segments with segments.",
                )
    return comparison


def _summary(document: dict[str, Any], folder: StepFolder | None, began: float, *, skipped: bool) -> dict[str, Any]:
    return {
        "job": "compare",
        "output": folder.uri if folder else None,
        "skipped": skipped,
        **document,
        "report": folder.uri_of("report.html") if folder else None,
        "seconds": round(time.monotonic() - began, 1),
    }
