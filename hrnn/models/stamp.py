"""STAMP, STMP and STMO: short-term attention/memory priority models over the session's events, without recurrence.

Parameters (H numbers of an embedding, N items):

| name                     | shape      | start | of |
|--------------------------|------------|-------|----|
| item_table               | [N, H + 1] | vectors, and biases in the last column: hrnn/layers/initial.py | all |
| last_weight, last_bias   | [H, H], [H] | uniform(±sqrt(3 / H)), 0 | all |
| mean_weight, mean_bias   | [H, H], [H] | likewise | STAMP, STMP |
| event_weight, context_weight, centre_weight | [H, H] | likewise | STAMP |
| attention_bias, attention | [H]       | 0, uniform(±sqrt(3 / H)) | STAMP |

With x_1 … x_t the session's events so far and m their mean,

    STMO    q = tanh(x_t · last_weight + last_bias)
    STMP    q = tanh(m · mean_weight + mean_bias) ⊙ STMO's q
    STAMP   as STMP, with m + Σ_j a_j x_j in place of m,
            a_j = attention · σ(x_j · event_weight + x_t · context_weight + m · centre_weight + attention_bias)
    score(item) = q · vector + bias

Each of a session's events but the first is a target, predicted from those before it, of which the newest `bptt` are read.

Source: Liu et al. 2018, "STAMP: Short-Term Attention/Memory Priority Model for Session-based Recommendation"; that m is added
to the attention's sum stands in the authors' code. Deviations: an item bias, sampled softmax, no bound on the rows' norms.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

import numpy as np
import torch
from torch import Tensor

from hrnn.data.arrays import Flags, Rows
from hrnn.data.sequences import Sequences
from hrnn.inference.windows import queries_of_windows
from hrnn.layers.dropout import dropped
from hrnn.layers.initial import shared_item_table, uniform
from hrnn.models.contract import Batch, Carry, DataSpec, ModelEntry, OptimiserSpec, Phase, Queries, SequenceModel, frozen
from hrnn.training.settings import TrainingSettings
from schemas.hyperparameters import parameter
from schemas.recipes import HrnnHyperparameters, Recipe

Kind = Literal["stamp", "stmp", "stmo"]

_RATE = 0.002  # Adam's
_OF_STMO = ("last_weight", "last_bias")
_OF_STMP = (*_OF_STMO, "mean_weight", "mean_bias")
_OF_STAMP = (*_OF_STMP, "event_weight", "context_weight", "centre_weight", "attention_bias", "attention")
_PARAMETERS: dict[Kind, tuple[str, ...]] = {"stmo": _OF_STMO, "stmp": _OF_STMP, "stamp": _OF_STAMP}


class StampHyperparameters(HrnnHyperparameters):
    """hrnn-stamp, hrnn-stmp and hrnn-stmo."""

    hidden_dimension: Annotated[
        int, parameter("algorithm", "numbers of an embedding", lowest=16, highest=1024, tunable=True)
    ] = 100


class Stamp(SequenceModel):
    """See the module's text.

    Args:
        num_steps: Most events that are read of a session.
        parameters: By name, as in the table.
        input_dropout, state_dropout: Dropout rates of input vectors and of queries.
    """

    kind: Kind = "stamp"

    def __init__(
        self, num_steps: int, parameters: Mapping[str, Tensor], *, input_dropout: float = 0.0, state_dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.num_steps, self.input_dropout, self.state_dropout = num_steps, input_dropout, state_dropout
        for name in ("item_table", *_PARAMETERS[self.kind]):
            setattr(self, name, frozen(parameters[name]))

    @classmethod
    def build(cls, config: Mapping[str, Any], settings: TrainingSettings, data: DataSpec) -> Self:
        """As SequenceModel's; `config` has `hidden_dimension`."""
        width, generator = config["hidden_dimension"], torch.Generator().manual_seed(settings.seed)
        parameters = {"item_table": shared_item_table(data.item_counts, width, generator)}
        for name in _PARAMETERS[cls.kind]:
            square = uniform(width, width, generator)
            parameters[name] = square if name.endswith("weight") else torch.zeros(width) if "bias" in name else square[0]
        return cls(settings.num_steps, parameters, input_dropout=settings.input_dropout, state_dropout=settings.state_dropout)

    @classmethod
    def restored(cls, sizes: Mapping[str, Any], parameters: Mapping[str, Tensor]) -> Self:
        """As SequenceModel's."""
        return cls(sizes["num_steps"], parameters)

    @property
    def sizes(self) -> dict[str, Any]:
        """As SequenceModel's."""
        return {"num_steps": self.num_steps, "hidden_dimension": len(self._parameter("last_bias"))}

    def encode(self, inputs: Tensor, batch: Batch, carry: Carry) -> tuple[Tensor, Carry]:
        """As SequenceModel's."""
        seed = batch.dropout_seed
        inputs = inputs if seed is None else dropped(inputs, self.input_dropout, (*seed, 1))
        lane, before = _before(batch)
        read = torch.from_numpy(before).to(inputs).unsqueeze(2)  # [T, R, 1]
        events = inputs[:, torch.from_numpy(lane).to(inputs.device)] * read  # [T, R, H], 0 where not read
        # The last true step of each target is the newest event before it. Where there is none it is the last row: zeros too.
        newest = torch.from_numpy(len(before) - 1 - before[::-1].argmax(axis=0)).to(inputs.device)
        last = events[newest, torch.arange(len(lane), device=inputs.device)]  # [R, H]
        queries = torch.tanh(self._affine(last, "last"))
        if self.kind != "stmo":
            mean = events.sum(0) / read.sum(0).clamp(min=1.0)
            if self.kind == "stamp":
                # No softmax, as in the paper: a place that is not read has a weight too, which its zeros undo.
                mean = mean + (self._attention(events, last, mean) * events).sum(0)
            queries = queries * torch.tanh(self._affine(mean, "mean"))
        return queries if seed is None else dropped(queries, self.state_dropout, (*seed, 2)), carry

    def _parameter(self, name: str) -> Tensor:
        values: Tensor = getattr(self, name)
        return values

    def _affine(self, values: Tensor, name: str) -> Tensor:
        return values @ self._parameter(f"{name}_weight") + self._parameter(f"{name}_bias")

    def _attention(self, events: Tensor, last: Tensor, mean: Tensor) -> Tensor:
        """Attention weights of events: [T, R, 1]."""
        weights = (self._parameter(f"{name}_weight") for name in ("event", "context", "centre"))
        of_events, of_last, of_mean = (values @ weight for values, weight in zip((events, last, mean), weights, strict=True))
        hidden = torch.sigmoid(of_events + of_last + of_mean + self._parameter("attention_bias"))
        return (hidden @ self._parameter("attention")).unsqueeze(2)

    def queries(self, histories: Sequences, user_rows: Rows) -> Queries:
        """As QueryModel's, from the newest events of each history's last session."""
        return queries_of_windows(self, histories, user_rows, self.num_steps, within_session=True)


class Stmp(Stamp):
    """See the module's text."""

    kind: Kind = "stmp"


class Stmo(Stamp):
    """See the module's text."""

    kind: Kind = "stmo"


def _before(batch: Batch) -> tuple[Rows, Flags]:
    """Lane of each target, int64 [R]; and which of its lane's events are before it in its session, bool [T, R]."""
    steps, lanes = batch.items.shape
    places = np.arange(steps * lanes) if batch.target_places is None else batch.target_places
    step, lane = np.divmod(places, lanes)
    # Sessions are numbered down each lane; a target attends to earlier steps with its own number.
    session = np.cumsum(batch.session_starts, axis=0)[:, lane]
    same = session == session[step, np.arange(len(step))]
    return lane, (np.arange(steps)[:, None] < step) & batch.alive[:, lane] & same


def _phases(settings: TrainingSettings) -> tuple[Phase, ...]:
    """One phase with Adam over prefixes of sessions."""
    return (
        Phase(
            batching="prefixes",
            epochs=settings.epochs,
            optimiser=OptimiserSpec(name="adam", item_rate=_RATE, dense_rate=_RATE),
        ),
    )


def _entry(neural: type[Stamp], summary: str) -> ModelEntry:
    name = f"hrnn-{neural.kind}"
    recipe = Recipe(name=name, recipe_type="USER_PERSONALIZATION", summary=summary, hyperparameters=StampHyperparameters)
    return ModelEntry(recipes=(name,), described=(recipe,), neural=neural, blend=True, phases=_phases)


ENTRIES = (
    _entry(Stamp, "What a user is likely to take next in a session: attention to its events, and the last of them."),
    _entry(Stmp, "What a user is likely to take next in a session: the mean of its events, and the last of them."),
    _entry(Stmo, "What a user is likely to take next in a session: by its last event alone."),
)
