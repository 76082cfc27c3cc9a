from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hrnn.data.hashing import hash64, mix64

MASK = 2**64 - 1


def plain_mix(value: int) -> int:
    value = (value + 0x9E3779B97F4A7C15) & MASK
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 & MASK
    value = (value ^ value >> 27) * 0x94D049BB133111EB & MASK
    return value ^ value >> 31


def plain_hash(text: str, seed: int) -> int:
    data = text.encode()
    mixed = plain_mix(len(data) ^ plain_mix(seed & MASK))
    for begin in range(0, len(data), 8):
        mixed = plain_mix(mixed ^ int.from_bytes(data[begin : begin + 8], "little"))
    return mixed


@settings(deadline=None)
@given(st.lists(st.text(max_size=40), max_size=20), st.integers(-(2**70), 2**70))
def test_hashes_are_those_of_a_plain_loop(ids: list[str], seed: int) -> None:
    assert hash64(pa.array(ids, pa.string()), seed).tolist() == [plain_hash(text, seed) for text in ids]


def test_hashes_never_change_between_releases() -> None:
    ids = pa.array(["", "a", "user-1", "exactly8", "nine char", "é" * 128])
    assert [f"{value:016x}" for value in hash64(ids)] == [
        "a706dd2f4d197e6f",
        "ed673babe737fe57",
        "1c125577541d3d66",
        "1a3f99ae7d03222a",
        "afa563250ca7fd9b",
        "927c83afe01b514a",
    ]


def test_slices_chunks_and_large_strings_hash_as_plain_arrays_do() -> None:
    ids = pa.array([f"{'x' * (number % 23)}{number}" for number in range(100)])
    expected = hash64(ids, 5)
    np.testing.assert_array_equal(hash64(ids.slice(13, 50), 5), expected[13:63])
    np.testing.assert_array_equal(hash64(pa.chunked_array([ids.slice(0, 7), ids.slice(7)]), 5), expected)
    np.testing.assert_array_equal(hash64(ids.cast(pa.large_string()), 5), expected)
    assert len(hash64(pa.chunked_array([], pa.string()))) == 0


@pytest.mark.parametrize(("prefix", "count"), [("", 1_000_000), ("user-of-a-shop-", 100_000)])
def test_a_million_ids_neither_collide_nor_crowd(prefix: str, count: int) -> None:
    hashes = hash64(pc.binary_join_element_wise(prefix, pa.array(np.arange(count)).cast(pa.string()), ""))
    assert len(np.unique(hashes)) == count
    for bucket in (hashes % np.uint64(1024), hashes >> np.uint64(54)):
        seen = np.bincount(bucket.astype(np.int64), minlength=1024)
        chi_squared = float(((seen - count / 1024) ** 2 / (count / 1024)).sum())
        assert 800 < chi_squared < 1250  # 1023 ± 5 standard deviations of 45


def test_one_changed_character_changes_half_of_the_bits() -> None:
    ids = [f"user-{number}" for number in range(2000)]
    before, after = hash64(pa.array(ids)), hash64(pa.array([text[:-1] + "x" for text in ids]))
    changed = np.bitwise_count(before ^ after)
    assert 31.5 < changed.mean() < 32.5


def test_another_seed_gives_unrelated_hashes() -> None:
    ids = pa.array([f"user-{number}" for number in range(2000)])
    changed = np.bitwise_count(hash64(ids, 0) ^ hash64(ids, 1))
    assert 31.5 < changed.mean() < 32.5


def test_mixing_loses_nothing() -> None:
    values = np.arange(100_000, dtype=np.uint64)
    assert len(np.unique(mix64(values))) == len(values)


def test_ids_that_are_null_or_no_strings_are_refused() -> None:
    with pytest.raises(ValueError, match="null"):
        hash64(pa.array(["a", None]))
    with pytest.raises(TypeError, match="int64"):
        hash64(pa.array([1, 2]))
