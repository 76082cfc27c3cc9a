r"""Splits that begin and end between records, whatever is quoted, with the line number of each one's first byte.

A task that starts in the midst of a file cannot know whether it stands within quotes. So a first pass scans the byte ranges
of a large file in parallel, each as if a record began with its first line, and returns where the first record after it begins.
Where a scan does not end where the next one began, that next range is scanned again, until all fit together. Where a backslash
stands before a quote, they are scanned by both ways of quoting, and the way that leaves fewer such rows wrong is the file's.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np

from jobs.validate import reading
from jobs.validate.inputs import InputFile, Split
from jobs.validate.quotes import Quoting, RecordIndex, field_counts
from jobs.validate.reading import indexed, line_blocks, line_start, pieces

_ESCAPED = b'\\"'


@dataclass(frozen=True, kw_only=True)
class ByteRange:
    """A byte range of a file that is to be scanned.

    Attributes:
        file: The file.
        start: Where a record is taken to begin: with the first line that starts there or later.
        end: The range takes all records that begin before it.
        quoting: How quotes are written within values.
    """

    file: InputFile
    start: int
    end: int
    quoting: Quoting


@dataclass(frozen=True, kw_only=True)
class Scan:
    """The records of a byte range.

    Attributes:
        start: First byte of its first record.
        next: First byte of the first record after it.
        lines: Between the two.
        wrong: Records with a backslash before a quote that are faulty, or have too few or too many fields.
        differs: A backslash stands before a quote, so that the other way of quoting may see other records.
    """

    start: int
    next: int
    lines: int
    wrong: int
    differs: bool


ScanAll = Callable[[list[ByteRange]], list[dict[str, Any]]]


def plan_splits(files: Iterable[InputFile], split_bytes: int, scan_all: ScanAll) -> list[Split]:
    """Cut all files into splits, in order.

    Args:
        files: The files; empty ones give no split.
        split_bytes: About how long a split of a plain file is. A gzipped file is one split.
        scan_all: Applies `scan` to byte ranges, in order; called a few times for the files that are longer than a split.
    """
    # A file that is one split begins with a record anyhow, and nobody can start in the midst of a gzipped one.
    splits: list[Split] = []
    courses: list[_Course] = []
    for file in files:
        if file.header and (file.gzipped or file.size - file.body_start <= split_bytes):
            if file.gzipped or file.size > file.body_start:
                splits.append(Split(file=file, start=file.body_start, end=file.size, first_line=file.body_line))
        elif file.header:
            courses.append(_Course(file, range(file.body_start, file.size, split_bytes)))
    # All large files at once; where a guess about a range's first record was wrong, one more round.
    while requests := [(course, byte_range) for course in courses for byte_range in course.missing()]:
        for (course, byte_range), answer in zip(requests, scan_all([byte_range for _, byte_range in requests]), strict=True):
            course.learn(byte_range, Scan(**answer))
    splits += [split for course in courses for split in course.splits()]
    return sorted(splits, key=lambda split: (split.file.number, split.start))


def quoting_of(split: Split) -> Quoting:
    """How quotes are written within values of a file that is one split."""
    wrong = {}
    for quoting in Quoting:
        scanned = Scan(**scan(ByteRange(file=split.file, start=split.start, end=split.end, quoting=quoting)))
        if not (scanned.differs and scanned.wrong):
            return quoting
        wrong[quoting] = scanned.wrong
    return _fewest(wrong)


def scan(byte_range: ByteRange) -> dict[str, Any]:
    """Scan one byte range, and on to the end of its last record; a `Scan` as plain JSON."""
    file = byte_range.file
    start = position = byte_range.start if file.gzipped else line_start(file, byte_range.start)
    lines = wrong = 0
    differs = False

    def watched(blocks: Iterable[bytes]) -> Iterator[bytes]:
        nonlocal differs
        for block in blocks:
            differs = differs or (b"\\" in block and _ESCAPED in block)
            yield block

    if file.gzipped or start < byte_range.end:
        for records in indexed(watched(line_blocks(_from(file, start, byte_range.end), file.uri)), byte_range.quoting):
            # The block that goes beyond the range: up to the record that spans its end, which belongs to the range.
            if not file.gzipped and position + len(records.block) > byte_range.end:
                last = int(np.searchsorted(records.record_stops, byte_range.end - position))
                records = records.first(int((records.record_lines + records.record_spans)[last]))
            wrong += _wrong_records(records, byte_range.quoting, len(file.header))
            lines += records.num_lines
            position += len(records.block)
            if not file.gzipped and position >= byte_range.end:
                break
    return vars(Scan(start=start, next=position, lines=lines, wrong=wrong, differs=differs))


def _from(file: InputFile, start: int, end: int) -> Iterator[bytes]:
    """Bytes from the start of a line on: up to a line end beyond `end`, then a little more each time."""
    if file.gzipped:
        return pieces(file, start, file.size)
    stop = line_start(file, end)

    def beyond() -> Iterator[bytes]:
        position, size = stop, reading.EDGE_BYTES
        while position < file.size:
            yield from pieces(file, position, min(file.size, position + size))
            position, size = position + size, min(2 * size, reading.PIECE_BYTES)

    return chain(pieces(file, start, stop), beyond())


def _wrong_records(index: RecordIndex, quoting: Quoting, num_columns: int) -> int:
    """How many records speak against a way of quoting: wrong ones in which a backslash stands before a quote."""
    if b"\\" not in index.block or _ESCAPED not in index.block:
        return 0
    # Only records that hold `\"` can differ between the ways of quoting; the others cost no parsing.
    data = np.frombuffer(index.block, np.uint8)
    escaped = np.flatnonzero((data[:-1] == _ESCAPED[0]) & (data[1:] == _ESCAPED[1]))
    records = np.unique(np.searchsorted(index.record_stops, escaped, side="right"))
    # Faulty records are wrong; of the others, put together as one block, those with another number of fields.
    is_faulty = index.record_faults[records] > 0
    starts, stops = index.record_starts[records[~is_faulty]], index.record_stops[records[~is_faulty]]
    text = b"".join(index.block[start:stop] for start, stop in zip(starts.tolist(), stops.tolist(), strict=True))
    num_fields = field_counts(text, np.cumsum(stops - starts), quoting)
    return int(np.count_nonzero(is_faulty) + np.count_nonzero(num_fields != num_columns))


def _fewest(wrong: dict[Quoting, int]) -> Quoting:
    """The way of quoting that leaves fewer rows wrong; Personalize's where both leave as many."""
    return min(Quoting, key=lambda quoting: wrong[quoting])


@dataclass
class _Course:
    """How the records of one large file follow each other, as far as it is known."""

    file: InputFile
    cuts: range
    known: dict[tuple[int, Quoting], Scan] = field(default_factory=dict)  # by the first byte of the range's first record
    guesses: dict[int, Scan] = field(default_factory=dict)  # the latest of each range, by its place

    def learn(self, byte_range: ByteRange, scanned: Scan) -> None:
        """Take in the scan of a byte range that was missing."""
        if scanned.lines:  # else a single line spans the range, and begins before it
            for quoting in [byte_range.quoting] if scanned.differs else Quoting:
                self.known[scanned.start, quoting] = scanned
        self.guesses[self._place(byte_range.start)] = scanned

    def missing(self) -> list[ByteRange]:
        """What must be scanned to know more; nothing, once all is known."""
        if not self.guesses:
            return [self._range_from(start, Quoting.BACKSLASH) for start in self.cuts]
        for quoting in Quoting:
            byte_ranges, scans = self._chain(quoting)
            if byte_ranges or not (sum(scan.wrong for scan in scans) and any(scan.differs for scan in scans)):
                return byte_ranges
        return []

    def splits(self) -> list[Split]:
        """The splits, once nothing is missing."""
        chains = {quoting: self._chain(quoting) for quoting in Quoting}
        wrong = {quoting: sum(scan.wrong for scan in scans) for quoting, (missing, scans) in chains.items() if not missing}
        quoting = _fewest({Quoting.DOUBLED: 1 << 62, **wrong})
        splits, line = [], self.file.body_line
        for scanned in chains[quoting][1]:
            splits.append(Split(file=self.file, start=scanned.start, end=scanned.next, first_line=line, quoting=quoting))
            line += scanned.lines
        return splits

    def _chain(self, quoting: Quoting) -> tuple[list[ByteRange], list[Scan]]:
        """Scans that follow each other along the file, guesses where none fits; and the byte ranges of those guesses."""
        missing, scans, position = [], [], self.file.body_start
        while position < self.file.size:
            scanned = self.known.get((position, quoting))
            if scanned is None:
                missing.append(self._range_from(position, quoting))
                scanned = self.guesses[self._place(position)]
            scans.append(scanned)
            position = scanned.next
        return missing, scans

    def _range_from(self, start: int, quoting: Quoting) -> ByteRange:
        place = self._place(start) + 1
        end = self.cuts[place] if place < len(self.cuts) else self.file.size
        return ByteRange(file=self.file, start=start, end=end, quoting=quoting)

    def _place(self, position: int) -> int:
        """Number of the range that a position lies in."""
        return bisect(self.cuts, position) - 1
