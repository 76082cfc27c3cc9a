"""The bytes of a file as blocks of whole lines and of whole records, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from jobs.storage import store_for
from jobs.validation.gzipped import unpack
from jobs.validation.inputs import InputFile, Split
from jobs.validation.quotes import Structure, first_line_stop, last_line_stop, structure
from schemas.errors import DataError

PIECE_BYTES = 8 << 20  # bytes read at a time
LONGEST_RECORD = 16 << 20  # bytes; a text has at most 20,000 characters, so more is a quote that was never closed

_EDGE_BYTES = 64 << 10  # bytes read at a time to find the end of a line


@dataclass(frozen=True)
class RecordBlock:
    """Whole records, one after the other.

    Attributes:
        data: Their bytes; the last one may lack its line end.
        first_line: Line number of the first byte.
        structure: Where the records lie.
    """

    data: bytes
    first_line: int
    structure: Structure


def pieces(file: InputFile, start: int, end: int) -> Iterator[bytes]:
    """Bytes [start, end) of a file as it was when it was listed; of a gzipped one, all unpacked bytes from `start` on."""
    store = store_for(file.uri)

    def ranges(first: int, last: int) -> Iterator[bytes]:
        for offset in range(first, last, PIECE_BYTES):
            yield store.read(file.uri, offset, min(last, offset + PIECE_BYTES), file.version)

    if not file.gzipped:
        yield from ranges(start, end)
        return
    to_skip = start
    for piece in unpack(ranges(0, file.size), file.uri):
        if len(piece) > to_skip:
            yield piece[to_skip:] if to_skip else piece
        to_skip = max(0, to_skip - len(piece))


def line_start(file: InputFile, position: int) -> int:
    """Position of the first line of a plain file's body that starts at `position` or later; the file's size if none does.

    Raises:
        DataError: A line is longer than LONGEST_RECORD.
    """
    if position <= file.body_start:
        return file.body_start
    buffer = b""
    for piece in pieces_of(file, position - 1, _EDGE_BYTES):
        buffer += piece
        at_end = position - 1 + len(buffer) >= file.size
        if stop := first_line_stop(buffer, at_end):
            return position - 1 + stop
        _check_length(buffer, "a line is", file.uri)
    return file.size


def pieces_of(file: InputFile, start: int, size: int) -> Iterator[bytes]:
    """Bytes of a plain file from `start` on, a small piece at a time."""
    store = store_for(file.uri)
    for offset in range(start, file.size, size):
        yield store.read(file.uri, offset, min(file.size, offset + size), file.version)


def line_blocks(source: Iterable[bytes], where: str) -> Iterator[bytes]:
    """Pieces cut anew, so that each ends with a line; the last one may lack its line end.

    Raises:
        DataError: A line is longer than LONGEST_RECORD.
    """
    carried = b""
    for piece in source:
        buffer = carried + piece
        stop = last_line_stop(buffer)
        if stop:
            yield buffer[:stop]
        carried = buffer[stop:]
        _check_length(carried, "a line is", where)
    if carried:
        yield carried


def record_blocks(split: Split) -> Iterator[RecordBlock]:
    """The records of a split, blanks among them, some megabytes at a time.

    Raises:
        DataError: A record is longer than LONGEST_RECORD, or a quote is never closed.
    """
    where, line, carried = split.file.uri, split.first_line, b""
    for lines in line_blocks(pieces(split.file, split.start, split.end), where):
        block = carried + lines
        found = structure(block)
        ends = np.flatnonzero(found.ends_record)
        num_lines = int(ends[-1]) + 1 if len(ends) else 0
        stop = int(found.line_stops[num_lines - 1]) if num_lines else 0
        if num_lines:
            whole = Structure(num_lines, found.line_stops[:num_lines], found.ends_record[:num_lines], False)
            yield RecordBlock(block[:stop], line, whole)
        line += num_lines
        carried = block[stop:]
        _check_length(carried, f"the row that begins in line {line} is", where)
    if carried:
        raise DataError(
            f"the quote that opens in the row of line {line} is never closed",
            where=where,
            remedy='Close it; write a quote inside a quoted value as "".',
        )


def _check_length(carried: bytes, what: str, where: str) -> None:
    if len(carried) > LONGEST_RECORD:
        raise DataError(
            f"{what} longer than {LONGEST_RECORD >> 20} MiB",
            where=where,
            remedy="Probably a quote opens there and is never closed.",
        )
