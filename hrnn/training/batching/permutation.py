"""Pseudorandom permutation with random access: any part is computed without the rest."""

from __future__ import annotations

import numpy as np

from hrnn.data.arrays import Rows
from hrnn.data.hashing import mix64

_ROUNDS = 4


class Permutation:
    """A bijection of [0, size), a function of its keys alone; no array of its size is made.

    A Feistel network over as many bits as `size` needs, with cycle walking until the number is below `size`: at most four steps
    in the mean. Source: Black & Rogaway 2002, "Ciphers with arbitrary finite domains".

    Args:
        size: At least 1.
        keys: Whole numbers, such as seed and epoch.
    """

    def __init__(self, size: int, *keys: int) -> None:
        self._size = size
        self._half = np.uint64(max(1, (max(size - 1, 1).bit_length() + 1) // 2))
        self._mask = (np.uint64(1) << self._half) - np.uint64(1)
        key = np.uint64(0)
        for number in keys:
            key = np.uint64(mix64(key ^ np.uint64(number)))
        self._round_keys = [np.uint64(mix64(key + np.uint64(number))) for number in range(1, _ROUNDS + 1)]

    def __call__(self, numbers: Rows) -> Rows:
        """Images of numbers in [0, size): int64."""
        permuted = self._feistel(numbers.astype(np.uint64))
        # Cycle walking: the network permutes up to four times as many numbers as there are; from one that is too large it goes
        # on along its cycle, which comes back to a small one at the latest where it began.
        while len(outside := np.flatnonzero(permuted >= self._size)):
            permuted[outside] = self._feistel(permuted[outside])
        return permuted.astype(np.int64)

    def _feistel(self, numbers: np.ndarray[tuple[int], np.dtype[np.uint64]]) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
        left, right = numbers >> self._half, numbers & self._mask
        for key in self._round_keys:  # each round can be undone, whatever mix64 gives: so the whole is a bijection
            left, right = right, left ^ (mix64(right ^ key) & self._mask)
        return (left << self._half) | right
