"""Forward pass of a training step: loss of a batch from the touched rows of the item table."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from hrnn.data.arrays import Floats, Rows
from hrnn.models.contract import Batch, Carry, SequenceModel
from hrnn.training.losses import Scored
from hrnn.training.negatives import Negatives
from hrnn.training.settings import TrainingSettings


class TrainingStep(nn.Module):
    """Model and loss as one module, so that DistributedDataParallel reduces the gradients of all dense parameters.

    Args:
        model: Its item table is not read here: `forward` is given the touched rows.
        settings: With the loss.
    """

    def __init__(self, model: SequenceModel, settings: TrainingSettings) -> None:
        super().__init__()
        self.model, self._settings = model, settings

    def forward(self, table: Tensor, rows: Rows, batch: Batch, negatives: Negatives, carry: Carry) -> tuple[Tensor, Carry]:
        """Loss of a batch, summed over its targets, and the new carry.

        Args:
            table: [M, …], the touched rows of the item table.
            rows: int64 [M], item rows of batch and negatives, rising.
            batch: The events.
            negatives: Shared by all targets.
            carry: Hidden state of the lanes.
        """
        # Places in the compact table, by bisection in its rising item rows.
        device = table.device
        place, negative_place = np.searchsorted(rows, batch.items), np.searchsorted(rows, negatives.item_rows)
        places = (torch.from_numpy(indices.reshape(-1)).to(device) for indices in (place, negative_place))
        packed = self.model.packed_items(table)
        # [T · B, D], [T · B, D + 1] and [S, D + 1]; an event is input to those after it, and the positive of its own place.
        vectors, positives, negative_items = _Gathered.apply(packed, *places)  # type: ignore[no-untyped-call]
        queries, carry = self.model.encode(vectors.view(*place.shape, -1), batch, carry)
        # An accidental hit: the sample holds the row's own positive, which must not be its negative.
        negative_of_row = np.full(len(rows), -1, dtype=np.int64)
        negative_of_row[negative_place] = np.arange(len(negative_place))
        hits = negative_of_row[place].reshape(-1)
        if batch.target_places is not None:
            positives = positives[torch.from_numpy(batch.target_places).to(device)]
            hits = hits[batch.target_places]
        scored = Scored(
            queries,
            positives,
            negative_items,
            torch.from_numpy(negatives.log_weight).to(device),
            torch.from_numpy(hits).to(device),
            None if batch.weights is None else torch.from_numpy(batch.weights).to(table),
        )
        return self.model.loss(scored, self._settings), carry


def with_targets(batch: Batch, event_weights: npt.NDArray[np.float32] | None, *, within_session_only: bool) -> Batch:
    """The batch with its targets: alive events, less those that settings and event weights leave out.

    Args:
        batch: Targets that it already has are narrowed.
        event_weights: float32 [E], weight of each stored event as a target, none where 0; None: all alike.
        within_session_only: Whether first events of sessions are no targets.
    """
    targets = batch.alive & ~batch.session_starts if within_session_only else batch.alive
    if batch.target_places is not None:
        named = np.zeros(targets.size, dtype=np.bool_)
        named[batch.target_places] = True
        targets = targets & named.reshape(targets.shape)
    weights: Floats | None = None
    if event_weights is not None:
        place_weights = np.asarray(event_weights[batch.positions])
        targets = targets & (place_weights > 0)
        weights = place_weights[targets]
    return replace(batch, target_places=None if targets.all() else np.flatnonzero(targets), weights=weights)


class _Gathered(torch.autograd.Function):
    """Gather of a table [M, D + 1] as events' vectors [T · B, D], as positives [T · B, D + 1], as negatives [S, D + 1]."""

    # One node, or autograd would fill a gradient as large as the table for either gather, and one more for the slice.
    @staticmethod
    def forward(ctx: Any, table: Tensor, place: Tensor, negative_place: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        ctx.save_for_backward(place, negative_place)
        ctx.num_rows = len(table)
        positives = table.index_select(0, place)
        return positives[:, :-1].contiguous(), positives, table.index_select(0, negative_place)

    @staticmethod
    def backward(ctx: Any, of_vectors: Tensor, of_positives: Tensor, of_negatives: Tensor) -> Any:
        place, negative_place = ctx.saved_tensors
        # Negatives are distinct, so that they are copied; events repeat items, and are added up.
        grad = of_negatives.new_zeros(ctx.num_rows, of_negatives.shape[1]).index_copy_(0, negative_place, of_negatives)
        both = of_positives.clone()
        both[:, :-1] += of_vectors
        if grad.is_cuda:  # which adds rows up in an order of its own, but for this call
            return grad.index_put_((place,), both, accumulate=True), None, None
        return grad.index_add_(0, place, both), None, None
