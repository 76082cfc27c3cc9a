"""What runs on a GPU, or, to try the check itself, on the device that HRNN_GPU_CHECK_DEVICE names."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

_HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark this folder's tests, and skip them, with the reason, where there is no such device."""
    wanted = os.environ.get("HRNN_GPU_CHECK_DEVICE", "cuda")
    for item in items:
        if _HERE in item.path.parents:
            item.add_marker(pytest.mark.gpu)
            if wanted == "cuda" and not torch.cuda.is_available():
                item.add_marker(pytest.mark.skip(reason="needs a GPU that CUDA can use (torch.cuda.is_available() is False)"))


@pytest.fixture
def device() -> torch.device:
    """Where models are trained."""
    return torch.device(os.environ.get("HRNN_GPU_CHECK_DEVICE", "cuda"), 0)
