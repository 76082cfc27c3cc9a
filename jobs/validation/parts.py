"""The work of one task: read splits, check every record, write accepted and rejected rows as Parquet, tell the receivers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from hrnn.hashing import hash64
from jobs.scratch import scratch_folder
from jobs.spark.parcels import deal
from jobs.storage.folders import StepFolder
from jobs.validation.clocks import day_letters
from jobs.validation.duplicates import without
from jobs.validation.keys import HASH, KeyCollector, owners_of, seal
from jobs.validation.plan import ImportPlan, NewPart, OldPart, ReferencePart
from jobs.validation.reading import record_blocks
from jobs.validation.receiving import answer_letter
from jobs.validation.rows import REJECTED, check_block, typed_schema
from jobs.validation.statistics import Statistics
from schemas import columns
from schemas.datasets import DatasetSchema
from schemas.manifest import FileEntry

COUNTS = ("rows_read", "rows_accepted", "rows_rejected", "rows_duplicate", "blank_lines")  # of FileCounts
EXAMPLES = 3  # shown of each reason
ROWS_A_GROUP = 250_000  # of a part that is written again
MOST_REASONS = 1000  # kept apart by one task; further ones are counted together

_OTHER = ("", "other reasons; see the rejected rows")


@dataclass
class FileCounts:
    """Rows of one file, or of the part of it that a task read."""

    number: int
    rows_read: int = 0
    rows_accepted: int = 0
    rows_rejected: int = 0
    rows_duplicate: int = 0
    blank_lines: int = 0

    def add(self, other: FileCounts) -> None:
        """Take in what another task read of the file."""
        for name in COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))


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


def send_part(plan: ImportPlan, number: int) -> Iterator[tuple[int, bytes]]:
    """Do one task's work and tell the receivers and the driver; runs on a worker.

    Args:
        plan: The import.
        number: Of a part; or of a reference, counted on from the parts.

    Raises:
        DataError: A file cannot be read as CSV from some line on.
        IntegrityError: A file of an earlier import differs from its manifest.
        StorageError: A file changed meanwhile, or reading or writing failed.
    """
    if number >= len(plan.parts):
        yield from _send_reference(plan, plan.references[number - len(plan.parts)])
        return
    part = plan.parts[number]
    keys = KeyCollector(plan.schema)
    answer = check_part(part, plan, keys) if isinstance(part, NewPart) else _read_again(part, plan, keys)
    if plan.has_events:
        yield from day_letters(plan, keys.times())
    yield from keys.letters(plan.num_receivers)
    yield plan.num_receivers, answer_letter({"part": number, **answer})


def rewrite_part(plan: ImportPlan, entries: dict[int, FileEntry], number: int, bodies: Iterator[bytes]) -> bytes:
    """Write a part again without its duplicates; runs on a worker.

    Args:
        plan: The import.
        entries: File of each part.
        number: Of the part.
        bodies: INPUT_ORDER of the rows that go, as int64.

    Returns:
        JSON of `entries`, `statistics` and the rows that went; empty where none goes.
    """
    dropped = [np.frombuffer(body, np.int64) for body in bodies]
    if not dropped:
        return b""
    folder = StepFolder(plan.output_uri)
    with scratch_folder("validate") as scratch, ExitStack() as stack:
        table = _typed_rows(folder.fetch(entries[number], Path(scratch)), plan.schema)
        kept = without(table, np.concatenate(dropped))
        writer = _Writer(Path(scratch) / "accepted.parquet", typed_schema(plan.schema), stack)
        for block in kept.to_batches(max_chunksize=ROWS_A_GROUP):
            writer.write(pa.Table.from_batches([block]))
        stack.close()
        answer = {
            "part": number,
            "entries": [entry.model_dump() for entry in _put(folder, {"data": writer}, number)],
            "statistics": Statistics.of(kept, plan.schema).to_json(),
            "dropped": table.num_rows - kept.num_rows,
        }
    return json.dumps(answer).encode()


def check_part(part: NewPart, plan: ImportPlan, keys: KeyCollector) -> dict[str, Any]:
    """Check a part's splits and write its rows.

    Returns:
        Plain JSON: `files` (counts of each), `entries` (what was written), `reasons` (of rejection), `statistics`, `changed`.
    """
    schema, tally, statistics = plan.schema, Tally(), Statistics()
    counts: dict[int, FileCounts] = {}
    changed: dict[str, tuple[int, int]] = {}
    with scratch_folder("validate") as scratch, ExitStack() as stack:
        accepted = _Writer(Path(scratch) / "accepted.parquet", typed_schema(schema), stack)
        rejected = _Writer(Path(scratch) / "rejected.parquet", REJECTED, stack)
        for split in part.splits:
            count = counts.setdefault(split.file.number, FileCounts(split.file.number))
            for block in record_blocks(split):
                checked = check_block(block, split.file, schema)
                accepted.write(checked.accepted)
                rejected.write(checked.rejected)
                keys.add(checked.accepted)
                tally.add(checked.rejected)
                statistics.add(Statistics.of(checked.accepted, schema))
                count.rows_read += checked.rows_read
                count.rows_accepted += checked.accepted.num_rows
                count.rows_rejected += checked.rows_rejected
                count.blank_lines += checked.blank_lines
                for name, (cleaned, cut) in checked.changed.items():
                    before = changed.get(name, (0, 0))
                    changed[name] = (before[0] + cleaned, before[1] + cut)
        stack.close()
        entries = _put(StepFolder(plan.output_uri), {"data": accepted, "rejected": rejected}, part.number)
    return {
        "files": [vars(count) for count in counts.values()],
        "entries": [entry.model_dump() for entry in entries],
        "reasons": list(_reasons(tally)),
        "statistics": statistics.to_json(),
        "changed": changed,
    }


def _read_again(part: OldPart, plan: ImportPlan, keys: KeyCollector) -> dict[str, Any]:
    """Rows of an earlier import: they stay as they are, unless others replace or repeat them."""
    statistics = Statistics()
    with scratch_folder("validate") as scratch:
        table = _typed_rows(StepFolder(plan.output_uri).fetch(part.entry, Path(scratch)), plan.schema)
        statistics.add(Statistics.of(table, plan.schema))
        keys.add(table)
    return {"entries": [part.entry.model_dump()], "statistics": statistics.to_json()}


def _send_reference(plan: ImportPlan, reference: ReferencePart) -> Iterator[tuple[int, bytes]]:
    """Hashes of ids that another dataset describes: of users to the receivers of users, of items to those of items."""
    with scratch_folder("validate") as scratch:
        local = StepFolder(reference.uri).fetch(reference.entry, Path(scratch))
        hashes = hash64(pq.read_table(local, columns=[reference.column]).column(reference.column))
    table = pa.table({HASH: hashes})
    if reference.column != columns.USER_ID:
        yield plan.num_receivers, seal("items", [table])
        return
    for hand in deal(np.arange(len(hashes)), owners_of(hashes, plan.num_receivers), plan.num_receivers):
        yield hand.target, seal("users", [table.take(pa.array(hand.rows))])


def _typed_rows(local: Path, schema: DatasetSchema) -> pa.Table:
    """The rows of a part file, strings as dictionaries."""
    strings = [entry.name for entry in schema.fields if entry.type == "string"]
    with pq.ParquetFile(local, read_dictionary=strings, memory_map=True) as file:
        return file.read(use_threads=False).unify_dictionaries().combine_chunks()


def _put(folder: StepFolder, writers: dict[str, _Writer], number: int) -> list[FileEntry]:
    """Copy into the folder what was written, if anything was."""
    return [
        folder.put_file(writer.path, folder.own(f"{place}/part-{number:05}.parquet"), rows=writer.rows)
        for place, writer in writers.items()
        if writer.rows
    ]


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
            numbers = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean)
            ordered = columns.INPUT_ORDER in self._schema.names  # rising numbers: their differences take almost no space
            self._writer = self._stack.enter_context(
                pq.ParquetWriter(
                    self.path,
                    self._schema,
                    compression="zstd",
                    use_dictionary=[entry.name for entry in self._schema if not any(test(entry.type) for test in numbers)],
                    column_encoding={columns.INPUT_ORDER: "DELTA_BINARY_PACKED"} if ordered else None,
                    store_schema=False,  # else readers would get dictionaries where the contract says strings
                )
            )
        self._writer.write_table(table)
        self.rows += table.num_rows
