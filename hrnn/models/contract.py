"""The model contract: all that the author of a model must read.

Shape letters, used in all of `hrnn/`:

    B  lanes of a batch, or users        H  hidden units
    T  steps of a batch                  D  numbers of a query (H and whatever a model adds)
    N  items of the catalogue            R  targets of a batch
    U  users        S  negatives         E  events

A model gives a user a query, and an item a vector and a bias:

    score(user, item) = query · vector + bias + sparse score

Serving, evaluation, blending and explanations know `QueryModel` alone. A neural model is a `SequenceModel`: it encodes batches
of events as queries, and names its item table, which is updated by touched rows; `hrnn/training/` does the rest.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, Self, runtime_checkable

import torch
from torch import Tensor, nn

from hrnn.data.arrays import Flags, Floats, Rows
from hrnn.data.sequences import Sequences
from hrnn.data.sparse_scores import SparseScores
from hrnn.layers.products import coarse_type
from hrnn.training.losses import Scored, sampled_loss
from hrnn.training.settings import TrainingSettings
from schemas.recipes import Recipe

Carry = dict[str, Tensor]
"""Hidden state carried from one batch to the next, by name: [B, ...] each. Empty for models that begin anew with each batch."""


class ItemMatrix(NamedTuple):
    """Item vectors and biases.

    Attributes:
        vectors: float32 [N, D]; rows of items without events are zero.
        bias: float32 [N].
    """

    vectors: Tensor
    bias: Tensor

    @classmethod
    def unpacked(cls, packed: Tensor) -> ItemMatrix:
        """Split rows of vectors with biases in the last column: [M, D + 1]."""
        return cls(packed[:, :-1], packed[:, -1])


class Queries(NamedTuple):
    """Queries of B users after their last event; a model without sessions gives the same twice.

    Attributes:
        same_session: [B, D], for the next event of the current session.
        next_session: [B, D], for the first event of a new session.
    """

    same_session: Tensor
    next_session: Tensor


def no_queries(num_users: int) -> Queries:
    """Empty queries, of a model without user states (D = 0)."""
    return Queries(torch.zeros(num_users, 0), torch.zeros(num_users, 0))


@runtime_checkable
class QueryModel(Protocol):
    """A fitted model, as all code but its training sees it: score(user, item) = query · vector + bias + sparse score."""

    def items(self) -> ItemMatrix:
        """Vectors and biases of all N items, on the CPU."""

    def queries(self, histories: Sequences, user_rows: Rows) -> Queries:
        """Queries after the given events, on the CPU; a user without events gets those of an unknown user.

        Args:
            histories: Possibly truncated (`Sequences.truncate`).
            user_rows: int64 [B], in any order.
        """

    def sparse_scores(self, histories: Sequences, user_rows: Rows) -> SparseScores | None:
        """Sparse scores, added for a few items a user; None where the model has none. Arguments are those of `queries`."""


class UserStates(NamedTuple):
    """Queries and sparse scores of B users, in the order of the call.

    Attributes:
        query: float32 [B, D].
        sparse: Scores of the same users.
    """

    query: Tensor
    sparse: SparseScores


@runtime_checkable
class Snapshot(Protocol):
    """A model as of a time, blended or not: the input of lists and metrics."""

    def items(self) -> ItemMatrix:
        """Vectors and biases of all N items; the bias alone is the score for an unknown user."""

    def user_states(self, histories: Sequences, user_rows: Rows) -> UserStates:
        """States after the given events. Arguments are those of `QueryModel.queries`."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Events of B lanes in T steps, oldest first, each to be predicted from those before it in its lane.

    Attributes:
        sequences: Where the events lie.
        positions: int64 [T, B], events in the sequences' arrays; 0 where not `alive`.
        items: int64 [T, B], item rows; 0 where not `alive`.
        session_starts: bool [T, B], first event of a session.
        user_starts: bool [T, B], first event of a user; implies a session start.
        alive: bool [T, B], where there is an event.
        target_places: int64 [R], which of the T · B places, row by row, are targets; None: all of them, dead ones too.
        weights: float32 [R], how much each target counts; None: all alike.
        dropout_seed: Seed of this batch's dropout masks; None: no dropout.
        num_events: Events of the epoch that the batch covers; over an epoch's batches they add up to all of them.
    """

    sequences: Sequences
    positions: Rows
    items: Rows
    session_starts: Flags
    user_starts: Flags
    alive: Flags
    target_places: Rows | None = None
    weights: Floats | None = None
    dropout_seed: tuple[int, ...] | None = None
    num_events: int = 0

    def at_targets(self, queries: Tensor) -> Tensor:
        """Queries of the targets [R, D], from those of all places [T, B, D]."""
        flat = queries.flatten(0, 1)
        return flat if self.target_places is None else flat[torch.from_numpy(self.target_places).to(flat.device)]


@dataclass(frozen=True, kw_only=True)
class OptimiserSpec:
    """An optimiser and its rates.

    Attributes:
        name: A key of hrnn.training.optimisers.OPTIMISERS.
        item_rate: Learning rate of the item table; it and the next fall linearly to zero over a phase.
        dense_rate: Of all other parameters.
        momentum: 0 for none.
    """

    name: str = "adagrad"
    item_rate: float
    dense_rate: float
    momentum: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Phase:
    """A phase of training with its own batching and optimiser; most models have one.

    Attributes:
        name: Shown where there is more than one.
        batching: A key of hrnn.training.batching.BATCHINGS.
        epochs: At most.
        optimiser: Of all parameters that are trained.
        trains: Which parameters are trained, by name; the others are frozen.
    """

    name: str = "training"
    batching: str
    epochs: int
    optimiser: OptimiserSpec
    trains: Callable[[str], bool] = lambda name: True


class Batching(Protocol):
    """Histories as batches, by random access: (epoch, number) is a resume point, the same on all ranks.

    Attributes:
        num_lanes: B of this rank.
        nominal_targets: Targets of a full batch of all ranks, which a step's gradients are divided by.
    """

    num_lanes: int
    nominal_targets: int

    def num_batches(self, epoch: int) -> int:
        """Number of batches of an epoch, the same on all ranks."""

    def batch(self, epoch: int, number: int) -> Batch:
        """This rank's part of a batch, from 0; a rank without events left gets dead places."""


@dataclass(frozen=True)
class DataSpec:
    """Statistics of the data that a model may be built from.

    Attributes:
        item_counts: int64 [N], events of each item among the training events.
        num_event_types: Codes of events' types, in all data.
    """

    item_counts: Rows
    num_event_types: int

    @classmethod
    def of(cls, sequences: Sequences, fit: Sequences) -> DataSpec:
        """Statistics of all sequences, and of the training events among them."""
        return cls(fit.item_counts(), int(sequences.event_types.max(initial=0)) + 1)  # a type may occur in hidden events only


class SequenceModel(nn.Module, ABC):
    """A neural model over sequences of events: the abstract methods must be written, the others where the defaults don't fit.

    Parameters are frozen outside of training.

    Attributes:
        item_table: [N, W], the embedding of each item. A training step reads and changes the rows that its batch touches, and
            no others; by default a row is the item's vector with its bias in the last column.
    """

    item_table: nn.Parameter

    @classmethod
    @abstractmethod
    def build(cls, config: Mapping[str, Any], settings: TrainingSettings, data: DataSpec) -> Self:
        """A model with initial parameters, a function of the settings' seed alone.

        Args:
            config: Hyperparameters of the model, by their names in its recipe.
            settings: Of the training; some models take input features and dropout rates from them.
            data: Statistics of the training data.
        """

    @classmethod
    @abstractmethod
    def restored(cls, sizes: Mapping[str, Any], parameters: Mapping[str, Tensor]) -> Self:
        """The trained model from its stored `sizes` and parameters."""

    @property
    @abstractmethod
    def sizes(self) -> dict[str, Any]:
        """Configuration that is stored beside the trained parameters, as JSON holds it."""

    @abstractmethod
    def encode(self, inputs: Tensor, batch: Batch, carry: Carry) -> tuple[Tensor, Carry]:
        """Queries for the targets of a batch, each from the events before it.

        Args:
            inputs: [T, B, D], vectors of the batch's events.
            batch: The events.
            carry: Hidden state of the lanes; no gradient flows to it.

        Returns:
            Queries [R, D], and the new hidden state (detached).
        """

    @abstractmethod
    def queries(self, histories: Sequences, user_rows: Rows) -> Queries:
        """As QueryModel's, from a model on any device."""

    def initial_carry(self, num_lanes: int) -> Carry:
        """Hidden state of lanes before any event."""
        return {}

    def packed_items(self, rows: Tensor) -> Tensor:
        """Vectors with biases in the last column, [M, D + 1], from rows of the item table [M, …]; differentiable."""
        return rows

    def loss(self, scored: Scored, settings: TrainingSettings) -> Tensor:
        """Loss of a batch, summed over its targets."""
        exact = settings.score_precision == "float32"
        kind = scored.queries.dtype if exact else coarse_type(scored.queries)
        return sampled_loss(settings.loss, *scored, score_type=kind)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles as arrays for another process: tensors would take shared memory, of which containers have little."""
        return _of_arrays, (type(self), self.sizes, {name: values.numpy() for name, values in self.named_parameters()})

    @torch.no_grad()
    def items(self) -> ItemMatrix:
        """As QueryModel's."""
        return ItemMatrix.unpacked(self.packed_items(self.item_table).detach().cpu())

    def sparse_scores(self, histories: Sequences, user_rows: Rows) -> SparseScores | None:
        """As QueryModel's; none."""
        return None


def frozen(values: Tensor) -> nn.Parameter:
    """A parameter without gradient, until a trainer switches it on."""
    return nn.Parameter(values, requires_grad=False)


def one_phase(settings: TrainingSettings, batching: str = "lanes") -> tuple[Phase, ...]:
    """One phase that trains all parameters by the settings."""
    rates = OptimiserSpec(item_rate=settings.item_rate, dense_rate=settings.dense_rate, momentum=settings.momentum)
    return (Phase(batching=batching, epochs=settings.epochs, optimiser=rates),)


@dataclass(frozen=True, kw_only=True)
class ModelEntry:
    """Registration of a model, in the tuple `ENTRIES` of its file; nothing else names the model.

    A model is fitted in closed form, or step by step by `hrnn/training/trainer.py`, under torchrun.

    Attributes:
        recipes: Names of the recipes that this model serves.
        described: Those of them that are not Personalize's; `schemas/models.json` holds them for code that can't import
            models, and is written by `python -m hrnn.models.registry`.
        neural: The class of a neural model; None for one in closed form.
        phases: Of its training, from the settings.
        fit: Of a model in closed form: (sequences to learn from, parsed hyperparameters) -> the fitted model; else None. Unless
            it is blended, its lists are made from the queries for the same session.
        blend: Whether the model's scores are blended with repeats, trends and co-occurrence (hrnn/blend/); one that has sparse
            scores of its own can't be.
        serve: Where a model in closed form is not served as it is measured: the model -> the one that lists for users are made
            with, and tensors that are stored beside it.
    """

    recipes: tuple[str, ...]
    described: tuple[Recipe, ...] = ()
    neural: type[SequenceModel] | None = None
    phases: Callable[[TrainingSettings], tuple[Phase, ...]] = one_phase
    fit: Callable[[Sequences, Any], QueryModel] | None = None
    blend: bool = False
    serve: Callable[[Any], tuple[QueryModel, dict[str, Tensor]]] | None = None


def _of_arrays(kind: type[SequenceModel], sizes: dict[str, Any], arrays: dict[str, Floats]) -> SequenceModel:
    return kind.restored(sizes, {name: torch.from_numpy(values) for name, values in arrays.items()})
