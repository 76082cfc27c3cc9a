"""Why lists are as they are: a shard's events and the model's parameters, for hrnn/explain/, and its answers as numbers."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from hrnn.blend.weights import BlendWeights
from hrnn.data.ragged import Ragged
from hrnn.data.sequences import load_shard
from hrnn.explain.serving import ServingExplainer
from hrnn.models.registry import restored
from jobs.batch.users import UserTable
from jobs.platform.storage.folders import StepFolder
from jobs.platform.storage.node_files import fetch
from jobs.recommend.answers import MOST_REASONS, REASON_UNITS, Answers
from jobs.recommend.loaded_solution import LoadedSolution
from jobs.recommend.request_batch import RequestBatch
from jobs.solutions.solution import Solution, newest_event
from jobs.solutions.tensors import read_tensors, tensor_file
from schemas import columns
from schemas.errors import ConfigError, DataError, StorageError
from schemas.manifest import FileEntry, Manifest


@dataclass(frozen=True, kw_only=True)
class Sources:
    """What explanations are made from, beside what lines are answered with; small enough to travel with every task.

    Attributes:
        parameters: The solution version's file of what was learnt.
        uri: Folder of the sequences that the solution version learnt from.
        events: Files of events, by shard; their users are those of the states' shards.
        first_user_rows, num_users, num_events: By shard.
        gap_seconds: Of the sessions; None: there is no gap.
        recipe: Whose model it is.
        sizes: The model's, as JSON.
    """

    parameters: FileEntry
    uri: str
    events: tuple[FileEntry, ...]
    first_user_rows: tuple[int, ...]
    num_users: tuple[int, ...]
    num_events: tuple[int, ...]
    gap_seconds: int | None
    recipe: str
    sizes: str

    @classmethod
    def of(cls, solution: Manifest) -> Sources:
        """What the manifest of a solution version names.

        Raises:
            StorageError: The sequences are not there any more.
            ConfigError: An older release trained the solution version.
        """
        shape = solution.metadata.get("training_outcome", {}).get("shape")
        if shape is None:
            raise ConfigError(
                "an older release trained this solution version, without what explanations need",
                where="explain",
                remedy="Train it again, or leave explanations out.",
            )
        fit = solution.inputs[0]
        manifest = StepFolder(fit.uri).manifest()
        if manifest is None or manifest.fingerprint != fit.version:
            raise StorageError(
                "the sequences that this solution version learnt from are not here any more, and explanations need them",
                where=fit.uri,
                remedy="Run `hrnn sessionize` into that folder again, from the same datasets; or train again from sequences "
                "that are there; or leave explanations out.",
            )
        shards = sorted(manifest.metadata["shards"], key=lambda shard: int(shard["first_user_row"]))  # as states are dealt
        return cls(
            parameters=tensor_file(solution, "parameters"),
            uri=fit.uri,
            events=tuple(manifest.file(shard["events"]) for shard in shards),
            first_user_rows=tuple(int(shard["first_user_row"]) for shard in shards),
            num_users=tuple(int(shard["num_users"]) for shard in shards),
            num_events=tuple(int(shard["num_events"]) for shard in shards),
            gap_seconds=manifest.metadata.get("gap_seconds"),
            recipe=solution.metadata["recipe"],
            sizes=json.dumps(shape),
        )


class Explainer:
    """Explains the lists of a shard's users.

    Args:
        loaded: The solution version, loaded.
        solution: Which one.
        sources: What explanations are made from.
        shard: Number of the shard.

    Raises:
        DataError: The solution version is of a release whose paths had other features.
        IntegrityError: A file is not the one that was written.
    """

    def __init__(self, loaded: LoadedSolution, solution: Solution, sources: Sources, shard: int) -> None:
        self._loaded, self._first = loaded, sources.first_user_rows[shard]
        self._explainer = _serving_explainer(loaded, solution, sources)
        self._sequences = load_shard(
            fetch(StepFolder(sources.uri), sources.events[shard]),
            self._first,
            sources.num_users[shard],
            sources.num_events[shard],
            len(loaded.explained_with()[0]),
        )

    def explain(self, users: UserTable, places: npt.NDArray[np.int64], batch: RequestBatch, answers: Answers) -> Answers:
        """The same answers with reasons.

        Args:
            users: Of the shard.
            places: int64 [n], where the lines' users stand among them; -1 for those who don't.
            batch: What the lines ask for.
            answers: To them.
        """
        answers = answers.as_popular(self._loaded.places(batch, answers)[0])
        lines = np.flatnonzero(places >= 0)
        if not len(lines) or answers.reasons is None:
            return answers
        known = answers.take(lines)
        rows, explored = self._loaded.places(batch.take(lines), known)
        there = np.flatnonzero(rows >= 0)
        counts = np.add.reduceat(np.append(rows >= 0, False), known.offsets[:-1]) * (np.diff(known.offsets) > 0)
        queries, sparse = users.states(places[lines])
        user_rows, listed = users.user_rows(places[lines]) - self._first, Ragged.from_lengths(counts, rows[there])
        found = self._explainer.shares(self._sequences, user_rows, queries.numpy(), sparse, listed, MOST_REASONS)
        reasons = np.zeros((len(rows), answers.reasons.shape[1]), np.int32)
        reasons[:, 2 : 2 + MOST_REASONS] = -1
        shares = np.rint(found.shares * REASON_UNITS).astype(np.int32)
        reasons[there, 0], reasons[:, 1] = np.rint(found.popularity * REASON_UNITS), explored
        reasons[there, 2 : 2 + MOST_REASONS] = np.where(shares > 0, found.past_items, -1)
        reasons[there, 2 + MOST_REASONS :] = shares
        answers.put(lines, replace(known, reasons=reasons))
        return answers


@functools.lru_cache(maxsize=1)
def _serving_explainer(loaded: LoadedSolution, solution: Solution, sources: Sources) -> ServingExplainer:
    """What explains lists, loaded once in each worker process."""
    folder = StepFolder(solution.uri)
    stored = read_tensors(fetch(folder, sources.parameters), "parameters")
    weights = BlendWeights.of_tensors(stored)
    if weights is None:
        raise DataError("the solution version is of a release that stored no blend", remedy="Train it again.")
    catalogue = pq.read_table(fetch(folder, solution.catalogue), columns=[columns.LAST_TIME])
    vectors, num_ranked = loaded.explained_with()
    return ServingExplainer(
        restored(sources.recipe, json.loads(sources.sizes), stored),
        weights,
        vectors,
        num_ranked,
        newest_event(solution, catalogue) + 1,  # as the states were made: right after the newest event
        sources.gap_seconds,
    )
