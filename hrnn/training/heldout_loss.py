"""Held-out loss of a model in training, on the calibration users' hidden events: for the curve and for early stopping."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from hrnn.data.splits import Prepared
from hrnn.models.contract import QueryModel

_MOST_USERS = 1_000  # of each kind; the time that it takes is lost to the training
_LONGEST = 1_000  # events of a history: a replay takes as many steps as the longest one has events


@torch.no_grad()
def heldout_loss(model: QueryModel, prepared: Prepared, event_weights: npt.NDArray[np.float32] | None = None) -> float | None:
    """Mean cross-entropy of each calibration user's first hidden event among all items with events; None without any.

    Each user's kind decides between the queries for the same and for the next session; histories of more than 1,000 events are
    left out.

    Args:
        model: In training.
        prepared: The split, with calibration users.
        event_weights: float32 [E]: the mean is weighted, and targets of weight 0 are left out; None: all count alike.
    """
    calibration, fit_and_calibration = prepared.calibration, prepared.fit_and_calibration
    short = calibration.keep_counts <= _LONGEST
    chosen = np.concatenate(
        [np.flatnonzero(short & (calibration.next_session == next_session))[:_MOST_USERS] for next_session in (False, True)]
    )
    users, keep = calibration.user_rows[chosen], calibration.keep_counts[chosen]
    has_events = prepared.fit.item_counts() > 0
    positions = fit_and_calibration.user_offsets[:-1][users] + keep
    targets = fit_and_calibration.item_rows[positions].astype(np.int64)
    weights = np.ones(len(users), dtype=np.float32) if event_weights is None else np.asarray(event_weights[positions])
    # A target without training events is not among the ranked items: its share is 0, its loss infinite.
    known = np.flatnonzero(has_events[targets] & (weights > 0))
    if len(known) == 0:
        return None
    states = model.queries(fit_and_calibration.truncate(users, keep), users[known])
    next_session = torch.from_numpy(calibration.next_session[chosen][known]).unsqueeze(1)
    queries = torch.where(next_session, states.next_session, states.same_session)
    # The softmax is of the whole catalogue, not of a sample: the curve would jump with the draws.
    items = model.items()
    scores = torch.addmm(items.bias, queries, items.vectors.t())
    scores[:, torch.from_numpy(~has_events)] = -torch.inf
    losses = torch.nn.functional.cross_entropy(scores, torch.from_numpy(targets[known]), reduction="none")
    target_weights = torch.from_numpy(weights[known])
    return float((losses @ target_weights) / target_weights.sum())
