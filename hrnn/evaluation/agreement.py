"""How alike two sets of ranked lists are: overlap at several depths, rank-biased overlap, and how both use the catalogue."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hrnn.data.arrays import Doubles, Flags, Floats, Rows
from hrnn.data.hashing import mix64
from hrnn.data.ragged import Ragged

PERSISTENCE = 0.9  # p: the first ten places hold 86 % of the weight


@dataclass(frozen=True)
class Agreement:
    """How alike the two lists of each of M lines are.

    Attributes:
        rank_biased_overlap: float64 [M], 0 to 1.
        same_first: bool [M], both lists begin alike.
        identical: bool [M], both lists are equal in all places.
        overlap: float64 [M], common entries as a share of the longer list; 1 where both are empty.
        overlap_at: float64 [D], at d the sum over all lines of the overlap of the first d + 1 entries.
        at_old, at_new: int64, where the entries that stand in both lists of a line lie among the values of either side.
    """

    rank_biased_overlap: Doubles
    same_first: Flags
    identical: Flags
    overlap: Doubles
    overlap_at: Doubles
    at_old: Rows
    at_new: Rows


def agreement(old: Ragged[np.uint64], new: Ragged[np.uint64], depth: int, persistence: float = PERSISTENCE) -> Agreement:
    """Compare line m of one side with line m of the other, for all M lines.

    Args:
        old: Ranked lists of one side, best first: hashes of what is listed, none twice in a list: an entry has one rank. Of a
            list that repeats entries, give the first place of each.
        new: Those of the other; M lines too. The result does not depend on which is which.
        depth: D, the greatest depth that `overlap_at` is made for, at least 1.
        persistence: p of rank-biased overlap, between 0 and 1.

    Raises:
        ValueError: An entry stands twice in a list.
    """
    lines, at_old, at_new = _common(old, new)
    old_ranks, new_ranks = at_old - old.offsets[lines] + 1, at_new - new.offsets[lines] + 1
    deeper = np.maximum(old_ranks, new_ranks)  # the depth from which on both lists hold the entry
    count, longer = len(old), np.maximum(old.lengths, new.lengths)
    depths = range(1, depth + 1)
    return Agreement(
        rank_biased_overlap=_rank_biased_overlap(old.lengths, new.lengths, lines, deeper, persistence),
        same_first=(np.bincount(lines[deeper == 1], minlength=count) > 0) | (longer == 0),
        identical=(old.lengths == new.lengths) & (np.bincount(lines[old_ranks == new_ranks], minlength=count) == old.lengths),
        overlap=_overlap(lines, longer),
        overlap_at=np.array([_overlap(lines[deeper <= first], np.minimum(longer, first)).sum() for first in depths]),
        at_old=at_old,
        at_new=at_new,
    )


def correlation_sums(x: Floats, y: Floats) -> Doubles:
    """Sums from which the correlation of parallel arrays follows; those of parts may be added.

    Returns:
        float64 [6], of the pairs (x, y) without a NaN: how many, and the sums of x, y, x·x, y·y and x·y.
    """
    both = ~(np.isnan(x) | np.isnan(y))
    x64, y64 = x[both].astype(np.float64), y[both].astype(np.float64)
    return np.array([len(x64), x64.sum(), y64.sum(), x64 @ x64, y64 @ y64, x64 @ y64])


def correlation(sums: Doubles) -> float | None:
    """Pearson's correlation of `correlation_sums`; None where a side does not vary."""
    if sums[0] < 2:
        return None
    x, y, xx, yy, xy = sums[1:] / sums[0]
    # Differences of large numbers: rounding may push them below 0 and the quotient beyond 1.
    spread = (xx - x * x) * (yy - y * y)
    return float(np.clip((xy - x * y) / np.sqrt(spread), -1.0, 1.0)) if spread > 1e-24 else None


def gini(counts: Rows, num_items: int) -> float:
    """Inequality of how often items are listed: 0 where all are alike, towards 1 where few fill all lists.

    Args:
        counts: How often each listed item stands in a list, at least 1 each.
        num_items: Items in all; those that are not in `counts` are never listed.
    """
    total = int(counts.sum())
    if not total:
        return 0.0
    # Items that are never listed have the first ranks and a count of 0: they add nothing to the sum.
    ranks = np.arange(num_items - len(counts) + 1, num_items + 1)
    return float((2 * ranks - num_items - 1) @ np.sort(counts)) / (num_items * total)


def _common(old: Ragged[np.uint64], new: Ragged[np.uint64]) -> tuple[Rows, Rows, Rows]:
    """Entries that both lists of a line hold: the line, and where they lie in the values of either side.

    Raises:
        ValueError: An entry stands twice in a list.
    """
    old_lines, new_lines = old.row_ids(), new.row_ids()
    old_keys, new_keys = (mix64(side.values ^ mix64(side.row_ids().astype(np.uint64))) for side in (old, new))
    if any(len(np.unique(keys)) < len(keys) for keys in (old_keys, new_keys)):
        raise ValueError("an entry stands twice in a list")
    _, at_old, at_new = np.intersect1d(old_keys, new_keys, assume_unique=True, return_indices=True)
    true = (old_lines[at_old] == new_lines[at_new]) & (old.values[at_old] == new.values[at_new])  # no collision of keys
    return old_lines[at_old[true]], at_old[true], at_new[true]


def _overlap(lines: Rows, places: Rows) -> Doubles:
    """[M], common entries, each by its line, as a share of the places that they could fill."""
    return np.where(places == 0, 1.0, np.bincount(lines, minlength=len(places)) / np.maximum(places, 1))


def _rank_biased_overlap(old: Rows, new: Rows, lines: Rows, deeper: Rows, p: float) -> Doubles:
    """Extrapolated rank-biased overlap of lists that may differ in length.

    Source: Webber, Moffat, Zobel, "A similarity measure for indefinite rankings", ACM TOIS 28(4), 2010, equation 32. With s and
    l the lengths of the shorter and the longer list and X_d the entries common to the first d of both,

        (1-p)/p (sum_{d=1..l} X_d/d p^d + sum_{d=s+1..l} X_s (d-s)/(s d) p^d) + ((X_l-X_s)/l + X_s/s) p^l

    Two empty lists are alike, 1; an empty and a filled one are not, 0.

    Args:
        old, new: Lengths, [M].
        lines: Of each common entry, its line.
        deeper: Of each common entry, the greater of its two ranks.
        p: Between 0 and 1.
    """
    shorter, longer = np.minimum(old, new), np.maximum(old, new)
    depths = np.arange(1, int(longer.max(initial=0)) + 1)
    powers = np.concatenate([[0.0], np.cumsum(p**depths)])  # sum of p^d up to a depth
    weights = np.concatenate([[0.0], np.cumsum(p**depths / depths)])  # sum of p^d/d
    # An entry is in X_d for every d from `deeper` on, so the first sum is one of weights, entry by entry.
    first = np.bincount(lines, weights=weights[longer[lines]] - weights[deeper - 1], minlength=len(old))
    at_longer = np.bincount(lines, minlength=len(old))
    at_shorter = np.bincount(lines[deeper <= shorter[lines]], minlength=len(old))
    share = at_shorter / np.maximum(shorter, 1)
    second = share * (powers[longer] - powers[shorter] - shorter * (weights[longer] - weights[shorter]))
    tail = ((at_longer - at_shorter) / np.maximum(longer, 1) + share) * p**longer
    return np.where(longer == 0, 1.0, np.clip((1 - p) / p * (first + second) + tail, 0.0, 1.0))
