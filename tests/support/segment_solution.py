"""Solution versions that make segments, for tests: random, small, half of the users twins; and who must be found, plainly."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from small_shop import INTERACTIONS

from hrnn.data.hashing import hash64
from jobs.platform.storage.folders import StepFolder
from jobs.solutions.tensors import write_tensors
from schemas import columns

ITEMS = {
    "type": "record",
    "name": "Items",
    "namespace": "com.amazonaws.personalize.schema",
    "fields": [
        {"name": "ITEM_ID", "type": "string"},
        {"name": "GENRES", "type": ["null", "string"], "categorical": True},
        {"name": "NOTES", "type": ["null", "string"], "textual": True},
    ],
    "version": "1.0",
}
USERS = {
    "type": "record",
    "name": "Users",
    "namespace": "com.amazonaws.personalize.schema",
    "fields": [{"name": "USER_ID", "type": "string"}, {"name": "COUNTRY", "type": ["null", "string"], "categorical": True}],
    "version": "1.0",
}
NUM_ITEMS, NUM_RANKED, DIMENSION, NUM_SHARDS = 60, 57, 5, 3
EVENT_TYPES = ["view", "buy"]


@dataclass
class SegmentSolution:
    """A published solution version, and what its segments are made of.

    Attributes:
        uri: Its folder.
        genres: Of each item, None for some.
        user_ids: Every second one the twin of the one before.
        shares: float64 [U, NUM_RANKED].
        country: Of each user, None for some.
        has_bought: Whether a user's newest events hold a `buy`.
    """

    uri: str
    genres: list[str | None]
    user_ids: list[str]
    shares: np.ndarray
    country: list[str | None]
    has_bought: list[bool]

    def expected(self, items: list[int], num_results: int, kept: list[bool] | None = None) -> list[str]:
        """The best users for a set of items, by a full sort."""
        shares = self.shares[:, items].sum(axis=1).round(12)  # twins must be equal
        users = [user for user in range(len(self.user_ids)) if kept is None or kept[user]]
        users.sort(key=lambda user: (-shares[user], self.user_ids[user].encode()))
        return [self.user_ids[user] for user in users[:num_results]]

    def with_genre(self, *wanted: str) -> list[int]:
        """Ranked items that have all these genres."""
        known = [set((genres or "").split("|")) for genres in self.genres[:NUM_RANKED]]
        return [item for item, genres in enumerate(known) if set(wanted) <= genres]


def publish_segments(uri: str, recipe: str = "aws-item-affinity", num_users: int = 200, seed: int = 0) -> SegmentSolution:
    """Write a solution version of a recipe that makes segments."""
    random = np.random.default_rng(seed)
    genres = [
        random.choice([None, "Comedy", "Action", "Comedy|Action", "Horror", "Action|Horror|Comedy"]) for _ in range(NUM_ITEMS)
    ]
    vectors = random.normal(size=(NUM_ITEMS, DIMENSION)).astype(np.float32)
    bias = random.normal(size=NUM_ITEMS).astype(np.float32)
    queries = np.repeat(random.normal(size=(num_users // 2, DIMENSION)).astype(np.float32), 2, axis=0)
    own = [np.sort(random.choice(NUM_RANKED, random.integers(0, 4), replace=False)) for _ in range(num_users // 2)]
    own = [items for items in own for _ in range(2)]
    scores = (queries @ vectors.T + bias).astype(np.float64)[:, :NUM_RANKED]
    for user, items in enumerate(own):
        scores[user, items] += 2.0
    shares = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    user_ids = [f"user {number} é" if number % 5 == 0 else f"user {number}" for number in range(num_users)]
    country = [random.choice([None, "Japan", "England", "Kenya"]) for _ in range(num_users)]
    bought_at = random.integers(0, 150, num_users)  # events of that type since
    shard_of = (hash64(pa.array(user_ids), 7) % np.uint64(NUM_SHARDS)).astype(int)
    folder = StepFolder(uri)
    with tempfile.TemporaryDirectory() as scratch:
        local = Path(scratch) / "file"
        tensors = {"scoring.item_vectors": torch.from_numpy(vectors), "scoring.item_bias": torch.from_numpy(bias)}
        model = write_tensors(folder, Path(scratch), tensors)
        num_events = np.where(np.arange(NUM_ITEMS) < NUM_RANKED, 100 - np.arange(NUM_ITEMS), 0)
        catalogue = {
            columns.ITEM_ID: [f"item {row}" for row in range(NUM_ITEMS)],
            columns.ITEM_ROW: np.arange(NUM_ITEMS),
            columns.NUM_EVENTS: num_events,
            "GENRES": pa.array(genres, pa.string()),
            "NOTES": ["a text"] * NUM_ITEMS,
        }
        pq.write_table(pa.table(catalogue), local)
        items = folder.put_file(local, folder.attempt_path("catalogue.parquet"))
        states, attributes = [], []
        for shard in range(NUM_SHARDS):
            rows = np.flatnonzero(shard_of == shard)
            pq.write_table(
                pa.table(
                    {
                        columns.USER_ID: pa.array([user_ids[row] for row in rows], pa.string()),
                        columns.USER_ROW: rows,
                        columns.QUERY: pa.array([queries[row].tolist() for row in rows], pa.list_(pa.float32(), DIMENSION)),
                        columns.SPARSE_ITEM_ROWS: pa.array([own[row].tolist() for row in rows], pa.list_(pa.int64())),
                        columns.SPARSE_SCORES: pa.array([[2.0] * len(own[row]) for row in rows], pa.list_(pa.float32())),
                        columns.PAST_ITEM_ROWS: pa.array([[0, 1]] * len(rows), pa.list_(pa.int32())),
                        columns.PAST_EVENT_TYPES: pa.array([[0, 1]] * len(rows), pa.list_(pa.int32())),
                        columns.PAST_RANKS: pa.array([[0, int(bought_at[row])] for row in rows], pa.list_(pa.int32())),
                    }
                ),
                local,
            )
            states.append(folder.put_file(local, folder.attempt_path(f"states/part-{shard:05d}.parquet"), rows=len(rows)))
            known = [row for row in rows[::-1] if country[row] is not None]  # in another order, and not all
            pq.write_table(
                pa.table(
                    {
                        columns.USER_ID: pa.array([user_ids[row] for row in known], pa.string()),
                        "COUNTRY": pa.array([country[row] for row in known], pa.string()),
                    }
                ),
                local,
            )
            attributes.append(
                folder.put_file(local, folder.attempt_path(f"attributes/part-{shard:05d}.parquet"), rows=len(known))
            )
    folder.publish(
        "solution_version",
        "0" * 64,
        {},
        [],
        [*model.values(), items, *states, *attributes],
        metadata={
            "recipe": recipe,
            "dimension": DIMENSION,
            "shards": [{"states": entry.path} for entry in states],
            "attributes": [entry.path for entry in attributes],
            "model": {purpose: entry.path for purpose, entry in model.items()},
            "catalogue": items.path,
            "hash_seed": 7,
            "event_types": EVENT_TYPES,
            "schemas": {"Interactions": INTERACTIONS, "Items": ITEMS, "Users": USERS},
            "scores": False,
        },
    )
    return SegmentSolution(folder.uri, genres, user_ids, shares, country, [at < 100 for at in bought_at.tolist()])
