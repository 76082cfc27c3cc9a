"""Solution versions for tests: random, small, with every kind of user; and what must be recommended, computed plainly."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from hrnn.data.hashing import hash64
from jobs.platform.storage.folders import StepFolder
from jobs.solutions.tensors import write_tensors
from schemas import columns
from schemas.recipes import RECIPES

DAY = 86_400
EVENT_TYPES = ("buy", "view")
SCHEMAS = {
    kind: {"type": "record", "name": kind, "fields": fields, "version": "1.0"}
    for kind, fields in {
        "Interactions": [
            {"name": "USER_ID", "type": "string"},
            {"name": "ITEM_ID", "type": "string"},
            {"name": "TIMESTAMP", "type": "long"},
            {"name": "EVENT_TYPE", "type": "string"},
        ],
        "Items": [
            {"name": "ITEM_ID", "type": "string"},
            {"name": "GENRES", "type": ["null", "string"], "categorical": True},
            {"name": "PRICE", "type": "double"},
            {"name": "CREATION_TIMESTAMP", "type": "long"},
        ],
        "Users": [{"name": "USER_ID", "type": "string"}, {"name": "AGE", "type": "long"}],
    }.items()
}


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
        items: Rows of the catalogue: ITEM_ID, GENRES, PRICE, CREATION_TIMESTAMP and the columns of its own.
        ages: User -> AGE, of some known users and of "stranger 0" to "stranger 9".
        past: User -> (event type, item row, rank).
        vectors: float32 [N, D].
    """

    uri: str
    item_ids: list[str]
    num_events: np.ndarray
    user_ids: list[str]
    scores: np.ndarray
    has_scores: bool
    items: list[dict[str, Any]]
    ages: dict[str, int]
    past: dict[str, list[tuple[str, int, int]]]
    vectors: np.ndarray

    def expected(self, user_id: str, num_results: int, allowed: set[str] | None = None) -> tuple[list[str], list[float]]:
        """Items and shares for a user, by a full sort and a plain softmax; of the allowed items, where there is a filter."""
        ranked = int(np.count_nonzero(self.num_events))
        if user_id in self.user_ids:
            scores = self.scores[self.user_ids.index(user_id), :ranked]
        else:
            scores = np.log(self.num_events[:ranked])
        shares = np.exp(scores - scores.max())
        shares /= shares.sum()
        order = np.lexsort((np.arange(ranked), -scores))
        best = np.array([row for row in order if allowed is None or self.item_ids[row] in allowed][:num_results], dtype=int)
        return [self.item_ids[row] for row in best], shares[best].tolist()


def publish_solution(
    uri: str,
    *,
    num_users: int = 300,
    num_items: int = 120,
    dimension: int = 7,
    num_shards: int = 3,
    seed: int = 0,
    recipe: str = "",
    neighbours: dict[int, list[int]] | None = None,
) -> TinySolution:
    """Write a solution version with whole-number parameters, so that its scores are exact.

    Args:
        recipe: By default aws-hrnn, or aws-popularity-count where `dimension` is 0.
        neighbours: Item row -> related item rows, best first: a table as aws-sims has it.
    """
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

    items = {
        columns.ITEM_ID: item_ids,
        columns.ITEM_ROW: np.arange(num_items),
        columns.NUM_EVENTS: num_events,
        columns.LAST_TIME: [1000 * DAY] * num_items,
        columns.CREATION_TIMESTAMP: random.integers(900, 1000, num_items) * DAY,
        "GENRES": pa.array(random.choice(["comedy", "drama|comedy", "horror", "drama", None], num_items).tolist(), pa.string()),
        "PRICE": random.integers(1, 20, num_items).astype(np.float64),
    }
    strangers = [f"stranger {number}" for number in range(10)]
    ages = {user: int(random.integers(10, 60)) for user in [*user_ids[: num_users // 2], *strangers]}
    past = {
        user: [
            (EVENT_TYPES[kind], int(item), rank)
            for kind in range(2)
            for rank, item in enumerate(random.permutation(num_items - 2)[: random.integers(0, 30)])
        ]
        for user in user_ids
    }
    tensors = {"scoring.item_vectors": torch.from_numpy(vectors), "scoring.item_bias": torch.from_numpy(bias)}
    if neighbours is not None:
        lists = [neighbours.get(row, []) for row in range(num_items)]
        tensors["related.offsets"] = torch.from_numpy(np.cumsum([0, *map(len, lists)]).astype(np.int64))
        tensors["related.item_rows"] = torch.tensor([row for of_item in lists for row in of_item], dtype=torch.int32)
        tensors["related.scores"] = torch.ones(len(tensors["related.item_rows"]))

    folder = StepFolder(uri)
    with tempfile.TemporaryDirectory() as scratch:
        local = Path(scratch) / "file"
        model = write_tensors(folder, Path(scratch), tensors)
        pq.write_table(pa.table(items), local)
        catalogue = folder.put_file(local, folder.attempt_path("catalogue.parquet"))
        states, attributes = [], []
        known_ages = pa.array(list(ages), pa.string())
        age_shards = (hash64(known_ages, 5) % np.uint64(num_shards)).astype(int)
        for shard in range(num_shards):
            rows = np.flatnonzero(shards == shard)
            kind = pa.list_(pa.float32(), dimension) if dimension else pa.list_(pa.float32())
            table = pa.table(
                {
                    columns.USER_ID: pa.array([user_ids[row] for row in rows], pa.string()),
                    columns.USER_ROW: rows,
                    columns.QUERY: pa.array([queries[row].tolist() for row in rows], kind),
                    columns.SPARSE_ITEM_ROWS: pa.array([own[row].tolist() for row in rows], pa.list_(pa.int64())),
                    columns.SPARSE_SCORES: pa.array([own_scores[row].tolist() for row in rows], pa.list_(pa.float32())),
                    **_past_columns([past[user_ids[row]] for row in rows]),
                }
            )
            pq.write_table(table, local)
            states.append(folder.put_file(local, folder.attempt_path(f"states/part-{shard:05d}.parquet"), rows=len(rows)))
            of_shard = pa.array(np.flatnonzero(age_shards == shard))
            pq.write_table(pa.table({columns.USER_ID: known_ages, "AGE": list(ages.values())}).take(of_shard), local)
            attributes.append(folder.put_file(local, folder.attempt_path(f"attributes/part-{shard:05d}.parquet")))
    recipe = recipe or ("aws-hrnn" if dimension > 0 else "aws-popularity-count")
    has_scores = RECIPES[recipe].has_scores
    folder.publish(
        "solution_version",
        "0" * 64,
        {},
        [],
        [*model.values(), catalogue, *states, *attributes],
        metadata={
            "recipe": recipe,
            "event_types": list(EVENT_TYPES),
            "schemas": SCHEMAS,
            "attributes": [entry.path for entry in attributes],
            "dimension": dimension,
            "shards": [{"states": entry.path} for entry in states],
            "model": {purpose: entry.path for purpose, entry in model.items()},
            "catalogue": catalogue.path,
            "hash_seed": 5,
            "scores": has_scores,
        },
    )
    rows_of_items = pa.table(items).to_pylist()
    return TinySolution(folder.uri, item_ids, num_events, user_ids, scores, has_scores, rows_of_items, ages, past, vectors)


def _past_columns(of_users: list[list[tuple[str, int, int]]]) -> dict[str, pa.Array]:
    columns_of = {
        columns.PAST_EVENT_TYPES: [[EVENT_TYPES.index(kind) for kind, _, _ in past] for past in of_users],
        columns.PAST_ITEM_ROWS: [[item for _, item, _ in past] for past in of_users],
        columns.PAST_RANKS: [[rank for _, _, rank in past] for past in of_users],
    }
    return {name: pa.array(lists, pa.list_(pa.int32())) for name, lists in columns_of.items()}
