"""Match the lines of two sides by their input and compare their lists, part by part: the figures that `compare.json` holds."""

from __future__ import annotations

from collections import Counter
from typing import Any, SupportsFloat

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hrnn.data.arrays import Floats, Rows
from hrnn.data.hashing import Hashes, hash64, mix64
from hrnn.data.ragged import Ragged
from hrnn.evaluation.agreement import PERSISTENCE, agreement, correlation, correlation_sums, gini
from jobs.compare.reading import SEED

SIDES = ("old", "new")
_DEPTHS = (5, 10, 25)
_MOST_SHOWN = 20  # lines that differ most; lines without partner
_MOST_ENTRIES = 100  # of a list that is shown
_STEPS = 20
_MOST_STEPS = 25  # lists of so many entries have that many overlaps
_QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
_COUNTS = ("matched", "compared", "errors_in_old_only", "errors_in_new_only", "errors_in_both", "only_in_old", "only_in_new")


class Comparison:
    """The figures of the parts that were added.

    Attributes:
        kinds: What is listed: "items", "users".
        listed: Columns id (a hash), and old and new: how often it stands in the compared lists of either side.
    """

    def __init__(self) -> None:
        self.kinds: set[str] = set()
        self.listed = pa.table({"id": np.empty(0, np.uint64), "old": np.empty(0, np.int64), "new": np.empty(0, np.int64)})
        self._counts: Counter[str] = Counter()  # of lines, by the names that the document has for them
        self._longest = 0  # entries of the longest compared list
        self._overlap: list[Floats] = [np.empty(0, np.float32)]  # of whole lists, a value for each compared line
        self._rank_biased_overlap: list[Floats] = [np.empty(0, np.float32)]
        self._overlap_at = np.zeros(max(_DEPTHS))  # sums over the lines, by depth
        self._score_sums = np.zeros(6)
        self._differing: list[tuple[float, int, dict[str, Any]]] = []  # rank-biased overlap, number of the old line, the line
        self._only: dict[str, list[tuple[int, str]]] = {side: [] for side in SIDES}  # number and input of the first lines

    def add(self, old: pa.Table, new: pa.Table) -> None:
        """Take in a part; of several lines with one input the first of one side meets the first of the other."""
        matched, failed = _matched(old, new), []
        for side, table, rows in zip(SIDES, (old, new), matched, strict=True):
            has_failed = pc.equal(table["kind"], "").to_numpy()
            failed.append(has_failed[rows])
            self.kinds |= set(table["kind"].unique().to_pylist()) - {""}
            alone = np.setdiff1d(np.arange(table.num_rows), rows)
            self._count({f"{side} lines": table.num_rows, f"{side} errors": has_failed, f"only_in_{side}": len(alone)})
            shown = [(table["number"][row].as_py(), _input(table, row)) for row in alone[:_MOST_SHOWN].tolist()]
            self._only[side] = sorted([*self._only[side], *shown])[:_MOST_SHOWN]
        only_old, only_new, both = failed[0] & ~failed[1], failed[1] & ~failed[0], failed[0] & failed[1]
        self._count({"errors_in_old_only": only_old, "errors_in_new_only": only_new, "errors_in_both": both})
        answered = ~(failed[0] | failed[1])
        self._count({"matched": len(answered), "compared": answered})
        if answered.any():
            self._compare((old, new), (matched[0][answered], matched[1][answered]))

    def _compare(self, tables: tuple[pa.Table, pa.Table], rows: tuple[Rows, Rows]) -> None:
        """Take in the lines that have a list on both sides: row for row, in the order of the old files."""
        old, new = (_lists(table).take(of_side) for table, of_side in zip(tables, rows, strict=True))
        scores = [Ragged.from_arrow(table["scores"]).take(of_side).values for table, of_side in zip(tables, rows, strict=True)]
        self._longest = max(self._longest, int(old.lengths.max()), int(new.lengths.max()))
        sides = [
            pa.table({"id": lists.values, **{name: np.full(len(lists.values), int(name == side)) for name in SIDES}})
            for side, lists in zip(SIDES, (old, new), strict=True)
        ]
        counted = pa.concat_tables([self.listed, *sides]).group_by("id").aggregate([(side, "sum") for side in SIDES])
        self.listed = counted.rename_columns({f"{side}_sum": side for side in SIDES})
        alike = agreement(old, new, len(self._overlap_at))
        self._overlap_at += alike.overlap_at
        self._overlap.append(alike.overlap.astype(np.float32))
        self._rank_biased_overlap.append(alike.rank_biased_overlap.astype(np.float32))
        self._count({"same_first": alike.same_first, "identical_lists": alike.identical})
        self._score_sums += correlation_sums(scores[0][alike.at_old], scores[1][alike.at_new])
        worst = np.argsort(alike.rank_biased_overlap, kind="stable")[:_MOST_SHOWN].tolist()
        shown = [
            _differing(float(alike.rank_biased_overlap[line]), tables, (int(rows[0][line]), int(rows[1][line])))
            for line in worst
        ]
        self._differing = sorted([*self._differing, *shown], key=lambda line: line[:2])[:_MOST_SHOWN]

    def _count(self, lines: dict[str, Any]) -> None:
        """Add numbers of lines, or flags of which lines are counted."""
        self._counts.update({name: int(np.sum(value)) for name, value in lines.items()})

    def document(self) -> dict[str, Any]:
        """Everything that compare.json says of the lines."""
        overlap, rank_biased = np.concatenate(self._overlap), np.concatenate(self._rank_biased_overlap)
        lines, counts = len(overlap), self._counts
        by_depth = [_share(value, lines) for value in self._overlap_at[: self._longest].tolist()]
        overlaps = {str(depth): by_depth[depth - 1] for depth in _DEPTHS if depth <= self._longest}
        if self._longest and str(self._longest) not in overlaps:
            overlaps[str(self._longest)] = _share(overlap.sum(dtype=np.float64), lines)
        times = {side: self.listed[side].to_numpy() for side in SIDES}
        either, distinct = self.listed.num_rows, {side: np.count_nonzero(times[side]) for side in SIDES}
        return {
            "counts": {side: {"lines": counts[f"{side} lines"], "errors": counts[f"{side} errors"]} for side in SIDES},
            "lines": {name: counts[name] for name in _COUNTS},
            "longest_list": self._longest,
            "overlap": overlaps,
            "overlap_if_lists_were_shuffled": _shuffled(times["old"], times["new"], lines),
            "rank_biased_overlap": {
                "p": PERSISTENCE,
                "mean": _share(rank_biased.sum(dtype=np.float64), lines),
                "quantiles": {f"{share:g}": _rounded(np.quantile(rank_biased, share)) for share in _QUANTILES if lines},
            },
            "same_first": _share(counts["same_first"], lines),
            "identical_lists": _share(counts["identical_lists"], lines),
            "score_correlation": _rounded(correlation(self._score_sums)),
            "scored_pairs": int(self._score_sums[0]),
            "listed": {
                **{
                    side: {
                        "distinct": int(distinct[side]),
                        "coverage": _share(distinct[side], either),
                        "gini": _rounded(gini(times[side], either)),
                    }
                    for side in SIDES
                },
                "either": either,
                "what": next(iter(self.kinds), "items"),
            },
            "share_only_in_old": _share(either - distinct["new"], either),
            "share_only_in_new": _share(either - distinct["old"], either),
            "distribution": {
                "overlap_by_depth": by_depth,
                "lines_by_overlap": _histogram(overlap, min(self._longest or 1, _MOST_STEPS)),
                "lines_by_rank_biased_overlap": _histogram(rank_biased, _STEPS),
            },
            "differ_most": [line for value, _, line in self._differing if value < 1],
            "lines_only_in": {side: [text for _, text in self._only[side]] for side in SIDES},
        }


def _matched(old: pa.Table, new: pa.Table) -> tuple[Rows, Rows]:
    """Rows of either side that answer the same input, rising in the old one."""
    keys = [_with_occurrence(hash64(table["input"], SEED)) for table in (old, new)]
    _, at_old, at_new = np.intersect1d(keys[0], keys[1], assume_unique=True, return_indices=True)
    order = np.argsort(at_old)
    return at_old[order], at_new[order]


def _with_occurrence(keys: Hashes) -> Hashes:
    """Keys that tell lines of one input apart: mixed with how many lines of it stand before."""
    order = np.argsort(keys, kind="stable")
    before = np.empty(len(keys), np.uint64)
    before[order] = np.arange(len(keys)) - np.searchsorted(keys[order], keys[order])
    return mix64(keys ^ mix64(before))


def _lists(table: pa.Table) -> Ragged[np.uint64]:
    """Hashes of the ids that each line lists."""
    return Ragged.from_lengths(pc.list_value_length(table["ids"]).to_numpy(), hash64(pc.list_flatten(table["ids"])))


def _input(table: pa.Table, row: int) -> str:
    return str(table["input"][row].as_py().partition("\n")[2])


def _differing(value: float, tables: tuple[pa.Table, pa.Table], rows: tuple[int, int]) -> tuple[float, int, dict[str, Any]]:
    (old, new), (old_row, new_row) = tables, rows
    line = {
        "input": _input(old, old_row),
        "rank_biased_overlap": _rounded(value),
        "old": old["ids"][old_row].as_py()[:_MOST_ENTRIES],
        "new": new["ids"][new_row].as_py()[:_MOST_ENTRIES],
    }
    return value, old["number"][old_row].as_py(), line


def _shuffled(old_times: Rows, new_times: Rows, lines: int) -> float | None:
    """The overlap of whole lists to be expected between lines that have nothing to do with one another.

    The mean, over all pairs of an old and a new line, of the number of common entries, as a share of the longest list.
    """
    if not len(old_times):
        return None
    common = old_times.astype(np.float64) @ new_times.astype(np.float64)
    length = max(old_times.sum(), new_times.sum()) / lines  # of a list, on average
    return _rounded(min(1.0, common / (float(lines) ** 2 * length)))


def _histogram(values: Floats, steps: int) -> dict[str, int]:
    """Lines by their value, rounded to the nearest of `steps` equal steps from 0 to 1."""
    counts = np.bincount(np.rint(values * steps).astype(np.int64), minlength=steps + 1)
    return {f"{step / steps:.4g}": int(count) for step, count in enumerate(counts)}


def _share(value: SupportsFloat, total: int) -> float | None:
    return _rounded(float(value) / total) if total else None


def _rounded(value: SupportsFloat | None) -> float | None:
    return None if value is None else round(float(value), 6)
