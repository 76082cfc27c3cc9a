"""Bring sequences to this node: Parquet shards of a workspace become arrays that every rank maps."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from hrnn.data.event_weights import event_weights
from hrnn.data.sequences import cache_shards
from jobs.platform.storage.folders import StepFolder
from schemas import columns
from schemas.errors import DataError
from schemas.event_rules import EventRules
from schemas.manifest import Manifest

METADATA = "metadata"  # folder among the arrays
EVENT_WEIGHTS = "event_weights.npy"  # float32 [events], among the arrays, where a solution has event rules


@dataclass(frozen=True)
class Staged:
    """Sequences on this node.

    Attributes:
        manifest: Of the sequences.
        arrays: Folder for `Sequences.load`.
        catalogue: Local Parquet file.
        events: Local Parquet file of each shard, in user-row order.
        users: Likewise.
        shards: The manifest's metadata of each shard.
    """

    manifest: Manifest
    arrays: Path
    catalogue: Path
    events: list[Path]
    users: list[Path]
    shards: list[dict[str, Any]]

    def catalogue_table(self, columns: list[str] | None = None) -> pa.Table:
        """The catalogue, all columns or some."""
        return pq.read_table(self.catalogue, columns=columns)


def stage(source: StepFolder, manifest: Manifest, scratch: Path, rules: EventRules | None = None) -> Staged:
    """Fetch every file that training needs, checked against the manifest, and write the arrays.

    Args:
        source: The sequences' folder.
        manifest: Its manifest.
        scratch: A local folder.
        rules: Which events are targets; None: all.

    Raises:
        ConfigError: A rule needs a column or an event type that the data don't have.
        IntegrityError: A file is not the one that was written.
        DataError: There are no events, or none that counts, or a shard contradicts the manifest.
    """
    shards = sorted(manifest.metadata["shards"], key=lambda shard: int(shard["first_user_row"]))
    catalogue = source.fetch(manifest.file(manifest.metadata["catalogue"]), scratch)
    num_items = pq.read_metadata(catalogue).num_rows
    arrays = scratch / "sequences"
    events = [source.fetch(manifest.file(shard["events"]), scratch) for shard in shards]
    sizes = ((shard["first_user_row"], shard["num_users"], shard["num_events"]) for shard in shards)
    cache_shards([(path, *size) for path, size in zip(events, sizes, strict=True)], num_items, arrays)
    if rules is not None:
        _write_weights(events, manifest.metadata["event_types"], rules, arrays / EVENT_WEIGHTS)
    users = [source.fetch(manifest.file(shard["users"]), scratch) for shard in shards]
    return Staged(manifest, arrays, catalogue, events, users, shards)


def _write_weights(events: list[Path], event_types: list[str], rules: EventRules, path: Path) -> None:
    """Write the weight of each event, with one shard in memory at a time."""
    parts = []
    for shard in events:
        has_values = columns.EVENT_VALUE in pq.read_schema(shard).names
        table = pq.read_table(shard, columns=[columns.EVENT_TYPE_CODE, *([columns.EVENT_VALUE] if has_values else [])])
        values = table[columns.EVENT_VALUE].to_numpy().astype(np.float32) if has_values else None
        parts.append(event_weights(rules, event_types, table[columns.EVENT_TYPE_CODE].to_numpy(), values))
    weights = np.concatenate(parts)
    if not weights.any():
        raise DataError("no event meets the solution's event rules", remedy="Lower event_value_threshold, or name other types.")
    np.save(path, weights)
