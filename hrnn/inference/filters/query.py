"""Input of filters: values of placeholders, the users' attributes and past events, the current items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from hrnn.data.arrays import Rows
from hrnn.data.past_events import PastEvents
from schemas.filters import FilterValues


@dataclass(frozen=True)
class FilterQuery:
    """The input of a filter for B lines. Whatever it does not refer to may be left out.

    Attributes:
        num_lines: B.
        values: Distinct sets of values.
        values_of: int64 [B], the set of each line; None: the first set for all.
        attributes: B rows of the Users dataset, all null for users who are not in it; None: nobody is.
        past: Past events of the B users; None: nobody has any.
        current_items: int64 [B], item rows; -1 for an item that is not in the catalogue.
    """

    num_lines: int
    values: Sequence[FilterValues] = field(default=({},))
    values_of: Rows | None = None
    attributes: pa.Table | None = None
    past: PastEvents | None = None
    current_items: Rows | None = None

    def take(self, places: Rows) -> FilterQuery:
        """The given lines, in any order."""
        return FilterQuery(
            len(places),
            self.values,
            None if self.values_of is None else self.values_of[places],
            None if self.attributes is None else self.attributes.take(pa.array(places)),
            None if self.past is None else self.past.take(places),
            None if self.current_items is None else self.current_items[places],
        )
