"""HRNN-Init and HRNN-All: a GRU over the events of a session, started and steered by a GRU over the user's sessions.

Parameters (H hidden units, N items):

| name               | shape       | start                          |
|--------------------|-------------|--------------------------------|
| item_table         | [N, H + 1]  | uniform(±sqrt(6 / (N + H))); last column the item's bias, log of its share of events |
| input_weight       | [H, 3H]     | each gate's block: uniform(±sqrt(6 / (rows + columns)))  |
| other weights      | hrnn/recurrence.py | likewise; biases 0      |
| gap_input          | [gap buckets, 3H] | 0; what the time since the previous event adds to an event's gates |
| type_input         | [event types, 3H] | 0; what its type adds     |

The item table serves as input and as output ("shared" embedding): score(item) = p_t · vector + bias.

Source: Quadrana et al. 2017. Deviations: shared embeddings in place of one-hot input, sampled softmax in place of
TOP1, and those named in
hrnn/recurrence.py. Recipe: `aws-hrnn`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hrnn.event_context import EventContext
from hrnn.models import ModelEntry
from hrnn.products import affine
from hrnn.recurrence import RecurrentWeights, Starts, recur

ENTRY = ModelEntry(recipes=("aws-hrnn",), fit=None)

Variant = Literal["init", "all"]
_CONTEXT = ("gap_input", "type_input")


@dataclass(frozen=True, kw_only=True)
class HrnnShape:
    """What fixes the parameters' shapes.

    Attributes:
        num_items: N.
        hidden_dimension: H.
        variant: `init` starts sessions from the user state; `all` adds the user state to every event's input too.
        gap_buckets: Codes of the time since the previous event; 0: it is no input.
        event_types: Codes of the event's type; 0: it is no input. A context code is gap code · event_types + type code.
    """

    num_items: int
    hidden_dimension: int
    variant: Variant = "init"
    gap_buckets: int = 0
    event_types: int = 0


class Hrnn:
    """Parameters, and one window's states from them.

    Attributes:
        item_table: [N, H + 1].
        dense: All other parameters in one vector, so that an optimiser step or an exchange between ranks is one call.
    """

    def __init__(self, shape: HrnnShape, item_table: Tensor, dense: Tensor) -> None:
        self.shape, self.item_table, self.dense = shape, item_table, dense

    def __reduce__(self) -> tuple[Any, ...]:
        """How it goes to another process: as arrays, for tensors would take shared memory, of which containers have little."""
        return _of_arrays, (self.shape, self.item_table.numpy(), self.dense.numpy())

    @classmethod
    def initial(cls, shape: HrnnShape, item_counts: npt.NDArray[np.int64], seed: int) -> Hrnn:
        """Fresh parameters, a function of the seed alone.

        Args:
            shape: Their shapes.
            item_counts: int64 [N], events of each item in training; items without any get a zero vector.
            seed: Of the uniform draws.
        """
        generator = torch.Generator().manual_seed(seed)
        width = shape.hidden_dimension
        table = _uniform(shape.num_items, width, generator, width + 1)
        counts = torch.from_numpy(item_counts).to(torch.float32)
        table[:, width] = torch.log((counts + 0.5) / counts.sum().clamp(min=1.0))
        table[counts == 0, :width] = 0.0
        pieces = []
        for name, (rows, columns) in _dense_shapes(shape).items():
            if name in _CONTEXT:
                pieces.append(torch.zeros(rows * columns))
                continue
            gates = [_uniform(rows, width, generator) if rows > 1 else torch.zeros(1, width) for _ in range(columns // width)]
            pieces.append(torch.cat(gates, dim=1).reshape(-1))
        return cls(shape, table, torch.cat(pieces))

    def to(self, device: torch.device) -> Self:
        """The same parameters on a device."""
        return type(self)(self.shape, self.item_table.to(device), self.dense.to(device))

    def weights(self) -> tuple[Tensor, Tensor, RecurrentWeights]:
        """Input weight [H, 3H], input bias [3H] and the recurrent weights, as views of `dense`."""
        views = self._views()
        weights = [views.get(name) for name in RecurrentWeights._fields]
        return views["input_weight"], views["input_bias"], RecurrentWeights(*weights)  # type: ignore[arg-type]

    def _views(self) -> dict[str, Tensor]:
        """Every dense parameter by name."""
        shapes = _dense_shapes(self.shape)
        # One split, not a slice each: a slice's gradient is a vector of full length, and they would be added up.
        parts = torch.split(self.dense, [rows * columns for rows, columns in shapes.values()])
        views = {}
        for (name, (rows, columns)), part in zip(shapes.items(), parts, strict=True):
            views[name] = part.view(rows, columns) if rows > 1 or name in _CONTEXT else part
        return views

    @property
    def context(self) -> EventContext:
        """How the contexts of events are coded."""
        return EventContext(self.shape.gap_buckets, self.shape.event_types)

    def context_table(self) -> Tensor | None:
        """[codes, 3H], what each context code adds to an event's gates; None where there is no context."""
        views = self._views()
        gaps, types = (views.get(name) for name in _CONTEXT)
        if gaps is None or types is None:
            return gaps if types is None else types
        return (gaps.unsqueeze(1) + types).flatten(0, 1)

    def start_state(self) -> Tensor:
        """[H], predicts the first event of a user of whom nothing is known."""
        return torch.tanh(self.weights()[2].initial_bias)

    def states(
        self, embedded: Tensor, session: Tensor, user: Tensor, starts: Starts, context: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The states that predict each event of a window.

        Args:
            embedded: [T, B, H], vectors of the window's items.
            session, user: [B, H], carried in.
            starts: Where sessions start.
            context: int64 [T, B], codes of the events' contexts; None where the model knows none.

        Returns:
            p [T, B, H]; session and user states after the window [B, H].
        """
        input_weight, input_bias, recurrent = self.weights()
        steps, lanes, width = embedded.shape
        inputs = affine(embedded.reshape(-1, width), input_weight, input_bias).view(steps, lanes, 3 * width)
        table = self.context_table()
        if table is not None and context is not None:
            inputs = inputs + torch.nn.functional.embedding(context, table)
        return recur(inputs, session, user, starts, recurrent)


def _dense_shapes(shape: HrnnShape) -> dict[str, tuple[int, int]]:
    width = shape.hidden_dimension
    shapes = {
        "input_weight": (width, 3 * width),
        "input_bias": (1, 3 * width),
        "session_hidden": (width, 3 * width),
        "user_input": (width, 3 * width),
        "user_hidden": (width, 3 * width),
        "user_bias": (1, 3 * width),
        "initial_weight": (width, width),
        "initial_bias": (1, width),
    }
    if shape.variant == "all":
        shapes["user_to_session"] = (width, 3 * width)
    context = zip(_CONTEXT, (shape.gap_buckets, shape.event_types), strict=True)
    return shapes | {name: (size, 3 * width) for name, size in context if size}


def _uniform(rows: int, width: int, generator: torch.Generator, columns: int | None = None) -> Tensor:
    bound = math.sqrt(6.0 / (rows + width))
    return (torch.rand(rows, columns or width, generator=generator) * 2.0 - 1.0) * bound


def _of_arrays(shape: HrnnShape, item_table: npt.NDArray[np.float32], dense: npt.NDArray[np.float32]) -> Hrnn:
    return Hrnn(shape, torch.from_numpy(item_table), torch.from_numpy(dense))
