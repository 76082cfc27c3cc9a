"""Write a solution version: item vectors, user states, metrics and curves, and the manifest that makes them exist."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from torch import Tensor

from hrnn.evaluation import Evaluation, evaluate
from hrnn.held_out import hold_out
from hrnn.past_events import PastEvents, past_events
from hrnn.peers import Fit
from hrnn.preparation import Prepared
from hrnn.sequences import Sequences
from hrnn.session_model import ScoringModel, UserStates
from jobs.storage.folders import StepFolder
from jobs.training.model_files import Purpose, write_tensors
from jobs.training.segments import with_segments
from jobs.training.staging import Staged
from schemas import columns
from schemas.batch import SEGMENTS, LineKind
from schemas.manifest import FileEntry, Manifest

# What the held-out queries multiply; `recommend` takes `scoring.…`.
ITEM_VECTORS = "evaluation.item_vectors"
ITEM_BIAS = "evaluation.item_bias"
_USERS_AT_ONCE = 65_536


def write_model(
    folder: StepFolder, scratch: Path, nightly: ScoringModel, evaluation: ScoringModel, parameters: dict[str, Tensor]
) -> dict[Purpose, FileEntry]:
    """All parameters, and what `recommend` (`scoring.…`) and `evaluate` (`evaluation.…`) multiply, a file a purpose."""
    tensors = dict(parameters)
    for view, model in (("scoring", nightly), ("evaluation", evaluation)):
        tensors[f"{view}.item_vectors"] = model.item_vectors().contiguous()
        tensors[f"{view}.item_bias"] = model.item_bias().contiguous()
    return write_tensors(folder, scratch, tensors)


def write_states(
    folder: StepFolder, scratch: Path, model: ScoringModel, sequences: Sequences, staged: Staged
) -> tuple[list[FileEntry], list[dict[str, Any]]]:
    """States of every user after their last event, in the shards of the sequences; returns files and facts."""
    entries, facts = [], []
    for number, (shard, users_path) in enumerate(zip(staged.shards, staged.users, strict=True)):
        path = scratch / f"states-{number}.parquet"
        user_ids = pq.read_table(users_path, columns=[columns.USER_ID])[columns.USER_ID].combine_chunks()
        first, count = int(shard["first_user_row"]), int(shard["num_users"])
        writer: pq.ParquetWriter | None = None
        for begin in range(0, max(count, 1), _USERS_AT_ONCE):
            rows = np.arange(first + begin, first + min(begin + _USERS_AT_ONCE, count), dtype=np.int64)
            states, past = model.user_states(sequences, rows), past_events(sequences, rows)
            table = states_table(user_ids.slice(begin, len(rows)), rows, states, past)
            writer = writer or pq.ParquetWriter(path, table.schema, compression="zstd")
            writer.write_table(table)
        assert writer is not None
        writer.close()
        entry = folder.put_file(path, folder.own(f"states/part-{number:05d}.parquet"), rows=count)
        path.unlink()
        entries.append(entry)
        facts.append({"states": entry.path, "first_user_row": first, "num_users": count})
    return entries, facts


def states_table(
    user_ids: pa.Array, user_rows: np.ndarray[Any, np.dtype[np.int64]], states: UserStates, past: PastEvents
) -> pa.Table:
    """One row a user, as `recommend` reads it."""
    query = states.query.numpy()
    width = query.shape[1]
    return pa.table(
        {
            columns.USER_ID: user_ids,
            columns.USER_ROW: pa.array(user_rows),
            columns.QUERY: pa.FixedSizeListArray.from_arrays(pa.array(query.reshape(-1)), width)
            if width
            else pa.array([[]] * len(user_rows), pa.list_(pa.float32())),
            columns.OWN_ITEM_ROWS: _lists(states.own_offsets, pa.array(states.own_item_rows, pa.int64())),
            columns.OWN_ITEM_SCORES: _lists(states.own_offsets, pa.array(states.own_item_scores, pa.float32())),
            columns.PAST_ITEM_ROWS: _lists(past.offsets, pa.array(past.item_rows)),
            columns.PAST_EVENT_TYPES: _lists(past.offsets, pa.array(past.event_types)),
            columns.PAST_RANKS: _lists(past.offsets, pa.array(past.ranks)),
        }
    )


def copy_attributes(folder: StepFolder, scratch: Path, source: StepFolder, sequences: Manifest) -> list[FileEntry]:
    """What the Users dataset says of users, a file for each shard, as the sequences hold it; none without such a dataset."""
    entries = [sequences.file(path) for path in sequences.facts.get("attributes", [])]
    return [
        folder.put_file(source.fetch(entry, scratch), folder.own(f"attributes/part-{shard:05d}.parquet"), rows=entry.rows)
        for shard, entry in enumerate(entries)
    ]


def measure(
    folder: StepFolder,
    scratch: Path,
    model: ScoringModel,
    sequences: Sequences,
    prepared: Prepared,
    staged: Staged,
    *,
    other_peers: Mapping[str, Fit] | None = None,
    event_weights: npt.NDArray[np.float32] | None = None,
    kind: LineKind = "user",
) -> tuple[list[FileEntry], Evaluation]:
    """Rank for the test users as they were before their hidden events; returns held-out table and metrics.json, and metrics.

    `other_peers` and `event_weights` are those of `hrnn.held_out.hold_out`; `kind` is that of the recipe's lines.
    """
    segments = kind in SEGMENTS  # peers would know the hidden events of users who are not tested
    split = prepared.split
    held_out = hold_out(
        split,
        sequences,
        model.user_states(prepared.kept, split.user_rows),
        learnt_from=prepared.available,
        with_peers=not segments,
        other_peers=other_peers,
        event_weights=event_weights,
    )
    catalogue = staged.catalogue_table(None if segments else [columns.NUM_EVENTS, columns.NUM_USERS])
    evaluation = evaluate(
        held_out,
        model.item_vectors(),
        model.item_bias(),
        catalogue[columns.NUM_EVENTS].to_numpy(),
        catalogue[columns.NUM_USERS].to_numpy(),
    )
    if segments:
        evaluation = with_segments(
            evaluation, held_out, model.item_vectors(), model.item_bias(), catalogue, kind, staged.manifest.facts
        )
    path = scratch / "evaluation.parquet"
    pq.write_table(held_out.to_table(), path, compression="zstd")
    table = folder.put_file(path, folder.own("evaluation.parquet"), rows=len(held_out))
    document = (json.dumps(evaluation.to_document(), indent=1) + "\n").encode()
    return [table, folder.put(folder.own("metrics.json"), document)], evaluation


def write_curve(folder: StepFolder, scratch: Path, points: list[dict[str, Any]]) -> FileEntry:
    """training.parquet: one row a point of the curve."""
    schema = pa.schema(
        {
            "step": pa.int64(),
            "epoch": pa.int64(),
            "events": pa.int64(),
            "seconds": pa.float64(),
            "loss": pa.float64(),
            "learning_rate": pa.float64(),
            "validation": pa.float64(),
        }
    )
    path = scratch / "training.parquet"
    pq.write_table(pa.Table.from_pylist(points, schema), path, compression="zstd")
    return folder.put_file(path, folder.own("training.parquet"), rows=len(points))


def _lists(offsets: np.ndarray[Any, np.dtype[np.int64]], values: pa.Array) -> pa.Array:
    return pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), values)
