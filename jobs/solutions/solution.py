"""A solution version by its manifest: the files and settings that answers need."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from jobs.platform.storage.folders import StepFolder
from jobs.solutions.tensors import tensor_file
from schemas import columns
from schemas.batch import LineKind
from schemas.dataset_rules import DatasetType
from schemas.datasets import DatasetSchema, parse_schemas
from schemas.manifest import FileEntry, Manifest
from schemas.recipes import RECIPES


@dataclass(frozen=True, kw_only=True)
class Solution:
    """A solution version; small enough to be sent with every task.

    Attributes:
        uri: Its folder.
        fingerprint: Of its manifest.
        serving: File of the tensors that lines are answered with.
        catalogue: File of the items.
        states: Files of user states, by shard.
        attributes: Files of users' attributes, by shard; none without a Users dataset.
        dimension: Length of a query; where it is 0, no user has a state, and everybody gets the same list.
        has_scores: Whether the recipe writes scores.
        hash_seed: Users are partitioned into shards by `hash64(USER_ID, hash_seed) % len(states)`.
        recipe: Its recipe.
        event_types: Names of the codes of event types.
        schemas: JSON of the datasets' schemas by type.
        newest_event: Time of the newest plausible event, UTC epoch seconds; None: the catalogue's newest.
    """

    uri: str
    fingerprint: str
    serving: FileEntry
    catalogue: FileEntry
    states: tuple[FileEntry, ...]
    attributes: tuple[FileEntry, ...]
    dimension: int
    has_scores: bool
    hash_seed: int
    recipe: str
    event_types: tuple[str, ...]
    schemas: str
    newest_event: int | None = None

    @classmethod
    def of(cls, folder: StepFolder, manifest: Manifest) -> Solution:
        """The solution version that a manifest describes."""
        shards = manifest.metadata["shards"]
        return cls(
            uri=folder.uri,
            fingerprint=manifest.fingerprint,
            serving=tensor_file(manifest, "serving"),
            catalogue=manifest.file(manifest.metadata["catalogue"]),
            states=tuple(manifest.file(shard["states"]) for shard in shards),
            attributes=tuple(map(manifest.file, manifest.metadata.get("attributes", []))),
            dimension=manifest.metadata["dimension"],
            has_scores=manifest.metadata["scores"],
            hash_seed=manifest.metadata["hash_seed"],
            recipe=manifest.metadata["recipe"],
            event_types=tuple(manifest.metadata.get("event_types", [])),
            schemas=json.dumps(manifest.metadata.get("schemas", {})),
            newest_event=manifest.metadata.get("newest_event"),
        )

    @property
    def kind(self) -> LineKind:
        """The kind of its input lines."""
        return RECIPES[self.recipe].line_kind

    @property
    def dataset_schemas(self) -> dict[DatasetType, DatasetSchema]:
        """The schemas of the datasets that it was trained on."""
        return parse_schemas(json.loads(self.schemas), self.uri)


def newest_event(solution: Solution, catalogue: pa.Table) -> int:
    """The moment that counts as now: the time of the newest plausible event, UTC epoch seconds.

    Args:
        solution: The solution version; in one of an older release it is missing.
        catalogue: Its items with their last_timestamp.
    """
    newest: int = pc.max(catalogue[columns.LAST_TIME]).as_py() if solution.newest_event is None else solution.newest_event
    return newest
