"""The requests of good lines, as they are scored, and as tables for the shuffle to the users' shards."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from hrnn.data.arrays import Rows
from hrnn.data.ragged import Ragged

_LINE, _SUBJECT, _VALUES_OF, _LISTED, _VALUES = "line", "subject", "values_of", "listed", b"filter_values"


@dataclass(frozen=True)
class RequestBatch:
    """The requests of n good lines.

    Attributes:
        subjects: Strings [n], users or items.
        lists: [n] item rows; -1 for items that are not in the catalogue. Lists are empty where lines bring none.
        filter_values: Distinct filterValues.
        values_of: int64 [n], which of them are each line's.
    """

    subjects: pa.StringArray
    lists: Ragged[np.int64]
    filter_values: Sequence[Mapping[str, str]]
    values_of: Rows

    def __len__(self) -> int:
        return len(self.values_of)

    def take(self, places: Rows) -> RequestBatch:
        """Some of the lines."""
        subjects, lists = self.subjects.take(pa.array(places)), self.lists.take(places)
        return RequestBatch(subjects, lists, self.filter_values, self.values_of[places])

    def to_table(self, lines: Rows) -> pa.Table:
        """The lines with their positions in the split, to be sent to a shard; filter values travel once, as metadata."""
        table = pa.table({_LINE: pa.array(lines), _SUBJECT: self.subjects})
        if self.filter_values:
            table = table.append_column(_VALUES_OF, pa.array(self.values_of))
            table = table.replace_schema_metadata({_VALUES: json.dumps(list(map(dict, self.filter_values)))})
        if len(self.lists.values):
            table = table.append_column(_LISTED, Ragged(self.lists.offsets, self.lists.values.astype(np.int32)).to_arrow())
        return table

    @classmethod
    def from_tables(cls, tables: Sequence[pa.Table]) -> tuple[Rows, RequestBatch]:
        """The lines of several tables, one after the other, and their positions."""
        values: list[Mapping[str, str]] = []
        values_of: list[Rows] = []
        for table in tables:
            table_values = json.loads((table.schema.metadata or {}).get(_VALUES, b"[]"))
            codes = table[_VALUES_OF].to_numpy() if table_values else np.zeros(table.num_rows, np.int64)
            values_of.append(codes + len(values))  # each table numbers its values from 0
            values += table_values
        joined = pa.concat_tables([table.replace_schema_metadata(None).drop_columns(_extra(table)) for table in tables])
        lists = Ragged.none(joined.num_rows, np.int64)
        if tables and _LISTED in tables[0].column_names:
            listed = Ragged.from_arrow(pa.chunked_array([chunk for table in tables for chunk in table[_LISTED].chunks]))
            lists = Ragged(listed.offsets, listed.values.astype(np.int64))
        batch = cls(joined[_SUBJECT].combine_chunks(), lists, values, np.concatenate(values_of))
        return joined[_LINE].to_numpy(), batch


def _extra(table: pa.Table) -> list[str]:
    return [name for name in table.column_names if name not in (_LINE, _SUBJECT)]
