"""What good lines ask for, as it is scored, and as it travels to the users' shards."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from hrnn.data.arrays import Rows
from hrnn.splits import ranges

_LINE, _SUBJECT, _VALUES_OF, _LISTED, _VALUES = "line", "subject", "values_of", "listed", b"filter_values"


@dataclass(frozen=True)
class Batch:
    """n good lines.

    Attributes:
        subjects: Strings [n], users or items.
        list_offsets: int64 [n + 1]; line i's list is `listed[list_offsets[i]:list_offsets[i + 1]]`. Zeros where there are none.
        listed: int64, item rows; -1 for items that nobody knows.
        filter_values: Distinct filterValues.
        values_of: int64 [n], which of them are each line's.
    """

    subjects: pa.StringArray
    list_offsets: Rows
    listed: Rows
    filter_values: Sequence[Mapping[str, str]]
    values_of: Rows

    def __len__(self) -> int:
        return len(self.values_of)

    def take(self, places: Rows) -> Batch:
        """Some of the lines."""
        lengths = np.diff(self.list_offsets)[places]
        listed = self.listed[ranges(self.list_offsets[places], lengths)] if len(self.listed) else self.listed
        return Batch(
            self.subjects.take(pa.array(places)), _offsets(lengths), listed, self.filter_values, self.values_of[places]
        )

    def to_table(self, lines: Rows) -> pa.Table:
        """The lines with their positions, for the way."""
        table = pa.table({_LINE: pa.array(lines), _SUBJECT: self.subjects})
        if self.filter_values:
            table = table.append_column(_VALUES_OF, pa.array(self.values_of))
            table = table.replace_schema_metadata({_VALUES: json.dumps(list(map(dict, self.filter_values)))})
        if len(self.listed):
            lists = pa.ListArray.from_arrays(pa.array(self.list_offsets.astype(np.int32)), pa.array(self.listed, pa.int32()))
            table = table.append_column(_LISTED, lists)
        return table

    @classmethod
    def from_tables(cls, tables: Sequence[pa.Table]) -> tuple[Rows, Batch]:
        """The lines of several tables, one after the other, and their positions."""
        values: list[Mapping[str, str]] = []
        values_of: list[Rows] = []
        for table in tables:
            own = json.loads((table.schema.metadata or {}).get(_VALUES, b"[]"))
            of = table[_VALUES_OF].to_numpy() if own else np.zeros(table.num_rows, np.int64)
            values_of.append(of + len(values))
            values += own
        joined = pa.concat_tables([table.replace_schema_metadata(None).drop_columns(_extra(table)) for table in tables])
        lengths, listed = np.zeros(joined.num_rows, np.int64), np.empty(0, np.int64)
        if tables and _LISTED in tables[0].column_names:
            lists = [chunk for table in tables for chunk in table[_LISTED].chunks]
            lengths = np.concatenate([chunk.value_lengths().to_numpy() for chunk in lists]).astype(np.int64)
            listed = np.concatenate([chunk.flatten().to_numpy() for chunk in lists]).astype(np.int64)
        batch = cls(joined[_SUBJECT].combine_chunks(), _offsets(lengths), listed, values, np.concatenate(values_of))
        return joined[_LINE].to_numpy(), batch


def _extra(table: pa.Table) -> list[str]:
    return [name for name in table.column_names if name not in (_LINE, _SUBJECT)]


def _offsets(lengths: Rows) -> Rows:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])
