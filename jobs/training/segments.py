"""What recipes of user segments need of the catalogue, and how they are measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from hrnn.evaluation import Evaluation
from hrnn.held_out import HeldOut
from hrnn.segment_metrics import attribute_sets, item_sets, segment_metrics
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
    facts: Mapping[str, Any],
) -> Evaluation:
    """An evaluation with the metrics of user segments.

    Args:
        evaluation: Of lists of items.
        held_out: The test users.
        item_vectors: float32 [N, D].
        item_bias: float32 [N].
        catalogue: N items, all columns.
        kind: Of the recipe's lines.
        facts: Of a manifest that holds the datasets' schemas.
    """
    ranked = int(np.count_nonzero(catalogue[columns.NUM_EVENTS].to_numpy()))
    sets = item_sets(held_out)
    if kind == "attribute_users":
        sets = attribute_sets(catalogue.slice(0, ranked), attribute_columns(catalogue.schema, facts))
    return replace(evaluation, segments=segment_metrics(held_out, item_vectors[:ranked], item_bias[:ranked], sets))


def attribute_columns(catalogue: pa.Schema, facts: Mapping[str, Any]) -> list[str]:
    """Columns of items by whose texts users can be asked for.

    Raises:
        DataError: There are none.
    """
    document = facts.get("schemas", {}).get("Items")
    texts = [field.name for field in catalogue if pa.types.is_string(field.type) and field.name != columns.ITEM_ID]
    if document is not None:
        schema = parse_schema_document(document)
        texts = [name for name in texts if (field := schema.field(name)) is not None and not field.textual]
    if not texts:
        raise DataError(
            "aws-item-attribute-affinity needs an Items dataset with a string column that is not textual",
            remedy="Sessionize with the Items dataset, or take aws-item-affinity.",
        )
    return texts
