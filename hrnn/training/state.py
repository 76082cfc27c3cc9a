"""Progress of a training and its best parameters so far: stored in a checkpoint beside parameters and optimisers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from hrnn.training.settings import CurvePoint


@dataclass
class Cursor:
    """Progress of a training; its fields are keys of stored checkpoints.

    Attributes:
        phase: Phases done.
        phase_began: Epochs done before the current phase.
        phase_over: Whether that one has been stopped early.
        epoch: Epochs done, of all phases.
        batch: Batches done of the current epoch.
        step: Batches done in all.
        events: Events done, by all ranks.
        seconds: Spent, interruptions left out.
        epoch_loss: Sum over the targets of the current epoch.
        epoch_targets: Sum of their weights.
        best_epoch: The epoch of the phase with the lowest held-out loss; 0 before there is one.
        best_validation: That held-out loss.
        finished: Nothing is left to do.
        curve: A point an epoch.
    """

    phase: int = 0
    phase_began: int = 0
    phase_over: bool = False
    epoch: int = 0
    batch: int = 0
    step: int = 0
    events: int = 0
    seconds: float = 0.0
    epoch_loss: float = 0.0
    epoch_targets: float = 0.0
    best_epoch: int = 0
    best_validation: float = math.inf
    finished: bool = False
    curve: list[dict[str, Any]] = field(default_factory=list)

    def end_epoch(self, learning_rate: float, heldout_loss: float | None, patience: int | None) -> bool:
        """Add a point to the curve; the phase is over after `patience` epochs without a lower held-out loss.

        Returns:
            Whether the held-out loss is the lowest so far.
        """
        self.epoch, self.batch = self.epoch + 1, 0
        loss = self.epoch_loss / (self.epoch_targets or 1.0)
        point = CurvePoint(self.step, self.epoch, self.events, self.seconds, loss, learning_rate, heldout_loss)
        self.curve.append(asdict(point))
        self.epoch_loss, self.epoch_targets = 0.0, 0.0
        if heldout_loss is None:  # nothing to compare by: the phase runs to its end, and its last parameters are kept
            return False
        is_best = heldout_loss < self.best_validation
        if is_best:
            self.best_epoch, self.best_validation = self.epoch, heldout_loss
        elif patience is not None and self.epoch - self.best_epoch >= patience:
            self.phase_over = True
        return is_best

    def end_phase(self) -> None:
        """Begin the next phase, which has a best epoch of its own."""
        self.phase, self.phase_began, self.phase_over = self.phase + 1, self.epoch, False
        self.best_epoch, self.best_validation = 0, math.inf


@dataclass(frozen=True)
class Flags:
    """Per-step control flags, OR-reduced across ranks."""

    checkpoint: bool
    out_of_time: bool
    stop: bool


class Best:
    """CPU copy of the parameters with the lowest held-out loss; empty before there is one."""

    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}

    def keep(self, parameters: Mapping[str, Tensor]) -> None:
        """Copy the given parameters, by name."""
        for name, value in parameters.items():
            if name in self.tensors:  # into the same memory: two copies of an item table may be more than there is
                self.tensors[name].copy_(value)
            else:
                self.tensors[name] = value.detach().cpu().clone()

    @torch.no_grad()
    def restore(self, parameters: Mapping[str, Tensor]) -> None:
        """Write the copy back, if there is one."""
        for name, value in self.tensors.items():
            parameters[name].copy_(value)

    def forget(self) -> None:
        """Drop the copy."""
        self.tensors = {}
