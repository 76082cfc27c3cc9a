"""The parameters of a sessionize run's tasks, and how its input is cut into tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from schemas.columns import EVENT_TIME, EVENT_TYPE, EVENT_TYPE_CODE, EVENT_VALUE, ITEM_ROW, SESSION_START, USER_ROW
from schemas.dataset_rules import FieldType
from schemas.datasets import DatasetSchema
from schemas.errors import SchemaError
from schemas.manifest import FileEntry

ROWS_A_TASK = 2_500_000  # bounds a worker's memory at a few hundred MB; a user's id travels once for many events
EVENTS_A_SHARD = 2_500_000
_FEWEST_EVENTS_A_SHARD = 250_000  # smaller data are cut finer only while it pays

TieOrder = Literal["file", "hash"]

_OWN_COLUMNS = {USER_ROW, ITEM_ROW, EVENT_TIME, SESSION_START, EVENT_TYPE_CODE}


@dataclass(frozen=True, kw_only=True)
class Slice:
    """Row groups of one part file: those whose share of the file is the `number`-th of `total`."""

    part: FileEntry
    number: int
    total: int

    def row_groups(self, count: int) -> list[int]:
        """Which of a file's `count` row groups belong to the slice."""
        return [group for group in range(count) if group * self.total // count == self.number]


@dataclass(frozen=True, kw_only=True)
class EventColumns:
    """The columns of Interactions in the sequences, besides user, item and time.

    Attributes:
        event_type: Whether the data have EVENT_TYPE.
        categorical: Categorical metadata, in schema order: written as int32 codes.
        numeric: EVENT_VALUE, then numeric and boolean metadata in schema order, with their types: written as they are.
    """

    event_type: bool
    categorical: tuple[str, ...]
    numeric: dict[str, FieldType]

    @classmethod
    def of(cls, schema: DatasetSchema) -> EventColumns:
        """The columns of a typed Interactions dataset. Plain strings are stored and filterable, and no part of sequences.

        Raises:
            SchemaError: A metadata column bears a name that the sequences give to a column of their own.
        """
        if taken := _OWN_COLUMNS.intersection(schema.names):
            raise SchemaError(
                "the sequences have a column of this name themselves",
                where="Interactions schema",
                value=min(taken),
                remedy="Rename the column in the schema and in the CSV header, then validate again.",
            )
        value = schema.field(EVENT_VALUE)
        numeric = [*([value] if value else []), *(field for field in schema.metadata if field.kind != "text")]
        return cls(
            event_type=EVENT_TYPE in schema.names,
            categorical=tuple(field.name for field in schema.metadata if field.categorical),
            numeric={field.name: field.type for field in numeric},
        )

    @property
    def coded(self) -> tuple[str, ...]:
        """Columns whose values become codes."""
        return ((EVENT_TYPE,) if self.event_type else ()) + self.categorical


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The parameters of every task, in one run with one hash seed.

    Attributes:
        interactions_uri: Folder of the typed dataset.
        output_uri: Folder of the sequences.
        tasks: Slices that one task reads together.
        columns: Columns of the sequences.
        event_types: Events of other types are left out; None keeps all.
        gap_seconds: A session ends where the user was idle for longer; None: never.
        tie_order: Order of events at equal times: as in the file, or by a hash of their place in it.
        num_shards: Number of shards of users.
        hash_seed: Seed of hash64 for users and items.
    """

    interactions_uri: str
    output_uri: str
    tasks: tuple[tuple[Slice, ...], ...]
    columns: EventColumns
    event_types: tuple[str, ...] | None
    gap_seconds: int | None
    tie_order: TieOrder
    num_shards: int
    hash_seed: int = 0


def cut_tasks(parts: Sequence[FileEntry], rows_a_task: int = ROWS_A_TASK) -> tuple[tuple[Slice, ...], ...]:
    """Cut large parts into slices and gather small ones, so that a task reads about `rows_a_task` rows or a few less."""
    tasks: list[tuple[Slice, ...]] = []
    gathered: list[Slice] = []
    held = 0
    for part in parts:
        rows = part.rows or 0
        if rows > rows_a_task:
            total = -(-rows // rows_a_task)
            tasks += [(Slice(part=part, number=number, total=total),) for number in range(total)]
            continue
        if gathered and held + rows > rows_a_task:
            tasks.append(tuple(gathered))
            gathered, held = [], 0
        gathered.append(Slice(part=part, number=0, total=1))
        held += rows
    return (*tasks, tuple(gathered)) if gathered else tuple(tasks)


def shards_for(num_events: int) -> int:
    """Number of shards for so many events; it depends on the data alone, so that every machine makes the same files."""
    return max(1, min(4, num_events // _FEWEST_EVENTS_A_SHARD), -(-num_events // EVENTS_A_SHARD))
