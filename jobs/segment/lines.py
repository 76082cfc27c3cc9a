"""Lines of a batch segment job, and the set of items that each one names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hrnn.data.arrays import Rows
from hrnn.data.ragged import Ragged
from hrnn.inference.filters import FilterQuery, ItemFilter, UserFilter
from hrnn.inference.segments import sets_of
from jobs.batch.inputs import cut, read_lines
from jobs.platform.storage import StoredFile
from schemas import columns
from schemas.batch import BadLine, LineKind, Request, parse_line
from schemas.dataset_rules import DatasetType
from schemas.datasets import DatasetSchema
from schemas.errors import DataError
from schemas.filters import FilterError, FilterValues, parse_filter_values
from schemas.item_attributes import attributes_fault, parse_item_attributes

MOST_LINES: Mapping[LineKind, int] = {"item_users": 500, "attribute_users": 10}  # of a job; Personalize's


@dataclass(frozen=True)
class Block:
    """Neighbouring lines of one file, which are answered together.

    Attributes:
        file_number: Position of the file.
        lines: As read.
        sets: Of each line, the number of its set of items; -1 for a bad one.
    """

    file_number: int
    lines: tuple[Request | BadLine, ...]
    sets: tuple[int, ...]


@dataclass(frozen=True)
class Segments:
    """The segments of a job: one for each good line.

    Attributes:
        blocks: All lines, in order.
        sets: The items of every good line.
        values: Of every good line, the values of the filter's placeholders.
    """

    blocks: tuple[Block, ...]
    sets: Ragged[np.int64]
    values: tuple[FilterValues, ...]


class LineReader:
    """Reads lines, and finds the items that they name.

    Args:
        kind: What a line holds: `item_users` or `attribute_users`.
        catalogue: Items by item row, those with events first.
        schemas: Of the datasets.
        user_filter: The filter whose placeholders the lines' filterValues fill; None: there is no filter.
    """

    def __init__(
        self,
        kind: LineKind,
        catalogue: pa.Table,
        schemas: Mapping[DatasetType, DatasetSchema],
        user_filter: UserFilter | None = None,
    ) -> None:
        self._kind, self._schemas, self._filter = kind, schemas, user_filter
        self._catalogue = catalogue
        self._num_ranked = int(np.count_nonzero(catalogue[columns.NUM_EVENTS].to_numpy()))

    def read(self, files: Sequence[StoredFile], most_lines: int, lines_at_once: int) -> Segments:
        """The lines of all files.

        Args:
            files: In order.
            most_lines: Of all files together.
            lines_at_once: Of a block.

        Raises:
            DataError: There are more lines.
        """
        blocks: list[Block] = []
        sets: list[Rows] = []
        values: list[FilterValues] = []
        total = 0
        for number, file in enumerate(files):
            read: list[tuple[Request | BadLine, int]] = []
            for split in cut([file], 1):
                for line in read_lines(split):
                    total += 1
                    if total > most_lines:
                        raise DataError(
                            "the batch input holds too many lines for a segment job",
                            where=file.uri,
                            allowed=f"{most_lines:,} lines in all, as in Personalize",
                            remedy="Split the input, or raise --max-lines.",
                        )
                    read.append(self._line(line, sets, values))
            for start in range(0, len(read), lines_at_once):
                lines, line_sets = zip(*read[start : start + lines_at_once], strict=True)
                blocks.append(Block(number, lines, line_sets))
        return Segments(tuple(blocks), sets_of(sets), tuple(values))

    def _line(self, line: bytes, sets: list[Rows], values: list[FilterValues]) -> tuple[Request | BadLine, int]:
        """A line, and the number of its set, which is appended with its filter values; -1 for a bad line."""
        request = parse_line(line, self._kind)
        if isinstance(request, BadLine):
            return request, -1
        try:
            filter_values = parse_filter_values(request.filter_values) if self._filter else {}
            if self._filter and (fault := self._filter.fault(filter_values)):
                return BadLine(request.given, fault), -1
            items = self._item(request.item_id) if self._kind == "item_users" else self._items(request.item_attributes)
        except DataError as error:
            return BadLine(request.given, str(error)), -1
        sets.append(items)
        values.append(filter_values)
        return request, len(sets) - 1

    def _item(self, item_id: str) -> Rows:
        row = pc.index(self._catalogue[columns.ITEM_ID], item_id).as_py()
        if row < 0:
            raise DataError("the solution version does not know this item", where="itemId", value=item_id)
        if row >= self._num_ranked:
            raise DataError("the item had no interactions when the solution version was trained", where="itemId", value=item_id)
        return np.asarray([row], dtype=np.int64)

    def _items(self, attributes: str) -> Rows:
        parsed = parse_item_attributes(attributes)
        try:
            item_filter = ItemFilter(parsed, self._catalogue.slice(0, self._num_ranked), schemas=self._schemas)
        except FilterError as error:
            raise attributes_fault(error) from None
        items = np.flatnonzero(item_filter.allowed(FilterQuery(1)).dense()[0])
        if not len(items):
            raise DataError("no item with interactions has these attributes", where="itemAttributes", value=attributes)
        return items
