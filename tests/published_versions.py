"""Solution versions of aws-hrnn for tests: untrained, published as `train` does, in milliseconds."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors.torch import save_file

from hrnn.blending import FEATURES
from hrnn.models.hrnn import Hrnn, HrnnShape
from hrnn.sequences import Sequences
from jobs.storage.folders import StepFolder
from schemas.manifest import InputRef

WIDTH = 6


def publish_untrained(uri: str, sequences: Sequences, scratch: Path, metrics: dict[str, Any], num_features: int = 0) -> str:
    """Write a version with random parameters and a curve of three epochs, the second of which is the best.

    Args:
        uri: Its folder.
        sequences: What it is of.
        scratch: A local folder.
        metrics: metrics.json.
        num_features: Of the paths; 0: this release's.
    """
    folder = StepFolder(uri)
    model = Hrnn.initial(HrnnShape(num_items=sequences.num_items, hidden_dimension=WIDTH), sequences.item_counts(), seed=0)
    weights = torch.from_numpy(np.random.default_rng(0).normal(size=num_features or len(FEATURES)).astype(np.float32))
    if not num_features:
        weights[FEATURES.index("own")] = 5.0  # so that past events matter
    local = scratch / "file"
    save_file({"item_table": model.item_table, "dense": model.dense, "paths.now": weights, "paths.later": weights + 1}, local)
    settings = {"num_lanes": 4096, "momentum": 0.5, "time_limit_seconds": None, "split": "personalize"}
    stored = folder.put_file(local, folder.own("model.safetensors"))
    pq.write_table(pa.table({"epoch": [1, 2, 3], "loss": [3.0, 2.0, 1.0], "validation": [2.5, 2.0, None]}), local)
    curve = folder.put_file(local, folder.own("training.parquet"))
    measured = folder.put(folder.own("metrics.json"), json.dumps(metrics).encode())
    folder.publish(
        "solution_version",
        "c" * 64,
        {
            "recipe": "aws-hrnn",
            "variant": "init",
            "settings": settings,
        },
        [InputRef(uri="sequences", version="a" * 64)],
        [stored, curve, measured],
        counts={"users": sequences.num_users, "items": sequences.num_items, "events": sequences.num_events},
        facts={
            "recipe": "aws-hrnn",
            "hyperparameters": {"hidden_dimension": WIDTH, "recency_mask": True},
            "model": stored.path,
            "training": curve.path,
            "metrics": measured.path,
            "training_outcome": {"best_epoch": 2, "shape": asdict(model.shape)},
        },
    )
    return folder.uri
