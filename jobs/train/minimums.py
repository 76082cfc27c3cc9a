"""Whether there is enough to train on, by Personalize's minimums; counted once event rules have left what counts."""

from __future__ import annotations

import sys

import numpy as np
import numpy.typing as npt

from hrnn.data.ragged import offsets_of
from hrnn.data.sequences import Sequences
from schemas.errors import DataError
from schemas.event_rules import EventRules
from schemas.minimums import FEWEST_OF_A_USER, CountedEvents, named_types, shortfalls
from schemas.quotas import Quotas

_MEND = "Export a longer period, or name more event types."
_ANYWAY = 'To train anyway, leave --strict out; a night says [training] minimums = "warn".'


def counted_events(sequences: Sequences, event_weights: npt.NDArray[np.float32] | None) -> CountedEvents:
    """How much there is to train on.

    Args:
        sequences: All of them.
        event_weights: float32 [E], how much each event counts; None: all alike.
    """
    lengths = sequences.history_lengths
    if event_weights is not None:
        lengths = np.diff(offsets_of(event_weights > 0)[sequences.user_offsets])
    with_two = int(np.count_nonzero(lengths >= FEWEST_OF_A_USER))
    return CountedEvents(interactions=int(lengths.sum()), users=sequences.num_users, users_with_two=with_two)


def check_minimums(counted: CountedEvents, quotas: Quotas, rules: EventRules | None, *, strict: bool) -> None:
    """Check that there is enough to train on; warn on stderr, or raise with `strict`, where there is not.

    Args:
        counted: How much there is to train on.
        quotas: What must be there.
        rules: Event rules of the solution.
        strict: Too little is an error, as in Personalize.

    Raises:
        DataError: There is too little; its text begins as Personalize's does.
    """
    sentences = shortfalls(counted, quotas, named_types(rules))
    if sentences and strict:
        raise DataError(". ".join(sentences), remedy=f"{counted}. {_MEND} {_ANYWAY}")
    for sentence in sentences:
        print(f"train: Personalize would say: {sentence}. ({counted})", file=sys.stderr)
