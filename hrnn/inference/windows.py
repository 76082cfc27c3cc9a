"""Queries of models that read a window of the newest events anew for each prediction."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from hrnn.data.arrays import Rows
from hrnn.data.sequences import Sequences
from hrnn.models.contract import Batch, Queries, SequenceModel
from hrnn.training.batching.windows import window_batch

_LANES = 1_024  # users at once; bounds memory, [num_steps + 1, _LANES, D] a tensor


@torch.no_grad()
def queries_of_windows(
    model: SequenceModel, sequences: Sequences, user_rows: Rows, num_steps: int, *, within_session: bool
) -> Queries:
    """Queries after the newest events of B users, the same for the current session and for a next one.

    Args:
        model: Trained parameters, on any device.
        sequences: Histories, possibly truncated.
        user_rows: int64 [B], in any order.
        num_steps: Most events that are read.
        within_session: Whether only events of the last session are read.

    Returns:
        On the CPU, in the order of `user_rows`.
    """
    vectors = model.packed_items(model.item_table)[:, :-1]
    parts = [vectors.new_zeros(0, vectors.shape[1])]
    for batch in _batches(sequences, user_rows, num_steps, within_session):
        inputs = vectors[torch.from_numpy(batch.items).to(vectors.device)]  # [num_steps + 1, lanes, D]
        parts.append(model.encode(inputs, batch, {})[0])
    queries: Tensor = torch.cat(parts).cpu()
    return Queries(queries, queries)


def _batches(sequences: Sequences, user_rows: Rows, num_steps: int, within_session: bool) -> Iterator[Batch]:
    """Windows of up to _LANES users at a time, each as long as the longest history among them."""
    begin, lengths = sequences.user_offsets[:-1][user_rows], sequences.history_lengths[user_rows]
    for first in range(0, len(user_rows), _LANES):
        group = slice(first, first + _LANES)
        has_events = lengths[group] > 0
        yield window_batch(
            sequences,
            begin[group],
            begin[group] + lengths[group],
            has_events,
            min(num_steps, max(1, int(lengths[group].max(initial=0)))),
            within_session=within_session,
            has_target=False,
        )
