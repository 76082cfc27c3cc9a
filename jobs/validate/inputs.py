"""The files of an import: their headers checked, their bodies cut into splits."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from jobs.platform.storage import StoredFile, store_for
from jobs.platform.storage.gzipped import MAGIC, first_bytes, refuse_foreign
from jobs.validate.header_remedies import header_remedy
from jobs.validate.quotes import NOT_CLOSED, Quoting, index
from schemas.datasets import DatasetSchema
from schemas.errors import DataError, UserError

HEAD_BYTES = 1 << 20  # a header must fit into it
SPLIT_BYTES = 32 << 20  # bytes of a plain file that one task reads
OPEN_BYTES = 256 << 10  # take as long as to begin another file: 2,000 small files are work for 16 tasks

_BOM = b"\xef\xbb\xbf"
_PACKED = 8  # times smaller than its text is a gzipped file of rows, about


@dataclass(frozen=True, kw_only=True)
class InputFile:
    """One CSV file with its parsed header.

    Attributes:
        number: Place of the file in the import, from 0.
        uri: Where it lies.
        name: Path below the folder that was named, as reports show it.
        size: Bytes, as stored.
        version: Changes when the bytes change.
        gzipped: The bytes are gzip data.
        header: Column names; empty where the file is empty.
        body_start: Bytes before the first record after the header, unpacked.
        body_line: Line number (from 1) of that record.
    """

    number: int
    uri: str
    name: str
    size: int
    version: str
    gzipped: bool
    header: tuple[str, ...]
    body_start: int
    body_line: int


@dataclass(frozen=True, kw_only=True)
class Split:
    """A range of whole records of one file.

    Attributes:
        file: The file.
        start: First byte.
        end: Byte after the last; the whole rest of a gzipped file, whatever it says.
        first_line: Line number of the first byte.
        quoting: How quotes are written within values of the file; None: not known yet, for a file that is one split.
    """

    file: InputFile
    start: int
    end: int
    first_line: int
    quoting: Quoting | None = None

    @property
    def size(self) -> int:
        """Bytes of text; estimated for a gzipped file."""
        return _PACKED * self.file.size if self.file.gzipped else self.end - self.start


def open_inputs(stored: Sequence[StoredFile], folder: str, schema: DatasetSchema) -> list[InputFile]:
    """Read and check the header of every file.

    Args:
        stored: The files, in order.
        folder: URI that names are shown relative to; a file's own URI shows its last part.
        schema: What the columns must be.

    Raises:
        DataError: A file is not CSV text or its header lacks a column; the first one is named, the others counted.
        StorageError: A file can't be read.
    """

    def attempt(entry: tuple[int, StoredFile]) -> InputFile | UserError:
        number, file = entry
        try:
            opened = _open(number, file, file.uri.removeprefix(folder.rstrip("/") + "/") if file.uri != folder else file.name)
            check_header(opened, schema)
        except UserError as error:
            return error
        return opened

    with ThreadPoolExecutor(16) as pool:
        outcomes = list(pool.map(attempt, enumerate(stored)))
    errors = [outcome for outcome in outcomes if isinstance(outcome, UserError)]
    if len(errors) > 1:
        raise DataError(f"{str(errors[0]).rstrip('.')}; {len(errors) - 1} more of {len(stored)} files cannot be read either")
    if errors:
        raise errors[0]
    return [outcome for outcome in outcomes if isinstance(outcome, InputFile)]


def check_header(file: InputFile, schema: DatasetSchema) -> None:
    """Check that every field of the schema is in the header, exactly once.

    Raises:
        DataError: With Personalize's text where columns are missing.
    """
    if not file.header:
        return
    if missing := [name for name in schema.names if name not in file.header]:
        raise DataError(
            f"Input CSV is missing the following columns:[{', '.join(missing)}]",
            where=file.uri,
            remedy=f"The header has: {_shown(file.header)}. {header_remedy(file.header, missing, file.name)}".rstrip(),
        )
    if twice := [name for name in schema.names if file.header.count(name) > 1]:
        raise DataError(
            f"the header names a column twice: {', '.join(twice)}", where=file.uri, remedy="Rename or remove one of them."
        )


def extra_columns(file: InputFile, schema: DatasetSchema) -> list[str]:
    """Columns of the file that the schema does not name."""
    return [name for name in file.header if name not in schema.names]


def _shown(names: Sequence[str]) -> str:
    """Column names in one line; line ends and other odd characters escaped."""
    return ", ".join(name if name.isprintable() else repr(name) for name in names)[:500]


def _open(number: int, stored: StoredFile, name: str) -> InputFile:
    """A stored file with its header parsed."""
    head = store_for(stored.uri).read(stored.uri, 0, min(stored.size, HEAD_BYTES), stored.version) if stored.size else b""
    gzipped = head.startswith(MAGIC)
    is_whole = stored.size <= HEAD_BYTES and not gzipped
    if gzipped:
        head, is_whole = first_bytes(head, HEAD_BYTES, is_whole=stored.size <= HEAD_BYTES, where=stored.uri)
    text_start = len(_BOM) if head.startswith(_BOM) else 0
    header, length, lines = _header(head[text_start:], is_whole, stored.uri)
    return InputFile(
        number=number,
        uri=stored.uri,
        name=name,
        size=stored.size,
        version=stored.version,
        gzipped=gzipped,
        header=header,
        body_start=text_start + length,
        body_line=1 + lines,
    )


def _header(head: bytes, is_whole: bool, where: str) -> tuple[tuple[str, ...], int, int]:
    """Column names, and the bytes and lines they and any blank lines before them take; no names where all is blank."""
    refuse_foreign(head, "CSV text", where, "Export it as CSV, plain or gzipped.")
    records = index(head, at_end=is_whole)
    records = records if records.settled is None else records.first(records.settled)
    for start, stop, fault in zip(
        *(each.tolist() for each in (records.record_starts, records.record_stops, records.record_faults)), strict=True
    ):
        if stop == len(head) and not is_whole:
            break
        if row := head[start:stop].strip():
            if fault == NOT_CLOSED:
                raise _no_csv("the quotes of the header are not closed as they should be", head, where)
            names = _names(row)
            if names is None:
                raise _no_csv("the header is not CSV text in UTF-8", head, where)
            return names, stop, int((records.line_stops <= stop).sum())
    if not is_whole:
        raise _no_csv("no header row was found", head, where)
    return (), len(head), records.num_lines


def _names(row: bytes) -> tuple[str, ...] | None:
    """Column names of a header row, or None where it is none."""
    try:
        return None if b"\0" in row else tuple(name.strip() for name in next(csv.reader([row.decode()])))
    except (UnicodeDecodeError, csv.Error):
        return None


def _no_csv(problem: str, head: bytes, where: str) -> DataError:
    if b"\0" in head:
        problem = "this is a binary file, not CSV text"
    return DataError(problem, where=where, remedy="Give CSV in UTF-8 whose first row names the columns, separated by commas.")
