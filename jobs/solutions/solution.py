"""Which solution version is asked, as its manifest tells it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import cast

import pyarrow as pa
import pyarrow.compute as pc

from jobs.platform.storage.folders import StepFolder
from jobs.solutions.tensors import tensor_file
from schemas import columns
from schemas.batch import LineKind
from schemas.dataset_rules import DatasetType
from schemas.datasets import DatasetSchema, parse_schema_document
from schemas.manifest import FileEntry, Manifest
from schemas.recipes import RECIPES


@dataclass(frozen=True, kw_only=True)
class Solution:
    """Which solution version is served; small enough to travel with every task.

    Attributes:
        uri: Its folder.
        fingerprint: Of its manifest.
        serving, catalogue: Files that hold what lines are answered with, and the items.
        states: Files of user states, by shard.
        attributes: Files of users' attributes, by shard; none without a Users dataset.
        dimension: Numbers of a query; where it is 0, no user has a state, and everybody gets the same list.
        has_scores: Whether the recipe writes scores.
        hash_seed: Users are dealt to shards by `hash64(USER_ID, hash_seed) % len(states)`.
        recipe: Its recipe.
        event_types: Names of the codes of event types.
        schemas: JSON of the datasets' schemas by type.
        newest_event: The newest moment of an event that can be true, UTC epoch seconds; None: the catalogue's newest.
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
        """What the manifest of a solution version names."""
        shards = manifest.facts["shards"]
        return cls(
            uri=folder.uri,
            fingerprint=manifest.fingerprint,
            serving=tensor_file(manifest, "serving"),
            catalogue=manifest.file(manifest.facts["catalogue"]),
            states=tuple(manifest.file(shard["states"]) for shard in shards),
            attributes=tuple(map(manifest.file, manifest.facts.get("attributes", []))),
            dimension=manifest.facts["dimension"],
            has_scores=manifest.facts["scores"],
            hash_seed=manifest.facts["hash_seed"],
            recipe=manifest.facts["recipe"],
            event_types=tuple(manifest.facts.get("event_types", [])),
            schemas=json.dumps(manifest.facts.get("schemas", {})),
            newest_event=manifest.facts.get("newest_event"),
        )

    @property
    def kind(self) -> LineKind:
        """What its input lines hold."""
        return RECIPES[self.recipe].line_kind

    @property
    def dataset_schemas(self) -> dict[DatasetType, DatasetSchema]:
        """The schemas of the datasets that it was made of."""
        documents = json.loads(self.schemas)
        return {cast(DatasetType, kind): parse_schema_document(document) for kind, document in documents.items()}


def newest_event(solution: Solution, catalogue: pa.Table) -> int:
    """What counts as now: the newest moment of an event that can be true, UTC epoch seconds.

    Args:
        solution: The solution version; one of an older release does not know.
        catalogue: Its items with their last_timestamp.
    """
    newest: int = pc.max(catalogue[columns.LAST_TIME]).as_py() if solution.newest_event is None else solution.newest_event
    return newest
