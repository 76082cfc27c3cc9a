"""The bytes of a file as blocks of whole lines and of whole records, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from jobs.platform.storage import store_for
from jobs.platform.storage.gzipped import unpack
from jobs.validate.inputs import InputFile, Split
from jobs.validate.quotes import Quoting, RecordIndex, count_lines, first_line_stop, index, last_line_stop
from schemas.errors import DataError

PIECE_BYTES = 8 << 20  # bytes read at a time
LONGEST_RECORD = 16 << 20  # bytes; a text has at most 20,000 characters, so more is a quote that was never closed
MOST_ROW_LINES = 1 << 16  # of one record; likewise
MOST_LINES = 1 << 18  # of a block, whatever its bytes: each costs some hundred bytes on its way, be it empty

EDGE_BYTES = 64 << 10  # bytes read at a time to find the end of a line


@dataclass(frozen=True)
class RecordBlock:
    """Whole records, one after the other.

    Attributes:
        first_line: Line number of the first byte.
        index: Their bytes, and where the records lie.
        quoting: How quotes are written within values.
    """

    first_line: int
    index: RecordIndex
    quoting: Quoting


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
    for piece in pieces_of(file, position - 1, EDGE_BYTES):
        buffer += piece
        at_end = position - 1 + len(buffer) >= file.size
        if stop := first_line_stop(buffer, at_end):
            return position - 1 + stop
        _check_length(buffer, file.uri)
    return file.size


def pieces_of(file: InputFile, start: int, size: int) -> Iterator[bytes]:
    """Bytes of a plain file from `start` on, a small piece at a time."""
    store = store_for(file.uri)
    for offset in range(start, file.size, size):
        yield store.read(file.uri, offset, min(file.size, offset + size), file.version)


def line_blocks(source: Iterable[bytes], where: str) -> Iterator[bytes]:
    """Pieces regrouped into blocks of whole lines, at most MOST_LINES each; the last one may lack its line end.

    Raises:
        DataError: A line is longer than LONGEST_RECORD.
    """
    carried = b""
    for piece in source:
        buffer = carried + piece
        stop = last_line_stop(buffer)
        if stop:
            yield from _in_parts(buffer[:stop])
        carried = buffer[stop:]
        _check_length(carried, where)
    if carried:
        yield carried


def _in_parts(lines: bytes) -> Iterator[bytes]:
    """Whole lines in parts of at most MOST_LINES."""
    num_parts = -(-count_lines(lines) // MOST_LINES)
    if num_parts < 2:
        yield lines
        return
    start = 0
    while start < len(lines):
        middle = start + max(1, len(lines) // num_parts)
        stop = start + last_line_stop(lines[start:middle]) if middle < len(lines) else len(lines)
        if stop == start:  # one line is longer than that
            stop = middle + first_line_stop(lines[middle:], at_end=True)
        yield from _in_parts(lines[start:stop]) if stop - start < len(lines) else [lines[start:stop]]
        start = stop


def indexed(blocks: Iterable[bytes], quoting: Quoting) -> Iterator[RecordIndex]:
    """Indexes of blocks of whole records, from blocks of whole lines that start with a record."""
    carried = b""
    for lines in blocks:
        records = index(carried + lines, quoting, at_end=False, longest=LONGEST_RECORD, most_lines=MOST_ROW_LINES)
        whole = records if records.settled is None else records.first(records.settled)
        carried = records.block[len(whole.block) :]
        if whole.block:
            yield whole
    if carried:
        yield index(carried, quoting, longest=LONGEST_RECORD, most_lines=MOST_ROW_LINES)


def record_blocks(split: Split) -> Iterator[RecordBlock]:
    """The records of a split, blanks and faulty ones among them, some megabytes at a time.

    Raises:
        DataError: A line is longer than LONGEST_RECORD.
    """
    line, quoting = split.first_line, split.quoting or Quoting.BACKSLASH
    for records in indexed(line_blocks(pieces(split.file, split.start, split.end), split.file.uri), quoting):
        yield RecordBlock(line, records, quoting)
        line += records.num_lines


def _check_length(carried: bytes, where: str) -> None:
    if len(carried) > LONGEST_RECORD:
        raise DataError(
            f"a line is longer than {LONGEST_RECORD >> 20} MiB", where=where, remedy="Give CSV text with one row a line."
        )
