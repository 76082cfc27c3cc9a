"""The plan of an import, which every task gets: parts, references, receivers, quotas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jobs.validate.inputs import Split
from schemas.dataset_rules import DATASET_RULES
from schemas.datasets import DatasetSchema
from schemas.manifest import FileEntry

FILE_SHIFT = 40  # INPUT_ORDER = file number << 40 | line number

_RECEIVER_BYTES = 96 << 20  # of input whose keys one receiver takes: about 2.5 M events
_LEAST_BYTES = 8 << 20  # smaller imports are partitioned among fewer receivers


@dataclass(frozen=True, kw_only=True)
class NewPart:
    """Splits whose rows go into one part file.

    Attributes:
        number: Place of the part, from 0; parts in order hold the rows in order.
        splits: In order.
    """

    number: int
    splits: tuple[Split, ...]

    @property
    def first_order(self) -> int:
        """A lower bound of its rows' INPUT_ORDER, above those of the part before."""
        first = self.splits[0]
        return first.file.number << FILE_SHIFT | first.first_line

    @property
    def size(self) -> int:
        """Bytes of input."""
        return sum(split.size for split in self.splits)


@dataclass(frozen=True, kw_only=True)
class OldPart:
    """A part of an earlier import, in a dataset that an INCREMENTAL import adds to."""

    number: int
    entry: FileEntry
    first_order: int

    @property
    def size(self) -> int:
        """About as many bytes of input; Parquet is a fraction of CSV."""
        return 4 * self.entry.size


@dataclass(frozen=True, kw_only=True)
class ReferencePart:
    """A part of another dataset, whose item or user ids events refer to."""

    uri: str
    entry: FileEntry
    column: str


Part = NewPart | OldPart


@dataclass(frozen=True, kw_only=True)
class ImportPlan:
    """One import.

    Attributes:
        schema: Of the dataset.
        output_uri: Its folder.
        parts: Those of earlier imports first, then new ones; `number` is the position.
        references: Parts of other datasets, whose ids are compared with those of the events.
        file_names: By file number, as reports show them.
        gap_seconds: A session ends where its user was idle for longer.
        now: The time of the import, UTC epoch seconds; None: events may lie in the future.
        rejects_wrong_times: New events whose times cannot be true are rejected, not kept.
    """

    schema: DatasetSchema
    output_uri: str
    parts: tuple[Part, ...]
    references: tuple[ReferencePart, ...]
    file_names: tuple[str, ...]
    gap_seconds: int
    now: int | None = None
    rejects_wrong_times: bool = True

    @property
    def first_new_order(self) -> int:
        """Lower bound of the INPUT_ORDER of this import's own rows."""
        return next(part.first_order for part in self.parts if isinstance(part, NewPart))

    @property
    def num_receivers(self) -> int:
        """Receivers of keys, and of items."""
        total = sum(part.size for part in self.parts)
        return max(1, min(4, total // _LEAST_BYTES), -(-total // _RECEIVER_BYTES))

    @property
    def has_events(self) -> bool:
        """Whether rows are events, not descriptions of something with an id."""
        return DATASET_RULES[self.schema.dataset_type].key is None

    def parts_of(self, input_orders: NDArray[np.int64]) -> NDArray[np.int64]:
        """Number of the part that holds each row."""
        firsts = np.array([part.first_order for part in self.parts], np.int64)
        return np.searchsorted(firsts, input_orders, side="right") - 1


def gather(splits: Sequence[Split], part_bytes: int, first_number: int = 0, open_bytes: int = 0) -> list[NewPart]:
    """Parts: consecutive splits, merged until a part is worth a task.

    Args:
        splits: In order.
        part_bytes: What a part holds at most, unless it is a single split.
        first_number: Of the parts.
        open_bytes: How many bytes take as long as to begin another split.
    """
    parts: list[list[Split]] = []
    held = part_bytes + 1
    for split in splits:
        if held + open_bytes + split.size > part_bytes:
            parts.append([])
            held = 0
        parts[-1].append(split)
        held += open_bytes + split.size
    return [NewPart(number=number, splits=tuple(splits)) for number, splits in enumerate(parts, first_number)]
