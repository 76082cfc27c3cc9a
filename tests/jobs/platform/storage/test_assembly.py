"""Cutting sources into parts: whatever the sizes, all bytes once, in order, and within S3's rules."""

from __future__ import annotations

from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from jobs.platform.storage import assembly
from jobs.platform.storage.assembly import LARGEST_COPY, MOST_PARTS, SENT_PART, SMALLEST_PART, Piece, plan_parts

MEBIBYTE = 1 << 20
byte_counts = st.one_of(
    st.integers(0, 100),
    st.sampled_from([0, 1, SMALLEST_PART - 1, SMALLEST_PART, SMALLEST_PART + 1, SENT_PART - 1, SENT_PART, SENT_PART + 1]),
    st.integers(0, 20 * MEBIBYTE),
    st.integers(0, 5 * LARGEST_COPY),
    st.sampled_from([LARGEST_COPY - 1, LARGEST_COPY, LARGEST_COPY + 1]),
)


def _size(part: list[Piece[int]]) -> int:
    return sum(end - start for _, start, end in part)


def _check(sizes: list[int], most_parts: int = MOST_PARTS, smallest: int = SMALLEST_PART) -> list[list[Piece[int]]]:
    parts = list(plan_parts(sizes, range(len(sizes))))
    pieces = [piece for part in parts for piece in part]
    expected = [(source, 0, size) for source, size in enumerate(sizes) if size]
    joined: list[Piece[int]] = []
    for source, start, end in pieces:
        if joined and joined[-1][0] == source and joined[-1][2] == start:
            joined[-1] = (source, joined[-1][1], end)
        else:
            joined.append((source, start, end))
    assert joined == expected
    assert all(start < end for _, start, end in pieces)
    assert all(_size(part) >= smallest for part in parts[:-1])
    assert len(parts) <= most_parts
    return parts


@given(st.lists(byte_counts, max_size=40))
def test_every_byte_is_in_one_part_in_order(sizes: list[int]) -> None:
    parts = _check(sizes)
    assert all(_size(part) <= max(SENT_PART, sum(sizes) // 5000 + 1) for part in parts if len(part) > 1)
    assert all(_size(part) <= LARGEST_COPY for part in parts)


@given(st.lists(st.integers(0, 300), max_size=200), st.integers(2, 30))
def test_the_number_of_parts_is_bounded(sizes: list[int], most_parts: int) -> None:
    with patch.multiple(assembly, SMALLEST_PART=5, LARGEST_COPY=50, SENT_PART=8, MOST_PARTS=most_parts):
        _check(sizes, most_parts, smallest=5)


def test_twenty_thousand_files_just_large_enough_to_copy_fit() -> None:
    parts = _check([SMALLEST_PART] * 20_000)
    assert len(parts) <= MOST_PARTS


def test_five_tebibytes_in_one_file_fit() -> None:
    parts = _check([5 << 40])
    assert max(map(_size, parts)) <= 5 << 30


def test_large_files_are_copied_and_small_ones_gathered() -> None:
    sizes = [20 * MEBIBYTE, MEBIBYTE, MEBIBYTE, 9 * MEBIBYTE, MEBIBYTE]
    assert _check(sizes) == [
        [(0, 0, 20 * MEBIBYTE)],
        [(1, 0, MEBIBYTE), (2, 0, MEBIBYTE), (3, 0, 6 * MEBIBYTE)],
        [(3, 6 * MEBIBYTE, 9 * MEBIBYTE), (4, 0, MEBIBYTE)],
    ]


def test_nothing_has_no_parts() -> None:
    assert _check([]) == _check([0, 0]) == []
