"""The work of one task: read splits, check every record, write accepted and rejected rows as Parquet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jobs.storage.folders import StepFolder, scratch_folder
from jobs.validation.inputs import Split
from jobs.validation.reading import record_blocks
from jobs.validation.rows import REJECTED, check_block, typed_schema
from schemas import columns
from schemas.datasets import DatasetSchema

EXAMPLES = 3  # shown of each reason
MOST_REASONS = 1000  # kept apart by one task; further ones are counted together

_OTHER = ("", "other reasons; see the rejected rows")


@dataclass(frozen=True)
class Part:
    """What one task does.

    Attributes:
        number: Place of the part, from 0; parts in order hold the rows in order.
        splits: The splits whose rows go into it.
    """

    number: int
    splits: tuple[Split, ...]


@dataclass
class FileCounts:
    """Rows of one file, or of the part of it that a task read."""

    number: int
    rows_read: int = 0
    rows_accepted: int = 0
    rows_rejected: int = 0
    blank_lines: int = 0


@dataclass
class Tally:
    """How often each reason was given, with the first examples.

    Attributes:
        rows: (column, reason) → rows.
        examples: (column, reason) → the first few as file, line and value.
    """

    rows: dict[tuple[str, str], int] = field(default_factory=dict)
    examples: dict[tuple[str, str], list[dict[str, Any]]] = field(default_factory=dict)

    def add(self, rejected: pa.Table) -> None:
        """Count a block's rejected rows."""
        counts = rejected.group_by(["column", "reason"], use_threads=False).aggregate([([], "count_all")])
        for column, reason, rows in zip(
            *(counts.column(name).to_pylist() for name in ("column", "reason", "count_all")), strict=True
        ):
            key = (column, reason)
            key = key if key in self.rows or len(self.rows) < MOST_REASONS else _OTHER
            self.rows[key] = self.rows.get(key, 0) + rows
            shown = self.examples.setdefault(key, [])
            if len(shown) < EXAMPLES and key != _OTHER:
                chosen = rejected.filter((pc.field("column") == column) & (pc.field("reason") == reason))
                shown += chosen.slice(0, EXAMPLES - len(shown)).select(["file", "line", "value"]).to_pylist()


def gather(splits: Sequence[Split], part_bytes: int) -> list[Part]:
    """Put consecutive splits together until a part is worth a task."""
    parts: list[list[Split]] = []
    held = part_bytes + 1
    for split in splits:
        if held + split.size > part_bytes:
            parts.append([])
            held = 0
        parts[-1].append(split)
        held += split.size
    return [Part(number, tuple(held_splits)) for number, held_splits in enumerate(parts)]


def write_part(part: Part, schema: DatasetSchema, output_uri: str) -> dict[str, Any]:
    """Check a part's splits and write its rows; runs on a worker.

    Returns:
        Plain JSON: `files` (counts of each file), `entries` (what was written), `reasons` (of rejection).

    Raises:
        DataError: A file cannot be read as CSV from some line on.
        StorageError: A file changed meanwhile, or reading or writing failed.
    """
    folder, tally = StepFolder(output_uri), Tally()
    counts: dict[int, FileCounts] = {}
    with scratch_folder("validate") as scratch, ExitStack() as stack:
        accepted = _Writer(Path(scratch) / "accepted.parquet", typed_schema(schema), stack)
        rejected = _Writer(Path(scratch) / "rejected.parquet", REJECTED, stack)
        for split in part.splits:
            count = counts.setdefault(split.file.number, FileCounts(split.file.number))
            for block in record_blocks(split):
                checked = check_block(block, split.file, schema)
                accepted.write(checked.accepted)
                rejected.write(checked.rejected)
                tally.add(checked.rejected)
                count.rows_read += checked.rows_read
                count.rows_accepted += checked.accepted.num_rows
                count.rows_rejected += checked.rows_rejected
                count.blank_lines += checked.blank_lines
        stack.close()
        entries = [
            folder.put_file(writer.path, folder.own(f"{place}/part-{part.number:05}.parquet"), rows=writer.rows)
            for place, writer in (("data", accepted), ("rejected", rejected))
            if writer.rows
        ]
    return {
        "files": [vars(count) for count in counts.values()],
        "entries": [entry.model_dump() for entry in entries],
        "reasons": list(_reasons(tally)),
    }


def _reasons(tally: Tally) -> Iterator[dict[str, Any]]:
    for (column, reason), rows in tally.rows.items():
        yield {"column": column, "reason": reason, "rows": rows, "examples": tally.examples[column, reason]}


class _Writer:
    """A Parquet file that begins with its first row."""

    def __init__(self, path: Path, schema: Any, stack: ExitStack) -> None:
        self.path, self.rows = path, 0
        self._schema, self._stack = schema, stack
        self._writer: Any = None

    def write(self, table: pa.Table) -> None:
        """Add rows as one row group."""
        if not table.num_rows:
            return
        if self._writer is None:
            strings = [entry.name for entry in self._schema if entry.type == pa.string()]
            ordered = columns.INPUT_ORDER in self._schema.names  # rising numbers: their differences take almost no space
            self._writer = self._stack.enter_context(
                pq.ParquetWriter(
                    self.path,
                    self._schema,
                    compression="zstd",
                    use_dictionary=strings,
                    column_encoding={columns.INPUT_ORDER: "DELTA_BINARY_PACKED"} if ordered else None,
                )
            )
        self._writer.write_table(table)
        self.rows += table.num_rows
