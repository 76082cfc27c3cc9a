"""The loss of one window: which item rows it touches, and what its lanes' events cost under the model."""

from __future__ import annotations

from typing import Any, Protocol, Self

import numpy as np
import torch
from torch import Tensor

from hrnn.batching import Window
from hrnn.data.arrays import Rows
from hrnn.event_context import EventContext
from hrnn.losses import sampled_loss
from hrnn.negatives import Negatives
from hrnn.products import coarse_type
from hrnn.recurrence import Starts
from hrnn.training_settings import TrainingSettings


class TrainableModel(Protocol):
    """What the trainer asks of a model."""

    item_table: Tensor
    dense: Tensor

    @property
    def context(self) -> EventContext:
        """How the contexts of events are coded."""

    def to(self, device: torch.device) -> Self:
        """The same parameters on a device."""

    def states(
        self, embedded: Tensor, session: Tensor, user: Tensor, starts: Starts, context: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """States that predict each event [T, B, H], and the session and user states carried on [B, H].

        `context` is int64 [T, B]: codes of what else is known of each event that is fed.
        """


class Lanes:
    """What the lanes of one rank carry from window to window: session and user states [B, H], of an item table's width."""

    def __init__(self, num_lanes: int, like: Tensor) -> None:
        self.session = like.new_zeros(num_lanes, like.shape[1] - 1)
        self.user = torch.zeros_like(self.session)

    def clear(self) -> None:
        """Forget everything, as an epoch starts."""
        self.session.zero_()
        self.user.zero_()


def window_loss(
    model: TrainableModel,
    lanes: Lanes,
    window: Window,
    negatives: Negatives,
    rows: Rows,
    table: Tensor,
    settings: TrainingSettings,
    dropout: tuple[int, ...],
) -> tuple[Tensor, float]:
    """What a window's targets cost, summed; the lanes move on.

    Args:
        model: Its item table is not read, only `table` is.
        lanes: States carried in; changed in place.
        window: The events.
        negatives: Shared by all rows.
        rows: int64 [M], item rows of window and negatives, rising.
        table: [M, H + 1], their part of the item table.
        settings: Loss, dropout, what is a target.
        dropout: Numbers that seed the dropped units of this window.

    Returns:
        The weighted sum over targets, and their weights' sum: how many there are, where all count alike.
    """
    width, device = table.shape[1] - 1, table.device
    place, negative_place = np.searchsorted(rows, window.items), np.searchsorted(rows, negatives.item_rows)
    places = (torch.from_numpy(some.reshape(-1)).to(device) for some in (place, negative_place))
    vectors, positives, compared = _Gathered.apply(table, *places)  # type: ignore[no-untyped-call]
    inputs = dropped(vectors.view(*place.shape, width), settings.input_dropout, (*dropout, 1))
    starts = Starts.of(window.session_starts, window.user_starts, table)
    context = None if window.context is None else torch.from_numpy(window.context).to(device)
    states, lanes.session, lanes.user = model.states(inputs, lanes.session, lanes.user, starts, context)
    states = dropped(states, settings.state_dropout, (*dropout, 2))
    which = np.full(len(rows), -1, dtype=np.int64)
    which[negative_place] = np.arange(len(negative_place))
    hits = which[place].reshape(-1)
    queries = states.reshape(-1, width)
    targets = window.alive & ~window.session_starts if settings.within_session_only else window.alive
    weights = None
    if window.weights is not None:
        targets = targets & (window.weights > 0)
        weights = torch.from_numpy(window.weights[targets]).to(table)
    if not targets.all():
        at = np.flatnonzero(targets)
        kept = torch.from_numpy(at).to(device)
        queries, positives, hits = queries[kept], positives[kept], hits[at]
    loss = sampled_loss(
        settings.loss,
        queries,
        positives,
        compared,
        torch.from_numpy(negatives.log_weight).to(device),
        torch.from_numpy(hits).to(device),
        weights,
        score_type=coarse_type(table) if settings.score_precision == "bfloat16" else table.dtype,
    )
    return loss, float(targets.sum() if weights is None else weights.sum())


class _Gathered(torch.autograd.Function):
    """Rows of a table [M, H + 1] as events' vectors [R, H], as positives [R, H + 1], and others as negatives [S, H + 1]."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, place: Tensor, negative_place: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        ctx.save_for_backward(place, negative_place)
        ctx.num_rows = len(table)
        positives = table.index_select(0, place)
        return positives[:, :-1].contiguous(), positives, table.index_select(0, negative_place)

    @staticmethod
    def backward(ctx: Any, of_vectors: Tensor, of_positives: Tensor, of_negatives: Tensor) -> Any:
        place, negative_place = ctx.saved_tensors
        grad = of_negatives.new_zeros(ctx.num_rows, of_negatives.shape[1]).index_copy_(0, negative_place, of_negatives)
        both = of_positives.clone()
        both[:, :-1] += of_vectors
        if grad.is_cuda:  # which adds rows up in an order of its own, but for this call
            return grad.index_put_((place,), both, accumulate=True), None, None
        return grad.index_add_(0, place, both), None, None


def dropped(values: Tensor, share: float, seed: tuple[int, ...]) -> Tensor:
    """Inverted dropout, a function of the seed's numbers alone, so that a resumed training drops the same units."""
    if share == 0.0:
        return values
    if not values.is_cuda:
        draws = np.random.Philox(np.random.SeedSequence(seed)).random_raw(-(-values.numel() // 4)).view(np.uint16)
        kept = torch.from_numpy((draws[: values.numel()] >= round(share * 65_536)).astype(np.float32)).to(values.dtype)
        return values * kept.view(values.shape).mul_(1.0 / (1.0 - share))
    low, high = np.random.SeedSequence(seed).generate_state(2, np.uint32).tolist()
    generator = torch.Generator(device=values.device).manual_seed(high << 31 | low)
    kept = torch.empty_like(values).bernoulli_(1.0 - share, generator=generator)
    return values * kept.mul_(1.0 / (1.0 - share))
