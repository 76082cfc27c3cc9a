"""One block of records: parsed into cells, checked column by column, split into accepted and rejected rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from numpy.typing import NDArray

from hrnn.data.arrays import Rows
from hrnn.data.ragged import offsets_of
from jobs.validate.cells import ARROW_TYPES, Column, parse_column
from jobs.validate.inputs import InputFile
from jobs.validate.plan import FILE_SHIFT
from jobs.validate.quotes import (
    NOT_CLOSED,
    TEXT_AFTER_QUOTE,
    Quoting,
    RecordIndex,
    count_lines,
    field_counts,
    to_doubled_quotes,
)
from jobs.validate.reading import RecordBlock
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


_FAULTS = {
    TEXT_AFTER_QUOTE: "after the closing quote of a value only a comma or a line end may follow",
    NOT_CLOSED: 'a quote opens in this line that is not closed as it should be; within a value, write a quote as ""',
}
_LONGEST_CHARACTER = 4  # bytes
_LF, _CR = b"\n\r"
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class CheckedBlock:
    """Accepted and rejected rows of a block.

    Attributes:
        accepted: Typed rows in order, with INPUT_ORDER.
        rejected: One row of REJECTED for every wrong cell or wrong row, by line, then by column in the schema's order.
        rows_rejected: Records with at least one row in `rejected`, each counted by its lines: it may have swallowed others.
        lines: Of the block.
        lines_within_rows: Lines of accepted rows after their first ones: line ends within quoted values.
        blank_lines: Records without any character.
        is_doubtful: A row as a whole is wrong, and a backslash occurs: may quotes be written in the other way?
        changed: Column -> right cells that were cleaned, and those that were cut.
    """

    accepted: pa.Table
    rejected: pa.Table
    rows_rejected: int
    lines: int
    lines_within_rows: int
    blank_lines: int
    is_doubtful: bool
    changed: dict[str, tuple[int, int]]

    @property
    def rows_read(self) -> int:
        """Accepted and rejected rows together."""
        return int(self.accepted.num_rows) + self.rows_rejected


def typed_schema(schema: DatasetSchema) -> Any:
    """The Arrow schema of accepted rows: the dataset's fields, strings as dictionaries, then the row's place in the import."""
    fields = [pa.field(entry.name, _typed(entry), nullable=entry.nullable) for entry in schema.fields]
    return pa.schema([*fields, pa.field(columns.INPUT_ORDER, pa.int64(), nullable=False)])


def _typed(entry: SchemaField) -> Any:
    return pa.dictionary(pa.int32(), pa.string()) if entry.kind == "text" else ARROW_TYPES[entry.type]


def check_block(block: RecordBlock, file: InputFile, schema: DatasetSchema) -> CheckedBlock:
    """Check every row of a block.

    Args:
        block: Whole records of a file, its header not among them.
        file: The file, for names and the header.
        schema: What the columns must hold.
    """
    records = _records(block.index)
    lines = block.first_line + records.lines
    cells, wrong = _cells(block.index.block, records, block.quoting, file.header, _read_types(schema))
    assert cells.num_rows + len(wrong.rows) == len(lines), "the scanner and the parser see different records"
    kept, spans = np.delete(lines, wrong.rows), np.delete(records.spans, wrong.rows)
    parsed = [parse_column(cells.column(field.name).combine_chunks(), field) for field in schema.fields]
    bad = np.zeros(len(kept), np.bool_)
    for column in parsed:
        for _, mask in column.wrong:
            bad |= mask
    order = pa.array(file.number << FILE_SHIFT | kept, pa.int64())
    accepted = pa.table([*(column.values for column in parsed), order], schema=typed_schema(schema))
    shown = _texts(block.index.block, records.starts[wrong.rows], records.stops[wrong.rows])
    wrong_rows = (lines[wrong.rows], "", shown, wrong.reasons)
    return CheckedBlock(
        accepted=accepted.filter(pa.array(~bad)) if bad.any() else accepted,
        rejected=_rejected([wrong_rows, *_wrong_cells(parsed, cells, kept, schema)], file.name),
        rows_rejected=int(records.spans[wrong.rows].sum() + spans[bad].sum()),
        lines=count_lines(block.index.block),
        lines_within_rows=int((spans[~bad] - 1).sum()),
        blank_lines=records.num_blank,
        is_doubtful=bool(len(wrong.rows)) and b"\\" in block.index.block,
        changed={
            field.name: (column.cleaned, column.truncated)
            for field, column in zip(schema.fields, parsed, strict=True)
            if column.cleaned or column.truncated
        },
    )


def _read_types(schema: DatasetSchema) -> dict[str, Any]:
    """The column types of the CSV parser: strings dictionary-encoded, all others as bytes."""
    distinct = pa.dictionary(pa.int32(), pa.binary())
    return {entry.name: distinct if entry.kind == "text" else pa.binary() for entry in schema.fields}


@dataclass(frozen=True)
class _Records:
    """The records of a block that are not blank: first byte, byte after the last, line counted from 0, lines, fault."""

    starts: Rows
    stops: Rows
    lines: Rows
    spans: Rows
    faults: NDArray[np.uint8]
    num_blank: int


def _records(index: RecordIndex) -> _Records:
    starts, stops, lines, spans = index.record_starts, index.record_stops, index.record_lines, index.record_spans
    faults, text = index.record_faults, np.frombuffer(index.block, np.uint8)
    first, lengths = text[starts], stops - starts
    is_filled = (lengths > 2) | ((first != _CR) & (first != _LF)) | ((lengths == 2) & (text[stops - 1] != _LF))
    if is_filled.all():
        return _Records(starts, stops, lines, spans, faults, 0)
    num_blank = int((~is_filled).sum())
    return _Records(starts[is_filled], stops[is_filled], lines[is_filled], spans[is_filled], faults[is_filled], num_blank)


@dataclass(frozen=True)
class _WrongRows:
    """Records that are not rows: ascending positions among the non-blank records, and the reason for each."""

    rows: Rows
    reasons: Any


def _cells(
    data: bytes, records: _Records, quoting: Quoting, header: tuple[str, ...], types: dict[str, Any]
) -> tuple[Any, _WrongRows]:
    """Cells of the schema's columns as bytes, of all records that are rows."""
    is_row = records.faults == 0
    num_fields = np.full(len(is_row), len(header))
    try:
        cells = _read(_readable(data, records, is_row, quoting), header, types)
    except pa.ArrowInvalid:
        starts, stops = records.starts[is_row], records.stops[is_row]
        num_fields[is_row] = field_counts(_chosen(data, starts, stops, True), np.cumsum(stops - starts), quoting)
        cells = _read(_readable(data, records, is_row & (num_fields == len(header)), quoting), header, types)
    rows = np.flatnonzero(~is_row | (num_fields != len(header)))
    # Number of fields, fault and whether there are several lines as one number each.
    kinds, codes = np.unique((num_fields << 3 | records.faults << 1 | (records.spans > 1))[rows], return_inverse=True)
    reasons = [_reason(kind >> 1 & 3, kind >> 3, bool(kind & 1), len(header)) for kind in kinds.tolist()]
    return cells, _WrongRows(rows, pa.array(reasons, pa.string()).take(pa.array(codes)))


def _reason(fault: int, num_fields: int, spans_lines: bool, num_columns: int) -> str:
    if fault:
        return _FAULTS[fault]
    hint = "; it spans several lines: is a quote left open?" if spans_lines else ""
    return f"the row has {num_fields} fields, the header {num_columns}{hint}"


def _readable(data: bytes, records: _Records, is_read: NDArray[np.bool_], quoting: Quoting) -> bytes:
    """Some records as an RFC 4180 parser reads them."""
    text = data if is_read.all() else _chosen(data, records.starts[~is_read], records.stops[~is_read], False)
    return to_doubled_quotes(text) if quoting is Quoting.BACKSLASH else text


def _chosen(data: bytes, starts: Rows, stops: Rows, of_ranges: bool) -> bytes:
    """The bytes of ascending ranges that do not overlap, concatenated; or of all that lies outside them."""
    edges = np.zeros(len(data) + 1, np.int8)
    edges[starts] += 1
    edges[stops] -= 1
    is_within = np.cumsum(edges[:-1], dtype=np.int8) == 1
    chosen: bytes = np.frombuffer(data, np.uint8)[is_within == of_ranges].tobytes()
    return chosen


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


def _texts(data: bytes, starts: Rows, stops: Rows) -> Any:
    """The texts of byte ranges of a block, without their line ends, cut to what is shown."""
    text = np.frombuffer(data, np.uint8)
    for _ in range(2):  # as in a carriage return and a line feed
        stops = stops - ((stops > starts) & np.isin(text[stops - 1], (_LF, _CR)))
    stops = np.minimum(stops, starts + SHOWN_CHARACTERS * _LONGEST_CHARACTER)
    filled = stops > starts
    offsets = offsets_of(stops - starts).astype(np.int32)
    chosen = _chosen(data, starts[filled], stops[filled], True)
    return _shown(pa.BinaryArray.from_buffers(pa.binary(), len(starts), [None, pa.py_buffer(offsets), pa.py_buffer(chosen)]))


def _shown(values: Any) -> Any:
    """The first characters of binary values; what is not UTF-8 is replaced."""
    if pa.types.is_dictionary(values.type):
        return _shown(values.dictionary).take(values.indices)
    try:
        texts = values.cast(pa.string())
    except pa.ArrowInvalid:
        texts = pa.array([value.decode(errors="replace") for value in values.to_pylist()], pa.string())
    return pc.utf8_slice_codeunits(texts, 0, SHOWN_CHARACTERS)


def _wrong_cells(parsed: list[Column], cells: Any, lines: Rows, schema: DatasetSchema) -> Iterable[Any]:
    """Rejected rows of every column, by reason."""
    for field, column in zip(schema.fields, parsed, strict=True):
        for reason, mask in column.wrong:
            values = cells.column(field.name).combine_chunks().filter(pa.array(mask))
            yield lines[mask], field.name, _shown(values), _repeated(reason, len(values))


def _repeated(text: str, times: int) -> Any:
    return pa.array([text]).take(pa.array(np.zeros(times, np.int64)))


def _rejected(groups: Sequence[Any], file_name: str) -> pa.Table:
    """Groups of (lines, column, values, reasons) as one table, by line, then in the order of the groups."""
    groups = [group for group in groups if len(group[0])]
    if not groups:
        return REJECTED.empty_table()
    lines = np.concatenate([group[0] for group in groups])
    table = pa.table(
        {
            "file": _repeated(file_name, len(lines)),
            "line": pa.array(lines, pa.int64()),
            "column": pa.concat_arrays([_repeated(column, len(places)) for places, column, _, _ in groups]),
            "value": pa.concat_arrays([values for _, _, values, _ in groups]),
            "reason": pa.concat_arrays([reasons for _, _, _, reasons in groups]),
        }
    )
    return table.take(pa.array(np.argsort(lines, kind="stable"))).cast(REJECTED)
