"""Write a solution version: item vectors, attributes of users, metrics and curves."""

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

from hrnn.data.sequences import Sequences
from hrnn.data.splits import Prepared
from hrnn.evaluation.baselines import Fit
from hrnn.evaluation.evaluate import Evaluation, evaluate
from hrnn.evaluation.holdout import hold_out
from hrnn.models.contract import Snapshot
from hrnn.ranker.snapshot import RankedSnapshot
from hrnn.ranker.stored import StoredRanker
from jobs.platform.storage.folders import StepFolder
from jobs.solutions.segments import with_segments
from jobs.solutions.staging import Staged
from jobs.solutions.tensors import Purpose, write_tensors
from schemas import columns
from schemas.batch import SEGMENTS, LineKind
from schemas.manifest import FileEntry, Manifest


def write_model(
    folder: StepFolder, scratch: Path, serving: Snapshot, evaluation: Snapshot, parameters: dict[str, Tensor]
) -> dict[Purpose, FileEntry]:
    """All parameters, and what `recommend` (`scoring.…`) and `evaluate` (`evaluation.…`) multiply, a file a purpose."""
    tensors = dict(parameters)
    for view, model in (("scoring", serving), ("evaluation", evaluation)):
        tensors[f"{view}.item_vectors"], tensors[f"{view}.item_bias"] = (part.contiguous() for part in model.items())
    return write_tensors(folder, scratch, tensors)


def write_ranker(folder: StepFolder, scratch: Path, serving: Snapshot) -> tuple[list[FileEntry], dict[str, Any]]:
    """What explanations need of a ranker that serves: its files, and facts that name them; nothing where none does.

    ranker/OBJECTIVE.txt are the trees, as LightGBM writes them; the others are those of hrnn/ranker/stored.py.
    """
    if not isinstance(serving, RankedSnapshot):
        return [], {}
    stored = StoredRanker.of(serving)
    trees = [folder.put(folder.attempt_path(f"ranker/{name}.txt"), text.encode()) for name, text in stored.trees.items()]
    paths = scratch / "tables.safetensors", scratch / "neighbours.parquet"
    stored.save(*paths)
    tables, neighbours = (folder.put_file(path, folder.attempt_path(f"ranker/{path.name}")) for path in paths)
    facts = {"ranker": [entry.path for entry in trees], "ranker_tables": tables.path, "ranker_neighbours": neighbours.path}
    return [*trees, tables, neighbours], facts


def copy_attributes(folder: StepFolder, scratch: Path, source: StepFolder, sequences: Manifest) -> list[FileEntry]:
    """Copy the Users dataset's attributes from the sequences, a file a shard; none without such a dataset."""
    entries = [sequences.file(path) for path in sequences.metadata.get("attributes", [])]
    return [
        folder.put_file(
            source.fetch(entry, scratch),
            folder.attempt_path(f"attributes/part-{shard:05d}.parquet"),
            rows=entry.rows,
            sha256=entry.sha256,
        )
        for shard, entry in enumerate(entries)
    ]


def measure(
    folder: StepFolder,
    scratch: Path,
    model: Snapshot,
    sequences: Sequences,
    prepared: Prepared,
    staged: Staged,
    *,
    other_baselines: Mapping[str, Fit] | None = None,
    event_weights: npt.NDArray[np.float32] | None = None,
    kind: LineKind = "user",
    next_period: Mapping[str, Any] | None = None,
) -> tuple[list[FileEntry], Evaluation]:
    """Rank for the test users as they were before their hidden events; returns held-out table and metrics.json, and metrics.

    `other_baselines` and `event_weights` are those of `hrnn.evaluation.holdout.hold_out`; `kind` is that of the recipe's lines.
    """
    segments = kind in SEGMENTS  # baselines would know the hidden events of users who are not tested
    split = prepared.split
    held_out = hold_out(
        split,
        sequences,
        model.user_states(prepared.kept, split.user_rows),
        fit=prepared.fit_and_calibration,
        with_baselines=not segments,
        other_baselines=other_baselines,
        event_weights=event_weights,
    )
    catalogue = staged.catalogue_table(None if segments else [columns.NUM_EVENTS, columns.NUM_USERS])
    items = model.items()
    evaluation = evaluate(
        held_out,
        *items,
        catalogue[columns.NUM_EVENTS].to_numpy(),
        catalogue[columns.NUM_USERS].to_numpy(),
    )
    if segments:
        evaluation = with_segments(evaluation, held_out, *items, catalogue, kind, staged.manifest.metadata)
    path = scratch / "evaluation.parquet"
    pq.write_table(held_out.to_table(), path, compression="zstd")
    table = folder.put_file(path, folder.attempt_path("evaluation.parquet"), rows=len(held_out))
    measured = evaluation.to_document() | ({} if next_period is None else {"next_period": next_period})
    document = (json.dumps(measured, indent=1) + "\n").encode()
    return [table, folder.put(folder.attempt_path("metrics.json"), document)], evaluation


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
    return folder.put_file(path, folder.attempt_path("training.parquet"), rows=len(points))
