"""Metadata of staged sequences: the columns that may be learnt from, as arrays that processes of this node map."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from hrnn.data.arrays import mapped_array
from hrnn.data.metadata import Codes, Metadata, item_columns, user_codes
from hrnn.data.ragged import offsets_of
from jobs.platform.storage.folders import StepFolder
from jobs.solutions.staging import METADATA, Staged
from schemas import columns
from schemas.datasets import DatasetSchema, parse_schemas
from schemas.training_columns import TrainingColumns


def stage_metadata(source: StepFolder, staged: Staged, chosen: TrainingColumns, scratch: Path) -> None:
    """Write the metadata among the arrays.

    Args:
        source: The sequences' folder.
        staged: Its files on this node.
        chosen: Which columns may be learnt from.
        scratch: A local folder.

    Raises:
        IntegrityError: A file is not the one that was written.
    """
    schemas = parse_schemas(staged.manifest.metadata.get("schemas", {}), source.uri)
    parts: dict[str, Any] = {}
    if "Items" in schemas:
        fields = chosen.fields("Items", schemas["Items"])
        catalogue = staged.catalogue_table([field.name for field in fields])
        parts["item_values"], parts["item_numbers"] = item_columns(catalogue, fields)
    if "Users" in schemas:
        parts["user_codes"] = _of_users(source, staged, schemas["Users"], chosen, scratch)
    if "Interactions" in schemas:
        parts["event_codes"], parts["event_numbers"] = _of_events(staged, schemas["Interactions"], chosen, scratch)
        if chosen.takes("Interactions", columns.EVENT_TYPE):
            parts["event_types"] = tuple(staged.manifest.metadata.get("event_types", []))
    Metadata(**parts).save(staged.arrays / METADATA)


def _of_users(
    source: StepFolder, staged: Staged, schema: DatasetSchema, chosen: TrainingColumns, scratch: Path
) -> dict[str, Codes]:
    """Codes of all users, one column in memory at a time."""
    paths = [source.fetch(staged.manifest.file(path), scratch) for path in staged.manifest.metadata.get("attributes", [])]
    first = offsets_of([int(shard["num_users"]) for shard in staged.shards])
    rows = []
    for path, users, begin in zip(paths, staged.users, first[:-1], strict=True):
        ids, known = (pq.read_table(file, columns=[columns.USER_ID])[columns.USER_ID] for file in (path, users))
        places = pc.fill_null(pc.index_in(ids, known.combine_chunks()), -1).to_numpy().astype(np.int64)
        rows.append(np.where(places >= 0, places + begin, -1))
    codes: dict[str, Codes] = {}
    for field in chosen.fields("Users", schema):
        table = pa.concat_tables([pq.read_table(path, columns=[field.name]) for path in paths])
        codes |= user_codes(table, np.concatenate(rows), [field], int(first[-1]))
    return codes


def _of_events(
    staged: Staged, schema: DatasetSchema, chosen: TrainingColumns, scratch: Path
) -> tuple[dict[str, Codes], dict[str, npt.NDArray[np.float32]]]:
    """Codes and numbers of all events, one shard in memory at a time."""
    fields = chosen.fields("Interactions", schema)
    has_values = columns.EVENT_VALUE in schema.names and chosen.takes("Interactions", columns.EVENT_VALUE)
    numbers = [columns.EVENT_VALUE] if has_values else []
    numbers += [field.name for field in fields if field.kind != "text"]
    kinds: dict[str, Any] = {field.name: np.int32 for field in fields if field.categorical} | dict.fromkeys(numbers, np.float32)
    num_events = sum(int(shard["num_events"]) for shard in staged.shards)
    arrays: dict[str, npt.NDArray[Any]] = {
        name: mapped_array(scratch / f"column-{number}.npy", kind, num_events)
        for number, (name, kind) in enumerate(kinds.items())
    }
    done = 0
    for path, shard in zip(staged.events, staged.shards, strict=True):
        table = pq.read_table(path, columns=list(arrays))
        for name, array in arrays.items():
            column = table[name].cast(pa.int8()) if pa.types.is_boolean(table[name].type) else table[name]
            array[done : done + shard["num_events"]] = column.to_numpy()
        done += shard["num_events"]
    return {name: arrays[name] for name in kinds if name not in numbers}, {name: arrays[name] for name in numbers}
