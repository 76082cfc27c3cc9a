"""Where a training stands, and the best parameters it has met: what a checkpoint holds beside parameters and optimisers."""

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
    """Where a training stands.

    Attributes:
        phase: Phases done.
        phase_began: Epochs done before the one under way.
        phase_over: Whether that one has ended before its last epoch.
        epoch: Epochs done, of all phases.
        batch: Batches done of the epoch under way.
        step: Batches done in all.
        events: Events met, by all ranks.
        seconds: Spent, interruptions left out.
        epoch_loss: Sum over the targets of the epoch under way.
        epoch_targets: Their weights' sum.
        best_epoch: The epoch of the phase after which validation cost least; 0 before there is one.
        best_validation: That cost.
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

    def end_epoch(self, learning_rate: float, validation: float | None, patience: int | None) -> bool:
        """Add a point to the curve; the phase is over where nothing has become better for `patience` epochs.

        Returns:
            Whether validation costs less than ever before.
        """
        self.epoch, self.batch = self.epoch + 1, 0
        loss = self.epoch_loss / (self.epoch_targets or 1.0)
        point = CurvePoint(self.step, self.epoch, self.events, self.seconds, loss, learning_rate, validation)
        self.curve.append(asdict(point))
        self.epoch_loss, self.epoch_targets = 0.0, 0.0
        if validation is None:
            return False
        better = validation < self.best_validation
        if better:
            self.best_epoch, self.best_validation = self.epoch, validation
        elif patience is not None and self.epoch - self.best_epoch >= patience:
            self.phase_over = True
        return better

    def end_phase(self) -> None:
        """Go on to the next phase, which has a best epoch of its own."""
        self.phase, self.phase_began, self.phase_over = self.phase + 1, self.epoch, False
        self.best_epoch, self.best_validation = 0, math.inf


@dataclass(frozen=True)
class Flags:
    """What any rank may ask for; raised on one, it comes back raised on all, in the same step."""

    checkpoint: bool
    out_of_time: bool
    stop: bool


class Best:
    """A copy, on the CPU, of the parameters that validation liked best; empty before there is one."""

    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}

    def keep(self, parameters: Mapping[str, Tensor]) -> None:
        """Copy parameters by name."""
        for name, value in parameters.items():
            if name in self.tensors:
                self.tensors[name].copy_(value)
            else:
                self.tensors[name] = value.detach().cpu().clone()

    @torch.no_grad()
    def restore(self, parameters: Mapping[str, Tensor]) -> None:
        """Copy them back; nothing where there are none."""
        for name, value in self.tensors.items():
            parameters[name].copy_(value)

    def forget(self) -> None:
        """As before there were any."""
        self.tensors = {}
