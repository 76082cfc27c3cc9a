"""Agreement of two sets of ranked lists: overlap at several depths, rank-biased overlap, and inequality of catalogue use."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from hrnn.data.arrays import Doubles, Rows
from hrnn.data.hashing import Hashes, mix64
from hrnn.data.ragged import row_ids

PERSISTENCE = 0.9  # p: the first ten places hold 86 % of the weight


@dataclass(frozen=True)
class Lists:
    """Ranked lists of M lines, best first.

    Attributes:
        offsets: int64 [M + 1], where each line's list begins in the others.
        ids: uint64 [E], hashes of the listed ids; none twice in a list.
        scores: float32 [E], NaN where there is none.
    """

    offsets: Rows
    ids: Hashes
    scores: npt.NDArray[np.float32]

    @property
    def lengths(self) -> Rows:
        """int64 [M], entries of each list."""
        return np.diff(self.offsets)


@dataclass(frozen=True)
class Agreement:
    """Agreement of the two lists of each of M lines.

    Attributes:
        rank_biased_overlap: float64 [M], 0 to 1.
        same_first: bool [M], both lists have the same first entry.
        identical: bool [M], both lists are equal in all places.
        common: int64 [M], entries of both lists.
        common_within: int64 [M, D], entries that are among the first d + 1 of both lists, in column d.
        scores: CorrelationSums of the scores of all common entries that have one on both sides.
    """

    rank_biased_overlap: Doubles
    same_first: npt.NDArray[np.bool_]
    identical: npt.NDArray[np.bool_]
    common: Rows
    common_within: Rows
    scores: CorrelationSums


@dataclass
class CorrelationSums:
    """Sufficient statistics of Pearson's correlation over pairs (x, y); those of parts may be added."""

    pairs: int = 0
    sums: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(5))  # x, y, x·x, y·y, x·y

    @classmethod
    def of(cls, x: npt.NDArray[np.float32], y: npt.NDArray[np.float32]) -> CorrelationSums:
        """The sums of parallel arrays; pairs with a NaN are left out."""
        valid = ~(np.isnan(x) | np.isnan(y))
        left, right = x[valid].astype(np.float64), y[valid].astype(np.float64)
        sums = [left.sum(), right.sum(), left @ left, right @ right, left @ right]
        return cls(int(valid.sum()), np.array(sums))

    def add(self, other: CorrelationSums) -> None:
        """Add the sums of other pairs, in place."""
        self.pairs += other.pairs
        self.sums = self.sums + other.sums

    def correlation(self) -> float | None:
        """Pearson's correlation; None where a side does not vary."""
        if self.pairs < 2:
            return None
        x, y, xx, yy, xy = self.sums / self.pairs
        spread = (xx - x * x) * (yy - y * y)
        if spread <= 1e-24:
            return None
        return float(np.clip((xy - x * y) / np.sqrt(spread), -1.0, 1.0))


def agreement(old: Lists, new: Lists, depth: int, persistence: float = PERSISTENCE) -> Agreement:
    """Agreement of line m of one side with line m of the other, for all M lines.

    Args:
        old: Lists of one side.
        new: Those of the other; M lines too. The result does not depend on which is which.
        depth: D, the greatest depth that `common_within` is made for, at least 1.
        persistence: p of rank-biased overlap, between 0 and 1.
    """
    lines, at_old, at_new = _common(old, new)
    old_ranks, new_ranks = at_old - old.offsets[lines] + 1, at_new - new.offsets[lines] + 1
    deeper = np.maximum(old_ranks, new_ranks)  # the depth from which on both lists hold the entry
    count = len(old.lengths)
    # An entry counts from its deeper rank on: counts by that rank, summed up, are the overlaps at all depths.
    near = deeper <= depth
    by_depth = np.bincount(lines[near] * depth + deeper[near] - 1, minlength=count * depth).reshape(count, depth).cumsum(axis=1)
    same_places = np.bincount(lines[old_ranks == new_ranks], minlength=count)
    both_empty = (old.lengths == 0) & (new.lengths == 0)
    return Agreement(
        rank_biased_overlap=_rank_biased_overlap(old.lengths, new.lengths, lines, deeper, persistence),
        same_first=(by_depth[:, 0] > 0) | both_empty,
        identical=(old.lengths == new.lengths) & (same_places == old.lengths),
        common=np.bincount(lines, minlength=count),
        common_within=by_depth,
        scores=CorrelationSums.of(old.scores[at_old], new.scores[at_new]),
    )


def overlap(common: Rows, old: Lists, new: Lists, depth: int | None = None) -> Doubles:
    """Common entries as a share of `depth`, or of the longer list where both are shorter; 1 where both lists are empty.

    Args:
        common: int64 [M], entries that are among the first `depth` of both lists.
        old, new: The lists.
        depth: None: the whole lists.
    """
    longer = np.maximum(old.lengths, new.lengths)
    places = longer if depth is None else np.minimum(longer, depth)
    return np.where(places == 0, 1.0, common / np.maximum(places, 1))


def gini(counts: Rows, num_items: int) -> float:
    """Gini coefficient of how often items are listed: 0 where all are alike, towards 1 where few fill all lists.

    Args:
        counts: How often each listed item stands in a list, at least 1 each.
        num_items: Items in all; those that are not in `counts` are never listed.
    """
    total = int(counts.sum())
    if not total:
        return 0.0
    ranks = np.arange(num_items - len(counts) + 1, num_items + 1)
    return float((2 * ranks - num_items - 1) @ np.sort(counts)) / (num_items * total)


def _common(old: Lists, new: Lists) -> tuple[Rows, Rows, Rows]:
    """Entries that both lists of a line hold: the line, and their positions in `ids` of either side."""
    old_lines, new_lines = (row_ids(side.offsets) for side in (old, new))
    keys = [mix64(side.ids ^ mix64(lines.astype(np.uint64))) for side, lines in ((old, old_lines), (new, new_lines))]
    _, at_old, at_new = np.intersect1d(keys[0], keys[1], assume_unique=True, return_indices=True)
    equal = (old_lines[at_old] == new_lines[at_new]) & (old.ids[at_old] == new.ids[at_new])  # no chance collision of keys
    return old_lines[at_old[equal]], at_old[equal], at_new[equal]


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
