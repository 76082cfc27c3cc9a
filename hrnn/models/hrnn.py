"""HRNN-Init and HRNN-All: a GRU over the events of a session, started and steered by a GRU over the user's sessions.

Parameters (H hidden units, N items):

| name               | shape       | start                          |
|--------------------|-------------|--------------------------------|
| item_table         | [N, H + 1]  | uniform(±sqrt(6 / (N + H))); last column the item's bias, log of its share of events |
| input_weight       | [H, 3H]     | each gate's block: uniform(±sqrt(6 / (rows + columns)))  |
| other weights      | hrnn/layers/hierarchical_gru.py | likewise; biases 0      |
| gap_input          | [gap buckets, 3H] | 0; embedding of the time since the previous event, added to an event's gates |
| type_input         | [event types, 3H] | 0; likewise of its type |

The item table serves as input and as output ("shared" embedding): score(item) = p_t · vector + bias.

Source: Quadrana et al. 2017. Deviations: shared embeddings in place of one-hot input, sampled softmax in place of TOP1, dropout
of the states that predict but not of those that are carried on, and what hrnn/layers/hierarchical_gru.py names.
Recipe: `aws-hrnn`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from hrnn.data.arrays import Rows
from hrnn.data.event_context import EventContext
from hrnn.inference.replay import LaneModel
from hrnn.layers.dropout import dropped
from hrnn.layers.hierarchical_gru import RecurrentWeights, Starts, begin_session, recur
from hrnn.layers.initial import gates, shared_item_table
from hrnn.layers.products import affine
from hrnn.models.contract import Batch, Carry, DataSpec, ModelEntry, frozen
from hrnn.training.settings import TrainingSettings

Variant = Literal["init", "all"]
_CONTEXT = ("gap_input", "type_input")


@dataclass(frozen=True, kw_only=True)
class HrnnShape:
    """Sizes that determine the parameters' shapes.

    Attributes:
        num_items: N.
        hidden_dimension: H.
        variant: `init` starts sessions from the user state; `all` adds the user state to every event's input too.
        gap_buckets: Codes of the time since the previous event; 0: it is no input feature.
        event_types: Codes of the event's type; 0: it is no input feature. A context code is gap code · event_types + type code.
    """

    num_items: int
    hidden_dimension: int
    variant: Variant = "init"
    gap_buckets: int = 0
    event_types: int = 0


class Hrnn(LaneModel):
    """Hierarchical RNN, HRNN-Init or HRNN-All.

    Args:
        shape: Of the parameters.
        item_table: [N, H + 1].
        dense: All other parameters in one vector, so that an optimiser step or an exchange between ranks is one call.
        input_dropout, state_dropout: Dropout rates of input vectors and of output states.
    """

    def __init__(
        self, shape: HrnnShape, item_table: Tensor, dense: Tensor, *, input_dropout: float = 0.0, state_dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.shape, self.input_dropout, self.state_dropout = shape, input_dropout, state_dropout
        self.item_table, self.dense = frozen(item_table), frozen(dense)

    @classmethod
    def build(cls, config: Mapping[str, Any], settings: TrainingSettings, data: DataSpec) -> Hrnn:
        """As SequenceModel's; `config` has `hidden_dimension` and may have `variant`."""
        context = EventContext.of(data.num_event_types, gaps=settings.gap_inputs, types=settings.type_inputs)
        shape = HrnnShape(
            num_items=len(data.item_counts),
            hidden_dimension=config["hidden_dimension"],
            variant=config.get("variant", "init"),
            gap_buckets=context.gap_buckets,
            event_types=context.event_types,
        )
        dropout = {"input_dropout": settings.input_dropout, "state_dropout": settings.state_dropout}
        return cls.initial(shape, data.item_counts, settings.seed, **dropout)

    @classmethod
    def restored(cls, sizes: Mapping[str, Any], parameters: Mapping[str, Tensor]) -> Hrnn:
        """As SequenceModel's."""
        table = parameters["item_table"]
        known = {"num_items": len(table), "hidden_dimension": table.shape[1] - 1}
        return cls(HrnnShape(**known | dict(sizes)), table, parameters["dense"])

    @property
    def sizes(self) -> dict[str, Any]:
        """As SequenceModel's: the shape."""
        return asdict(self.shape)

    @classmethod
    def initial(cls, shape: HrnnShape, item_counts: Rows, seed: int, **dropout: float) -> Hrnn:
        """A model with initial parameters, a function of the seed alone.

        Args:
            shape: Their shapes.
            item_counts: int64 [N], events of each item in training; items without any get a zero vector.
            seed: Of the uniform draws.
            dropout: `input_dropout` and `state_dropout`.
        """
        generator = torch.Generator().manual_seed(seed)
        width = shape.hidden_dimension
        table = shared_item_table(item_counts, width, generator)
        parts = []
        for name, (rows, columns) in _dense_shapes(shape).items():
            if name in _CONTEXT:  # at 0, training begins as without them
                parts.append(torch.zeros(rows * columns))
                continue
            drawn = gates(rows, width, generator, columns // width) if rows > 1 else torch.zeros(1, columns)
            parts.append(drawn.reshape(-1))
        return cls(shape, table, torch.cat(parts), **dropout)

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
        """Encoding of the context features."""
        return EventContext(self.shape.gap_buckets, self.shape.event_types)

    def context_table(self) -> Tensor | None:
        """Embedding of context codes, added to an event's gates: [codes, 3H]; None where there is no context."""
        views = self._views()
        gaps, types = (views.get(name) for name in _CONTEXT)
        if gaps is None or types is None:
            return gaps if types is None else types
        return (gaps.unsqueeze(1) + types).flatten(0, 1)  # row gap code · event_types + type code: as EventContext counts

    def initial_carry(self, num_lanes: int) -> Carry:
        """The session state and the user state."""
        return {name: torch.zeros(num_lanes, self.shape.hidden_dimension) for name in ("session", "user")}

    def encode(self, inputs: Tensor, batch: Batch, carry: Carry) -> tuple[Tensor, Carry]:
        """As SequenceModel's; a query is the session state before the event."""
        seed = batch.dropout_seed
        inputs = inputs if seed is None else dropped(inputs, self.input_dropout, (*seed, 1))
        starts = Starts.of(batch.session_starts, batch.user_starts, inputs)
        codes = self.context.codes(batch.sequences, batch.positions, batch.user_starts)
        context = None if codes is None else torch.from_numpy(codes).to(inputs.device)
        states, session, user = self.states(inputs, carry["session"], carry["user"], starts, context)  # states: [T, B, H]
        # Behind the recurrence, so that the state that is carried on is whole; in the authors' code the dropped one goes on.
        states = states if seed is None else dropped(states, self.state_dropout, (*seed, 2))
        return batch.at_targets(states), {"session": session, "user": user}

    def next_session(self, same_session: Tensor, carry: Carry, has_events: Tensor) -> Tensor:
        """As LaneModel's: the user state is updated with the session's final state, and initialises a session."""
        return begin_session(same_session, carry["user"], has_events, self.weights()[2])[1]

    def states(
        self, embedded: Tensor, session: Tensor, user: Tensor, starts: Starts, context: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Hidden states before each event of a window.

        Args:
            embedded: [T, B, H], vectors of the window's items.
            session, user: [B, H], carried in.
            starts: Where sessions start.
            context: int64 [T, B], context codes; None where the model has no context features.

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
    """Rows and columns of every parameter in `dense`, in its order."""
    width = shape.hidden_dimension
    # Stored models are cut in this order: another one would read them wrong without a word.
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


ENTRIES = (ModelEntry(recipes=("aws-hrnn",), neural=Hrnn, blend=True),)
