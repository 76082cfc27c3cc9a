"""States before events, from one run, beside those of cut histories."""

from __future__ import annotations

import numpy as np
import torch
from small_sequences import random_histories, sequences_of

from hrnn.evaluation.settings.last_session import hide_last_session
from hrnn.inference.replay import queries_before, replay
from hrnn.models.hrnn import Hrnn, HrnnShape


def test_states_before_events_are_those_after_all_that_came_before() -> None:
    sequences = sequences_of(random_histories(300, 12), num_items=12)
    model = Hrnn.initial(HrnnShape(num_items=12, hidden_dimension=8), sequences.item_counts(), seed=0)
    model.dense.add_(0.1)
    hidden = hide_last_session(sequences)
    states = queries_before(model, hidden.sequences, hidden.targets)
    fast = queries_before(model, hidden.sequences, hidden.targets, with_next_session=False)
    torch.testing.assert_close(states.same_session, fast.same_session)
    for number in range(0, len(hidden.targets), 17):
        user = hidden.target_users[[number]]
        keep = hidden.targets[[number]] - hidden.sequences.user_offsets[user]
        expected = replay(model, hidden.sequences.truncate(user, keep), user)
        torch.testing.assert_close(states.same_session[number], expected.same_session[0])
        torch.testing.assert_close(states.next_session[number], expected.next_session[0])
    assert len(np.unique(hidden.target_users)) > 100
