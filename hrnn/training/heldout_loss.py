"""One number for the curve: what hidden events cost under the model that is being trained."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from hrnn.data.splits import Prepared
from hrnn.models.contract import QueryModel

_MOST_EXAMPLES = 1_000  # of each kind; a replay takes time that no training uses
_LONGEST = 1_000  # events of a history: a replay takes as many steps as the longest has events, for the one user who has them


@torch.no_grad()
def heldout_loss(model: QueryModel, prepared: Prepared, event_weights: npt.NDArray[np.float32] | None = None) -> float | None:
    """Mean of -log(share of exp(score)) of each example's first hidden event among all items with events, or None without any.

    Examples of the same session are predicted by the query that goes on with it, the others by a next session's;
    histories of more than 1,000 events are passed over.

    Args:
        model: As it is.
        prepared: Examples, and what the model learns from.
        event_weights: float32 [E]: the mean is weighted, and examples of weight 0 don't count; None: all count alike.
    """
    calibration, fit_and_calibration = prepared.calibration, prepared.fit_and_calibration
    short = calibration.keep_counts <= _LONGEST
    chosen = np.concatenate(
        [np.flatnonzero(short & (calibration.next_session == next_session))[:_MOST_EXAMPLES] for next_session in (False, True)]
    )
    users, keep = calibration.user_rows[chosen], calibration.keep_counts[chosen]
    seen = prepared.fit.item_counts() > 0
    targets = fit_and_calibration.item_rows[fit_and_calibration.user_offsets[:-1][users] + keep].astype(np.int64)
    positions = fit_and_calibration.user_offsets[:-1][users] + keep
    weights = np.ones(len(users), dtype=np.float32) if event_weights is None else np.asarray(event_weights[positions])
    known = np.flatnonzero(seen[targets] & (weights > 0))
    if len(known) == 0:
        return None
    states = model.queries(fit_and_calibration.truncate(users, keep), users[known])
    next_session = torch.from_numpy(calibration.next_session[chosen][known]).unsqueeze(1)
    queries = torch.where(next_session, states.next_session, states.same_session)
    items = model.items()
    scores = torch.addmm(items.bias, queries, items.vectors.t())
    scores[:, torch.from_numpy(~seen)] = -torch.inf
    costs = torch.nn.functional.cross_entropy(scores, torch.from_numpy(targets[known]), reduction="none")
    weighing = torch.from_numpy(weights[known])
    return float((costs @ weighing) / weighing.sum())
