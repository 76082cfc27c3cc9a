"""Pre-norm block of a causal transformer, with optionally gated residuals.

    x += gate(x) ⊙ attention(norm(x));   x += gate(x) ⊙ W₂ gelu(W₁ norm(x));   gate(x) = σ(x · W), or 1

Source: Vaswani et al. 2017; the gates: Xie et al. 2023 (LiGR, in "End-to-end training of multimodal model and ranking model").
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hrnn.layers.dropout import dropped
from hrnn.layers.initial import gates


class Block(nn.Module):
    """See the module's text.

    Args:
        width: D.
        heads: Must divide it.
        gated: Whether residuals are gated.
        generator: Of the initial values.
    """

    def __init__(self, width: int, heads: int, gated: bool, generator: torch.Generator) -> None:
        super().__init__()
        self._heads = heads
        self.attention_scale, self.feed_scale = (nn.Parameter(torch.ones(width)) for _ in range(2))
        self.attention_shift, self.feed_shift = (nn.Parameter(torch.zeros(width)) for _ in range(2))
        self.entering = nn.Parameter(gates(width, width, generator))
        self.leaving = nn.Parameter(gates(width, width, generator, 1))
        self.feed_in, self.feed_in_bias = nn.Parameter(gates(width, width, generator, 4)), nn.Parameter(torch.zeros(4 * width))
        self.feed_out, self.feed_out_bias = (
            nn.Parameter(gates(4 * width, width, generator, 1)),
            nn.Parameter(torch.zeros(width)),
        )
        if gated:
            self.attention_gate = nn.Parameter(gates(width, width, generator, 1))
            self.feed_gate = nn.Parameter(gates(width, width, generator, 1))
        self._gated = gated

    def forward(self, values: Tensor, mask: Tensor, dropout: float, seed: tuple[int, ...] | None) -> Tensor:
        """Values after the block, [B, T, D].

        Args:
            values: [B, T, D].
            mask: bool [B, 1, T, T], which places each place attends to; itself is one.
            dropout: Dropout rate of attention and feed-forward outputs.
            seed: Of the dropout masks; None: no dropout.
        """
        lanes, steps, width = values.shape
        entering = nn.functional.layer_norm(values, (width,), self.attention_scale, self.attention_shift) @ self.entering
        # [B, heads, T, D / heads] each
        query, key, value = (part.view(lanes, steps, self._heads, -1).transpose(1, 2) for part in entering.chunk(3, dim=2))
        attended = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        attended = attended.transpose(1, 2).reshape(lanes, steps, width) @ self.leaving
        attended = attended if seed is None else dropped(attended, dropout, (*seed, 0))
        # The gate reads what comes in, before normalisation; so does the second one.
        values = values + (torch.sigmoid(values @ self.attention_gate) * attended if self._gated else attended)
        fed = nn.functional.layer_norm(values, (width,), self.feed_scale, self.feed_shift) @ self.feed_in + self.feed_in_bias
        fed = nn.functional.gelu(fed) @ self.feed_out + self.feed_out_bias
        fed = fed if seed is None else dropped(fed, dropout, (*seed, 1))
        return values + (torch.sigmoid(values @ self.feed_gate) * fed if self._gated else fed)
