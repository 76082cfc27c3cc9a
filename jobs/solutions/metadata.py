"""Metadata of staged sequences: the columns that may be learnt from, as arrays that processes of this node map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from hrnn.data.arrays import Rows, mapped_array
from hrnn.data.metadata import Codes, Metadata, item_columns, user_codes
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
    num_users, rows = sum(int(shard["num_users"]) for shard in staged.shards), []
    for path, users in zip(paths, staged.users, strict=True):
        ids = pq.read_table(path, columns=[columns.USER_ID])[columns.USER_ID]
        rows.append(_rows_of(ids, pq.read_table(users, columns=[columns.USER_ID, columns.USER_ROW])))
    codes: dict[str, Codes] = {}
    for field in chosen.fields("Users", schema):
        table = pa.concat_tables([pq.read_table(path, columns=[field.name]) for path in paths])
        codes |= user_codes(table, np.concatenate(rows), [field], num_users)
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
        for name, values in _event_columns(path, list(arrays)).items():
            arrays[name][done : done + shard["num_events"]] = values
        done += shard["num_events"]
    return {name: arrays[name] for name in kinds if name not in numbers}, {name: arrays[name] for name in numbers}


def _event_columns(path: Path, names: Sequence[str]) -> dict[str, npt.NDArray[Any]]:
    """Columns of a shard's events; truth values as 0 and 1."""
    table = pq.read_table(path, columns=list(names))
    of_truth = {name: pa.types.is_boolean(table[name].type) for name in names}
    return {name: (table[name].cast(pa.int8()) if of_truth[name] else table[name]).to_numpy() for name in names}


def _rows_of(user_ids: pa.ChunkedArray, users: pa.Table) -> Rows:
    """user_row of each id; -1: it is none of the users."""
    places = pc.fill_null(pc.index_in(user_ids, users[columns.USER_ID].combine_chunks()), -1).to_numpy().astype(np.int64)
    rows: Rows = np.append(users[columns.USER_ROW].to_numpy(), -1)[places]
    return rows


def metadata_of_shard(
    named: Mapping[str, Sequence[str]],
    schemas: Mapping[Any, DatasetSchema],
    attributes: Sequence[Path],
    users: pa.Table,
    num_users: int,
    shard: int,
    events: Path,
) -> Metadata:
    """Those of the users and events of one shard, with the codes that `stage_metadata` gives them; none of items.

    Args:
        named: user_codes, event_codes and event_numbers: names of the columns.
        schemas: Of the datasets.
        attributes: Local files of the Users dataset, by shard; all of them, since codes hang on all users' values.
        users: USER_ID and user_row, within the shard, of its users.
        num_users: Of the shard.
        shard: Its number.
        events: Its local file of events.
    """
    codes: dict[str, Codes] = {}
    for name in named["user_codes"]:
        [field] = [field for field in schemas["Users"].metadata if field.name == name]
        tables = [pq.read_table(path, columns=[name]) for path in attributes]
        rows = [np.full(len(table), -1, dtype=np.int64) for table in tables]
        rows[shard] = _rows_of(pq.read_table(attributes[shard], columns=[columns.USER_ID])[columns.USER_ID], users)
        codes |= user_codes(pa.concat_tables(tables), np.concatenate(rows), [field], num_users)
    of_events = _event_columns(events, [*named["event_codes"], *named["event_numbers"]])
    return Metadata(
        user_codes=codes,
        event_codes={name: of_events[name].astype(np.int32) for name in named["event_codes"]},
        event_numbers={name: of_events[name].astype(np.float32) for name in named["event_numbers"]},
    )
