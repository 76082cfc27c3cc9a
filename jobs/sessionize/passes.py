"""Both passes over the interactions, and the files that they write into the output folder."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import SparkSession

from jobs.platform.process.scratch import scratch_folder
from jobs.platform.spark.exchange import exchange
from jobs.platform.storage.folders import StepFolder
from jobs.sessionize.attributes import AttributesPlan, attributes_entry, send_attributes, write_attributes
from jobs.sessionize.catalogue import ItemLookup, make_catalogue
from jobs.sessionize.events import Encoding, send_events
from jobs.sessionize.plan import Plan, cut_tasks
from jobs.sessionize.shard import write_shard
from jobs.sessionize.survey import Survey, survey
from schemas.columns import EVENT_TYPE, ITEM_ID, ITEM_ROW, NUM_USERS
from schemas.errors import DataError
from schemas.event_rules import types_in_words
from schemas.manifest import FileEntry, Manifest

_SEEDS = 4  # hash seeds that are tried; among 100 M users each fails with a probability of 3e-4
_MOST_CATEGORIES = 100_000  # values of one categorical column
_LEAST_TIED_PAIRS = 1000  # fewer events at equal times show nothing about their order
_ARTEFACT_SHARE = 0.95


Dataset = tuple[StepFolder, Manifest]


@dataclass(frozen=True, kw_only=True)
class SequenceFiles:
    """Files in the output folder that are not yet published.

    Attributes:
        shards: The result of `write_shard` for each, and its first_user_row.
        catalogue: The catalogue's file.
        categories: Values of each coded column.
        hash_seed: Seed by which users were partitioned into shards.
        newest_event: Time of the newest plausible event, UTC epoch seconds.
        attributes: A file of users' attributes for each shard; none where there is no Users dataset.
    """

    shards: list[dict[str, Any]]
    catalogue: FileEntry
    categories: dict[str, list[str]]
    hash_seed: int
    newest_event: int = 0
    attributes: tuple[FileEntry, ...] = ()

    @property
    def files(self) -> list[FileEntry]:
        """All files of the sequences."""
        shard_files = [FileEntry(**shard[kind]) for shard in self.shards for kind in ("shards", "users")]
        return [*shard_files, *self.attributes, self.catalogue]

    def total(self, name: str) -> int:
        """A count, summed over the shards."""
        return sum(shard[name] for shard in self.shards)


def make_sequences(
    spark: SparkSession, plan: Plan, folder: StepFolder, items: pa.Table | None, users: Dataset | None = None
) -> SequenceFiles:
    """Write the files of the sequences, under the first hash seed that gives every id a hash of its own.

    Args:
        spark: The session to run in.
        plan: The parameters; its hash_seed is the first one that is tried.
        folder: The output folder.
        items: The Items dataset, one row an id, or None.
        users: The Users dataset, or None.

    Raises:
        DataError: No event is left, there is a Users dataset without users, or a categorical column has too many values.
        IntegrityError: An input differs from its manifest.
    """
    for seed in range(plan.hash_seed, plan.hash_seed + _SEEDS):
        if (made := _attempt(spark, replace(plan, hash_seed=seed), folder, items)) is not None:
            return made if users is None else replace(made, attributes=_attributes(spark, plan, made.hash_seed, *users))
    raise DataError(f"different ids have equal hashes under {_SEEDS} seeds", remedy="Report this: chance alone does not do it.")


def manifest_counts(made: SequenceFiles) -> dict[str, int]:
    """The counts of the manifest and of the job's summary."""
    names = {"events": "num_events", "users": "num_users", "sessions": "num_sessions"}
    return {**{count: made.total(name) for count, name in names.items()}, "items": made.catalogue.rows or 0}


def manifest_metadata(plan: Plan, made: SequenceFiles) -> dict[str, Any]:
    """The metadata that the next steps read: files of each shard, meanings of codes, and settings."""
    numbers = ("first_user_row", "num_users", "num_events", "num_sessions")
    metadata: dict[str, Any] = {
        "shards": [
            {"events": shard["shards"]["path"], "users": shard["users"]["path"], **{name: shard[name] for name in numbers}}
            for shard in made.shards
        ],
        "catalogue": made.catalogue.path,
        "event_types": made.categories.get(EVENT_TYPE, []),
        "categories": {column: values for column, values in made.categories.items() if column != EVENT_TYPE},
        "gap_seconds": plan.gap_seconds,
        "tie_order": plan.tie_order,
        "hash_seed": made.hash_seed,
        "newest_event": made.newest_event,
        "attributes": [entry.path for entry in made.attributes],
        "tied_pairs": made.total("tied_pairs"),
        "tied_pairs_ascending": made.total("tied_pairs_ascending"),
    }
    missing = [name for name in plan.event_types or () if name not in metadata["event_types"]]
    metadata["warnings"] = [*_tie_warnings(metadata), *(f'no event is of type "{name}"' for name in missing)]
    return metadata


def _attempt(spark: SparkSession, plan: Plan, folder: StepFolder, items: pa.Table | None) -> SequenceFiles | None:
    """Both passes under one hash seed; None where two ids have one hash."""
    surveyed = survey(spark, plan)
    if not surveyed.num_events:
        raise _no_events(spark, plan)
    _check(surveyed)
    catalogue = make_catalogue(surveyed.items, items, surveyed.newest_event)
    lookup = ItemLookup.of(catalogue[ITEM_ID].combine_chunks(), plan.hash_seed)
    if lookup is None:
        return None
    with scratch_folder("lookup") as scratch:
        local = Path(scratch) / "lookup.arrow"
        lookup.save(local)
        encoding = Encoding(lookup=folder.put_file(local, folder.attempt_path("lookup.arrow")), categories=surveyed.categories)
    first_user_rows = (0, *np.cumsum(surveyed.shard_users[:-1]).tolist())
    receive = partial(write_shard, plan, encoding, first_user_rows)
    results = exchange(spark, len(plan.tasks), plan.num_shards, partial(send_events, plan, encoding), receive, "cut sessions")
    shards = [{**json.loads(result), "first_user_row": row} for result, row in zip(results, first_user_rows, strict=True)]
    if any(shard.get("collision") for shard in shards):
        return None
    assert tuple(shard["num_users"] for shard in shards) == surveyed.shard_users, "the passes saw different users"
    entry = _put_catalogue(folder, catalogue, shards)
    return SequenceFiles(
        shards=shards,
        catalogue=entry,
        categories=surveyed.categories,
        hash_seed=plan.hash_seed,
        newest_event=surveyed.newest_event,
    )


def _attributes(
    spark: SparkSession, plan: Plan, hash_seed: int, source: StepFolder, manifest: Manifest
) -> tuple[FileEntry, ...]:
    """A file of users' attributes for each shard."""
    parts = [part for part in manifest.files_below("data") if part.rows]
    if not parts:
        raise DataError("the dataset holds no users", where=source.uri, remedy="See the rows that validate rejected.")
    attributes_plan = AttributesPlan(
        users_uri=source.uri,
        output_uri=plan.output_uri,
        tasks=cut_tasks(parts),
        num_shards=plan.num_shards,
        hash_seed=hash_seed,
    )
    send, receive = partial(send_attributes, attributes_plan), partial(write_attributes, attributes_plan)
    results = exchange(spark, len(attributes_plan.tasks), plan.num_shards, send, receive, "deal attributes")
    return tuple(map(attributes_entry, results))


def _no_events(spark: SparkSession, plan: Plan) -> DataError:
    """No event is of the plan's types; the data are read once more, for the types that there are."""
    known = survey(spark, replace(plan, event_types=None)).categories.get(EVENT_TYPE, [])
    asked = list(plan.event_types or ())
    return DataError("no event is of these types", where="event_types", value=asked, allowed=types_in_words(known))


def _check(surveyed: Survey) -> None:
    """DataError where a categorical column has too many values."""
    for column, values in surveyed.categories.items():
        if len(values) > _MOST_CATEGORIES:
            raise DataError(
                f"{column} has {len(values):,} different values",
                where="Interactions",
                allowed=f"{_MOST_CATEGORIES:,} in a categorical column",
                remedy='Leave "categorical": true out of its field in the schema, then validate again.',
            )


def _put_catalogue(folder: StepFolder, catalogue: pa.Table, shards: list[dict[str, Any]]) -> FileEntry:
    """Write the catalogue with the distinct users of each item, summed over the shards."""
    users = np.zeros(catalogue.num_rows, np.int64)
    for shard in shards:
        table = pq.read_table(pa.BufferReader(folder.read(FileEntry(**shard["item-users"]))))
        users[table[ITEM_ROW].to_numpy()] += table[NUM_USERS].to_numpy()
    with scratch_folder("catalogue") as scratch:
        local = Path(scratch) / "catalogue.parquet"
        pq.write_table(catalogue.add_column(3, NUM_USERS, pa.array(users)), local, compression="zstd")
        return folder.put_file(local, folder.attempt_path("catalogue.parquet"), catalogue.num_rows)


def _tie_warnings(metadata: dict[str, Any]) -> list[str]:
    """Whether events at equal times lie in the order of their item ids: an artefact that a model would learn as behaviour."""
    pairs, ascending = metadata["tied_pairs"], metadata["tied_pairs_ascending"]
    if metadata["tie_order"] != "file" or pairs < _LEAST_TIED_PAIRS:
        return []
    for share, direction in ((ascending / pairs, "ascending"), (1 - ascending / pairs, "descending")):
        if share > _ARTEFACT_SHARE:
            return [
                f"{share:.0%} of {pairs:,} neighbouring events of one user at one time lie in {direction} ITEM_ID order; "
                'that is no behaviour, but a model would learn it and its metrics would flatter: set tie_order = "hash"'
            ]
    return []
