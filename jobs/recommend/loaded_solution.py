"""A solution version as a worker holds it: what answers to all kinds of lines need (jobs/recommend/line_kinds.py has each)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch

from hrnn.data.arrays import Rows
from hrnn.data.ragged import Ragged
from hrnn.inference.allowed import Allowed
from hrnn.inference.exploration import new_items
from hrnn.inference.filters import FilterQuery, ItemFilter
from hrnn.inference.related import POPULARITY
from jobs.batch.options import Options
from jobs.batch.users import UserTable
from jobs.platform.storage.folders import StepFolder
from jobs.platform.storage.node_files import fetch
from jobs.recommend.answers import Answers
from jobs.recommend.lines import LineWriter, Requests
from jobs.recommend.request_batch import RequestBatch
from jobs.solutions.solution import Solution, newest_event
from jobs.solutions.tensors import read_tensors
from schemas import columns
from schemas.errors import DataError, IntegrityError
from schemas.filters import parse_filter_values


class LoadedSolution(ABC):
    """A solution version, loaded to answer one kind of line; `open_solution` of jobs/recommend/line_kinds.py makes it.

    Args:
        solution: Which solution version.
        options: How lines are answered.

    Attributes:
        num_results: Entries of a line; fewer than the options say where fewer items have events, 0 where lines bring lists.
        writer: Writes the output lines.
    """

    num_results = 0
    _num_masked: int | None = None  # columns of a filter's masks that count; None: all
    _vectors: npt.NDArray[np.float32] | None = None  # [N, D], where lists are ranked or explained

    def __init__(self, solution: Solution, options: Options) -> None:
        torch.set_num_threads(1)  # Spark runs a worker a core; and the last bits of a sum depend on how many threads share it
        self._folder, self._solution, self._options = StepFolder(solution.uri), solution, options
        # Filters and exploration read metadata of items; without them two columns are enough.
        needs_metadata = options.filter is not None or options.exploration is not None
        names = None if needs_metadata else [columns.ITEM_ID, columns.NUM_EVENTS]
        catalogue = pq.read_table(fetch(self._folder, solution.catalogue), columns=names)
        self._counts: Rows = catalogue[columns.NUM_EVENTS].to_numpy()
        self._num_ranked = int(np.count_nonzero(self._counts))  # they come first: the catalogue is in falling order of events
        self._item_ids = catalogue[columns.ITEM_ID].combine_chunks()

        tensors = read_tensors(fetch(self._folder, solution.serving), "serving")
        vectors, bias = tensors["scoring.item_vectors"], tensors["scoring.item_bias"]
        if vectors.shape != (len(self._counts), solution.dimension) or len(bias) != len(self._counts):
            raise IntegrityError(f"{solution.uri}: the model doesn't fit its catalogue; train it again.")
        # What unknown users and items get: popular items, by the events that count where the solution has event rules.
        self._popularity = tensors[POPULARITY].numpy() if POPULARITY in tensors else self._counts

        self._is_new = self._new_items(catalogue)
        self._rows = np.flatnonzero((self._counts > 0) | self._is_new)  # of the items that may be recommended
        self._filter = self._item_filter(catalogue)
        self._prepare(tensors, vectors, bias)
        self.writer = LineWriter(self._written_ids(), solution.has_scores, options.explain)

    @abstractmethod
    def _prepare(self, tensors: Mapping[str, torch.Tensor], vectors: torch.Tensor, bias: torch.Tensor) -> None:
        """Make ready what scoring needs: tensors by name, item vectors float32 [N, D], bias float32 [N]."""

    @abstractmethod
    def answers(
        self,
        batch: RequestBatch,
        users: UserTable | None = None,
        places: Rows | None = None,
        attributes: pa.Table | None = None,
    ) -> Answers:
        """Answers to lines.

        Args:
            batch: n lines.
            users: States of users.
            places: int64 [n], row of each line's user in `users`; None: they are unknown, and popularity decides.
            attributes: Rows of the Users dataset, where a filter reads them.
        """

    def widths(self, batch: RequestBatch) -> Rows:
        """int64 [n], how many entries each line may get."""
        return np.full(len(batch), self.num_results)

    def fault(self, filter_values: Mapping[str, str]) -> str | None:
        """Why a line with these filterValues can't be answered; None where it can."""
        assert self._filter is not None
        try:
            return self._filter.fault(parse_filter_values(filter_values))
        except DataError as error:
            return str(error)

    def batch(self, requests: Requests) -> RequestBatch:
        """The good lines of a split, with listed items by row."""
        lengths = np.array([len(items) for items in requests.item_lists] or [0] * len(requests.subjects), dtype=np.int64)
        listed = pa.array([item for items in requests.item_lists for item in items], pa.string())
        lists = Ragged.from_lengths(lengths, self._find_items(listed) if len(listed) else np.empty(0, np.int64))
        subjects = pa.array(requests.subjects, pa.string())
        return RequestBatch(subjects, lists, requests.filter_values, requests.values_of)

    def explained_with(self) -> tuple[npt.NDArray[np.float32], int]:
        """Item vectors that lists are made with, float32 [N, D], and how many items, the first ones, have events."""
        assert self._vectors is not None, "loaded where answers are explained"
        return self._vectors, self._num_ranked

    def places(self, batch: RequestBatch, answers: Answers) -> tuple[Rows, npt.NDArray[np.bool_]]:
        """Of every entry of answers to users with states: catalogue row, -1 where it has no score; whether it is explored."""
        listed, rows = answers.entries >= 0, self._rows[np.maximum(answers.entries, 0)]
        return np.where(listed, rows, -1), listed & self._is_new[rows]

    def _filtered(
        self,
        batch: RequestBatch,
        users: UserTable | None,
        places: Rows | None,
        attributes: pa.Table | None,
        current_items: Rows | None = None,
    ) -> Iterator[tuple[Rows, Allowed | None]]:
        """Lines, and the items that a filter allows them, in parts whose masks stay small."""
        if self._filter is None:
            yield np.arange(len(batch)), None
            return
        query = FilterQuery(
            len(batch),
            [parse_filter_values(values) for values in batch.filter_values] or [{}],
            batch.values_of,
            None if attributes is None else attributes.take(pc.index_in(batch.subjects, attributes[columns.USER_ID])),
            None if users is None or places is None else users.past(places),
            current_items,
        )
        for lines, allowed in self._filter.parts(query):
            masks = np.ascontiguousarray(allowed.masks[:, : self._num_masked])
            yield lines, Allowed(masks, allowed.mask_of, allowed.added, allowed.removed)

    def _item_filter(self, catalogue: pa.Table) -> ItemFilter | None:
        """The filter over the items that lines may get, or list."""
        if (options := self._options.filter) is None:
            return None
        solution = self._solution
        attributes = pq.read_schema(fetch(self._folder, solution.attributes[0])) if solution.attributes else None
        return ItemFilter(
            options.parsed(),
            self._filtered_items(catalogue),
            schemas=solution.dataset_schemas,
            attributes=attributes,
            event_types=solution.event_types,
            past_events=options.events,
            now=options.now,
        )

    def _filtered_items(self, catalogue: pa.Table) -> pa.Table:
        """The items that a filter's masks have columns for, in their order."""
        return catalogue

    def _written_ids(self) -> list[str]:
        """Ids of items by entry, for output lines."""
        ids: list[str] = self._item_ids.to_pylist()
        return ids

    def _new_items(self, catalogue: pa.Table) -> npt.NDArray[np.bool_]:
        """bool [N], the items that are explored."""
        if (exploration := self._options.exploration) is None:
            return np.zeros(len(self._counts), np.bool_)
        newest = newest_event(self._solution, catalogue)
        return new_items(catalogue[columns.CREATION_TIMESTAMP].to_numpy(), newest, exploration.cut_off_days)

    def _find_items(self, item_ids: pa.StringArray) -> Rows:
        """int64 item row of each id; -1 where it is not in the catalogue."""
        indices = pc.index_in(item_ids, value_set=self._item_ids)
        rows: Rows = pc.fill_null(indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)
        return rows
