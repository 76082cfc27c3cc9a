"""Bring sequences to this node: Parquet shards of a workspace become arrays that every rank maps."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from hrnn.sequences import cache_shards
from jobs.storage.folders import StepFolder
from schemas.manifest import Manifest


@dataclass(frozen=True)
class Staged:
    """Sequences on this node.

    Attributes:
        manifest: Of the sequences.
        arrays: Folder for `Sequences.load`.
        catalogue: Local Parquet file.
        users: Local Parquet file of each shard, in user-row order.
        shards: The manifest's facts about each shard.
    """

    manifest: Manifest
    arrays: Path
    catalogue: Path
    users: list[Path]
    shards: list[dict[str, Any]]

    def catalogue_table(self, columns: list[str] | None = None) -> pa.Table:
        """The catalogue, all columns or some."""
        return pq.read_table(self.catalogue, columns=columns)


def stage(source: StepFolder, manifest: Manifest, scratch: Path) -> Staged:
    """Fetch every file that training needs, checked against the manifest, and write the arrays.

    Args:
        source: The sequences' folder.
        manifest: Its manifest.
        scratch: A local folder.

    Raises:
        IntegrityError: A file is not the one that was written.
        DataError: There are no events, or a shard contradicts the manifest.
    """
    shards = sorted(manifest.facts["shards"], key=lambda shard: int(shard["first_user_row"]))
    catalogue = source.fetch(manifest.file(manifest.facts["catalogue"]), scratch)
    num_items = pq.read_metadata(catalogue).num_rows
    arrays = scratch / "sequences"
    cache_shards(
        (
            (
                source.fetch(manifest.file(shard["events"]), scratch),
                shard["first_user_row"],
                shard["num_users"],
                shard["num_events"],
            )
            for shard in shards
        ),
        num_items,
        arrays,
    )
    users = [source.fetch(manifest.file(shard["users"]), scratch) for shard in shards]
    return Staged(manifest, arrays, catalogue, users, shards)
