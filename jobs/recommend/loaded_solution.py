"""A solution version as a worker holds it, and what it answers to lines of users, of lists to be ranked, and of items."""

from __future__ import annotations

import functools
import gc
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch

from hrnn.data.arrays import Rows
from hrnn.data.hashing import hash64
from hrnn.data.ragged import Ragged
from hrnn.data.sparse_scores import SparseScores
from hrnn.inference.allowed import Allowed
from hrnn.inference.exploration import NOISE_DEPTH, Noise, bonus, new_items, stand_ins
from hrnn.inference.filters import Asked, ItemFilter
from hrnn.inference.ranking import allowed_in, listed_scores, rank
from hrnn.inference.related import POPULARITY, NearestVectors, Related, TableOfNeighbours
from hrnn.inference.topk import Scorer
from jobs.batch.options import Options
from jobs.batch.users import UserTable
from jobs.platform.storage.folders import StepFolder
from jobs.platform.storage.node_files import fetch
from jobs.recommend.answers import Answers, Items
from jobs.recommend.lines import LineWriter, Requests
from jobs.recommend.request_batch import Batch
from jobs.solutions.solution import Solution, newest_event
from jobs.solutions.tensors import read_tensors
from schemas import columns
from schemas.batch import SCORE_UNITS
from schemas.errors import DataError, IntegrityError
from schemas.filters import parse_filter_values

_LINES_AT_ONCE = 8192  # scored together: several full products


class LoadedSolution:
    """A solution version, loaded.

    Args:
        solution: Which one.
        options: What lines are answered with; fewer items are given where fewer have events.
    """

    def __init__(self, solution: Solution, options: Options) -> None:
        torch.set_num_threads(1)  # Spark runs a worker a core; and the last bits of a sum depend on how many threads share it
        self._folder, self._solution, self._options = StepFolder(solution.uri), solution, options
        wants_all = options.filter is not None or options.exploration is not None
        names = None if wants_all else [columns.ITEM_ID, columns.NUM_EVENTS]
        catalogue = pq.read_table(fetch(self._folder, solution.catalogue), columns=names)
        self._counts: Rows = catalogue[columns.NUM_EVENTS].to_numpy()
        self._ranked = int(np.count_nonzero(self._counts))  # they come first: the catalogue is in falling order of events
        tensors = read_tensors(fetch(self._folder, solution.serving), "serving")
        vectors, bias = tensors["scoring.item_vectors"], tensors["scoring.item_bias"]
        if vectors.shape != (len(self._counts), solution.dimension) or len(bias) != len(self._counts):
            raise IntegrityError(f"{solution.uri}: the model doesn't fit its catalogue; train it again.")
        # What is popular with those whom nobody knows: by the events that count, where the solution has event rules.
        self._popularity = tensors[POPULARITY].numpy() if POPULARITY in tensors else self._counts
        self._item_ids = catalogue[columns.ITEM_ID].combine_chunks()
        self._new = self._new_items(catalogue)
        self._rows = np.flatnonzero((self._counts > 0) | self._new)  # of the items that users may get
        self._filter = self._item_filter(catalogue)
        self._noise: Noise | None = None
        if solution.kind == "ranking":
            self._vectors, self._bias = vectors.numpy(), bias.numpy()
            self.num_results = 0
        elif solution.kind == "item":
            self._related: Related = self._related_items(tensors, vectors, bias)
            self.num_results = min(options.num_results, self._ranked)
        else:
            self._serve_users(vectors, bias)
        needs_ids = solution.kind != "ranking" or options.explain
        self.writer = LineWriter(self._item_ids.to_pylist() if needs_ids else [], solution.has_scores, options.explain)

    def _serve_users(self, vectors: torch.Tensor, bias: torch.Tensor) -> None:
        """Make ready what lines of users need."""
        rows, exploration = self._rows, self._options.exploration
        if exploration is not None:
            vectors, bias = stand_ins(vectors, bias, self._ranked)
            bias = bias + torch.from_numpy(bonus(self._counts, self._new, exploration.weight))
            hashes = hash64(self._item_ids, self._solution.hash_seed)
            self._noise = Noise(self._new[rows], hashes[rows], exploration.weight)
        if self._options.explain:
            self._vectors = vectors.numpy()
        self._item_ids = self._item_ids.take(pa.array(rows))
        self._scorer = Scorer(vectors[torch.from_numpy(rows)], bias[torch.from_numpy(rows)])
        self._popular_scorer = self._scorer
        shown = self._popularity[rows]
        if self._solution.dimension and self._filter is not None:
            by_events = torch.from_numpy(np.log(np.maximum(shown, 0.5)).astype(np.float32))
            self._popular_scorer = Scorer(torch.zeros(len(rows), 0), by_events)
        self._event_shares = shown / shown.sum()
        self.num_results = min(self._options.num_results, len(rows))
        self._popular = self._popular_items()

    def load_users(self, shards: Sequence[int]) -> UserTable | None:
        """The states of some shards; None where nothing is asked of users."""
        if not asks_states(self._solution, self._options):
            return None
        names = [columns.USER_ID, columns.QUERY, columns.SPARSE_ITEM_ROWS, columns.SPARSE_SCORES]
        names += [columns.USER_ROW] if self._options.explain else []
        newest = 0
        if self._options.filter is not None and self._options.filter.asks_past:
            names += [columns.PAST_ITEM_ROWS, columns.PAST_EVENT_TYPES, columns.PAST_RANKS]
            newest = self._options.filter.events
        tables = [pq.read_table(fetch(self._folder, self._solution.states[shard]), columns=names) for shard in shards]
        return UserTable(pa.concat_tables(tables), self._solution.dimension, newest)

    def load_attributes(self, shards: Sequence[int]) -> pa.Table | None:
        """The Users dataset's rows of some shards; None where no filter asks for them."""
        if not asks_attributes(self._solution, self._options):
            return None
        tables = [pq.read_table(fetch(self._folder, self._solution.attributes[shard])) for shard in shards]
        return pa.concat_tables(tables).combine_chunks()

    def fault(self, given: Mapping[str, str]) -> str | None:
        """Why a line with these filterValues can't be answered; None where it can."""
        assert self._filter is not None
        try:
            return self._filter.fault(parse_filter_values(given))
        except DataError as error:
            return str(error)

    def batch(self, requests: Requests) -> Batch:
        """The good lines of a split, with listed items by row."""
        lengths = np.array([len(listed) for listed in requests.item_lists] or [0] * len(requests.subjects), dtype=np.int64)
        listed = pa.array([item for listed in requests.item_lists for item in listed], pa.string())
        lists = Ragged.from_lengths(lengths, self._find_items(listed) if len(listed) else np.empty(0, np.int64))
        subjects = pa.array(requests.subjects, pa.string())
        return Batch(subjects, lists, requests.filter_values, requests.values_of)

    def widths(self, batch: Batch) -> Rows:
        """int64 [n], how many entries each line may get."""
        return batch.lists.lengths if self._solution.kind == "ranking" else np.full(len(batch), self.num_results)

    def for_unknown(self, batch: Batch, attributes: pa.Table | None = None) -> Answers:
        """What lines get whose user has no state: popular items, or their list by popularity."""
        if self._filter is None and self._solution.kind == "user":
            rows, scores = self._popular
            return Answers.of_rows(np.tile(rows, (len(batch), 1)), np.tile(scores, (len(batch), 1)))
        return self._in_pieces(batch, None, attributes, None)

    def for_known(self, users: UserTable, places: Rows, batch: Batch, attributes: pa.Table | None = None) -> Answers:
        """What lines get by where their users stand in `users`."""
        return self._in_pieces(batch, users, attributes, places)

    def explained_with(self) -> tuple[npt.NDArray[np.float32], int]:
        """Item vectors as lists are made with, float32 [N, D], and how many items, the first ones, have events."""
        return self._vectors, self._ranked

    def places(self, batch: Batch, answers: Answers) -> tuple[Rows, npt.NDArray[np.bool_]]:
        """Of every entry of answers to users with states: catalogue row, -1 where it has no score; whether it is explored."""
        there = np.maximum(answers.entries, 0)
        if self._solution.kind == "ranking":
            if not len(batch.lists.values):
                return np.full(len(there), -1), np.zeros(len(there), np.bool_)
            rows = batch.lists.values[np.repeat(batch.lists.offsets[:-1], batch.lists.lengths) + there]
            scored = (answers.entries >= 0) & (rows >= 0) & (self._counts[rows] > 0)
            return np.where(scored, rows, -1), np.zeros(len(rows), np.bool_)
        listed = answers.entries >= 0
        explored = listed & self._noise.new[there] if self._noise is not None else np.zeros(len(there), np.bool_)
        return np.where(listed, self._rows[there], -1), explored

    def for_items(self, batch: Batch) -> Answers:
        """Related items of the lines' items; equal lines are answered once."""
        item_rows = self._find_items(batch.subjects)
        if not len(batch):
            return Answers.none(np.empty(0, np.int64))
        asked, first, of = np.unique(np.stack([item_rows, batch.values_of]), axis=1, return_index=True, return_inverse=True)
        some = batch.take(first)
        entries = np.full((len(first), self.num_results), -1, np.int32)
        of_ranked = np.where(asked[0] < self._ranked, asked[0], -1)
        for lines, allowed in self._parts(some, None, None, None, asked[0]):
            entries[lines] = self._related.of(of_ranked[lines], self.num_results, allowed)
        rows = entries[of.reshape(-1)]
        return Answers.of_rows(rows, np.zeros_like(rows))

    def _in_pieces(self, batch: Batch, users: UserTable | None, attributes: pa.Table | None, places: Rows | None) -> Answers:
        """Score some lines at a time."""
        answer = self._ranked_lists if self._solution.kind == "ranking" else self._best_items
        answers = Answers.none(self.widths(batch))
        for begin in range(0, len(batch), _LINES_AT_ONCE):
            piece = np.arange(begin, min(begin + _LINES_AT_ONCE, len(batch)))
            some, at = batch.take(piece), None if places is None else places[piece]
            for lines, allowed in self._parts(some, users, attributes, at, None):
                few = some if len(lines) == len(some) else some.take(lines)
                answers.put(piece[lines], answer(few, users, None if at is None else at[lines], allowed))
        return answers

    def _parts(
        self, batch: Batch, users: UserTable | None, attributes: pa.Table | None, places: Rows | None, items: Rows | None
    ) -> Iterator[tuple[Rows, Allowed | None]]:
        """Lines, and what they may get, such that masks stay small."""
        if self._filter is None:
            yield np.arange(len(batch)), None
            return
        asked = Asked(
            len(batch),
            [parse_filter_values(given) for given in batch.filter_values] or [{}],
            batch.values_of,
            None if attributes is None else attributes.take(pc.index_in(batch.subjects, attributes[columns.USER_ID])),
            None if users is None or places is None else users.past(places),
            items,
        )
        for lines, allowed in self._filter.parts(asked):
            masks = allowed.masks[:, : self._ranked] if self._solution.kind == "item" else allowed.masks
            yield lines, Allowed(np.ascontiguousarray(masks), allowed.mask_of, allowed.added, allowed.removed)

    def _best_items(self, batch: Batch, users: UserTable | None, places: Rows | None, allowed: Allowed | None) -> Answers:
        """The best items of users; where there is no state of them, popular items."""
        if users is None or places is None or self._solution.dimension == 0:
            none = torch.zeros(len(batch), 0)
            top = self._popular_scorer.top(none, SparseScores.none(len(batch)), self.num_results, allowed)
            shares = top.shares
            if self._solution.dimension:
                shares = np.where(top.item_rows < 0, 0.0, self._event_shares[top.item_rows])
            return Answers.of_rows(top.item_rows.astype(np.int32), _units(shares))
        states = users.states(places)
        if self._noise is None:
            top = self._scorer.top(*states, self.num_results, allowed)
        else:
            top = self._scorer.top(*states, NOISE_DEPTH * self.num_results, allowed)
            top = self._noise.best(top, hash64(batch.subjects, self._solution.hash_seed), self.num_results)
        return Answers.of_rows(top.item_rows.astype(np.int32), _units(top.shares))

    def _ranked_lists(self, batch: Batch, users: UserTable | None, places: Rows | None, allowed: Allowed | None) -> Answers:
        """Lists in the order in which users like their items; without a state, in the order of popularity."""
        offsets, known = batch.lists.offsets, batch.lists.values >= 0
        item_rows = np.where(known, batch.lists.values, 0)
        scored = known & (self._counts[item_rows] > 0)
        if users is None or places is None:
            scores = np.log(np.maximum(self._popularity[item_rows], 0.5))
        else:
            queries, own = users.states(places)
            scores = listed_scores(queries.numpy(), own, self._vectors, self._bias, Ragged(offsets, item_rows))
        if not np.isfinite(scores[scored]).all():
            raise IntegrityError("a user's state is not made of finite numbers; train the model again.")
        nameless = len(self._counts)  # the filter's row for items that are not in the catalogue
        kept = np.ones(len(known), np.bool_)
        if allowed is not None:
            kept = allowed_in(allowed, Ragged(offsets, np.where(known, batch.lists.values, nameless)))
        ranked = rank(offsets, scores, scored, kept)
        return Answers(offsets, ranked.places.astype(np.int32), _units(ranked.shares))

    def _popular_items(self) -> tuple[Items, Items]:
        """What everybody takes: by events, with each item's share of them; or by the model, where it knows no users at all."""
        if self._solution.dimension == 0:
            top = self._scorer.top(torch.zeros(1, 0), SparseScores.none(1), self.num_results)
            return top.item_rows.astype(np.int32), _units(top.shares)
        order = np.argsort(-self._event_shares, kind="stable")[: self.num_results]
        return order.astype(np.int32)[None, :], _units(self._event_shares[order])[None, :]

    def _related_items(self, tensors: Mapping[str, torch.Tensor], vectors: torch.Tensor, bias: torch.Tensor) -> Related:
        if "related.offsets" in tensors:
            popular = np.argsort(-bias[: self._ranked].numpy(), kind="stable")
            neighbours = Ragged(tensors["related.offsets"].numpy(), tensors["related.item_rows"].numpy())
            return TableOfNeighbours(neighbours.checked(), popular)
        return NearestVectors(vectors[: self._ranked], np.argsort(-self._popularity[: self._ranked], kind="stable"))

    def _item_filter(self, catalogue: pa.Table) -> ItemFilter | None:
        """The filter beside the items that lines may get, or list."""
        if (wanted := self._options.filter) is None:
            return None
        solution = self._solution
        if solution.kind == "ranking":  # one row more, of which nothing is known, for items that are not in the catalogue
            nobody = pa.table({field.name: pa.nulls(1, field.type) for field in catalogue.schema})
            catalogue = pa.concat_tables([catalogue, nobody])
        elif solution.kind == "user":
            catalogue = catalogue.take(pa.array(self._rows))
        attributes = pq.read_schema(fetch(self._folder, solution.attributes[0])) if solution.attributes else None
        return ItemFilter(
            wanted.parsed(),
            catalogue,
            schemas=solution.dataset_schemas,
            attributes=attributes,
            event_types=solution.event_types,
            past_events=wanted.events,
            now=wanted.now,
        )

    def _new_items(self, catalogue: pa.Table) -> npt.NDArray[np.bool_]:
        """bool [N], the items that are explored."""
        if (exploration := self._options.exploration) is None:
            return np.zeros(len(self._counts), np.bool_)
        newest = newest_event(self._solution, catalogue)
        return new_items(catalogue[columns.CREATION_TIMESTAMP].to_numpy(), newest, exploration.cut_off_days)

    def _find_items(self, item_ids: pa.StringArray) -> Rows:
        """int64 item row of each id; -1 where nobody knows it."""
        found = pc.index_in(item_ids, value_set=self._item_ids)
        rows: Rows = pc.fill_null(found, -1).to_numpy(zero_copy_only=False).astype(np.int64)
        return rows


@functools.lru_cache(maxsize=1)
def load_solution(solution: Solution, options: Options) -> LoadedSolution:
    """The solution version, loaded once in each worker process."""
    loaded = LoadedSolution(solution, options)
    gc.freeze()  # after each task PySpark collects garbage, which would look through all that was loaded: 0.1 s
    return loaded


@functools.lru_cache(maxsize=1)
def all_users(solution: Solution, options: Options) -> tuple[UserTable | None, pa.Table | None]:
    """The states and attributes of all users, as far as they are needed, loaded once in each worker process."""
    loaded, shards = load_solution(solution, options), range(len(solution.states))
    return loaded.load_users(shards), loaded.load_attributes(shards)


def asks_states(solution: Solution, options: Options) -> bool:
    """Whether the states of users have a part in the answers."""
    asks_past = options.filter is not None and options.filter.asks_past
    return solution.kind != "item" and (solution.dimension > 0 or asks_past)


def asks_attributes(solution: Solution, options: Options) -> bool:
    """Whether users' attributes have a part in the answers."""
    return bool(solution.attributes) and options.filter is not None and options.filter.asks_attributes


def bytes_of_users(solution: Solution, options: Options) -> int:
    """Size of what must be known of users, as it is stored."""
    states = solution.states if asks_states(solution, options) else ()
    attributes = solution.attributes if asks_attributes(solution, options) else ()
    return sum(entry.size for entry in (*states, *attributes))


def _units(shares: npt.NDArray[np.float64]) -> Items:
    return np.rint(shares * SCORE_UNITS).astype(np.int32)
