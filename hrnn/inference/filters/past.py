"""Conditions on past events: the event types that a user has had, with an item or at all.

The value of EVENT_TYPE is the set of types of the user's events with an item (or of all events, where users are filtered): IN
is met where one of them is listed, NOT IN where none is. Case does not matter. Without an event there is no value, and
nothing is met; an event without a type counts for "*" only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from hrnn.data.arrays import Flags, Rows
from hrnn.data.past_events import PastEvents
from hrnn.data.ragged import Ragged, row_ids
from hrnn.inference.filters.binding import ANY_EVENT
from hrnn.inference.filters.operations import Value, marked
from schemas.filters.tree import Condition


@dataclass(frozen=True)
class Past:
    """Past events grouped by user and item, or by user: G groups.

    Attributes:
        owners: int64 [G], the line of each group, rising.
        item_rows: int64 [G], rising within an owner; -1 where groups are users.
        event_groups: int64 [X], the group of each event.
        event_types: int32 [X].
    """

    owners: Rows
    item_rows: Rows
    event_groups: Rows
    event_types: npt.NDArray[np.int32]

    @classmethod
    def of(cls, past: PastEvents | None, newest: int, num_items: int | None) -> Past:
        """The newest events of each type.

        Args:
            past: Of B users; None: nobody has any.
            newest: How many events of each type a filter looks at.
            num_items: Groups are pairs of user and item below this; None: users.
        """
        if past is None:
            none = np.empty(0, np.int64)
            return cls(none, none, none, np.empty(0, np.int32))
        kept = np.flatnonzero(past.ranks < newest)
        owners = row_ids(past.offsets)[kept]
        if num_items is None:
            users, group_of = np.unique(owners, return_inverse=True)
            return cls(users, np.full(len(users), -1), group_of, past.event_types[kept])
        pairs, group_of = np.unique(owners * num_items + past.item_rows[kept], return_inverse=True)
        return cls(pairs // num_items, pairs % num_items, group_of, past.event_types[kept])

    def match(self, condition: Condition, values: Sequence[tuple[Value, ...]], of: Rows, event_types: Sequence[str]) -> Flags:
        """Groups that meet a condition: bool [G].

        Args:
            condition: On EVENT_TYPE.
            values: The condition's values in each binding.
            of: int64 [B], each line's binding; -1 where it has none, and nothing is met.
            event_types: The name of each code.
        """
        names = pa.array([name.casefold() for name in event_types], pa.string())
        listed = np.zeros((len(values) + 1, len(names) + 1), np.bool_)  # the last row: no binding; the last column: no type
        for binding, type_names in enumerate(values):
            texts = [str(value).casefold() for value in type_names]
            listed[binding, :-1] = marked(condition.operator, names, texts)
            if ANY_EVENT in texts:
                listed[binding] = True
        bindings = of[self.owners]  # [G]; -1, of an event's type too, picks the last row or column above
        mask = self._any(listed[bindings[self.event_groups], self.event_types])
        if condition.operator.negated:
            # Negated of the whole set, not event by event: NOT IN is met where none of the types is listed.
            mask = self._any(self.event_types >= 0) & ~mask
        return mask & (bindings >= 0)

    def lists(self, kept: Flags, num_lines: int) -> Ragged[np.int64]:
        """Item rows of the groups that are kept, line by line."""
        return Ragged.from_lengths(np.bincount(self.owners[kept], minlength=num_lines), self.item_rows[kept])

    def _any(self, of_events: Flags) -> Flags:
        """Groups of which at least one event is marked: bool [G]."""
        return np.bincount(self.event_groups[of_events], minlength=len(self.owners)) > 0
