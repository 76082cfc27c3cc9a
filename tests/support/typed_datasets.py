"""Typed datasets as `hrnn validate` publishes them, from a few literal rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from jobs.platform.storage.folders import StepFolder
from jobs.platform.stored_types import ARROW_TYPES
from schemas.manifest import fingerprint

_IDS = {"USER_ID": "string", "ITEM_ID": "string"}


def publish_interactions(uri: str, rows: Sequence[tuple[Any, ...]], extra: dict[str, Any] | None = None, parts: int = 1) -> str:
    """Interactions of (user, item, time, *extra values) rows, in this order; returns the folder's URI.

    Args:
        uri: Folder to publish.
        rows: The events; their positions are the input's order.
        extra: More columns: name to Avro type, or to the attributes of the schema's field.
        parts: Part files the rows are dealt to, in order.
    """
    return _publish(uri, "Interactions", {**_IDS, "TIMESTAMP": "long", **(extra or {})}, rows, parts)


def publish_action_interactions(uri: str, rows: Sequence[tuple[str, str, str, int]]) -> str:
    """Action_Interactions of (user, action, event type, time) rows; returns the folder's URI."""
    columns = {"USER_ID": "string", "ACTION_ID": "string", "EVENT_TYPE": "string", "TIMESTAMP": "long"}
    return _publish(uri, "Action_Interactions", columns, rows, 1)


def publish_items(uri: str, rows: Sequence[tuple[Any, ...]], extra: dict[str, Any]) -> str:
    """Items of (item, *extra values) rows; returns the folder's URI."""
    return _publish(uri, "Items", {"ITEM_ID": "string", **extra}, rows, 1)


def publish_users(uri: str, rows: Sequence[tuple[Any, ...]], extra: dict[str, Any], parts: int = 1) -> str:
    """Users of (user, *extra values) rows; returns the folder's URI."""
    return _publish(uri, "Users", {"USER_ID": "string", **extra}, rows, parts)


def _publish(uri: str, dataset_type: str, columns: dict[str, Any], rows: Sequence[tuple[Any, ...]], parts: int) -> str:
    fields = [{"name": name, **(kind if isinstance(kind, dict) else {"type": kind})} for name, kind in columns.items()]
    document = {"type": "record", "name": dataset_type, "fields": fields, "version": "1.0"}
    types = [ARROW_TYPES[next(each for each in _listed(field["type"]) if each != "null")] for field in fields]
    arrays = [pa.array([row[place] for row in rows], kind) for place, kind in enumerate(types)]
    table = pa.table([*arrays, pa.array(range(len(rows)), pa.int64())], names=[*columns, "INPUT_ORDER"])
    folder = StepFolder(uri)
    files = []
    for number in range(parts):
        begin, end = len(rows) * number // parts, len(rows) * (number + 1) // parts
        sink = pa.BufferOutputStream()
        pq.write_table(table.slice(begin, end - begin), sink, compression="zstd", row_group_size=1000)
        path = folder.attempt_path(f"data/part-{number:05d}.parquet")
        files.append(folder.put(path, sink.getvalue().to_pybytes(), end - begin))
    versions = [file.sha256 for file in files]
    counts = {"rows_read": len(rows), "rows_accepted": len(rows), "rows_rejected": 0}
    facts = {"dataset_type": dataset_type, "schema": document, "input_files": []}
    folder.publish("dataset", fingerprint("validate", document, versions), {}, [], files, counts, facts)
    return uri


def _listed(kind: Any) -> list[str]:
    return kind if isinstance(kind, list) else [kind]
