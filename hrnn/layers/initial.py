"""Initial values of parameters, drawn uniformly in ±sqrt(6 / (rows + columns)) of each gate's own block.

Source: Glorot & Bengio 2010, block by block as in GRU4Rec: over the three gates together the values would be too small.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hrnn.data.arrays import Rows


def uniform(rows: int, width: int, generator: torch.Generator, columns: int | None = None) -> Tensor:
    """Glorot-uniform values [rows, columns or width], with the bound of a block of `width` columns."""
    bound = math.sqrt(6.0 / (rows + width))
    return (torch.rand(rows, columns or width, generator=generator) * 2.0 - 1.0) * bound


def gates(rows: int, width: int, generator: torch.Generator, number: int = 3) -> Tensor:
    """Blocks of Glorot-uniform values side by side, one a gate: [rows, number · width]."""
    return torch.cat([uniform(rows, width, generator) for _ in range(number)], dim=1)


def shared_item_table(item_counts: Rows, width: int, generator: torch.Generator) -> Tensor:
    """Shared input and output embeddings, and biases in the last column, the log of an item's share of events: [N, width + 1].

    Items without events have a zero vector.
    """
    # The bound falls with N, as in GRU4Rec: vectors begin near zero, which Adagrad's first steps, as long as the rate, make up
    # for. Drawn by a unit normal, as torch.nn.Embedding is, products would drown the biases.
    table = uniform(len(item_counts), width, generator, width + 1)
    counts = torch.from_numpy(item_counts).to(torch.float32)
    # With no more than that, a softmax is popularity: half an event more, or a log of 0 would be infinite.
    table[:, width] = torch.log((counts + 0.5) / counts.sum().clamp(min=1.0))
    table[counts == 0, :width] = 0.0  # no event and no draw ever trains them: their noise would stay for good
    return table
