"""Cut validated interactions into sessions: sequences, users and the catalogue (design: contracts between the steps)."""

from __future__ import annotations

import sys
import time
from typing import Any

from jobs.cli import Summary
from jobs.platform.spark.session import spark_session
from jobs.platform.storage.folders import StepFolder
from jobs.sessionize.catalogue import read_items
from jobs.sessionize.passes import make_sequences, manifest_counts, manifest_metadata
from jobs.sessionize.plan import EventColumns, Plan, cut_tasks, shards_for
from jobs.versions import SEQUENCES_VERSION
from schemas.data_settings import SessionizeSettings
from schemas.datasets import parse_schema_document
from schemas.errors import ConfigError, DataError
from schemas.manifest import Manifest, fingerprint

Source = tuple[StepFolder, Manifest]


def sessionize(
    *,
    interactions_uri: str,
    output_uri: str,
    settings: SessionizeSettings,
    items_uri: str | None = None,
    users_uri: str | None = None,
    master: str | None = None,
) -> Summary:
    """Make sequences, users, their attributes and the catalogue of typed datasets.

    Args:
        interactions_uri: Folder of the Interactions dataset that `validate` wrote.
        output_uri: Folder of the sequences.
        settings: Where sessions end, which events count, and in which order.
        items_uri: Folder of a validated Items dataset: metadata, creation times, and items without events.
        users_uri: Folder of a validated Users dataset: attributes of users, for filters.
        master: Spark master URL.

    Returns:
        The job's summary: counts of events, users, items and sessions, and warnings.

    Raises:
        ConfigError: Event types are asked of data that have none.
        DataError: No event is left, or a dataset is of another type or empty.
        StorageError: An input is missing or the output cannot be written.
        IntegrityError: An input differs from its manifest.
    """
    SessionizeSettings.require(settings)
    began = time.monotonic()
    event_types = settings.event_types
    given = {"Interactions": interactions_uri, "Items": items_uri, "Users": users_uri}
    datasets = {kind: _dataset(uri, kind) for kind, uri in given.items() if uri is not None}
    sources = list(datasets.values())
    order = sources[0][1].metadata.get("tie_order", "file") if settings.tie_order == "auto" else settings.tie_order
    config = {
        "layout": SEQUENCES_VERSION,
        "gap_seconds": settings.gap,
        "tie_order": order,
        "num_shards": settings.num_shards,
        "event_types": None if event_types is None else sorted(set(event_types)),
    }
    identity = fingerprint("sessionize", config, [manifest.fingerprint for _, manifest in sources])
    folder = StepFolder(output_uri)
    published = folder.published("sequences")
    skipped = published is not None and published.fingerprint == identity and folder.is_whole(published)
    if published is None or not skipped:
        plan = _plan(*sources[0], folder.uri, config)
        inputs = [source.reference(manifest) for source, manifest in sources]
        with folder.made_of(*inputs):
            items = read_items(*datasets["Items"]) if items_uri is not None else None
            sequences = make_sequences(spark_session(master), plan, folder, items, datasets.get("Users"))
            counts, metadata = manifest_counts(sequences), manifest_metadata(plan, sequences)
            metadata["schemas"] = {kind: manifest.metadata["schema"] for kind, (_, manifest) in datasets.items()}
            published = folder.publish("sequences", identity, config, inputs, sequences.files, counts, metadata)
    for warning in published.metadata["warnings"]:
        print(f"hrnn: warning: {warning}", file=sys.stderr)
    return {
        "job": "sessionize",
        "output": folder.uri,
        "skipped": skipped,
        "seconds": round(time.monotonic() - began, 3),
        **published.counts,
        "shards": len(published.metadata["shards"]),
        "tie_order": published.metadata["tie_order"],
        "newest_event": published.metadata["newest_event"],
        "warnings": published.metadata["warnings"],
    }


def _dataset(uri: str, expected: str) -> Source:
    """A validated dataset; DataError where it is of another type."""
    folder = StepFolder(uri)
    manifest = folder.require("dataset")
    if (dataset_type := manifest.metadata["dataset_type"]) != expected:
        raise DataError("the folder holds another dataset", where=folder.uri, value=dataset_type, allowed=expected)
    return folder, manifest


def _plan(source: StepFolder, manifest: Manifest, output_uri: str, config: dict[str, Any]) -> Plan:
    columns = EventColumns.of(parse_schema_document(manifest.metadata["schema"]))
    if config["event_types"] and not columns.event_type:
        raise ConfigError("the interactions have no EVENT_TYPE", where="event_types", value=config["event_types"])
    parts = [part for part in manifest.files_below("data") if part.rows]
    num_events = sum(part.rows or 0 for part in parts)
    if not num_events:
        raise DataError("the dataset holds no interactions", where=source.uri, remedy="See the rows that validate rejected.")
    return Plan(
        interactions_uri=source.uri,
        output_uri=output_uri,
        tasks=cut_tasks(parts),
        columns=columns,
        event_types=None if config["event_types"] is None else tuple(config["event_types"]),
        gap_seconds=config["gap_seconds"],
        tie_order=config["tie_order"],
        num_shards=config["num_shards"] or shards_for(num_events),
    )
