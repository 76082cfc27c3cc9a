"""Recipes of user segments: which columns of the catalogue they offer, and their metrics."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from hrnn.evaluation.evaluate import Evaluation
from hrnn.evaluation.holdout import HeldOut
from hrnn.evaluation.segment_metrics import attribute_sets, attributes_without_use, item_sets, segment_metrics
from schemas import columns
from schemas.batch import LineKind
from schemas.datasets import parse_schema_document
from schemas.errors import DataError


def with_segments(
    evaluation: Evaluation,
    held_out: HeldOut,
    item_vectors: torch.Tensor,
    item_bias: torch.Tensor,
    catalogue: pa.Table,
    kind: LineKind,
    metadata: Mapping[str, Any],
) -> Evaluation:
    """An evaluation with the metrics of user segments.

    Args:
        evaluation: Of lists of items.
        held_out: The test users.
        item_vectors: float32 [N, D].
        item_bias: float32 [N].
        catalogue: N items, all columns.
        kind: Of the recipe's lines.
        metadata: Of a manifest that holds the datasets' schemas.
    """
    ranked = int(np.count_nonzero(catalogue[columns.NUM_EVENTS].to_numpy()))
    sets = item_sets(held_out)
    if kind == "attribute_users":
        sets = attribute_sets(catalogue.slice(0, ranked), attribute_columns(catalogue.schema, metadata))
    return replace(evaluation, segments=segment_metrics(held_out, item_vectors[:ranked], item_bias[:ranked], sets))


def attribute_columns(catalogue: pa.Schema, metadata: Mapping[str, Any]) -> list[str]:
    """Columns of items that a segment's line may name: metadata of strings or numbers that are not textual.

    Raises:
        DataError: There are none.
    """
    document = metadata.get("schemas", {}).get("Items")
    if document is None:
        names = [field.name for field in catalogue if pa.types.is_string(field.type) and field.name != columns.ITEM_ID]
    else:
        fields = parse_schema_document(document).metadata
        usable = [field.name for field in fields if not field.textual and field.kind != "truth"]
        names = [name for name in usable if name in catalogue.names]
    if not names:
        raise DataError(
            "aws-item-attribute-affinity needs an Items dataset with a column of strings or numbers that is not textual",
            remedy="Sessionize with the Items dataset, or take aws-item-affinity.",
        )
    return names


def warn_of_attributes(catalogue: pa.Table, names: Sequence[str]) -> None:
    """Warn on stderr of columns whose values make no useful segments.

    Args:
        catalogue: NUM_EVENTS and these columns of all items, those with events first.
        names: Columns that a segment's line may name.
    """
    ranked = int(np.count_nonzero(catalogue[columns.NUM_EVENTS].to_numpy()))
    for sentence in attributes_without_use(catalogue.slice(0, ranked), names):
        print(f"train: {sentence}", file=sys.stderr)
