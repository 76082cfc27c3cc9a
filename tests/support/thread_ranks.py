"""Ranks that are threads of one process: the same work as real ones do, without a process group."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TypeVar

import torch
from torch import Tensor, nn

from hrnn.training.distributed import Ranks

T = TypeVar("T")


class ThreadRanks(Ranks):
    """A rank that is a thread; all share a blackboard."""

    def __init__(self, rank: int, blackboard: list[Tensor], barrier: Barrier) -> None:
        super().__init__(rank, len(blackboard), torch.device("cpu"))
        self._blackboard, self._barrier = blackboard, barrier

    def data_parallel(self, module: nn.Module, ignored: str) -> nn.Module:
        """The same module: threads have no process group, so that its gradients are added up as they are made."""
        for name, parameter in module.named_parameters():
            if parameter.requires_grad and name != ignored:
                parameter.register_post_accumulate_grad_hook(self._add_up_gradient)
        return module

    def _add_up_gradient(self, parameter: Tensor) -> None:
        assert parameter.grad is not None
        parameter.grad = self.add_up(parameter.grad)

    def gather(self, values: Tensor) -> Tensor:
        self._blackboard[self.rank] = values
        self._barrier.wait()
        gathered = torch.stack(self._blackboard)
        self._barrier.wait()
        return gathered

    def add_up(self, values: Tensor) -> Tensor:
        return self.gather(values).sum(0)

    def from_first(self, values: Tensor) -> Tensor:
        return self.gather(values)[0]


def together(world_size: int, work: Callable[[Ranks], T]) -> list[T]:
    """What each rank's work gives."""
    blackboard, barrier = [torch.empty(0)] * world_size, Barrier(world_size, timeout=60)
    with ThreadPoolExecutor(world_size) as pool:
        return list(pool.map(work, (ThreadRanks(rank, blackboard, barrier) for rank in range(world_size))))
