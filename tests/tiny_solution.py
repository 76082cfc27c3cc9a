"""Solution versions for tests: random, small, with every kind of user; and what must be recommended, computed plainly."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors.torch import save_file

from hrnn.hashing import hash64
from jobs.storage.folders import StepFolder
from schemas import columns


@dataclass
class TinySolution:
    """A published solution version, and all that is in it.

    Attributes:
        uri: Its folder.
        item_ids: By item row; the last two have no events.
        num_events: By item row, falling.
        user_ids: Known users.
        scores: float64 [U, N], every score.
        has_scores: As in the manifest.
    """

    uri: str
    item_ids: list[str]
    num_events: np.ndarray
    user_ids: list[str]
    scores: np.ndarray
    has_scores: bool

    def expected(self, user_id: str, num_results: int) -> tuple[list[str], list[float]]:
        """Items and shares for a user, by a full sort and a plain softmax."""
        ranked = int(np.count_nonzero(self.num_events))
        if user_id in self.user_ids:
            scores = self.scores[self.user_ids.index(user_id), :ranked]
        else:
            scores = np.log(self.num_events[:ranked])
        shares = np.exp(scores - scores.max())
        shares /= shares.sum()
        best = np.lexsort((np.arange(ranked), -scores))[:num_results]
        return [self.item_ids[row] for row in best], shares[best].tolist()


def publish_solution(
    uri: str, *, num_users: int = 300, num_items: int = 120, dimension: int = 7, num_shards: int = 3, seed: int = 0
) -> TinySolution:
    """Write a solution version with whole-number parameters, so that its scores are exact."""
    random = np.random.default_rng(seed)
    item_ids = [f"item-{row}-é" if row % 7 == 0 else f"item-{row}" for row in range(num_items)]
    num_events = np.sort(random.integers(1, 900, num_items))[::-1].copy()
    num_events[-2:] = 0
    vectors = random.integers(-2, 3, (num_items, dimension)).astype(np.float32)
    bias = random.integers(-2, 3, num_items).astype(np.float32)
    ids = pa.array([f"user {number}" for number in range(num_users)])
    hashes = hash64(ids, 5)
    order = np.lexsort((hashes, hashes % np.uint64(num_shards)))
    user_ids = ids.take(pa.array(order)).to_pylist()
    shards = (hashes[order] % np.uint64(num_shards)).astype(int)
    queries = random.integers(-2, 3, (num_users, dimension)).astype(np.float32)
    own = [np.sort(random.permutation(num_items - 2)[: random.integers(0, 4)]) for _ in range(num_users)]
    own_scores = [random.integers(1, 5, len(items)).astype(np.float32) for items in own]
    scores = (queries @ vectors.T + bias).astype(np.float64)
    for row, (items, added) in enumerate(zip(own, own_scores, strict=True)):
        scores[row, items] += added

    folder = StepFolder(uri)
    with tempfile.TemporaryDirectory() as scratch:
        local = Path(scratch) / "file"
        save_file({"scoring.item_vectors": torch.from_numpy(vectors), "scoring.item_bias": torch.from_numpy(bias)}, local)
        model = folder.put_file(local, folder.own("model.safetensors"))
        pq.write_table(
            pa.table({columns.ITEM_ID: item_ids, columns.ITEM_ROW: np.arange(num_items), columns.NUM_EVENTS: num_events}), local
        )
        catalogue = folder.put_file(local, folder.own("catalogue.parquet"))
        states = []
        for shard in range(num_shards):
            rows = np.flatnonzero(shards == shard)
            kind = pa.list_(pa.float32(), dimension) if dimension else pa.list_(pa.float32())
            table = pa.table(
                {
                    columns.USER_ID: pa.array([user_ids[row] for row in rows], pa.string()),
                    columns.USER_ROW: rows,
                    columns.QUERY: pa.array([queries[row].tolist() for row in rows], kind),
                    columns.OWN_ITEM_ROWS: pa.array([own[row].tolist() for row in rows], pa.list_(pa.int64())),
                    columns.OWN_ITEM_SCORES: pa.array([own_scores[row].tolist() for row in rows], pa.list_(pa.float32())),
                }
            )
            pq.write_table(table, local)
            states.append(folder.put_file(local, folder.own(f"states/part-{shard:05d}.parquet"), rows=len(rows)))
    has_scores = dimension > 0
    folder.publish(
        "solution_version",
        "0" * 64,
        {},
        [],
        [model, catalogue, *states],
        facts={
            "recipe": "aws-hrnn" if has_scores else "aws-popularity-count",
            "dimension": dimension,
            "shards": [{"states": entry.path} for entry in states],
            "model": model.path,
            "catalogue": catalogue.path,
            "hash_seed": 5,
            "scores": has_scores,
        },
    )
    return TinySolution(folder.uri, item_ids, num_events, user_ids, scores, has_scores)
