"""Answers to lines of users, of lists to be ranked, and of items: a class for each kind."""

from __future__ import annotations

import functools
from abc import abstractmethod
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from hrnn.data.arrays import Rows
from hrnn.data.hashing import hash64
from hrnn.data.ragged import Ragged
from hrnn.data.sparse_scores import SparseScores
from hrnn.inference.allowed import Allowed
from hrnn.inference.exploration import NOISE_DEPTH, Noise, bonus, stand_ins
from hrnn.inference.ranking import allowed_in, listed_scores, rank
from hrnn.inference.related import NearestVectors, Related, TableOfNeighbours
from hrnn.inference.topk import Scorer
from jobs.batch.options import Options
from jobs.batch.users import UserTable
from jobs.recommend.answers import Answers, Items
from jobs.recommend.loaded_solution import LoadedSolution
from jobs.recommend.request_batch import RequestBatch
from jobs.solutions.solution import Solution
from schemas.batch import SCORE_UNITS, LineKind
from schemas.errors import IntegrityError

_LINES_AT_ONCE = 8192  # scored together: several full products
_LEAST_COUNT = 0.5  # events of an item without any, where scores are logarithms of counts


class _UserLines(LoadedSolution):
    """Answers lines of users, some at a time."""

    @abstractmethod
    def _score(self, batch: RequestBatch, users: UserTable | None, places: Rows | None, allowed: Allowed | None) -> Answers:
        """Answers to lines that share a filter's masks; arguments are those of `answers`."""

    def answers(
        self,
        batch: RequestBatch,
        users: UserTable | None = None,
        places: Rows | None = None,
        attributes: pa.Table | None = None,
    ) -> Answers:
        answers = Answers.none(self.widths(batch))
        for begin in range(0, len(batch), _LINES_AT_ONCE):
            piece = np.arange(begin, min(begin + _LINES_AT_ONCE, len(batch)))
            requests, rows = batch.take(piece), None if places is None else places[piece]
            for lines, allowed in self._filtered(requests, users, rows, attributes):
                part = requests if len(lines) == len(requests) else requests.take(lines)
                answers.put(piece[lines], self._score(part, users, None if rows is None else rows[lines], allowed))
        return answers


class UserRecommendations(_UserLines):
    """Answers lines of users with the items of the highest scores; entries are positions among the items that may be listed."""

    def _prepare(self, tensors: Mapping[str, torch.Tensor], vectors: torch.Tensor, bias: torch.Tensor) -> None:
        rows, exploration = self._rows, self._options.exploration
        self._noise: Noise | None = None
        if exploration is not None:
            vectors, bias = stand_ins(vectors, bias, self._num_ranked)
            bias = bias + torch.from_numpy(bonus(self._counts, self._is_new, exploration.weight))
            hashes = hash64(self._item_ids, self._solution.hash_seed)
            self._noise = Noise(self._is_new[rows], hashes[rows], exploration.weight)
        if self._options.explain:
            self._vectors = vectors.numpy()
        self._item_ids = self._item_ids.take(pa.array(rows))
        self._scorer = Scorer(vectors[torch.from_numpy(rows)], bias[torch.from_numpy(rows)])
        # Unknown users of a model with states get popular items, which a filter must be able to search beyond the first few.
        self._popular_scorer = self._scorer
        counts = self._popularity[rows]
        if self._solution.dimension and self._filter is not None:
            log_counts = torch.from_numpy(np.log(np.maximum(counts, _LEAST_COUNT)).astype(np.float32))
            self._popular_scorer = Scorer(torch.zeros(len(rows), 0), log_counts)
        self._event_shares = counts / counts.sum()
        self.num_results = min(self._options.num_results, len(rows))
        self._popular = self._popular_items()

    def _filtered_items(self, catalogue: pa.Table) -> pa.Table:
        return catalogue.take(pa.array(self._rows))

    def answers(
        self,
        batch: RequestBatch,
        users: UserTable | None = None,
        places: Rows | None = None,
        attributes: pa.Table | None = None,
    ) -> Answers:
        """As `LoadedSolution.answers`; without a filter all unknown users get one list, which is worked out once."""
        if places is None and self._filter is None:
            rows, scores = self._popular
            return Answers.of_rows(np.tile(rows, (len(batch), 1)), np.tile(scores, (len(batch), 1)))
        return super().answers(batch, users, places, attributes)

    def _score(self, batch: RequestBatch, users: UserTable | None, places: Rows | None, allowed: Allowed | None) -> Answers:
        if users is None or places is None or self._solution.dimension == 0:
            no_queries = torch.zeros(len(batch), 0)
            top = self._popular_scorer.top(no_queries, SparseScores.none(len(batch)), self.num_results, allowed)
            shares = top.shares
            if self._solution.dimension:  # shares of all events, as in the list without a filter
                shares = np.where(top.item_rows < 0, 0.0, self._event_shares[top.item_rows])
            return Answers.of_rows(top.item_rows.astype(np.int32), _units(shares))
        states = users.states(places)
        if self._noise is None:
            top = self._scorer.top(*states, self.num_results, allowed)
        else:
            top = self._scorer.top(*states, NOISE_DEPTH * self.num_results, allowed)
            top = self._noise.best(top, hash64(batch.subjects, self._solution.hash_seed), self.num_results)
        return Answers.of_rows(top.item_rows.astype(np.int32), _units(top.shares))

    def _popular_items(self) -> tuple[Items, Items]:
        """Popular items, int32 [1, K], and their scores: by events; or by the model, where it has no states of users at all."""
        if self._solution.dimension == 0:
            top = self._scorer.top(torch.zeros(1, 0), SparseScores.none(1), self.num_results)
            return top.item_rows.astype(np.int32), _units(top.shares)
        order = np.argsort(-self._event_shares, kind="stable")[: self.num_results]
        return order.astype(np.int32)[None, :], _units(self._event_shares[order])[None, :]


class RankedLists(_UserLines):
    """Answers lines of users with lists: their items by falling score; entries are positions in the line's list."""

    def _prepare(self, tensors: Mapping[str, torch.Tensor], vectors: torch.Tensor, bias: torch.Tensor) -> None:
        self._vectors, self._bias = vectors.numpy(), bias.numpy()

    def _filtered_items(self, catalogue: pa.Table) -> pa.Table:
        # One row more, of nulls, stands for listed items that are not in the catalogue.
        unknown = pa.table({field.name: pa.nulls(1, field.type) for field in catalogue.schema})
        return pa.concat_tables([catalogue, unknown])

    def _written_ids(self) -> list[str]:
        return super()._written_ids() if self._options.explain else []  # else lines bring the ids

    def widths(self, batch: RequestBatch) -> Rows:
        """int64 [n], lengths of the lists."""
        return batch.lists.lengths

    def places(self, batch: RequestBatch, answers: Answers) -> tuple[Rows, npt.NDArray[np.bool_]]:
        """As `LoadedSolution.places`; nothing is explored."""
        positions = np.maximum(answers.entries, 0)
        if not len(batch.lists.values):
            return np.full(len(positions), -1), np.zeros(len(positions), np.bool_)
        rows = batch.lists.values[np.repeat(batch.lists.offsets[:-1], batch.lists.lengths) + positions]
        scored = (answers.entries >= 0) & (rows >= 0) & (self._counts[rows] > 0)
        return np.where(scored, rows, -1), np.zeros(len(rows), np.bool_)

    def _score(self, batch: RequestBatch, users: UserTable | None, places: Rows | None, allowed: Allowed | None) -> Answers:
        assert self._vectors is not None
        offsets, known = batch.lists.offsets, batch.lists.values >= 0
        item_rows = np.where(known, batch.lists.values, 0)
        scored = known & (self._counts[item_rows] > 0)
        if users is None or places is None:
            scores = np.log(np.maximum(self._popularity[item_rows], _LEAST_COUNT))
        else:
            queries, sparse_scores = users.states(places)
            scores = listed_scores(queries.numpy(), sparse_scores, self._vectors, self._bias, Ragged(offsets, item_rows))
        if not np.isfinite(scores[scored]).all():
            raise IntegrityError("a user's state is not made of finite numbers; train the model again.")
        kept = np.ones(len(known), np.bool_)
        if allowed is not None:
            unknown_row = len(self._counts)  # as `_filtered_items` puts it
            kept = allowed_in(allowed, Ragged(offsets, np.where(known, batch.lists.values, unknown_row)))
        ranked = rank(offsets, scores, scored, kept)
        return Answers(offsets, ranked.places.astype(np.int32), _units(ranked.shares))


class RelatedItems(LoadedSolution):
    """Answers lines of items with related items; entries are catalogue rows, without scores."""

    def _prepare(self, tensors: Mapping[str, torch.Tensor], vectors: torch.Tensor, bias: torch.Tensor) -> None:
        self._num_masked = self._num_ranked  # items without events are nobody's neighbours
        self.num_results = min(self._options.num_results, self._num_ranked)
        self._related: Related
        if "related.offsets" in tensors:
            popular = np.argsort(-bias[: self._num_ranked].numpy(), kind="stable")
            neighbours = Ragged(tensors["related.offsets"].numpy(), tensors["related.item_rows"].numpy())
            self._related = TableOfNeighbours(neighbours.checked(), popular)
        else:
            popular = np.argsort(-self._popularity[: self._num_ranked], kind="stable")
            self._related = NearestVectors(vectors[: self._num_ranked], popular)

    def answers(
        self,
        batch: RequestBatch,
        users: UserTable | None = None,
        places: Rows | None = None,
        attributes: pa.Table | None = None,
    ) -> Answers:
        """As `LoadedSolution.answers`, of items alone; equal lines are answered once."""
        item_rows = self._find_items(batch.subjects)
        if not len(batch):
            return Answers.none(np.empty(0, np.int64))
        keys = np.stack([item_rows, batch.values_of])  # lines of one item with the same filter values get one answer
        distinct, first, answer_of = np.unique(keys, axis=1, return_index=True, return_inverse=True)
        requests, items = batch.take(first), distinct[0]
        ranked_items = np.where(items < self._num_ranked, items, -1)
        entries = np.full((len(first), self.num_results), -1, np.int32)
        for lines, allowed in self._filtered(requests, None, None, None, items):
            entries[lines] = self._related.of(ranked_items[lines], self.num_results, allowed)
        rows = entries[answer_of.reshape(-1)]
        return Answers.of_rows(rows, np.zeros_like(rows))


_CLASSES: dict[LineKind, type[LoadedSolution]] = {
    "user": UserRecommendations,
    "ranking": RankedLists,
    "item": RelatedItems,
}


def open_solution(solution: Solution, options: Options) -> LoadedSolution:
    """A solution version, loaded to answer the kind of line that its recipe takes."""
    return _CLASSES[solution.kind](solution, options)


@functools.lru_cache(maxsize=1)
def load_solution(solution: Solution, options: Options) -> LoadedSolution:
    """The solution version, loaded once in each worker process."""
    return open_solution(solution, options)


def _units(shares: npt.NDArray[np.float64]) -> Items:
    return np.rint(shares * SCORE_UNITS).astype(np.int32)
