from __future__ import annotations

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """Tensors are tiny here: threads would only wait for one another."""
    torch.set_num_threads(1)
