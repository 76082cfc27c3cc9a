"""Adagrad as the authors of GRU4Rec use it, for dense parameters and for the touched rows of item tables.

    accumulated += g²;   velocity = momentum · velocity - rate · g / sqrt(accumulated + EPSILON);   p += velocity

EPSILON stands inside the root, unlike in torch.optim.Adagrad. On item tables only the rows of the window are read or written,
their velocity included; duplicate rows must have been summed first (`coalesce`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

EPSILON = 1e-6


def coalesce(rows: Tensor, grads: Tensor) -> tuple[Tensor, Tensor]:
    """Distinct rows, rising, and the sum of each one's gradients.

    Args:
        rows: int64 [M], with repeats.
        grads: [M, W].
    """
    distinct, place = torch.unique(rows, return_inverse=True)
    return distinct, grads.new_zeros(len(distinct), grads.shape[1]).index_add_(0, place, grads)


class Optimiser(ABC):
    """An optimiser of one tensor, dense or by rows.

    Args:
        parameter: Changed in place.
        rate: Learning rate; may be set anew between steps.
        momentum: Share of its last change that a parameter makes again; 0 for none.
    """

    def __init__(self, parameter: Tensor, rate: float, momentum: float = 0.0) -> None:
        self.parameter, self.rate, self.momentum = parameter, rate, momentum

    @abstractmethod
    def step(self, grad: Tensor) -> None:
        """Update the whole parameter."""

    @abstractmethod
    def step_rows(self, rows: Tensor, grad: Tensor) -> None:
        """Update the given rows: `rows` int64 [M] without repeats, `grad` [M, W]."""

    @abstractmethod
    def state(self) -> dict[str, Tensor]:
        """Its tensors, for a checkpoint."""

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Restore what `state` returned."""
        for name, values in self.state().items():
            values.copy_(state[name])


class Adagrad(Optimiser):
    """Adagrad; momentum 0 keeps no velocity."""

    def __init__(self, parameter: Tensor, rate: float, momentum: float = 0.0) -> None:
        super().__init__(parameter, rate, momentum)
        self.accumulated = torch.zeros_like(parameter)
        self.velocity = torch.zeros_like(parameter) if momentum else None

    @torch.no_grad()
    def step(self, grad: Tensor) -> None:
        self.accumulated.addcmul_(grad, grad)
        change = grad * torch.rsqrt(self.accumulated + EPSILON)
        if self.velocity is None:
            self.parameter.sub_(change, alpha=self.rate)
        else:
            self.parameter.add_(self.velocity.mul_(self.momentum).sub_(change, alpha=self.rate))

    @torch.no_grad()
    def step_rows(self, rows: Tensor, grad: Tensor) -> None:
        accumulated = self.accumulated.index_select(0, rows).addcmul_(grad, grad)  # [M, W], a copy
        self.accumulated.index_copy_(0, rows, accumulated)
        # The copy is stored by now: what follows overwrites it, so that no more memory of its size is taken.
        change = accumulated.add_(EPSILON).rsqrt_().mul_(grad).mul_(-self.rate)
        if self.velocity is not None:
            change = self.velocity.index_select(0, rows).mul_(self.momentum).add_(change)
            self.velocity.index_copy_(0, rows, change)
        # Added to, not written: rows occur once, so that the two come to the same, and this needs no copy of the parameter's.
        self.parameter.index_add_(0, rows, change)

    def state(self) -> dict[str, Tensor]:
        return {"accumulated": self.accumulated} | ({} if self.velocity is None else {"velocity": self.velocity})


class Adam(Optimiser):
    """Adam, by rows lazily: moments of a row that a step doesn't touch stay as they are.

    Momentum must be 0: the decay of the first moment is MEAN_DECAY. Source: Kingma & Ba 2015.
    """

    MEAN_DECAY, SQUARE_DECAY, EPSILON = 0.9, 0.999, 1e-8

    def __init__(self, parameter: Tensor, rate: float, momentum: float = 0.0) -> None:
        assert momentum == 0.0
        super().__init__(parameter, rate)
        self.mean, self.square = torch.zeros_like(parameter), torch.zeros_like(parameter)
        self.steps = torch.zeros(1, dtype=torch.int64)

    @torch.no_grad()
    def step(self, grad: Tensor) -> None:
        self.mean.lerp_(grad, 1.0 - self.MEAN_DECAY)
        self.square.mul_(self.SQUARE_DECAY).addcmul_(grad, grad, value=1.0 - self.SQUARE_DECAY)
        self.parameter.add_(self._change(self.mean, self.square))

    @torch.no_grad()
    def step_rows(self, rows: Tensor, grad: Tensor) -> None:
        mean = self.mean.index_select(0, rows).lerp_(grad, 1.0 - self.MEAN_DECAY)
        square = self.square.index_select(0, rows).mul_(self.SQUARE_DECAY).addcmul_(grad, grad, value=1.0 - self.SQUARE_DECAY)
        self.mean.index_copy_(0, rows, mean)
        self.square.index_copy_(0, rows, square)
        self.parameter.index_add_(0, rows, self._change(mean, square))

    def _change(self, mean: Tensor, square: Tensor) -> Tensor:
        # Steps are counted for the table, not for each row, as in torch.optim.SparseAdam. A row that is first touched late gets
        # hardly any correction: its first step is about three rates long, 0.1 / sqrt(0.001), in place of one.
        self.steps += 1
        steps = int(self.steps)
        of_mean, of_square = 1.0 - self.MEAN_DECAY**steps, 1.0 - self.SQUARE_DECAY**steps
        return mean / (square / of_square).sqrt_().add_(self.EPSILON) * (-self.rate / of_mean)

    def state(self) -> dict[str, Tensor]:
        return {"mean": self.mean, "square": self.square, "steps": self.steps}


OPTIMISERS: dict[str, type[Optimiser]] = {"adagrad": Adagrad, "adam": Adam}
"""Optimisers by name: (parameter, rate, momentum) -> the optimiser of that parameter."""
