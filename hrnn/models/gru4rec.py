"""GRU4Rec: a GRU over the events of a session alone, without the user's earlier sessions.

Parameters (H hidden units, N items):

| name          | shape      | start |
|---------------|------------|-------|
| item_table    | [N, H + 1] | vectors, and biases in the last column: hrnn/layers/initial.py |
| input_weight  | [H, 3H]    | gates in the order reset, update, candidate: hrnn/layers/initial.py |
| input_bias    | [3H]       | 0 |
| hidden_weight | [H, 3H]    | as input_weight |
| start         | [H]        | 0; a session's first state is its tanh |

    score(item) = s · vector + bias,  s = GRU(events of the session so far)

It is the recurrence of HRNN (hrnn/layers/hierarchical_gru.py) in which every session is a new user's.

Source: Hidasi et al. 2016 and Hidasi & Karatzoglou 2018. Deviations: one layer; shared embeddings; sampled softmax by default;
the reset gate acts after the recurrent product, as in cuDNN; gradients flow through `bptt` events, not one; sessions stand in
lanes in an order drawn anew each epoch, not by their time; dropout is of the states that predict, not of those carried on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from hrnn.data.arrays import Rows
from hrnn.data.sequences import Sequences
from hrnn.data.sessions import last_sessions
from hrnn.inference.replay import LaneModel, replay
from hrnn.layers.dropout import dropped
from hrnn.layers.hierarchical_gru import RecurrentWeights, Starts, recur
from hrnn.layers.initial import gates, shared_item_table
from hrnn.layers.products import affine
from hrnn.models.contract import Batch, Carry, DataSpec, ModelEntry, Queries, frozen, one_phase
from hrnn.training.settings import TrainingSettings
from schemas.hyperparameters import parameter
from schemas.recipes import HrnnHyperparameters, Recipe


class Gru4RecHyperparameters(HrnnHyperparameters):
    """hrnn-gru4rec."""

    hidden_dimension: Annotated[int, parameter("algorithm", "hidden units", lowest=16, highest=1024, tunable=True)] = 100


class Gru4Rec(LaneModel):
    """See the module's text.

    Args:
        parameters: By name, as in the table.
        input_dropout, state_dropout: Dropout rates of input vectors and of output states.
    """

    input_weight: nn.Parameter
    input_bias: nn.Parameter
    hidden_weight: nn.Parameter
    start: nn.Parameter

    def __init__(self, parameters: Mapping[str, Tensor], *, input_dropout: float = 0.0, state_dropout: float = 0.0) -> None:
        super().__init__()
        self.input_dropout, self.state_dropout = input_dropout, state_dropout
        for name in ("item_table", "input_weight", "input_bias", "hidden_weight", "start"):
            setattr(self, name, frozen(parameters[name]))

    @classmethod
    def build(cls, config: Mapping[str, Any], settings: TrainingSettings, data: DataSpec) -> Self:
        """As SequenceModel's; `config` has `hidden_dimension`."""
        width, generator = config["hidden_dimension"], torch.Generator().manual_seed(settings.seed)
        parameters = {
            "item_table": shared_item_table(data.item_counts, width, generator),
            "input_weight": gates(width, width, generator),
            "input_bias": torch.zeros(3 * width),
            "hidden_weight": gates(width, width, generator),
            "start": torch.zeros(width),
        }
        return cls(parameters, input_dropout=settings.input_dropout, state_dropout=settings.state_dropout)

    @classmethod
    def restored(cls, sizes: Mapping[str, Any], parameters: Mapping[str, Tensor]) -> Self:
        """As SequenceModel's."""
        return cls(parameters)

    @property
    def sizes(self) -> dict[str, Any]:
        """As SequenceModel's; the parameters' shapes say all."""
        return {"hidden_dimension": len(self.start)}

    def initial_carry(self, num_lanes: int) -> Carry:
        """The session state."""
        return {"session": torch.zeros(num_lanes, len(self.start))}

    def encode(self, inputs: Tensor, batch: Batch, carry: Carry) -> tuple[Tensor, Carry]:
        """As SequenceModel's; a query is the session's state before the event."""
        seed = batch.dropout_seed
        inputs = inputs if seed is None else dropped(inputs, self.input_dropout, (*seed, 1))
        steps, lanes, width = inputs.shape
        entering = affine(inputs.reshape(-1, width), self.input_weight, self.input_bias).view(steps, lanes, -1)
        starts = Starts.of(batch.session_starts, batch.session_starts, inputs)
        # Every session start is a new user's, so that the user GRU is never evaluated: zeros of the right shape will do.
        # tanh(0 · square + start) is then the first state of every session.
        nobody, square = inputs.new_zeros(lanes, width), inputs.new_zeros(width, width)
        wide = inputs.new_zeros(width, 3 * width)
        weights = RecurrentWeights(self.hidden_weight, wide, wide, wide[0], square, self.start, None)
        states, session, _ = recur(entering, carry["session"], nobody, starts, weights)
        states = states if seed is None else dropped(states, self.state_dropout, (*seed, 2))
        return batch.at_targets(states), {"session": session}

    def next_session(self, same_session: Tensor, carry: Carry, has_events: Tensor) -> Tensor:
        """As LaneModel's: every session starts alike."""
        return torch.tanh(self.start).expand_as(same_session)

    def queries(self, histories: Sequences, user_rows: Rows) -> Queries:
        """As QueryModel's, from the last session of each history."""
        # Earlier sessions leave no trace in the state: to read them would only cost time.
        return replay(self, last_sessions(histories, user_rows), np.arange(len(user_rows)))


ENTRIES = (
    ModelEntry(
        recipes=("hrnn-gru4rec",),
        neural=Gru4Rec,
        blend=True,
        phases=lambda settings: one_phase(settings, "session_parallel"),
        described=(
            Recipe(
                name="hrnn-gru4rec",
                recipe_type="USER_PERSONALIZATION",
                summary="What a user is likely to take next in a session: a recurrent network over the session's events.",
                hyperparameters=Gru4RecHyperparameters,
            ),
        ),
    ),
)
