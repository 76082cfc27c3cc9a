"""LRU cache of masks, bounded by bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable

from hrnn.data.arrays import Flags


class MaskCache:
    """Least-recently-used cache of masks.

    Args:
        most_bytes: Of all masks together; a larger one is not kept.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most, self.held_bytes = most_bytes, 0
        self._masks: OrderedDict[Hashable, Flags] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], Flags]) -> Flags:
        """The mask of a key, computed by `make` on a miss; callers don't change it."""
        if (mask := self._masks.get(key)) is not None:
            self._masks.move_to_end(key)
            return mask
        mask = make()
        if mask.nbytes <= self._most:
            self._masks[key] = mask
            self.held_bytes += mask.nbytes
            while self.held_bytes > self._most:
                self.held_bytes -= self._masks.popitem(last=False)[1].nbytes
        return mask
