"""SASRec: a causal transformer over a user's newest events, across sessions.

Parameters (H numbers of an embedding, L events that are read, N items):

| name        | shape       | start |
|-------------|-------------|-------|
| item_table  | [N, H + 1]  | vectors, and biases in the last column: hrnn/layers/initial.py |
| start       | [H]         | uniform; stands for the event before the first one that is read |
| places      | [L + 1, H]  | uniform; position embeddings, the last row that of the newest event |
| blocks.…    | hrnn/layers/transformer.py | |
| scale, shift | [H]        | 1, 0; of the last normalisation |

    x_t = √H · vector(event before t) + places_t;   h = blocks(x);   score of an item as event t = norm(h_t) · vector + bias

Source: Kang & McAuley 2018. Deviations: sampled softmax with its correction in place of one negative an event, which is what
lifts it to today's models (Klenitskiy & Vasilev 2023); normalisation before each part; optionally gated residuals; item biases.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from hrnn.data.arrays import Rows
from hrnn.data.sequences import Sequences
from hrnn.inference.windows import queries_of_windows
from hrnn.layers.dropout import dropped
from hrnn.layers.initial import shared_item_table, uniform
from hrnn.layers.transformer import Block
from hrnn.models.contract import Batch, Carry, DataSpec, ModelEntry, OptimiserSpec, Phase, Queries, SequenceModel
from hrnn.training.settings import TrainingSettings
from schemas.errors import ConfigError
from schemas.hyperparameters import parameter
from schemas.recipes import HrnnHyperparameters, Recipe

_RATE = 0.003  # Adam's


class SasRecHyperparameters(HrnnHyperparameters):
    """hrnn-sasrec."""

    hidden_dimension: Annotated[
        int, parameter("algorithm", "numbers of an embedding", lowest=16, highest=1024, tunable=True)
    ] = 64
    bptt: Annotated[int, parameter("algorithm", "newest events that are read", lowest=2, highest=512, tunable=True)] = 50
    num_blocks: Annotated[int, parameter("algorithm", "blocks of the transformer", lowest=1, highest=8, tunable=True)] = 2
    num_heads: Annotated[int, parameter("algorithm", "heads of the attention", lowest=1, highest=8)] = 1
    gated_residuals: Annotated[bool, parameter("algorithm", "whether residuals are gated", tunable=True)] = False


class SasRec(SequenceModel):
    """See the module's text.

    Args:
        item_counts: int64 [N], events of each item in training; items without any get a zero vector.
        sizes: As of the property.
        generator: Of the initial values.
        input_dropout, state_dropout: Dropout rates of input vectors, and of blocks and queries.
    """

    def __init__(
        self,
        item_counts: Rows,
        sizes: Mapping[str, Any],
        generator: torch.Generator,
        *,
        input_dropout: float = 0.0,
        state_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self._sizes, self.input_dropout, self.state_dropout = dict(sizes), input_dropout, state_dropout
        width = sizes["hidden_dimension"]
        self.item_table = nn.Parameter(shared_item_table(item_counts, width, generator))
        self.start = nn.Parameter(uniform(1, width, generator)[0])
        self.places = nn.Parameter(uniform(sizes["num_steps"] + 1, width, generator))
        blocks = (Block(width, sizes["num_heads"], sizes["gated"], generator) for _ in range(sizes["num_blocks"]))
        self.blocks = nn.ModuleList(blocks)
        self.scale, self.shift = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))
        self.requires_grad_(False)

    @classmethod
    def build(cls, config: Mapping[str, Any], settings: TrainingSettings, data: DataSpec) -> Self:
        """As SequenceModel's; `config` holds SasRecHyperparameters."""
        sizes = {
            "hidden_dimension": config["hidden_dimension"],
            "num_steps": settings.num_steps,
            "num_blocks": config["num_blocks"],
            "num_heads": config["num_heads"],
            "gated": config["gated_residuals"],
        }
        if sizes["hidden_dimension"] % sizes["num_heads"]:
            raise ConfigError(
                "heads must divide hidden_dimension",
                where="hyperparameters.num_heads",
                value=sizes["num_heads"],
                allowed=f"divisors of {sizes['hidden_dimension']}",
            )
        generator = torch.Generator().manual_seed(settings.seed)
        dropout = {"input_dropout": settings.input_dropout, "state_dropout": settings.state_dropout}
        return cls(data.item_counts, sizes, generator, **dropout)

    @classmethod
    def restored(cls, sizes: Mapping[str, Any], parameters: Mapping[str, Tensor]) -> Self:
        """As SequenceModel's."""
        # Drawn for nothing, and overwritten: blocks make their parameters themselves.
        model = cls(np.ones(len(parameters["item_table"]), dtype=np.int64), sizes, torch.Generator())
        for name, values in model.named_parameters():
            values.copy_(parameters[name])
        return model

    @property
    def sizes(self) -> dict[str, Any]:
        """As SequenceModel's."""
        return dict(self._sizes)

    def encode(self, inputs: Tensor, batch: Batch, carry: Carry) -> tuple[Tensor, Carry]:
        """As SequenceModel's."""
        seed = batch.dropout_seed
        inputs = inputs if seed is None else dropped(inputs, self.input_dropout, (*seed, 1))
        steps, lanes, width = inputs.shape
        # Inputs are shifted by one step: a place reads the event before it, or `start` where reading begins.
        has_input = np.zeros_like(batch.alive)
        has_input[1:] = batch.alive[:-1]
        known = torch.from_numpy(has_input.T).to(inputs.device).unsqueeze(2)  # [B, T, 1]
        before = torch.cat([inputs.new_zeros(1, lanes, width), inputs[:-1]]).transpose(0, 1) * math.sqrt(width)  # [B, T, D]
        # Positions count from the end, so that the newest event's is the same in windows of any length.
        values = torch.where(known, before, self.start) + self.places[len(self.places) - steps :]
        first = batch.alive & ~has_input
        first[-1] |= ~has_input[-1]  # of an empty history, the place behind it
        # Every place attends to itself, so that no row of dead places is empty, which would make NaN of it.
        keys = torch.from_numpy((has_input | first).T).to(inputs.device)
        causal = torch.ones(steps, steps, dtype=torch.bool, device=inputs.device).tril()
        itself = torch.eye(steps, dtype=torch.bool, device=inputs.device)
        mask = (causal & keys[:, None, :] | itself).unsqueeze(1)  # [B, 1, T, T], for all heads
        for number, block in enumerate(self.blocks):
            values = block(values, mask, self.state_dropout, None if seed is None else (*seed, 2, number))
        states = nn.functional.layer_norm(values, (width,), self.scale, self.shift).transpose(0, 1)
        states = states if seed is None else dropped(states, self.state_dropout, (*seed, 3))
        return batch.at_targets(states), carry

    def queries(self, histories: Sequences, user_rows: Rows) -> Queries:
        """As QueryModel's, from the newest events of each history."""
        return queries_of_windows(self, histories, user_rows, self._sizes["num_steps"], within_session=False)


def _phases(settings: TrainingSettings) -> tuple[Phase, ...]:
    """One phase with Adam over padded histories."""
    rates = OptimiserSpec(name="adam", item_rate=_RATE, dense_rate=_RATE)
    return (Phase(batching="padded", epochs=settings.epochs, optimiser=rates),)


ENTRIES = (
    ModelEntry(
        recipes=("hrnn-sasrec",),
        neural=SasRec,
        blend=True,
        phases=_phases,
        described=(
            Recipe(
                name="hrnn-sasrec",
                recipe_type="USER_PERSONALIZATION",
                summary="What a user is likely to take next: a causal transformer over their newest events.",
                hyperparameters=SasRecHyperparameters,
            ),
        ),
    ),
)
