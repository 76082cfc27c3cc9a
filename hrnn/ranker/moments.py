"""Earlier moments that a ranker learns from: each with its own knowledge, and with what users took in the period after it."""

from __future__ import annotations

import numpy as np

from hrnn.data.plausible import plausible_span
from hrnn.data.sequences import Sequences

COUNT = 8
FEWEST_USERS = 200  # who came back within the period after a moment, over the moments that the first trees learn from
FEWEST_MEASURED = 100  # who came back after the newest moment: by fewer, trees can't be told from the blend
_A_HORIZON = 4  # moments in a horizon; more would show nearly the same truth
_MOST_BACK = 4 * COUNT  # steps from one moment to the next that the newest may be older, where data end with days of few events
_LEAST_PAST = 0.4  # of the data's span, before the first moment: the model must have learnt something by then


def training_moments(sequences: Sequences, horizon_seconds: int) -> tuple[int, ...]:
    """COUNT moments whose whole horizon has passed: UTC epoch seconds, rising; none where the data are too short.

    The newest one is a horizon before the data's end, or older where hardly anybody came back after it.

    Args:
        sequences: Not truncated.
        horizon_seconds: The period that lists are made for.
    """
    first, last = plausible_span(np.asarray(sequences.timestamps))
    spacing = max(1, horizon_seconds // _A_HORIZON)
    for back in range(_MOST_BACK):
        newest = last + 1 - horizon_seconds - back * spacing
        moments = tuple(newest - number * spacing for number in reversed(range(COUNT)))
        if moments[0] - first < _LEAST_PAST * (last - first) or last == first:
            return ()
        if _came_back(sequences, newest, horizon_seconds) < FEWEST_MEASURED:
            continue
        earlier = [moment for moment in moments if horizon_passed(moment, newest, horizon_seconds)]
        enough = sum(_came_back(sequences, moment, horizon_seconds) for moment in earlier) >= FEWEST_USERS
        return moments if enough else ()
    return ()


def _came_back(sequences: Sequences, moment: int, horizon_seconds: int) -> int:
    """How many users with events before a moment have some in the period after it."""
    before, after = (sequences.before(time).history_lengths for time in (moment, moment + horizon_seconds))
    return int(np.count_nonzero((before > 0) & (after > before)))


def horizon_passed(moment: int, by: int, horizon_seconds: int) -> bool:
    """Whether all that is true of a moment had happened by another one: it may then be learnt from there."""
    return moment + horizon_seconds <= by
