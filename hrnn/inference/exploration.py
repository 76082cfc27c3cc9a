"""Exploration: new items, of which little is known, get a bonus, so that feedback on them is collected.

A new item is one that was created not long before the newest event. Its score is raised by

    bonus(item) = weight · max(0, log(typical events / (events of the item + 1)))
    typical events = events of the item of a typical event = Σ events² / Σ events

With weight 1 an item is scored as though it had as many events as a typical one (the model's own notion of popularity is
a log of counts too), with weight 0 as by the model alone; the fewer events, the greater the bonus. It is part of the item's
bias, so the best items by raised scores are found exactly, as any best items are. A little noise then re-orders the best of
them: of the NOISE_DEPTH · K best items of a user, each new one's score moves by up to ± weight · NOISE, by a hash of user, item
and seed. The same lines give the same bytes; other users see other new items.

A new item without events has no vector; it takes the mean vector and bias of the rarest items.

Source: that the service adds a bonus which falls with events, and a little noise, is from AWS's cheat sheet
(aws-samples/amazon-personalize-samples, "PersonalizeCheatSheet"); the formula is this module's.

Shapes: N items that may be recommended, B users, K returned.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from hrnn.data.arrays import Flags, Rows
from hrnn.data.hashing import Hashes, mix64
from hrnn.inference.top_items import TopItems

NOISE = 0.5  # in the units of scores: a factor of 1.65 in an item's share
NOISE_DEPTH = 2
_DAY = 86_400
_RAREST = 100


def new_items(created: Rows, newest_event: int, cut_off_days: float) -> Flags:
    """Items created less than `cut_off_days` before the newest event, bool [N]; times are UTC epoch seconds."""
    new: Flags = newest_event - created < cut_off_days * _DAY
    return new


def bonus(num_events: Rows, new: Flags, weight: float) -> npt.NDArray[np.float32]:
    """The bonus on each item's bias: float32 [N]."""
    counts = num_events.astype(np.float64)
    # The mean weighted by events, not the plain one: a long tail of items with an event or two would pull that near zero.
    typical = (counts * counts).sum() / max(counts.sum(), 1.0)
    raised = np.maximum(0.0, np.log(max(typical, 1.0) / (counts + 1.0)))
    return np.where(new, weight * raised, 0.0).astype(np.float32)


def stand_ins(vectors: torch.Tensor, bias: torch.Tensor, num_ranked: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Vectors and bias, with the mean of the rarest items in place of those of items without events and without a vector.

    Args:
        vectors: [N, D].
        bias: [N].
        num_ranked: Items with events, at least one; they come first, in falling order of events.
    """
    vectors, bias = vectors.clone(), bias.clone()
    rarest = slice(max(0, num_ranked - _RAREST), num_ranked)
    blank = num_ranked + torch.nonzero((vectors[num_ranked:] == 0).all(1)).flatten()
    vectors[blank] = vectors[rarest].double().mean(0).float()
    bias[blank] = bias[rarest].double().mean().float()
    return vectors, bias


@dataclass(frozen=True)
class Noise:
    """Pseudorandom noise on the scores of new items.

    Attributes:
        new: bool [N].
        item_hashes: uint64 [N].
        weight: Of exploration.
    """

    new: Flags
    item_hashes: Hashes
    weight: float

    def best(self, top: TopItems, user_hashes: Hashes, num_results: int) -> TopItems:
        """The K best items after the noise; shares remain those of a softmax over the whole catalogue.

        Args:
            top: The users' best items by raised scores, more than K of them; -1 behind the last.
            user_hashes: uint64 [B].
            num_results: K.
        """
        listed = top.item_rows >= 0
        rows = np.maximum(top.item_rows, 0)  # -1 would look up the last item; its noise is dropped by `listed`
        # A hash in place of a generator: a user's noise does not depend on what other users share the call.
        mixed = mix64(user_hashes[:, None] ^ self.item_hashes[rows])
        uniform = (mixed >> np.uint64(11)).astype(np.float64) / 2.0**53  # [B, depth], in [0, 1): float64 holds 53 bits
        noise = np.where(listed & self.new[rows], self.weight * NOISE * (2.0 * uniform - 1.0), 0.0)
        # The softmax's sum over the whole catalogue changes only by the terms of items that got noise.
        shares = top.shares * np.exp(noise)
        shares /= 1.0 + (shares - top.shares).sum(axis=1, keepdims=True)
        scores = np.where(listed, top.scores.astype(np.float64) + noise, -np.inf)
        order = np.argsort(-scores, axis=1, kind="stable")[:, :num_results]  # of equal scores, the better one before the noise
        return TopItems(
            np.take_along_axis(top.item_rows, order, 1),
            np.take_along_axis(scores, order, 1).astype(np.float32),
            np.take_along_axis(shares, order, 1),
        )
