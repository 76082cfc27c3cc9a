"""Bring the lines of two batch outputs together in bounded memory: both are dealt to parts by the hash of their input.

A part of one side and the same part of the other hold all lines of the same inputs, whatever the order in the files. Parts
lie in a scratch folder and are compared one at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa

from hrnn.data.hashing import Hashes, mix64
from hrnn.data.ragged import Ragged
from hrnn.evaluation.agreement import Lists
from jobs.compare.reading import FAILED, FILE, IDS, KEY, LINES, SCORES, SIZE, START, read_blocks
from jobs.platform.storage import StoredFile

_PART_BYTES = 128 << 20  # of both sides' text that are compared at a time: about 600 MB of memory
_MOST_PARTS = 256


@dataclass
class Side:
    """The lines of one side, dealt to parts.

    Attributes:
        parts: One file of Arrow batches a part.
        lines: Lines that are not blank.
        failed: Error lines among them.
        kinds: What is listed: "items", "users".
    """

    parts: list[Path]
    lines: int = 0
    failed: int = 0
    kinds: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Pairs:
    """Matched lines of a part, and those that only one side has; both tables have the columns of LINES.

    Attributes:
        old, new: Row m of one and row m of the other answer the same input.
        only_old, only_new: Lines without partner.
    """

    old: pa.Table
    new: pa.Table
    only_old: pa.Table
    only_new: pa.Table


def num_parts(files: Sequence[StoredFile]) -> int:
    """How many parts suit the files of both sides."""
    return min(_MOST_PARTS, 1 + sum(file.size for file in files) // _PART_BYTES)


def deal_lines(files: Sequence[tuple[str, StoredFile]], parts: int, scratch: Path) -> Side:
    """Read a side's files once and deal their lines to parts.

    Args:
        files: (name by which it is matched, file).
        parts: How many.
        scratch: An empty local folder.

    Raises:
        DataError: A line is none of a batch output.
    """
    side = Side([scratch / f"part-{number}.arrow" for number in range(parts)])
    with ExitStack() as stack:
        writers = [stack.enter_context(pa.ipc.new_stream(str(path), LINES)) for path in side.parts]
        for number, (name, file) in enumerate(files):
            for block in read_blocks(file, number, name):
                side.lines += block.table.num_rows
                side.failed += int(np.count_nonzero(block.table[FAILED].to_numpy(zero_copy_only=False)))
                side.kinds |= block.kinds
                for writer, dealt in zip(writers, _dealt(block.table, parts), strict=True):
                    writer.write_table(dealt)
    return side


def matched(old: Side, new: Side) -> Iterator[Pairs]:
    """The pairs of each part; of several lines with one input the first meets the first, the second the second."""
    for old_path, new_path in zip(old.parts, new.parts, strict=True):
        tables = [_read(path) for path in (old_path, new_path)]
        keys = [_with_occurrence(table[KEY].to_numpy()) for table in tables]
        _, at_old, at_new = np.intersect1d(keys[0], keys[1], assume_unique=True, return_indices=True)
        order = np.argsort(at_old)
        pairs = (at_old[order], at_new[order])
        taken = [table.take(pa.array(at)) for table, at in zip(tables, pairs, strict=True)]
        rest = [
            table.filter(pa.array(~np.isin(np.arange(table.num_rows), at))) for table, at in zip(tables, pairs, strict=True)
        ]
        yield Pairs(taken[0], taken[1], rest[0], rest[1])


def lists_of(table: pa.Table) -> Lists:
    """The ranked lists of a table of lines."""
    ids, scores = Ragged.from_arrow(table[IDS]), Ragged.from_arrow(table[SCORES])  # a null score becomes NaN
    return Lists(ids.offsets, ids.values, scores.values.astype(np.float32, copy=False))


def places_of(table: pa.Table) -> list[tuple[int, int, int]]:
    """File, first byte and size of each line of a table."""
    return list(zip(*(table[name].to_pylist() for name in (FILE, START, SIZE)), strict=True))


def _dealt(table: pa.Table, parts: int) -> Iterator[pa.Table]:
    if parts == 1:
        yield table
        return
    targets = (table[KEY].to_numpy() % np.uint64(parts)).astype(np.int64)
    ordered = table.take(pa.array(np.argsort(targets, kind="stable")))
    ends = np.cumsum(np.bincount(targets, minlength=parts))
    for begin, end in zip([0, *ends[:-1].tolist()], ends.tolist(), strict=True):
        yield ordered.slice(begin, end - begin)


def _with_occurrence(keys: Hashes) -> Hashes:
    """Keys that tell lines of one input apart: mixed with how many lines of it stand before."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    is_first = np.ones(len(keys), np.bool_)
    is_first[1:] = ordered[1:] != ordered[:-1]
    firsts = np.flatnonzero(is_first)
    places = np.arange(len(keys)) - np.repeat(firsts, np.diff(np.append(firsts, len(keys))))
    again = places > 0
    told = keys.copy()
    told[order[again]] = mix64(ordered[again] ^ mix64(places[again].astype(np.uint64)))
    return told


def _read(path: Path) -> pa.Table:
    with pa.memory_map(str(path)) as file, pa.ipc.open_stream(file) as reader:
        return reader.read_all()
