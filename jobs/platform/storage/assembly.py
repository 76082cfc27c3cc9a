"""Plans the parts of a multipart upload that joins several objects."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

SMALLEST_PART = 5 << 20  # bytes; S3's rule for every part but the last
LARGEST_COPY = 256 << 20  # bytes; S3 copies at most 5 GiB a part, but a request has half a minute for its first byte
SENT_PART = 8 << 20  # bytes read and sent together where sources are too small to be copied
MOST_PARTS = 10_000

Source = TypeVar("Source")
Piece = tuple[Source, int, int]  # source, first byte, end byte


def plan_parts(sizes: Sequence[int], sources: Sequence[Source]) -> Iterator[list[Piece[Source]]]:
    """Cut sources into parts, in order.

    A part of one piece can be copied by the store; a part of several is read and sent. Every part but the last is at least
    SMALLEST_PART, and their number stays below MOST_PARTS.

    Args:
        sizes: Bytes of each source.
        sources: The sources, parallel to `sizes`.
    """
    shared = -(-sum(sizes) // (MOST_PARTS // 2))  # bytes of a part if half of the allowed number were equal
    smallest, largest, sent = max(SMALLEST_PART, shared), max(LARGEST_COPY, shared), max(SENT_PART, shared)
    gathered: list[Piece[Source]] = []
    held = 0
    for source, size in zip(sources, sizes, strict=True):
        start = 0
        while start < size:
            left = size - start
            if held == 0 and left >= smallest:
                take = min(left, largest)
                yield [(source, start, start + take)]
            else:
                take = min(left, sent - held)
                gathered.append((source, start, start + take))
                held += take
                if held >= sent:
                    yield gathered
                    gathered, held = [], 0
            start += take
    if gathered:
        yield gathered
