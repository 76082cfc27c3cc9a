"""Compare matched lines part by part, and put the parts together: the document that `compare.json` holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from hrnn.data.arrays import Rows
from hrnn.data.hashing import Hashes
from hrnn.evaluation.agreement import PERSISTENCE, CorrelationSums, agreement, gini, overlap
from jobs.compare.matching import Pairs, lists_of, places_of
from jobs.compare.reading import FAILED

DEPTHS = (5, 10, 25)
MOST_SHOWN = 20  # lines that differ most; lines without partner
_STEPS = 20
_MOST_STEPS = 25  # lists of so many entries have that many overlaps

Place = tuple[int, int, int]  # file, first byte, size


@dataclass
class Listed:
    """How often each id stands in the lists of one side.

    Attributes:
        ids: Distinct hashes, ascending.
        counts: Parallel to them.
    """

    ids: Hashes = field(default_factory=lambda: np.empty(0, np.uint64))
    counts: Rows = field(default_factory=lambda: np.empty(0, np.int64))

    def add(self, ids: Hashes) -> None:
        """Count the ids of further lists."""
        found = pc.value_counts(pa.array(ids))
        values = np.concatenate([self.ids, found.field("values").to_numpy()])
        counts = np.concatenate([self.counts, found.field("counts").to_numpy()])
        self.ids, where = np.unique(values, return_inverse=True)
        self.counts = np.zeros(len(self.ids), np.int64)
        np.add.at(self.counts, where, counts)


@dataclass
class Measured:
    """What is known of all matched lines so far.

    Attributes:
        matched: Lines that both sides have.
        both_failed, failed_in_old, failed_in_new: Those that are error lines on both sides, or on one.
        same_first, identical: Compared lines whose lists begin alike, and are alike.
        rank_biased, whole: Rank-biased overlap and overlap of the whole lists of every compared line, one array a part.
        at_depth: [25], sums over the lines of the overlap at depth 1, 2, …
        longest: Entries of the longest list.
        scores: Of common entries.
        old, new: What the compared lists of either side hold.
        differing: (rank-biased overlap, place of the old line, place of the new one), the most different first.
        num_only: Lines that the old, and the new side have alone.
        only: The first of these.
    """

    matched: int = 0
    both_failed: int = 0
    failed_in_old: int = 0
    failed_in_new: int = 0
    same_first: int = 0
    identical: int = 0
    rank_biased: list[npt.NDArray[np.float32]] = field(default_factory=list)
    whole: list[npt.NDArray[np.float32]] = field(default_factory=list)
    at_depth: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(max(DEPTHS)))
    longest: int = 0
    scores: CorrelationSums = field(default_factory=CorrelationSums)
    old: Listed = field(default_factory=Listed)
    new: Listed = field(default_factory=Listed)
    differing: list[tuple[float, Place, Place]] = field(default_factory=list)
    num_only: list[int] = field(default_factory=lambda: [0, 0])
    only: list[list[Place]] = field(default_factory=lambda: [[], []])

    def add(self, pairs: Pairs) -> None:
        """Take in a part."""
        for side, table in enumerate((pairs.only_old, pairs.only_new)):
            self.num_only[side] += table.num_rows
            self.only[side] = sorted([*self.only[side], *places_of(table.slice(0, MOST_SHOWN))])[:MOST_SHOWN]
        failed_old, failed_new = (table[FAILED].to_numpy(zero_copy_only=False) for table in (pairs.old, pairs.new))
        self.matched += len(failed_old)
        self.both_failed += int(np.count_nonzero(failed_old & failed_new))
        self.failed_in_old += int(np.count_nonzero(failed_old & ~failed_new))
        self.failed_in_new += int(np.count_nonzero(failed_new & ~failed_old))
        answered = pa.array(~(failed_old | failed_new))
        tables = (pairs.old.filter(answered), pairs.new.filter(answered))
        if tables[0].num_rows:
            self._compare(*tables)

    def _compare(self, old_table: pa.Table, new_table: pa.Table) -> None:
        old, new = lists_of(old_table), lists_of(new_table)
        self.old.add(old.ids)
        self.new.add(new.ids)
        self.longest = max(self.longest, int(old.lengths.max()), int(new.lengths.max()))
        found = agreement(old, new, len(self.at_depth))
        for depth in range(1, len(self.at_depth) + 1):
            self.at_depth[depth - 1] += overlap(found.common_within[:, depth - 1], old, new, depth).sum()
        self.whole.append(overlap(found.common, old, new).astype(np.float32))
        self.rank_biased.append(found.rank_biased_overlap.astype(np.float32))
        self.same_first += int(np.count_nonzero(found.same_first))
        self.identical += int(np.count_nonzero(found.identical))
        self.scores.add(found.scores)
        values = found.rank_biased_overlap
        worst = np.argsort(values, kind="stable")[:MOST_SHOWN]  # the lines stand in the order of the old files
        places = (places_of(table.take(pa.array(worst))) for table in (old_table, new_table))
        self.differing = sorted([*self.differing, *zip(values[worst].tolist(), *places, strict=True)])[:MOST_SHOWN]

    def figures(self) -> dict[str, Any]:
        """Everything but examples, as plain JSON."""
        whole = np.concatenate(self.whole) if self.whole else np.empty(0, np.float32)
        ranked = np.concatenate(self.rank_biased) if self.rank_biased else np.empty(0, np.float32)
        lines = len(whole)
        depths = [depth for depth in DEPTHS if depth <= self.longest]
        by_depth = [_share(value, lines) for value in self.at_depth[: self.longest].tolist()]
        overlaps = {str(depth): by_depth[depth - 1] for depth in depths}
        if self.longest and self.longest not in depths:
            overlaps[str(self.longest)] = _share(float(whole.sum(dtype=np.float64)), lines)
        union = len(np.union1d(self.old.ids, self.new.ids))
        return {
            "lines": {
                "matched": self.matched,
                "compared": lines,
                "errors_in_old_only": self.failed_in_old,
                "errors_in_new_only": self.failed_in_new,
                "errors_in_both": self.both_failed,
                "only_in_old": self.num_only[0],
                "only_in_new": self.num_only[1],
            },
            "longest_list": self.longest,
            "overlap": overlaps,
            "overlap_if_lists_were_shuffled": self._shuffled(lines),
            "rank_biased_overlap": {
                "p": PERSISTENCE,
                "mean": _share(float(ranked.sum(dtype=np.float64)), lines),
                "quantiles": _quantiles(ranked),
            },
            "same_first": _share(self.same_first, lines),
            "identical_lists": _share(self.identical, lines),
            "score_correlation": _rounded(self.scores.correlation()),
            "scored_pairs": self.scores.pairs,
            "listed": {"old": _listed(self.old, union), "new": _listed(self.new, union), "either": union},
            "share_only_in_old": _share(union - len(self.new.ids), union),
            "share_only_in_new": _share(union - len(self.old.ids), union),
            "distribution": {
                "overlap_by_depth": by_depth,
                "lines_by_overlap": _histogram(whole, min(self.longest or 1, _MOST_STEPS)),
                "lines_by_rank_biased_overlap": _histogram(ranked, _STEPS),
            },
        }

    def _shuffled(self, lines: int) -> float | None:
        """The overlap of whole lists to be expected between lines that have nothing to do with one another.

        The mean, over all pairs of an old and a new line, of the number of common entries, as a share of the longest list.
        """
        if not lines or not self.longest:
            return None
        _, at_old, at_new = np.intersect1d(self.old.ids, self.new.ids, assume_unique=True, return_indices=True)
        together = self.old.counts[at_old].astype(np.float64) @ self.new.counts[at_new].astype(np.float64)
        length = max(self.old.counts.sum(), self.new.counts.sum()) / lines  # of a list, on average
        return _rounded(min(1.0, together / (float(lines) ** 2 * max(length, 1e-9))))


def _listed(side: Listed, union: int) -> dict[str, Any]:
    return {
        "distinct": len(side.ids),
        "coverage": _share(len(side.ids), union),
        "gini": _rounded(gini(side.counts, union)),
    }


def _histogram(values: npt.NDArray[np.float32], steps: int) -> dict[str, int]:
    """Lines by their value, rounded to the nearest of `steps` equal steps from 0 to 1."""
    counts = np.bincount(np.rint(values * steps).astype(np.int64), minlength=steps + 1)
    return {f"{step / steps:.4g}": int(count) for step, count in enumerate(counts)}


def _quantiles(values: npt.NDArray[np.float32]) -> dict[str, float]:
    shares: Sequence[float] = (0.1, 0.25, 0.5, 0.75, 0.9)
    return {f"{share:g}": round(float(np.quantile(values, share)), 6) for share in shares} if len(values) else {}


def _share(value: float, total: int) -> float | None:
    return round(value / total, 6) if total else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
