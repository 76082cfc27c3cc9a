"""Reads a task's rows of a typed dataset: some columns, with ids and categories as dictionary codes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from jobs.platform.process.scratch import scratch_folder
from jobs.platform.storage.folders import StepFolder
from jobs.sessionize.plan import Plan, Slice
from schemas.columns import EVENT_TYPE, ITEM_ID, USER_ID

MISSING = -1  # code of a value that is null


def read_task(plan: Plan, task: int, columns: Sequence[str]) -> pa.Table:
    """The rows of one task with some columns; ids and coded columns are dictionary arrays of one chunk.

    Rows of other event types than the plan's are left out. Parts come in their order, rows in theirs.

    Raises:
        IntegrityError: A part differs from what its manifest promises.
    """
    names = [*columns] if plan.event_types is None or EVENT_TYPE in columns else [*columns, EVENT_TYPE]
    coded = [column for column in names if column in {USER_ID, ITEM_ID, *plan.columns.coded}]
    folder = StepFolder(plan.interactions_uri)
    with scratch_folder("sessionize") as scratch:
        tables = [_read_slice(folder.fetch(piece.part, Path(scratch)), piece, names, coded) for piece in plan.tasks[task]]
    table = pa.concat_tables(tables).unify_dictionaries().combine_chunks()
    if plan.event_types is not None:
        table = table.filter(pc.is_in(table[EVENT_TYPE], pa.array(plan.event_types, pa.string()))).combine_chunks()
    return table.select(list(columns))


def codes_and_values(table: pa.Table, column: str) -> tuple[NDArray[np.int32], pa.Array]:
    """A coded column: int32 codes [rows] (MISSING where null) and the strings they stand for, not all of which need occur."""
    chunks = table[column].chunks
    if not chunks:
        return np.empty(0, np.int32), pa.array([], pa.string())
    assert len(chunks) == 1, f"{column} must be one chunk"
    indices = chunks[0].indices
    filled: Any = indices.fill_null(MISSING) if indices.null_count else indices
    return filled.to_numpy(zero_copy_only=False).astype(np.int32, copy=False), chunks[0].dictionary


def numbers(table: pa.Table, column: str) -> NDArray[np.int64]:
    """An int64 column without nulls as a numpy array."""
    values: NDArray[np.int64] = table[column].to_numpy()
    return values


def _read_slice(path: Path, piece: Slice, columns: Sequence[str], coded: Sequence[str]) -> pa.Table:
    with pq.ParquetFile(path, read_dictionary=list(coded), memory_map=True) as file:
        return file.read_row_groups(piece.row_groups(file.num_row_groups), columns=list(columns), use_threads=False)
