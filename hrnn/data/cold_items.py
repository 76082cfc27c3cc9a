"""Cold items by the rule of aws-hrnn-coldstart: new, and with few events.

Source: Amazon Personalize developer guide of 2023, HRNN-Coldstart recipe; its training fails with fewer than 100 cold items, or
with more than 80,000.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from schemas.recipes import ColdstartHyperparameters

FEWEST, MOST = 100, 80_000  # Personalize's
_DAY = 86_400


def cold_items(
    num_events: npt.ArrayLike, created: npt.ArrayLike, hyperparameters: ColdstartHyperparameters, now: int
) -> npt.NDArray[np.bool_]:
    """Whether each item is cold: bool [N].

    Args:
        num_events: [N], events of each item.
        created: [N], when each item came into being, UTC epoch seconds.
        hyperparameters: Of the recipe.
        now: UTC epoch seconds; what ages count to where `cold_start_relative_from` is `currentTime`, else to the newest item
            that was created by then.
    """
    since = np.asarray(created, dtype=np.int64)
    is_relative = hyperparameters.cold_start_relative_from != "currentTime"
    newest = int(since[since <= now].max(initial=0)) if is_relative else now  # one date in the future would age all others
    young = newest - since <= hyperparameters.cold_start_max_duration * _DAY
    rare: npt.NDArray[np.bool_] = np.asarray(num_events) <= hyperparameters.cold_start_max_interactions
    return rare & young
