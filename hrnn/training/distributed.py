"""Collectives of training, the same calls with one rank or many."""

from __future__ import annotations

import gc
import os
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from schemas.errors import MachineError

_SILENCE_LIMIT = timedelta(minutes=30)  # rank 0 may stage data or write a checkpoint meanwhile


class Ranks:
    """The process group of a training. With one rank nothing is sent.

    Attributes:
        rank, world_size: As torchrun numbers them.
        device: Where this rank computes: its own GPU, else the CPU.
    """

    def __init__(self, rank: int, world_size: int, device: torch.device) -> None:
        self.rank, self.world_size, self.device = rank, world_size, device

    @classmethod
    def alone(cls) -> Ranks:
        """One rank, on the GPU where there is one."""
        return cls(0, 1, torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu"))

    @classmethod
    def join(cls) -> Ranks:
        """Join the process group of torchrun's environment variables: NCCL between GPUs, gloo between CPUs.

        Raises:
            MachineError: The first rank can't be reached.
        """
        world_size = int(os.environ.get("WORLD_SIZE", "1"))
        local_rank = int(os.environ.get("LOCAL_RANK", "0"))
        on_gpu = torch.cuda.is_available()
        device = torch.device("cuda", local_rank) if on_gpu else torch.device("cpu")
        if on_gpu:
            torch.cuda.set_device(device)
        if world_size > 1:
            _meet("nccl" if on_gpu else "gloo", device if on_gpu else None)
        return cls(int(os.environ.get("RANK", "0")), world_size, device)

    def data_parallel(self, module: nn.Module, ignored: str) -> nn.Module:
        """DistributedDataParallel whose gradients are sums over all ranks, bitwise the same on each.

        Args:
            module: Its parameters become those of rank 0 on every rank.
            ignored: Name of a sparse parameter, whose gradients are exchanged by touched rows.
        """
        if self.world_size == 1:
            return module
        # There is no public way to leave a parameter out. Of this one rank 0's values are not sent either: every rank has the
        # same, from the seed or the checkpoint.
        DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(module, [ignored])  # type: ignore[no-untyped-call]
        parallel = DistributedDataParallel(module)
        parallel.register_comm_hook(None, lambda _, bucket: _sum(bucket))
        return parallel

    def add_up(self, values: Tensor) -> Tensor:
        """All-reduce by sum, in place; bitwise the same on each rank."""
        if self.world_size > 1:
            dist.all_reduce(values)
        return values

    def gather(self, values: Tensor) -> Tensor:
        """All-gather of tensors of one shape: [world_size, ...]."""
        if self.world_size == 1:
            return values.unsqueeze(0)
        gathered = values.new_empty(self.world_size, *values.shape)
        dist.all_gather(list(gathered.unbind()), values.contiguous())
        return gathered

    def from_first(self, values: Tensor) -> Tensor:
        """Broadcast from rank 0, in place."""
        if self.world_size > 1:
            dist.broadcast(values, src=0)
        return values

    def leave(self) -> None:
        """Destroy the process group. The caller has dropped models and optimisers: gloo aborts where they outlive it."""
        if self.world_size > 1:
            gc.collect()
            dist.barrier()
            dist.destroy_process_group()


def _sum(bucket: Any) -> torch.futures.Future[Tensor]:
    """Sum of gradients, where the default is a mean: it rounds, and a step divides by its number of targets anyway."""
    sums = dist.all_reduce(bucket.buffer(), async_op=True)
    assert sums is not None
    return sums.get_future().then(lambda done: done.value()[0])  # type: ignore[no-any-return]


def _meet(backend: str, device: torch.device | None) -> None:
    try:
        dist.init_process_group(backend, timeout=_SILENCE_LIMIT, device_id=device)
    except (dist.DistNetworkError, dist.DistStoreError):
        place = f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"
        raise MachineError(
            f"rank {os.environ.get('RANK')} found no way to the first rank, at {place}",
            remedy="The first node's own name must mean its address on all nodes (`hrnn doctor`), with ports open among them.",
        ) from None
