"""`hrnn compare`: two batch outputs, Personalize's or ours, in; how alike their lists are out."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jobs.compare.matching import deal_lines, matched, num_parts
from jobs.compare.measuring import Measured, Place
from jobs.compare.reading import Answer, input_text, read_answer
from jobs.compare.report import comparison_page
from jobs.platform.process.scratch import scratch_folder
from jobs.platform.storage import StoredFile, list_input, normalise, store_for
from jobs.platform.storage.folders import StepFolder
from jobs.reports.comparison import comparison_html
from schemas.errors import ConfigError, DataError
from schemas.manifest import InputRef, fingerprint
from schemas.uris import lies_in

_VERSION = 1  # of what is made of the same files
_ENTRIES = 100  # of a list that compare.json shows
DETAILS = ("differ_most", "lines_only_in", "distribution")  # too long for a line on the terminal

Named = list[tuple[str, StoredFile]]


def compare(*, old_uri: str, new_uri: str, output_uri: str | None = None) -> dict[str, Any]:
    """Match the lines of two batch outputs by their input and compare their lists.

    Of several lines with one input the first of one side meets the first of the other. Memory is bounded by the parts that the
    lines are dealt to, but for about 8 bytes a line and 16 bytes a distinct id.

    Args:
        old_uri: A file, or a folder of `.out` files.
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
    pairs, alone = _partners(old, new, old_uri, new_uri)
    folder = None if output_uri is None else StepFolder(output_uri)
    if folder and any(lies_in(file.uri, folder.uri) for _, file in [*old, *new]):
        raise ConfigError("the output holds the files to compare", where="--output", value=folder.uri, allowed="a folder apart")
    versions = [f"{name} {file.size} {file.version}" for side in pairs for name, file in side]
    identity = fingerprint("compare", {"version": _VERSION, "alone": alone}, versions)
    done = folder.manifest() if folder else None
    if folder and done and done.fingerprint == identity and folder.is_whole(done):
        folder.show()
        document: dict[str, Any] = json.loads(folder.read(done.file("compare.json")))
        return _summary(document, folder, began, skipped=True)
    document, page = _compared(pairs, alone, old_uri, new_uri)
    if folder:
        files = [
            folder.put_page("compare.json", (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode()),
            folder.put_page("report.html", page.encode()),
        ]
        inputs = [InputRef(uri=file.uri, version=file.version) for side in pairs for _, file in side]
        folder.publish("comparison", identity, {"version": _VERSION}, inputs, files, document["lines"])
    return _summary(document, folder, began, skipped=False)


def _files_of(uri: str) -> Named:
    """The `.out` files that a URI means, each with the name by which it is matched; empty for a file itself."""
    files = list_input(uri)
    if len(files) == 1 and files[0].uri == uri:
        return [("", files[0])]
    folder = uri.rstrip("/") + "/"
    named = [(file.uri.removeprefix(folder), file) for file in files if file.name.endswith(".out")]
    if not named:
        raise DataError("no file there ends in .out", where=uri, remedy="Name the folder that a batch job wrote, or a file.")
    return named


def _partners(old: Named, new: Named, old_uri: str, new_uri: str) -> tuple[tuple[Named, Named], dict[str, list[str]]]:
    """The files of either side that have a partner, in the same order, and the names of the others.

    Raises:
        ConfigError: A file is compared with a folder of several.
        DataError: No file has a partner.
    """
    if (old[0][0] == "") != (new[0][0] == ""):
        folder = old if old[0][0] else new
        if len(folder) > 1:
            raise ConfigError(
                "one side is a file, the other a folder of several",
                where=old_uri if old[0][0] else new_uri,
                value=[name for name, _ in folder[:5]],
                remedy="Name the file of the folder that it is compared with.",
            )
        return ([("", old[0][1])], [("", new[0][1])]), {"old": [], "new": []}
    names = {name for name, _ in old} & {name for name, _ in new}
    alone = {"old": [name for name, _ in old if name not in names], "new": [name for name, _ in new if name not in names]}
    if not names:
        raise DataError(
            "no file of one folder has the name of one of the other",
            where=old_uri,
            value=alone["old"][:3],
            allowed=", ".join(alone["new"][:3]),
            remedy="Rename them, or compare file by file.",
        )
    return ([named for named in old if named[0] in names], [named for named in new if named[0] in names]), alone


def _compared(
    pairs: tuple[Named, Named], alone: dict[str, list[str]], old_uri: str, new_uri: str
) -> tuple[dict[str, Any], str]:
    """The document, and the page."""
    with scratch_folder("compare") as scratch_path:
        parts = num_parts([file for side in pairs for _, file in side])
        sides = []
        for name, files in zip(("old", "new"), pairs, strict=True):
            place = Path(scratch_path) / name
            place.mkdir()
            sides.append(deal_lines(files, parts, place))
        kinds = sides[0].kinds | sides[1].kinds
        if len(kinds) > 1:
            raise DataError(
                "some lists hold items and others users, which cannot be compared",
                where=f"{old_uri}, {new_uri}",
                remedy="Compare inference with inference and segments with segments.",
            )
        measured = Measured()
        for part in matched(*sides):
            measured.add(part)
    figures = measured.figures()
    figures["listed"]["what"] = next(iter(kinds), "items")
    document = {
        "old": old_uri,
        "new": new_uri,
        "files": len(pairs[0]),
        "counts": {
            name: {"lines": side.lines, "errors": side.failed} for name, side in zip(("old", "new"), sides, strict=True)
        },
        **figures,
        "differ_most": [
            _both(value, _answer(pairs[0], old), _answer(pairs[1], new)) for value, old, new in measured.differing if value < 1
        ],
        "lines_only_in": {
            name: [input_text(_answer(files, place).asked) for place in places]
            for name, files, places in zip(("old", "new"), pairs, measured.only, strict=True)
        },
        "files_only_in": alone,
    }
    return document, comparison_html(comparison_page(document, measured.old.counts, measured.new.counts))


def _both(value: float, old: Answer, new: Answer) -> dict[str, Any]:
    return {
        "input": input_text(old.asked),
        "rank_biased_overlap": round(value, 6),
        "old": old.listed[:_ENTRIES],
        "new": new.listed[:_ENTRIES],
    }


def _answer(files: Sequence[tuple[str, StoredFile]], place: Place) -> Answer:
    """Read one line again."""
    number, start, size = place
    file = files[number][1]
    line = store_for(file.uri).read(file.uri, start, start + size, file.version)
    return read_answer(line.removeprefix(b"\xef\xbb\xbf") if start == 0 else line, file.uri)


def _summary(document: dict[str, Any], folder: StepFolder | None, began: float, *, skipped: bool) -> dict[str, Any]:
    return {
        "job": "compare",
        "output": folder.uri if folder else None,
        "skipped": skipped,
        **document,
        "report": folder.uri_of("report.html") if folder else None,
        "seconds": round(time.monotonic() - began, 1),
    }
