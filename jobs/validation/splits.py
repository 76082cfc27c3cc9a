"""Splits that begin and end between records, whatever is quoted, with the line number of each one's first byte.

A task that starts in the midst of a file cannot know whether it stands within quotes. So a first pass reads every stretch
of a large file once, under both assumptions, and tells for each where its first record starts and in which state it ends;
the driver then walks along the stretches with the assumption that holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from jobs.validation.inputs import InputFile, Split
from jobs.validation.quotes import count_lines, structure
from jobs.validation.reading import line_blocks, line_start, pieces

Stretch = tuple[InputFile, int, int]  # file, first byte, end byte; cut anywhere


@dataclass
class Walk:
    """What a stretch looks like when it starts outside (or inside) of quotes.

    Attributes:
        inside: In quotes; at first at the stretch's start, at last at its end.
        first_record: Position of the first record that starts in the stretch, if one does.
        lines_before: Lines of the stretch before it.
    """

    inside: bool
    first_record: int | None = None
    lines_before: int = 0


def plan_splits(
    files: Iterable[InputFile], split_bytes: int, scan_all: Callable[[list[Stretch]], list[dict[str, Any]]]
) -> list[Split]:
    """Cut all files into splits, in order.

    Args:
        files: The files; empty ones give no split.
        split_bytes: About how long a split of a plain file is. A gzipped file is one split.
        scan_all: Applies `scan` to stretches, in order; asked once, for the files that are longer than a split.
    """
    whole: list[Split] = []
    stretches: list[Stretch] = []
    for file in files:
        if file.header and (file.gzipped or file.size - file.body_start <= split_bytes):
            if file.gzipped or file.size > file.body_start:
                whole.append(Split(file=file, start=file.body_start, end=file.size, first_line=file.body_line))
        elif file.header:
            starts = range(file.body_start, file.size, split_bytes)
            stretches += [(file, start, min(file.size, start + split_bytes)) for start in starts]
    cut = _join(stretches, scan_all(stretches)) if stretches else []
    return sorted(whole + cut, key=lambda split: (split.file.number, split.start))


def scan(stretch: Stretch) -> dict[str, Any]:
    """Read one stretch under both assumptions; the answer is plain JSON for `plan_splits`."""
    file, start, end = stretch
    position, stop = line_start(file, start), line_start(file, end)
    walks = [Walk(inside=False), Walk(inside=True)]
    lines = 0
    for block in line_blocks(pieces(file, position, stop), file.uri):
        if walks[0].first_record is None:
            walks[0].first_record = position
        if b'"' in block:
            for walk in walks:
                _go_on(walk, block, position, lines)
        position += len(block)
        lines += count_lines(block)
    return {"lines": lines, "outside": asdict(walks[0]), "inside": asdict(walks[1])}


def _go_on(walk: Walk, block: bytes, position: int, lines: int) -> None:
    """Take one block that holds quotes."""
    found = structure(block, walk.inside)
    ends = np.flatnonzero(found.ends_record)
    if walk.first_record is None and len(ends):
        walk.first_record = position + int(found.line_stops[ends[0]])
        walk.lines_before = lines + int(ends[0]) + 1
    walk.inside = found.inside_after


def _join(stretches: Sequence[Stretch], scans: Sequence[dict[str, Any]]) -> list[Split]:
    """Walk along the stretches with the assumption that holds."""
    splits: list[Split] = []
    of_file: dict[InputFile, list[dict[str, Any]]] = {}
    for (file, _, _), found in zip(stretches, scans, strict=True):
        of_file.setdefault(file, []).append(found)
    for file, found_here in of_file.items():
        starts: dict[int, int] = {}
        line, inside = file.body_line, False
        for found in found_here:
            walk = found["inside" if inside else "outside"]
            if walk["first_record"] is not None:
                starts[walk["first_record"]] = line + walk["lines_before"]
            line += found["lines"]
            inside = walk["inside"]
        bounds = [*starts, file.size]
        splits += [
            Split(file=file, start=start, end=end, first_line=starts[start]) for start, end in pairwise(bounds) if end > start
        ]
    return splits
