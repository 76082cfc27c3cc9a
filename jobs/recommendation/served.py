"""A solution version as a worker holds it: items, the lists for users nobody knows, and the states of users."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from pyspark import SparkFiles
from safetensors import safe_open

from hrnn.scoring import OwnItems, Scorer
from hrnn.splits import ranges
from jobs.recommendation.lines import LineWriter
from jobs.storage.folders import StepFolder
from schemas import columns
from schemas.batch import SCORE_UNITS
from schemas.errors import IntegrityError
from schemas.manifest import FileEntry, Manifest

Items = npt.NDArray[np.int32]


@dataclass(frozen=True, kw_only=True)
class Solution:
    """Which solution version is served; small enough to travel with every task.

    Attributes:
        uri: Its folder.
        fingerprint: Of its manifest.
        model, catalogue: Files that hold `scoring.*` and the items.
        states: Files of user states, by shard.
        dimension: Numbers of a query; where it is 0, no user has a state, and everybody gets the same list.
        has_scores: Whether the recipe writes scores.
        hash_seed: Users are dealt to shards by `hash64(USER_ID, hash_seed) % len(states)`.
    """

    uri: str
    fingerprint: str
    model: FileEntry
    catalogue: FileEntry
    states: tuple[FileEntry, ...]
    dimension: int
    has_scores: bool
    hash_seed: int

    @classmethod
    def of(cls, folder: StepFolder, manifest: Manifest) -> Solution:
        """What the manifest of a solution version names."""
        shards = manifest.facts["shards"]
        return cls(
            uri=folder.uri,
            fingerprint=manifest.fingerprint,
            model=manifest.file(manifest.facts["model"]),
            catalogue=manifest.file(manifest.facts["catalogue"]),
            states=tuple(manifest.file(shard["states"]) for shard in shards),
            dimension=manifest.facts["dimension"],
            has_scores=manifest.facts["scores"],
            hash_seed=manifest.facts["hash_seed"],
        )

    @property
    def states_bytes(self) -> int:
        """Size of the states that are needed, as they are stored."""
        return sum(entry.size for entry in self.states) if self.dimension else 0


class UserTable:
    """States of some users, found by id.

    Args:
        table: Columns USER_ID, query, own_item_rows, own_item_scores.
        dimension: Numbers of a query.
    """

    def __init__(self, table: pa.Table, dimension: int) -> None:
        known = table.filter(pc.is_valid(table[columns.QUERY])).combine_chunks()  # without a state, a user is unknown
        self._ids = known[columns.USER_ID].combine_chunks()
        self._queries = (
            known[columns.QUERY].combine_chunks().flatten().to_numpy(zero_copy_only=False).reshape(len(known), dimension)
        )
        own = known[columns.OWN_ITEM_ROWS].combine_chunks()
        self._own_counts = pc.fill_null(own.value_lengths(), 0).to_numpy(zero_copy_only=False).astype(np.int64)
        self._own_starts = np.cumsum(self._own_counts) - self._own_counts
        self._own_rows = _flat(known, columns.OWN_ITEM_ROWS)
        self._own_scores = _flat(known, columns.OWN_ITEM_SCORES)

    def find(self, user_ids: Sequence[str]) -> npt.NDArray[np.int64]:
        """int64 [B], where each user stands; -1 for those who don't."""
        found = pc.index_in(pa.array(user_ids, self._ids.type), value_set=self._ids)
        places: npt.NDArray[np.int64] = pc.fill_null(found, -1).to_numpy(zero_copy_only=False).astype(np.int64)
        return places

    def states(self, places: npt.NDArray[np.int64]) -> tuple[torch.Tensor, OwnItems]:
        """Queries float32 [B, D] and own items of users by where they stand."""
        counts = self._own_counts[places]
        positions = ranges(self._own_starts[places], counts)
        offsets = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(counts)])
        queries = torch.from_numpy(self._queries[places].astype(np.float32, copy=False))
        return queries, OwnItems(offsets, self._own_rows[positions], self._own_scores[positions])


class Served:
    """A solution version, loaded.

    Args:
        solution: Which one.
        num_results: K; fewer are given where fewer items have events.
    """

    def __init__(self, solution: Solution, num_results: int) -> None:
        torch.set_num_threads(1)  # Spark runs a worker a core; and the last bits of a sum depend on how many threads share it
        self._folder = StepFolder(solution.uri)
        self._solution = solution
        catalogue = pq.read_table(_fetch(self._folder, solution.catalogue), columns=[columns.ITEM_ID, columns.NUM_EVENTS])
        counts = catalogue[columns.NUM_EVENTS].to_numpy()
        ranked = int(np.count_nonzero(counts))  # they come first: the catalogue is in falling order of events
        with safe_open(_fetch(self._folder, solution.model), "pt") as parameters:
            vectors = parameters.get_tensor("scoring.item_vectors")
            bias = parameters.get_tensor("scoring.item_bias")
        if vectors.shape != (len(counts), solution.dimension) or len(bias) != len(counts):
            raise IntegrityError(f"{solution.uri}: the model doesn't fit its catalogue; train it again.")
        self.num_results = min(num_results, ranked)
        self.writer = LineWriter(catalogue[columns.ITEM_ID].slice(0, ranked).to_pylist(), solution.has_scores)
        self._scorer = Scorer(vectors[:ranked], bias[:ranked])
        self._popular = self._popular_items(counts[:ranked])

    def load_users(self, shards: Sequence[int]) -> UserTable:
        """The states of some shards."""
        names = [columns.USER_ID, columns.QUERY, columns.OWN_ITEM_ROWS, columns.OWN_ITEM_SCORES]
        tables = [pq.read_table(_fetch(self._folder, self._solution.states[shard]), columns=names) for shard in shards]
        return UserTable(pa.concat_tables(tables), self._solution.dimension)

    def for_unknown_users(self, num_users: int) -> tuple[Items, Items]:
        """Item rows and scores in ten-millionths for users without a state, int32 [num_users, K] each."""
        rows, scores = self._popular
        return np.tile(rows, (num_users, 1)), np.tile(scores, (num_users, 1))

    def recommend(self, users: UserTable, places: npt.NDArray[np.int64]) -> tuple[Items, Items]:
        """Item rows and scores in ten-millionths for users by where they stand in `users`, int32 [B, K] each."""
        top = self._scorer.top(*users.states(places), self.num_results)
        return top.item_rows.astype(np.int32), _units(top.shares)

    def _popular_items(self, counts: npt.NDArray[np.int64]) -> tuple[Items, Items]:
        """What everybody takes: by events, with each item's share of them; or by the model, where it knows no users at all."""
        if self._solution.dimension == 0:
            top = self._scorer.top(torch.zeros(1, 0), OwnItems.none(1), self.num_results)
            return top.item_rows.astype(np.int32), _units(top.shares)
        shares = counts[: self.num_results] / counts.sum()
        return np.arange(self.num_results, dtype=np.int32)[None, :], _units(shares)[None, :]


@functools.lru_cache(maxsize=1)
def served(solution: Solution, num_results: int) -> Served:
    """The solution version, loaded once in each worker process."""
    return Served(solution, num_results)


@functools.lru_cache(maxsize=1)
def all_users(solution: Solution, num_results: int) -> UserTable | None:
    """The states of all users, loaded once in each worker process; None where no user has one."""
    return served(solution, num_results).load_users(range(len(solution.states))) if solution.dimension else None


def _flat(table: pa.Table, name: str) -> npt.NDArray[Any]:
    """All values of a list column, one after the other."""
    values: npt.NDArray[Any] = table[name].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return values


def _units(shares: npt.NDArray[np.float64]) -> Items:
    return np.rint(shares * SCORE_UNITS).astype(np.int32)


def _fetch(folder: StepFolder, entry: FileEntry) -> Path:
    """A local copy below Spark's own temporary folder, which goes with the Spark application."""
    scratch = Path(SparkFiles.getRootDirectory()) / f"solution-{os.getpid()}"
    scratch.mkdir(parents=True, exist_ok=True)
    return folder.fetch(entry, scratch)
