"""Parquet files that hold users: whose rows are in them, and the same files without these."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jobs.delete_users.users import Users
from schemas.columns import INPUT_ORDER, USER_ID, USER_ROW


@dataclass
class Held:
    """The users' rows in a file, or in a folder.

    Attributes:
        rows: Rows, or lines, that belong to any user.
        rows_of_users: Those that belong to the users who are looked for.
        ids: Which of them were found.
        user_rows: Their `user_row`, where there is one.
    """

    rows: int = 0
    rows_of_users: int = 0
    ids: set[str] = field(default_factory=set)
    user_rows: set[int] = field(default_factory=set)

    def add(self, other: Held) -> None:
        """Add the rows of another file."""
        self.rows += other.rows
        self.rows_of_users += other.rows_of_users
        self.ids |= other.ids
        self.user_rows |= other.user_rows


def held_by(local: Path, users: Users) -> Held | None:
    """The users' rows in a Parquet file; None where it has no USER_ID."""
    held = Held()
    with pq.ParquetFile(local, memory_map=True) as file:
        if USER_ID not in file.schema_arrow.names:
            return None
        id_columns = [name for name in (USER_ID, USER_ROW) if name in file.schema_arrow.names]
        for batch in file.iter_batches(columns=id_columns, use_threads=False):
            held.rows += batch.num_rows
            matching = batch.filter(users.among(batch.column(USER_ID)))
            held.rows_of_users += matching.num_rows
            held.ids.update(matching.column(USER_ID).to_pylist())
            if USER_ROW in id_columns:
                held.user_rows.update(matching.column(USER_ROW).to_pylist())
    return held


def has_user_rows(local: Path) -> bool:
    """Whether a Parquet file names users by `user_row` alone."""
    names = pq.read_schema(local).names
    return USER_ROW in names and USER_ID not in names


def write_without(local: Path, target: Path, column: str, values: Any) -> int:
    """Copy a Parquet file without the rows whose `column` is one of `values`; row groups stay, but for empty ones.

    Returns:
        Rows that are left.
    """
    rows = 0
    with (
        pq.ParquetFile(local, memory_map=True) as file,
        pq.ParquetWriter(target, file.schema_arrow, compression="zstd", **_encoding(file)) as writer,
    ):
        for group in range(file.num_row_groups):
            table = file.read_row_group(group, use_threads=False)
            kept = table.filter(pc.invert(pc.fill_null(pc.is_in(table[column], values), False)))
            rows += kept.num_rows
            if kept.num_rows:
                writer.write_table(kept)
    return rows


def as_values(rows: set[int]) -> pa.Array:
    """User rows as the `values` of `write_without`."""
    return pa.array(sorted(rows), pa.int64())


def _encoding(file: pq.ParquetFile) -> dict[str, Any]:
    """As `hrnn validate` writes typed datasets; for other files the defaults they were written with."""
    names: Sequence[str] = file.schema_arrow.names
    if INPUT_ORDER not in names:
        return {}
    strings = [entry.name for entry in file.schema_arrow if pa.types.is_string(entry.type)]
    return {
        "use_dictionary": strings,
        "column_encoding": {INPUT_ORDER: "DELTA_BINARY_PACKED"},
        "store_schema": False,
    }
