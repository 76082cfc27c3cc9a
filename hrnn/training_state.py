"""Where a training stands, and the best parameters it has met: what a checkpoint holds beside parameters and optimisers."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

from torch import Tensor

from hrnn.training_settings import CurvePoint


@dataclass
class Cursor:
    """Where a training stands.

    Attributes:
        epoch: Epochs done.
        window: Windows done of the one under way.
        step: Windows done in all.
        events: Events met, by all ranks.
        seconds: Spent, interruptions left out.
        epoch_loss: Sum over the targets of the epoch under way.
        epoch_targets: Their weights' sum.
        best_epoch: The epoch after which validation cost least; 0 before there is one.
        best_validation: That cost.
        finished: Nothing is left to do.
        curve: A point an epoch.
    """

    epoch: int = 0
    window: int = 0
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
        """Add a point to the curve; finished where nothing has become better for `patience` epochs.

        Returns:
            Whether validation costs less than ever before.
        """
        self.epoch, self.window = self.epoch + 1, 0
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
            self.finished = True
        return better


@dataclass(frozen=True)
class Flags:
    """What any rank may ask for; raised on one, it comes back raised on all, in the same window."""

    checkpoint: bool
    out_of_time: bool
    stop: bool


class Best:
    """A copy, on the CPU, of the parameters that validation liked best; empty before there is one."""

    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}

    def keep(self, parameters: dict[str, Tensor]) -> None:
        """Copy parameters by name."""
        for name, value in parameters.items():
            if name in self.tensors:
                self.tensors[name].copy_(value)
            else:
                self.tensors[name] = value.detach().cpu().clone()

    def restore(self, parameters: dict[str, Tensor]) -> None:
        """Copy them back; nothing where there are none."""
        for name, value in self.tensors.items():
            parameters[name].copy_(value)
