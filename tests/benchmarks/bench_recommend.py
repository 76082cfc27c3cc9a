"""Lists of 25 with shares, beside the plain ways to make them; and `hrnn recommend` from lines to lines.

    python tests/benchmarks/bench_recommend.py                       # scoring alone
    python tests/benchmarks/bench_recommend.py --spark               # whole steps too, 100,000 and a million lines

Scoring: H = 100, all in turn in one process with one thread; medians over rounds of users a CPU second. Users have 20 own
items; item vectors, biases and queries are made up so that the best item's share is 0.15 on average. Plain ways take 256 users
at once and leave own items out:

    topk              (queries @ item_vectors.T).topk(25), which is not all that is asked for
    topk + softmax    the same, and the shares of the whole catalogue
    product           the product alone, in blocks, in float32 and in what this processor multiplies fastest
    bytes             reading the item vectors once for every 256 users, as fast as this machine copies

Lists are compared, in each run, with a full sort of scores in float64: an item may only differ where two scores are within
what float32 can tell.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from whole_steps import whole_steps

from hrnn.data.ragged import Ragged
from hrnn.data.sparse_scores import SparseScores
from hrnn.inference.allowed import Allowed
from hrnn.inference.top_items import TopItems
from hrnn.inference.topk import Scorer
from hrnn.inference.topk_bf16 import BLOCK_ITEMS
from hrnn.layers.products import coarse_type

WIDTH, NUM_RESULTS, OWN, AT_ONCE = 100, 25, 20, 256


class Case:
    """A catalogue and users, made up."""

    def __init__(self, num_items: int, num_users: int, seed: int = 0) -> None:
        self.random = np.random.default_rng(seed)
        self.num_items, self.num_users = num_items, num_users
        common = self.random.normal(0, 0.3, WIDTH)
        self.vectors = torch.from_numpy(self.random.normal(common, 0.3, (num_items, WIDTH)).astype(np.float32))
        self.bias = torch.from_numpy(-np.log(np.arange(1, num_items + 1)).astype(np.float32))
        self.queries = torch.from_numpy(self.random.normal(0, 2 / 3, (num_users, WIDTH)).astype(np.float32))
        rows = self._some_items(OWN)
        self.own = SparseScores(rows.offsets, rows.values, self.random.normal(3, 1, num_users * OWN).astype(np.float32))
        self.scorer = Scorer(self.vectors, self.bias)

    def _some_items(self, count: int) -> Ragged[np.int64]:
        rows = [np.sort(self.random.choice(self.num_items, count, replace=False)) for _ in range(self.num_users)]
        return Ragged.from_rows(rows, np.int64)

    def filters(self) -> dict[str, Allowed]:
        """What filters come to, by what they do."""
        nobody, none = np.zeros(self.num_users, dtype=np.int64), Ragged.none(self.num_users, np.int64)
        everything, nothing = np.ones((1, self.num_items), dtype=bool), np.zeros((1, self.num_items), dtype=bool)
        shares = self.random.random((2, self.num_items))
        return {
            "a mask that keeps half": Allowed(shares[:1] < 0.5, nobody, none, none),
            "50 items of each user left out": Allowed(everything, nobody, none, self._some_items(50)),
            "a mask that keeps 0.1 %": Allowed(shares[1:] < 0.001, nobody, none, none),
            "only 50 items of each user": Allowed(nothing, nobody, self._some_items(50), none),
        }

    def top(self, allowed: Allowed | None = None) -> TopItems:
        """What is measured."""
        return self.scorer.top(self.queries, self.own, NUM_RESULTS, allowed)

    def plain(self, *, shares: bool) -> None:
        """What everybody writes first."""
        for start in range(0, self.num_users, AT_ONCE):
            scores = self.queries[start : start + AT_ONCE] @ self.vectors.T
            (torch.softmax(scores, 1) if shares else scores).topk(NUM_RESULTS)

    def products(self, kind: torch.dtype) -> Callable[[], None]:
        """The product alone, block by block."""
        queries = self.queries[:AT_ONCE].to(kind)
        blocks = [block.to(kind).T for block in self.vectors.split(BLOCK_ITEMS)]
        out = [torch.empty(len(queries), block.shape[1], dtype=kind) for block in (blocks[0], blocks[-1])]

        def run() -> None:
            for _ in range(self.num_users // AT_ONCE):
                for block in blocks:
                    torch.mm(queries, block, out=out[block.shape[1] != blocks[0].shape[1]])

        return run

    def reading(self) -> None:
        """The item vectors copied once for every 256 users; a copy reads and writes."""
        vectors = self.vectors.to(coarse_type(self.vectors))
        for _ in range(max(1, self.num_users // AT_ONCE // 2)):
            vectors.clone()

    def differences(self, allowed: Allowed | None, users: int) -> tuple[int, float, float]:
        """Users whose list is another than that of a full sort in float64; the largest gap of scores where it is; of shares."""
        few = None if allowed is None else allowed.part(0, users)
        top = self.scorer.top(self.queries[:users], self.own.part(0, users), NUM_RESULTS, few)
        scores = self.queries[:users].double().numpy() @ self.vectors.double().numpy().T + self.bias.double().numpy()
        scores[np.repeat(np.arange(users), OWN), self.own.item_rows[: users * OWN]] += self.own.scores[: users * OWN]
        powers = np.exp(scores - scores.max(1, keepdims=True))
        right = powers / powers.sum(1, keepdims=True)
        hidden = scores if few is None else np.where(few.dense(), scores, -np.inf)
        best = np.argsort(-hidden, axis=1, kind="stable")[:, :NUM_RESULTS]
        there = np.take_along_axis(hidden, best, 1) > -np.inf
        assert np.array_equal(there, top.item_rows >= 0)
        rows = np.maximum(top.item_rows, 0)
        gaps = np.where(there, np.abs(np.take_along_axis(scores, rows, 1) - np.take_along_axis(scores, best, 1)), 0.0)
        of_shares = np.where(there, np.abs(top.shares / np.take_along_axis(right, rows, 1) - 1), 0.0)
        return int((gaps > 0).any(1).sum()), float(gaps.max()), float(of_shares.max())


def compare(num_items: int, num_users: int, rounds: int) -> None:
    """Print one catalogue's table."""
    case = Case(num_items, num_users)
    filters, coarse = case.filters(), coarse_type(case.vectors)
    runs: dict[str, Callable[[], object]] = {
        "ours": case.top,
        "topk": lambda: case.plain(shares=False),
        "topk + softmax": lambda: case.plain(shares=True),
        "product, float32": case.products(torch.float32),
        f"product, {str(coarse).removeprefix('torch.')}": case.products(coarse),
        "bytes": case.reading,
    }
    for name, allowed in filters.items():
        runs[f"ours, {name}"] = lambda allowed=allowed: case.top(allowed)
    found: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds + 1):
        for name, run in runs.items():
            begun = time.process_time()
            run()
            if number:  # the first is a warm-up
                found[name].append(num_users / max(1e-9, time.process_time() - begun))
    print(f"\nN = {num_items:,}, {num_users:,} users, {rounds} rounds, products in {str(coarse).removeprefix('torch.')}\n")
    print("| | users a CPU second | ours is times as fast | least and most of rounds |\n|---|---|---|---|")
    for name, speeds in found.items():
        ratios = [one / other for one, other in zip(found["ours"], speeds, strict=True)]
        spread = f"{min(ratios):.2f}-{max(ratios):.2f}"
        print(f"| {name} | {statistics.median(speeds):,.0f} | {statistics.median(ratios):.2f} | {spread} |")
    _print_stages(case)
    checked = max(1, min(num_users, 50_000_000 // num_items))
    print("\n| checked against a full sort in float64 | users | other lists | largest gap of scores | of shares |")
    print("|---|---|---|---|---|")
    for name, allowed in {"everything": None, **filters}.items():
        other, gap, of_shares = case.differences(allowed, checked)
        print(f"| {name} | {checked} | {other} | {gap:.1e} | {of_shares:.1e} |")


def _print_stages(case: Case) -> None:
    """Where CPU time goes, by the calls that take it."""
    profile = cProfile.Profile(time.process_time)
    profile.runcall(case.top)
    taken: dict[str, float] = {}
    stages = {
        "mm": "product",
        "exp2": "sum of the softmax",
        "exp_": "sum of the softmax",
        "sum": "sum of the softmax",
        "topk": "top-k",
        "amax": "top-k",
    }
    for (_, _, name), (_, _, own, _, _) in pstats.Stats(profile).stats.items():  # type: ignore[attr-defined]
        short = name.split(".")[-1].rstrip(">").split(" ")[0]
        in_top_k = name in {"candidates", "pairs", "put_best", "_near", "_largest", "partition", "flatnonzero"}
        stage = "top-k" if in_top_k else stages.get(short, "rounding, exact scores, the rest")
        taken[stage] = taken.get(stage, 0.0) + own
    print("\n| part of the CPU time | |\n|---|---|")
    for stage, seconds in sorted(taken.items(), key=lambda pair: -pair[1]):
        print(f"| {stage} | {100 * seconds / sum(taken.values()):.0f} % |")


def main() -> None:
    """Print Markdown tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, nargs="*", default=[1000, 3000, 12_000, 50_000, 500_000])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--spark", action="store_true", help="whole steps too")
    parser.add_argument("--lines", type=int, nargs="*", default=[100_000, 1_000_000])
    options = parser.parse_args()
    torch.set_num_threads(1)
    for num_items in options.items:
        compare(num_items, 1024 if num_items <= 100_000 else 512, options.rounds)
    if options.spark:
        whole_steps(options.lines)


if __name__ == "__main__":
    main()
