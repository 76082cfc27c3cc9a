from __future__ import annotations

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """Tensors are tiny here: threads would only wait for one another."""
    torch.set_num_threads(1)


@pytest.fixture(params=[True, False], ids=["with bfloat16", "without bfloat16"])
def any_processor(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Both kinds of processor on any machine: one that multiplies bfloat16 natively, and one that does not."""
    native = bool(request.param)
    monkeypatch.setattr("hrnn.layers.products.multiplies_bfloat16", lambda device: native)
    return native
