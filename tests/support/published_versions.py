"""Solution versions of aws-hrnn for tests: untrained, published as `train` does, in milliseconds."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors.torch import load_file

from hrnn.blend.weights import FEATURES
from hrnn.data.sequences import Sequences
from hrnn.models.hrnn import Hrnn, HrnnShape
from jobs.platform.storage.folders import StepFolder
from jobs.solutions.tensors import Purpose, tensor_file, write_tensors
from schemas.manifest import InputRef

WIDTH = 6


def publish_untrained(uri: str, sequences: Sequences, scratch: Path, metrics: dict[str, Any]) -> str:
    """Write a version with random parameters and a curve of three epochs, the second of which is the best.

    Args:
        uri: Its folder.
        sequences: What it is of.
        scratch: A local folder.
        metrics: metrics.json.
    """
    folder = StepFolder(uri)
    model = Hrnn.initial(HrnnShape(num_items=sequences.num_items, hidden_dimension=WIDTH), sequences.item_counts(), seed=0)
    weights = torch.from_numpy(np.random.default_rng(0).normal(size=len(FEATURES)).astype(np.float32))
    weights[FEATURES.index("own")] = 5.0  # so that past events matter
    local = scratch / "file"
    tensors = {
        "item_table": model.item_table.data,
        "dense": model.dense.data,
        "blend.same_session": weights,
        "blend.next_session": weights + 1,
    }
    settings = {"num_lanes": 4096, "momentum": 0.5, "time_limit_seconds": None, "split": "personalize"}
    stored = write_tensors(folder, scratch, tensors)
    pq.write_table(pa.table({"epoch": [1, 2, 3], "loss": [3.0, 2.0, 1.0], "validation": [2.5, 2.0, None]}), local)
    curve = folder.put_file(local, folder.attempt_path("training.parquet"))
    measured = folder.put(folder.attempt_path("metrics.json"), json.dumps(metrics).encode())
    folder.publish(
        "solution_version",
        "c" * 64,
        {
            "recipe": "aws-hrnn",
            "variant": "init",
            "settings": settings,
        },
        [InputRef(uri="sequences", version="a" * 64)],
        [*stored.values(), curve, measured],
        counts={"users": sequences.num_users, "items": sequences.num_items, "events": sequences.num_events},
        metadata={
            "recipe": "aws-hrnn",
            "hyperparameters": {"hidden_dimension": WIDTH, "recency_mask": True},
            "model": {purpose: entry.path for purpose, entry in stored.items()},
            "training": curve.path,
            "metrics": measured.path,
            "training_outcome": {"best_epoch": 2, "shape": asdict(model.shape)},
        },
    )
    return folder.uri


def tensors_of(uri: str, scratch: Path) -> dict[str, torch.Tensor]:
    """All tensors of a published version, by name, from the files of every purpose."""
    folder = StepFolder(uri)
    manifest = folder.require("solution_version")
    files = [folder.fetch(tensor_file(manifest, purpose), scratch) for purpose in get_args(Purpose)]
    return {name: tensor for file in files for name, tensor in load_file(file).items()}
