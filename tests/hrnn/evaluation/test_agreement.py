from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from hrnn.data.hashing import hash64
from hrnn.data.ragged import Ragged
from hrnn.evaluation.agreement import agreement, correlation, correlation_sums, gini


def lists(*each: str) -> Ragged[np.uint64]:
    """Each text is a list of one-letter ids."""
    return Ragged.from_lengths([len(text) for text in each], hash64(pa.array(list("".join(each)), pa.string())))


def plain_rank_biased_overlap(one: str, other: str, p: float) -> float:
    """Equation 32 of Webber et al. (2010), as it stands there."""
    short, long = sorted((one, other), key=len)
    if not short:
        return float(not long)

    def common(depth: int) -> int:
        return len(set(short[:depth]) & set(long[:depth]))

    s, length = len(short), len(long)
    first = sum(common(d) / d * p**d for d in range(1, length + 1))
    second = sum(common(s) * (d - s) / (s * d) * p**d for d in range(s + 1, length + 1))
    tail = ((common(length) - common(s)) / length + common(s) / s) * p**length
    return (1 - p) / p * (first + second) + tail


def test_rank_biased_overlap_of_two_by_hand() -> None:
    # X_1 = 0, X_2 = 2: (0.1/0.9)·(2/2·0.81) + 2/2·0.81 = 0.9
    alike = agreement(lists("ab", "ab", "ab", "", "a"), lists("ba", "ab", "cd", "", ""), 5, 0.9)
    assert alike.rank_biased_overlap == pytest.approx([0.9, 1, 0, 1, 0])
    assert alike.same_first.tolist() == [False, True, False, True, False]
    assert alike.identical.tolist() == [False, True, False, True, False]


@pytest.mark.parametrize("p", [0.5, 0.9, 0.98])
def test_rank_biased_overlap_is_the_plain_formula_for_lists_of_any_length(p: float) -> None:
    dice = np.random.default_rng(3)
    pairs = [
        tuple("".join(dice.permutation(list("abcdefghijkl"))[: dice.integers(0, 13)]) for _ in range(2)) for _ in range(300)
    ]
    old, new = (lists(*side) for side in zip(*pairs, strict=True))
    expected = [plain_rank_biased_overlap(one, other, p) for one, other in pairs]
    assert agreement(old, new, 10, p).rank_biased_overlap == pytest.approx(expected, abs=1e-12)
    assert agreement(new, old, 10, p).rank_biased_overlap == pytest.approx(expected, abs=1e-12)


def test_overlap_counts_what_stands_in_the_first_places_of_both() -> None:
    old, new = ("abcd", "ab", "xy"), ("bxay", "abcd", "x")
    alike = agreement(lists(*old), lists(*new), 3)
    assert alike.overlap == pytest.approx([2 / 4, 2 / 4, 1 / 2])
    # 0, 1, 2 common entries of the first line; 1, 2, 2 of the second; 1, 1, 1 of the third, whose longer list has 2.
    expected = [[0 / 1, 1 / 2, 2 / 3], [1 / 1, 2 / 2, 2 / 3], [1 / 1, 1 / 2, 1 / 2]]
    for line, row in enumerate(expected):
        assert agreement(lists(old[line]), lists(new[line]), 3).overlap_at == pytest.approx(row)
    assert alike.overlap_at == pytest.approx(np.sum(expected, axis=0))


def test_scores_of_common_entries_are_correlated_and_the_others_left_out() -> None:
    alike = agreement(lists("abc", "ab"), lists("abd", "ab"), 1)
    old_scores = np.array([3, 2, 9, 1, np.nan], np.float32)
    new_scores = np.array([6, 4, 0, 2, 5], np.float32)
    sums = correlation_sums(old_scores[alike.at_old], new_scores[alike.at_new])
    assert sums[0] == 3  # a and b of the first line, a of the second
    assert correlation(sums) == pytest.approx(1.0)


def test_correlation_of_parts_is_that_of_the_whole() -> None:
    dice = np.random.default_rng(0)
    x, y = dice.random((2, 500), np.float32)
    parts = sum((correlation_sums(x[begin : begin + 130], y[begin : begin + 130]) for begin in range(0, 500, 130)), np.zeros(6))
    assert correlation(parts) == pytest.approx(np.corrcoef(x, y)[0, 1])
    assert correlation(correlation_sums(np.ones(9, np.float32), y[:9])) is None
    assert correlation(np.zeros(6)) is None


def test_gini_counts_items_that_are_never_listed() -> None:
    assert gini(np.array([5, 5, 5]), 3) == pytest.approx(0)
    assert gini(np.array([7]), 4) == pytest.approx(0.75)
    assert gini(np.array([7]), 4) > gini(np.array([4, 3]), 4) > gini(np.array([2, 2, 2, 1]), 4) > 0
    assert gini(np.empty(0, np.int64), 4) == 0


@pytest.mark.parametrize(("old", "new"), [("ab", "aaa"), ("aaa", "ab"), ("abca", "abc")])
def test_a_list_that_repeats_an_entry_has_no_ranks(old: str, new: str) -> None:
    with pytest.raises(ValueError, match="an entry stands twice in a list"):
        agreement(lists("ab", old), lists("ba", new), 5)
