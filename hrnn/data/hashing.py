"""64-bit hashes of ids, a column at a time: the same on every machine, for every release.

Users are assigned to shards by `hash64(USER_ID, seed) % num_shards`, and lie in a shard in the order of their hashes; jobs that
look a user up must therefore use the seed that stands in the manifest of the sequences.
"""

from __future__ import annotations

from typing import cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

GOLDEN = 0x9E3779B97F4A7C15  # 2**64 over the golden ratio
_WORD = 8  # bytes taken at a time

Hashes = NDArray[np.uint64]


def hash64(ids: pa.Array | pa.ChunkedArray, seed: int = 0) -> Hashes:
    """Hashes of ids, from their UTF-8 bytes and the seed.

    Equal ids have equal hashes. Two different ids collide with probability 2**-64, under each seed anew.

    Args:
        ids: Strings without nulls, [n].
        seed: Any int; another seed gives unrelated hashes.

    Returns:
        uint64 [n].

    Raises:
        ValueError: An id is null.
        TypeError: The array holds something else than strings.
    """
    if isinstance(ids, pa.ChunkedArray):
        parts = [hash64(chunk, seed) for chunk in ids.chunks]
        return np.concatenate(parts) if parts else np.empty(0, np.uint64)
    if ids.null_count:
        raise ValueError("ids must not be null")
    starts, lengths, words = _layout(ids)
    mixed = mix64(lengths.astype(np.uint64) ^ mix64(np.uint64(seed & 0xFFFF_FFFF_FFFF_FFFF)))
    for begin in range(0, int(lengths.max(initial=0)), _WORD):
        # Most ids are short: later words concern ever fewer of them.
        rows = np.flatnonzero(lengths > begin)
        whole = rows.size == lengths.size
        word = _words_at(words, (starts if whole else starts[rows]) + begin)
        word &= _first_bytes((lengths if whole else lengths[rows]) - begin)
        if whole:
            mixed = mix64(mixed ^ word)
        else:
            mixed[rows] = mix64(mixed[rows] ^ word)
    return mixed


def mix64(values: Hashes | np.uint64) -> Hashes:
    """The splitmix64 step: a bijection of uint64 in which every input bit moves every output bit.

    Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014, with Stafford's variant 13.
    """
    with np.errstate(over="ignore"):  # arithmetic is meant modulo 2**64
        mixed = np.asarray(values + np.uint64(GOLDEN))
        mixed ^= mixed >> np.uint64(30)
        mixed *= np.uint64(0xBF58476D1CE4E5B9)
        mixed ^= mixed >> np.uint64(27)
        mixed *= np.uint64(0x94D049BB133111EB)
        mixed ^= mixed >> np.uint64(31)
    return cast(Hashes, mixed)


def _layout(ids: pa.Array) -> tuple[NDArray[np.int64], NDArray[np.int64], Hashes]:
    """First byte and length of every id, and the bytes of all of them as little-endian words, with one word to spare."""
    if pa.types.is_string(ids.type):
        kind: type[np.int32] | type[np.int64] = np.int32
    elif pa.types.is_large_string(ids.type):
        kind = np.int64
    else:
        raise TypeError(f"ids must be strings, not {ids.type}")
    if not len(ids):
        return np.empty(0, np.int64), np.empty(0, np.int64), np.zeros(2, np.uint64)
    _, offset_buffer, data = ids.buffers()
    offsets = np.frombuffer(offset_buffer, kind, len(ids) + 1, ids.offset * np.dtype(kind).itemsize).astype(np.int64)
    first, last = int(offsets[0]), int(offsets[-1])
    padded = np.zeros((last - first) // _WORD + 2, "<u8")
    if last > first:
        padded.view(np.uint8)[: last - first] = np.frombuffer(data, np.uint8, last - first, first)
    offsets -= first
    return offsets[:-1], np.diff(offsets), padded


def _words_at(words: Hashes, starts: NDArray[np.int64]) -> Hashes:
    """Eight bytes from each start, which need not lie on a word: the ends of two neighbours, shifted together."""
    index = starts >> 3
    shift = ((starts & 7) << 3).astype(np.uint64)
    low = words[index] >> shift
    high = (words[index + 1] << (np.uint64(63) - shift)) << np.uint64(1)  # a shift by 64 is undefined, by 63 and 1 is not
    return cast(Hashes, low | high)


def _first_bytes(counts: NDArray[np.int64]) -> Hashes:
    """Masks that keep the first `counts` bytes of a word, all of them from eight on."""
    return cast(Hashes, np.uint64(0xFFFF_FFFF_FFFF_FFFF) >> ((_WORD - np.minimum(counts, _WORD)) << 3).astype(np.uint64))
