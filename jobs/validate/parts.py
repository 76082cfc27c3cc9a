"""The work of one task: read splits, check every record, write accepted and rejected rows as Parquet, send their keys."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from hrnn.data.hashing import hash64
from jobs.platform.process.scratch import scratch_folder
from jobs.platform.spark.partition_rows import partition_rows
from jobs.platform.storage.folders import StepFolder
from jobs.validate.clocks import day_messages
from jobs.validate.duplicates import without
from jobs.validate.inputs import Split
from jobs.validate.keys import HASH, KeyCollector, encode, owners_of
from jobs.validate.plan import ImportPlan, NewPart, OldPart, ReferencePart
from jobs.validate.quotes import Quoting
from jobs.validate.reading import record_blocks
from jobs.validate.receiving import answer_message
from jobs.validate.rows import REJECTED, CheckedBlock, check_block, typed_schema
from jobs.validate.splits import quoting_of
from jobs.validate.statistics import Statistics
from schemas import columns
from schemas.datasets import DatasetSchema
from schemas.manifest import FileEntry

COUNTS = (  # of FileCounts
    "rows_read", "rows_accepted", "rows_rejected", "rows_duplicate", "blank_lines", "lines_within_rows", "lines",
)  # fmt: skip
EXAMPLES = 3  # shown of each reason
MOST_REASONS = 1000  # kept apart by one task; further ones are counted together
GROUP_ROWS, GROUP_BYTES = 1 << 16, 8 << 20  # of a row group: blocks of small files are put together until it has either

_OTHER = ("", "other reasons; see the rejected rows")


@dataclass
class FileCounts:
    """Rows and lines of one file, or of the part of it that a task read, its header not among them.

    Attributes:
        number: Of the file.
        rows_read: Accepted, rejected and duplicate rows.
        rows_rejected: Each counted by its lines.
        lines_within_rows: Lines of accepted rows after their first ones.
        lines: All line ends, counted without regard to quotes.
        quoting: How quotes are written within values.
    """

    number: int
    rows_read: int = 0
    rows_accepted: int = 0
    rows_rejected: int = 0
    rows_duplicate: int = 0
    blank_lines: int = 0
    lines_within_rows: int = 0
    lines: int = 0
    quoting: str = Quoting.BACKSLASH

    def add(self, other: FileCounts) -> None:
        """Take in what another task read of the file."""
        for name in COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.quoting = other.quoting

    def add_block(self, checked: CheckedBlock) -> None:
        """Take in the rows of a block."""
        self.rows_accepted += checked.accepted.num_rows
        for name in ("rows_read", "rows_rejected", "blank_lines", "lines_within_rows", "lines"):
            setattr(self, name, getattr(self, name) + getattr(checked, name))


@dataclass
class Tally:
    """Rows by reason of rejection, with the first examples.

    Attributes:
        rows: (column, reason) → rows.
        examples: (column, reason) → the first few as file, line and value.
    """

    rows: dict[tuple[str, str], int] = field(default_factory=dict)
    examples: dict[tuple[str, str], list[dict[str, Any]]] = field(default_factory=dict)

    def add(self, rejected: pa.Table) -> None:
        """Count a block's rejected rows."""
        named = [rejected.column(name).combine_chunks().dictionary_encode() for name in ("column", "reason")]
        codes = named[0].indices.to_numpy().astype(np.int64) << 32 | named[1].indices.to_numpy()
        order = np.argsort(codes, kind="stable")
        kinds, firsts, counts = np.unique(codes[order], return_index=True, return_counts=True)
        words = [each.dictionary.to_pylist() for each in named]
        for kind, first, count in zip(kinds.tolist(), firsts.tolist(), counts.tolist(), strict=True):
            key = (words[0][kind >> 32], words[1][kind & 0xFFFF_FFFF])
            key = key if key in self.rows or len(self.rows) < MOST_REASONS else _OTHER
            self.rows[key] = self.rows.get(key, 0) + count
            shown = self.examples.setdefault(key, [])
            if len(shown) < EXAMPLES and key != _OTHER:
                chosen = order[first : first + min(count, EXAMPLES - len(shown))]
                shown += rejected.take(pa.array(chosen)).select(["file", "line", "value"]).to_pylist()


def send_part(plan: ImportPlan, number: int) -> Iterator[tuple[int, bytes]]:
    """Do one task's work; yields (receiver, message) pairs, the last one for the driver. Runs on a worker.

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
    with KeyCollector(plan.schema) as keys:
        answer = check_part(part, plan, keys) if isinstance(part, NewPart) else _read_again(part, plan, keys)
        if plan.has_events:
            yield from day_messages(plan, keys.times())
        yield from keys.messages(plan.num_receivers)
    yield plan.num_receivers, answer_message({"part": number, **answer})


def rewrite_part(plan: ImportPlan, entries: dict[int, FileEntry], number: int, bodies: Iterator[bytes]) -> bytes:
    """Rewrite a part without its duplicates; runs on a worker.

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
        writer = _Writer(Path(scratch) / "accepted.parquet", typed_schema(plan.schema), stack)
        going, statistics, num_rows = np.concatenate(dropped), Statistics(), 0
        for table in _typed_rows(folder.fetch(entries[number], Path(scratch)), plan.schema):
            kept = without(table, going)
            writer.write(kept)
            statistics.add(Statistics.of(kept, plan.schema))
            num_rows += table.num_rows
        stack.close()
        answer = {
            "part": number,
            "entries": [entry.model_dump() for entry in _put(folder, {"data": writer}, number)],
            "statistics": statistics.to_json(),
            "dropped": num_rows - writer.rows,
        }
    return json.dumps(answer).encode()


def check_part(part: NewPart, plan: ImportPlan, keys: KeyCollector) -> dict[str, Any]:
    """Check a part's splits and write its rows.

    A file that is one split is read with backslashes as escapes. Where lines are wrong then, and are not with backslashes as
    characters, the part is read once more.

    Returns:
        Plain JSON: `files` (counts of each), `entries` (what was written), `reasons` (of rejection), `statistics`, `changed`.
    """
    splits = part.splits
    while True:
        with scratch_folder("validate") as scratch, ExitStack() as stack:
            reader = _PartReader(plan, keys, Path(scratch), stack)
            corrected = tuple(reader.read(split) for split in splits)
            if corrected == splits:
                return reader.answer(part.number)
        splits = corrected
        keys.clear()


class _PartReader:
    """Reads splits, writes their rows and gathers counts and statistics."""

    def __init__(self, plan: ImportPlan, keys: KeyCollector, scratch: Path, stack: ExitStack) -> None:
        self._plan, self._keys, self._stack = plan, keys, stack
        self._accepted = _Writer(scratch / "accepted.parquet", typed_schema(plan.schema), stack)
        self._rejected = _Writer(scratch / "rejected.parquet", REJECTED, stack)
        self._tally, self._statistics = Tally(), Statistics()
        self._counts: dict[int, FileCounts] = {}
        self._changed: dict[str, tuple[int, int]] = {}

    def read(self, split: Split) -> Split:
        """Check a split's rows and write them; the split, or how it should have been read."""
        count = self._counts.setdefault(split.file.number, FileCounts(split.file.number))
        count.quoting = split.quoting or Quoting.BACKSLASH
        is_doubtful = False
        for block in record_blocks(split):
            checked = check_block(block, split.file, self._plan.schema)
            self._accepted.write(checked.accepted)
            self._rejected.write(checked.rejected)
            self._keys.add(checked.accepted)
            self._tally.add(checked.rejected)
            self._statistics.add(Statistics.of(checked.accepted, self._plan.schema))
            count.add_block(checked)
            is_doubtful |= checked.is_doubtful
            for name, (cleaned, cut) in checked.changed.items():
                before = self._changed.get(name, (0, 0))
                self._changed[name] = (before[0] + cleaned, before[1] + cut)
        if is_doubtful and split.quoting is None and quoting_of(split) is not Quoting.BACKSLASH:
            return replace(split, quoting=Quoting.DOUBLED)
        return split

    def answer(self, number: int) -> dict[str, Any]:
        """Put what was written into the folder; what `check_part` returns."""
        self._stack.close()
        written = {"data": self._accepted, "rejected": self._rejected}
        entries = _put(StepFolder(self._plan.output_uri), written, number)
        return {
            "files": [vars(count) for count in self._counts.values()],
            "entries": [entry.model_dump() for entry in entries],
            "reasons": list(_reasons(self._tally)),
            "statistics": self._statistics.to_json(),
            "changed": self._changed,
        }


def _read_again(part: OldPart, plan: ImportPlan, keys: KeyCollector) -> dict[str, Any]:
    """Rows of an earlier import: they stay as they are, unless others replace or repeat them."""
    statistics = Statistics()
    with scratch_folder("validate") as scratch:
        for table in _typed_rows(StepFolder(plan.output_uri).fetch(part.entry, Path(scratch)), plan.schema):
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
        yield plan.num_receivers, encode("items", [table])
        return
    for partition in partition_rows(np.arange(len(hashes)), owners_of(hashes, plan.num_receivers), plan.num_receivers):
        yield partition.target, encode("users", [table.take(pa.array(partition.rows))])


def _typed_rows(local: Path, schema: DatasetSchema) -> Iterator[pa.Table]:
    """The rows of a part file, a row group at a time, strings as dictionaries."""
    strings = [entry.name for entry in schema.fields if entry.kind == "text"]
    with pq.ParquetFile(local, read_dictionary=strings, memory_map=True) as file:
        for number in range(file.num_row_groups):
            yield file.read_row_group(number, use_threads=False).unify_dictionaries().combine_chunks()


def _put(folder: StepFolder, writers: dict[str, _Writer], number: int) -> list[FileEntry]:
    """Copy into the folder what was written, if anything was."""
    return [
        folder.put_file(writer.path, folder.attempt_path(f"{place}/part-{number:05}.parquet"), rows=writer.rows)
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
        self._held: list[pa.Table] = []
        self._held_rows = self._held_bytes = 0

    def write(self, table: pa.Table) -> None:
        """Add rows."""
        if not table.num_rows:
            return
        if self._writer is None:
            self._writer = self._stack.enter_context(self._begun())
            self._stack.callback(self._write_group)  # before it is closed
        self._held.append(table)
        self.rows += table.num_rows
        self._held_rows, self._held_bytes = self._held_rows + table.num_rows, self._held_bytes + table.nbytes
        if self._held_rows >= GROUP_ROWS or self._held_bytes >= GROUP_BYTES:
            self._write_group()

    def _write_group(self) -> None:
        if self._held:
            self._writer.write_table(pa.concat_tables(self._held).unify_dictionaries().combine_chunks())
        self._held, self._held_rows, self._held_bytes = [], 0, 0

    def _begun(self) -> pq.ParquetWriter:
        numbers = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean)
        ordered = columns.INPUT_ORDER in self._schema.names  # rising numbers: their differences take almost no space
        return pq.ParquetWriter(
            self.path,
            self._schema,
            compression="zstd",
            use_dictionary=[entry.name for entry in self._schema if not any(test(entry.type) for test in numbers)],
            column_encoding={columns.INPUT_ORDER: "DELTA_BINARY_PACKED"} if ordered else None,
            store_schema=False,  # else readers would get dictionaries where the contract says strings
        )
