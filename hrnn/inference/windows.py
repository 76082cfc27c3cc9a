"""Ask models that read the newest events of a history anew for each answer."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from hrnn.data.arrays import Rows
from hrnn.data.sequences import Sequences
from hrnn.models.contract import Batch, Queries, SequenceModel
from hrnn.training.batching.windows import window_batch

_LANES = 1_024


@torch.no_grad()
def queries_of_windows(
    model: SequenceModel, sequences: Sequences, user_rows: Rows, num_steps: int, *, within_session: bool
) -> Queries:
    """Queries after the newest events of some users, the same for the session that there is and for a next one.

    Args:
        model: Trained parameters, on any device.
        sequences: Histories, possibly truncated.
        user_rows: int64 [B], in any order.
        num_steps: Events that are read, at most.
        within_session: Whether only those of the last session are.

    Returns:
        On the CPU, in the order of `user_rows`.
    """
    vectors = model.packed_items(model.item_table)[:, :-1]
    found = [vectors.new_zeros(0, vectors.shape[1])]
    for batch in _batches(sequences, user_rows, num_steps, within_session):
        inputs = vectors[torch.from_numpy(batch.items).to(vectors.device)]
        found.append(model.encode(inputs, batch, {})[0])
    queries: Tensor = torch.cat(found).cpu()
    return Queries(queries, queries)


def _batches(sequences: Sequences, user_rows: Rows, num_steps: int, within_session: bool) -> Iterator[Batch]:
    begin, lengths = sequences.user_offsets[:-1][user_rows], sequences.history_lengths[user_rows]
    for first in range(0, len(user_rows), _LANES):
        some = slice(first, first + _LANES)
        there = lengths[some] > 0
        yield window_batch(
            sequences,
            begin[some],
            begin[some] + lengths[some],
            there,
            min(num_steps, max(1, int(lengths[some].max(initial=0)))),
            within_session=within_session,
            has_target=False,
        )
