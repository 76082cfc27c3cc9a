"""Dropout that a resumed training reproduces: masks are a function of a seed, not of a generator's state."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def dropped(values: Tensor, share: float, seed: tuple[int, ...]) -> Tensor:
    """Inverted dropout.

    Args:
        values: Of any shape.
        share: Dropout rate; kept values are scaled up, so that the mean stays.
        seed: Determines the mask.
    """
    if share == 0.0:
        return values
    if not values.is_cuda:
        # Sixteen bits a value, four values a 64-bit draw: the rate is rounded to 1 / 65,536.
        draws = np.random.Philox(np.random.SeedSequence(seed)).random_raw(-(-values.numel() // 4)).view(np.uint16)
        kept = torch.from_numpy((draws[: values.numel()] >= round(share * 65_536)).astype(np.float32)).to(values.dtype)
        return values * kept.view(values.shape).mul_(1.0 / (1.0 - share))
    # On the device, whose draws are others than the CPU's: a training goes on alike only on the same kind of device.
    low, high = np.random.SeedSequence(seed).generate_state(2, np.uint32).tolist()
    generator = torch.Generator(device=values.device).manual_seed(high << 31 | low)
    kept = torch.empty_like(values).bernoulli_(1.0 - share, generator=generator)
    return values * kept.mul_(1.0 / (1.0 - share))
