"""Why lists are as they are: a shard's events and the model's parameters, for hrnn/explain/, and its answers as numbers."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from hrnn.blend.weights import BlendWeights
from hrnn.data.ragged import Ragged
from hrnn.data.sequences import load_shard
from hrnn.explain.ranked import ranked_reasons
from hrnn.explain.serving import ServingExplainer
from hrnn.models.contract import QueryModel, UserStates
from hrnn.models.registry import restored
from hrnn.ranker.snapshot import RankedSnapshot
from hrnn.ranker.stored import StoredRanker
from jobs.batch.users import UserTable
from jobs.platform.storage.folders import StepFolder
from jobs.platform.storage.node_files import fetch
from jobs.recommend.answers import LOG_ODDS_UNITS, MOST_REASONS, OF_FAMILIES, PAST_ITEMS, REASON_UNITS, SHARES, Answers
from jobs.recommend.loaded_solution import LoadedSolution
from jobs.recommend.request_batch import RequestBatch
from jobs.solutions.metadata import metadata_of_shard
from jobs.solutions.solution import Solution, newest_event
from jobs.solutions.tensors import read_tensors, tensor_file
from schemas import columns
from schemas.errors import ConfigError, DataError, StorageError
from schemas.manifest import FileEntry, Manifest


@dataclass(frozen=True, kw_only=True)
class RankerFiles:
    """Of a ranker that serves, as jobs/train/publication.py writes them."""

    tables: FileEntry
    neighbours: FileEntry
    trees: tuple[FileEntry, ...]

    @classmethod
    def of(cls, solution: Manifest) -> RankerFiles | None:
        """What the manifest of a solution version names; None: the blend serves."""
        facts = solution.metadata
        if "ranker" not in facts:
            return None
        if "ranker_tables" not in facts:
            raise _older_release()
        tables, neighbours = (solution.file(facts[name]) for name in ("ranker_tables", "ranker_neighbours"))
        return cls(tables=tables, neighbours=neighbours, trees=tuple(map(solution.file, facts["ranker"])))


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
        ranker: That serves; None: none does.
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
    ranker: RankerFiles | None

    @classmethod
    def of(cls, solution: Manifest) -> Sources:
        """What the manifest of a solution version names.

        Raises:
            StorageError: The sequences are not there any more.
            ConfigError: An older release trained the solution version.
        """
        shape = solution.metadata.get("training_outcome", {}).get("shape")
        if shape is None:
            raise _older_release()
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
            ranker=RankerFiles.of(solution),
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
        events, num_users = fetch(StepFolder(sources.uri), sources.events[shard]), sources.num_users[shard]
        num_items = len(loaded.explained_with()[0])
        self._sequences = load_shard(events, self._first, num_users, sources.num_events[shard], num_items)
        self._ranked: RankedSnapshot | None = None
        if (ranker := _stored_ranker(solution, sources)) is not None:
            folder = StepFolder(solution.uri)
            metadata = metadata_of_shard(
                ranker.facts["metadata"],
                solution.dataset_schemas,
                [fetch(folder, entry) for entry in solution.attributes],
                _users_of_shard(fetch(folder, solution.states[shard]), self._first),
                num_users,
                shard,
                events,
            )
            self._ranked = ranker.snapshot(*_blend(solution, sources), self._sequences, metadata, self._first)

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
        states = UserStates(*users.states(places[lines]))
        user_rows, listed = users.user_rows(places[lines]) - self._first, Ragged.from_lengths(counts, rows[there])
        ranked = None
        if self._ranked is not None:
            ranked = ranked_reasons(self._ranked, self._sequences, user_rows, listed)
            states = ranked.blend  # those that are stored hold the ranker's scores
        query = states.query.numpy()
        found = self._explainer.shares(self._sequences, user_rows, query, states.sparse, listed, MOST_REASONS, ranked)
        reasons = np.zeros((len(rows), answers.reasons.shape[1]), np.int32)
        reasons[:, PAST_ITEMS] = -1
        shares = np.rint(found.shares * REASON_UNITS).astype(np.int32)
        reasons[there, 0], reasons[:, 1] = np.rint(found.popularity * REASON_UNITS), explored
        reasons[there, PAST_ITEMS] = np.where(shares > 0, found.past_items, -1)
        reasons[there, SHARES] = shares
        if ranked is not None:
            reasons[there, OF_FAMILIES] = np.rint(ranked.families * LOG_ODDS_UNITS)
        answers.put(lines, replace(known, reasons=reasons))
        return answers


@functools.lru_cache(maxsize=1)
def _serving_explainer(loaded: LoadedSolution, solution: Solution, sources: Sources) -> ServingExplainer:
    """What explains lists, loaded once in each worker process."""
    catalogue = pq.read_table(fetch(StepFolder(solution.uri), solution.catalogue), columns=[columns.LAST_TIME])
    vectors, num_ranked = loaded.explained_with()
    return ServingExplainer(
        *_blend(solution, sources),
        vectors,
        num_ranked,
        newest_event(solution, catalogue) + 1,  # as the states were made: right after the newest event
        sources.gap_seconds,
    )


@functools.lru_cache(maxsize=1)
def _blend(solution: Solution, sources: Sources) -> tuple[QueryModel, BlendWeights]:
    """The model and the weights of its blend."""
    stored = read_tensors(fetch(StepFolder(solution.uri), sources.parameters), "parameters")
    weights = BlendWeights.of_tensors(stored)
    if weights is None:
        raise DataError("the solution version is of a release that stored no blend", remedy="Train it again.")
    return restored(sources.recipe, json.loads(sources.sizes), stored), weights


@functools.lru_cache(maxsize=1)
def _stored_ranker(solution: Solution, sources: Sources) -> StoredRanker | None:
    """The ranker that serves, if one does."""
    if (files := sources.ranker) is None:
        return None
    folder = StepFolder(solution.uri)
    trees = [fetch(folder, entry).read_text() for entry in files.trees]
    return StoredRanker.load(fetch(folder, files.tables), fetch(folder, files.neighbours), trees)


def _users_of_shard(states: Path, first_user_row: int) -> pa.Table:
    """USER_ID and user_row, within the shard, of its users."""
    table = pq.read_table(states, columns=[columns.USER_ID, columns.USER_ROW])
    rows = pa.array(table[columns.USER_ROW].to_numpy() - first_user_row)
    return table.set_column(table.schema.get_field_index(columns.USER_ROW), columns.USER_ROW, rows)


def _older_release() -> ConfigError:
    return ConfigError(
        "an older release trained this solution version, without what explanations need",
        where="explain",
        remedy="Train it again, or leave explanations out.",
    )
