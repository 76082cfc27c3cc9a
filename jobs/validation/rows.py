"""One block of records: cut into cells, checked column by column, sorted into accepted and rejected rows."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
from numpy.typing import NDArray

from jobs.validation.cells import ARROW_TYPES, Column, parse_column
from jobs.validation.inputs import InputFile
from jobs.validation.plan import FILE_SHIFT
from jobs.validation.quotes import Structure, to_doubled_quotes
from jobs.validation.reading import RecordBlock
from schemas import columns
from schemas.datasets import DatasetSchema, SchemaField

SHOWN_CHARACTERS = 200  # of a rejected value

REJECTED = pa.schema(
    [
        pa.field("file", pa.string(), nullable=False),
        pa.field("line", pa.int64(), nullable=False),
        pa.field("column", pa.string(), nullable=False),  # empty where the row as a whole is wrong
        pa.field("value", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
    ]
)

Places = NDArray[np.int64]

_LF, _CR = b"\n\r"
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class CheckedBlock:
    """A block's rows, sorted.

    Attributes:
        accepted: Typed rows in order, with INPUT_ORDER.
        rejected: One row of REJECTED for every wrong cell or wrong row, by line, then by column in the schema's order.
        rows_read: Records that are not blank; accepted and rejected rows together.
        rows_rejected: Records with at least one row in `rejected`.
        blank_lines: Records without any character.
        changed: Column -> right cells that were cleaned, and those that were cut.
    """

    accepted: pa.Table
    rejected: pa.Table
    rows_read: int
    rows_rejected: int
    blank_lines: int
    changed: dict[str, tuple[int, int]]


def typed_schema(schema: DatasetSchema) -> Any:
    """The Arrow schema of accepted rows: the dataset's fields, strings as dictionaries, then the row's place in the import."""
    fields = [pa.field(entry.name, _typed(entry), nullable=entry.nullable) for entry in schema.fields]
    return pa.schema([*fields, pa.field(columns.INPUT_ORDER, pa.int64(), nullable=False)])


def _typed(entry: SchemaField) -> Any:
    return pa.dictionary(pa.int32(), pa.string()) if entry.type == "string" else ARROW_TYPES[entry.type]


def check_block(block: RecordBlock, file: InputFile, schema: DatasetSchema) -> CheckedBlock:
    """Check every row of a block.

    Args:
        block: Whole records of a file, its header not among them.
        file: The file, for names and the header.
        schema: What the columns must hold.
    """
    records = _records(block.data, block.structure)
    lines = block.first_line + records.lines
    cells, wrong = _cells(block.data, records, file.header, _read_types(schema))
    assert cells.num_rows + len(wrong.rows) == len(lines), "the scanner and the parser see different records"
    kept = np.delete(lines, wrong.rows)
    parsed = [parse_column(cells.column(field.name).combine_chunks(), field) for field in schema.fields]
    bad = np.zeros(len(kept), np.bool_)
    for column in parsed:
        for _, mask in column.wrong:
            bad |= mask
    order = pa.array(file.number << FILE_SHIFT | kept, pa.int64())
    accepted = pa.table([*(column.values for column in parsed), order], schema=typed_schema(schema))
    wrong_rows = _wrong_rows(wrong, lines, records, block.data, len(file.header))
    return CheckedBlock(
        accepted=accepted.filter(pa.array(~bad)) if bad.any() else accepted,
        rejected=_rejected([wrong_rows, *_wrong_cells(parsed, cells, kept, schema)], file.name),
        rows_read=len(lines),
        rows_rejected=len(wrong.rows) + int(bad.sum()),
        blank_lines=records.num_blank,
        changed={
            field.name: (column.cleaned, column.truncated)
            for field, column in zip(schema.fields, parsed, strict=True)
            if column.cleaned or column.truncated
        },
    )


def _read_types(schema: DatasetSchema) -> dict[str, Any]:
    """How the CSV parser hands columns over: strings by their distinct values, all others as they are."""
    distinct = pa.dictionary(pa.int32(), pa.binary())
    return {entry.name: distinct if entry.type == "string" else pa.binary() for entry in schema.fields}


@dataclass(frozen=True)
class _Records:
    """The records of a block that are not blank: first byte, byte after the last, line counted from 0."""

    starts: Places
    stops: Places
    lines: Places
    num_blank: int


def _records(data: bytes, found: Structure) -> _Records:
    starts, stops, lines = found.record_starts(), found.line_stops[found.ends_record], found.record_lines()
    text = np.frombuffer(data, np.uint8)
    first, lengths = text[starts], stops - starts
    is_filled = (lengths > 2) | ((first != _CR) & (first != _LF)) | ((lengths == 2) & (text[stops - 1] != _LF))
    if is_filled.all():
        return _Records(starts, stops, lines, 0)
    return _Records(starts[is_filled], stops[is_filled], lines[is_filled], int((~is_filled).sum()))


@dataclass(frozen=True)
class _Misfits:
    """Rows whose number of fields is not the header's: places among the rows that are not blank, and fields of each."""

    rows: Places
    num_fields: Places


def _cells(data: bytes, records: _Records, header: tuple[str, ...], types: dict[str, Any]) -> tuple[Any, _Misfits]:
    """Cells of the wanted columns as bytes, of all rows but the misfits."""
    readable = to_doubled_quotes(data)
    try:
        return _read(readable, header, types), _Misfits(np.empty(0, np.int64), np.empty(0, np.int64))
    except pa.ArrowInvalid:
        misfits = _misfits(readable, header)
        edges = np.zeros(len(data) + 1, np.int8)
        edges[records.starts[misfits.rows]] += 1
        edges[records.stops[misfits.rows]] -= 1
        kept = np.frombuffer(data, np.uint8)[np.cumsum(edges[:-1], dtype=np.int8) == 0]
        return _read(to_doubled_quotes(kept.tobytes()), header, types), misfits


def _read(data: bytes, header: tuple[str, ...], types: dict[str, Any]) -> Any:
    """All rows' cells of some columns. Raises ArrowInvalid where a row has too few or too many fields."""
    if not data.strip(b"\r\n"):
        return pa.table({name: pa.array([], kind) for name, kind in types.items()})
    labels = [name if name in types else f"column {place}" for place, name in enumerate(header)]
    return pa.csv.read_csv(
        pa.BufferReader(_BOM + data if data.startswith(_BOM) else data),  # the parser would drop one
        pa.csv.ReadOptions(column_names=labels, use_threads=False, block_size=len(data) + 4),
        pa.csv.ParseOptions(newlines_in_values=True),
        pa.csv.ConvertOptions(column_types=types, include_columns=list(types)),
    ).combine_chunks()


def _misfits(data: bytes, header: tuple[str, ...]) -> _Misfits:
    """Find the rows with too few or too many fields."""
    numbers, num_fields = array("q"), array("q")  # a block may hold millions of them

    def skip(row: Any) -> str:
        numbers.append(row.number)
        num_fields.append(row.actual_columns)
        return "skip"

    # The parser hands wrong rows over as text, so that bytes which are none must go; fields do not change by it.
    ascii_only = np.minimum(np.frombuffer(data, np.uint8), 0x7F).tobytes()
    labels = [str(place) for place in range(len(header))]
    pa.csv.read_csv(
        pa.BufferReader(ascii_only),
        pa.csv.ReadOptions(column_names=labels, use_threads=False, block_size=len(data) + 1),
        pa.csv.ParseOptions(newlines_in_values=True, invalid_row_handler=skip),
        pa.csv.ConvertOptions(column_types={labels[0]: pa.binary()}, include_columns=labels[:1]),
    )
    return _Misfits(np.frombuffer(numbers, np.int64) - 1, np.frombuffer(num_fields, np.int64))


def _wrong_rows(misfits: _Misfits, lines: Places, records: _Records, data: bytes, num_columns: int) -> Any:
    """Rejected rows without a column: those whose number of fields is not the header's."""
    shown, reasons = [], []
    starts, stops = records.starts[misfits.rows].tolist(), records.stops[misfits.rows].tolist()
    for start, stop, num_fields in zip(starts, stops, misfits.num_fields.tolist(), strict=True):
        text = data[start:stop].rstrip(b"\r\n")
        hint = "; it spans several lines: is a quote left open?" if b"\n" in text else ""
        shown.append(text.decode(errors="replace")[:SHOWN_CHARACTERS])
        reasons.append(sys.intern(f"the row has {num_fields} fields, the header {num_columns}{hint}"))
    return lines[misfits.rows], "", shown, reasons


def _wrong_cells(parsed: list[Column], cells: Any, lines: Places, schema: DatasetSchema) -> Iterable[Any]:
    """Rejected rows of every column, by reason."""
    for field, column in zip(schema.fields, parsed, strict=True):
        for reason, mask in column.wrong:
            values = cells.column(field.name).filter(pa.array(mask)).to_pylist()
            shown = [value.decode(errors="replace")[:SHOWN_CHARACTERS] for value in values]
            yield lines[mask], field.name, shown, [reason] * len(shown)


def _rejected(groups: list[Any], file_name: str) -> pa.Table:
    """Groups of (lines, column, values, reasons) as one table, by line, then in the order of the groups."""
    groups = [group for group in groups if len(group[0])]
    if not groups:
        return REJECTED.empty_table()
    lines = np.concatenate([group[0] for group in groups])
    order = np.argsort(lines, kind="stable")
    total = len(lines)
    table = pa.table(
        {
            "file": pa.array([file_name]).take(pa.array(np.zeros(total, np.int64))),
            "line": pa.array(lines, pa.int64()),
            "column": pa.array([group[1] for group in groups for _ in group[2]], pa.string()),
            "value": pa.array([value for group in groups for value in group[2]], pa.string()),
            "reason": pa.array([reason for group in groups for reason in group[3]], pa.string()),
        }
    ).take(pa.array(order))
    return table.cast(REJECTED)
