"""How several objects become the parts of one multipart upload."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

SMALLEST_PART = 5 << 20  # bytes; S3's rule for every part but the last
LARGEST_COPY = 1 << 30  # bytes; S3 copies at most 5 GiB a part, smaller parts are retried sooner
SENT_PART = 8 << 20  # bytes read and sent together where sources are too small to be copied
MOST_PARTS = 10_000

Source = TypeVar("Source")


def plan_parts(sizes: Sequence[int], sources: Sequence[Source]) -> Iterator[list[tuple[Source, int, int]]]:
    """Cut sources into parts, in order, each a list of (source, first byte, end byte).

    A part of one piece can be copied by the store; a part of several is read and sent. Every part but the last is at least
    SMALLEST_PART, and their number stays below MOST_PARTS.

    Args:
        sizes: Bytes of each source.
        sources: What the sizes belong to.
    """
    total = sum(sizes)
    largest = max(LARGEST_COPY, -(-total // (MOST_PARTS // 2)))
    sent = max(SENT_PART, -(-total // (MOST_PARTS // 2)))
    gathered: list[tuple[Source, int, int]] = []
    held = 0
    for source, size in zip(sources, sizes, strict=True):
        start = 0
        while start < size:
            left = size - start
            if held == 0 and left >= SMALLEST_PART:
                take = left if left <= largest else min(largest, left)
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
