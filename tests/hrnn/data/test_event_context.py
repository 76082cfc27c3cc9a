from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_sequences import random_histories, sequences_of

from hrnn.data.event_context import GAP_BUCKETS, EventContext, gap_bucket
from hrnn.inference.replay import replay
from hrnn.layers.hierarchical_gru import Starts
from hrnn.models.hrnn import Hrnn, HrnnShape

SEQUENCES = sequences_of(random_histories(12, 20))
TYPED = replace(SEQUENCES, event_types=np.random.default_rng(0).integers(0, 3, len(SEQUENCES.item_rows)).astype(np.int32))


def test_buckets_double_from_one_second_on() -> None:
    gaps = np.asarray([-5, 0, 1, 2, 3, 4, 7, 8, 1 << 40])
    assert gap_bucket(gaps).tolist() == [1, 1, 2, 3, 3, 4, 4, 5, GAP_BUCKETS - 1]


def test_a_single_event_type_is_no_input_and_neither_is_what_nobody_asks_for() -> None:
    assert EventContext.of(1, gaps=True, types=True) == EventContext(GAP_BUCKETS, 0)
    assert EventContext.of(3, gaps=False, types=True) == EventContext(0, 3)
    assert EventContext(0, 0).codes(TYPED, np.zeros((2, 2), np.int64), np.zeros((2, 2), np.bool_)) is None


def test_every_pair_of_gap_and_type_has_a_code_of_its_own() -> None:
    context = EventContext.of(3, gaps=True, types=True)
    positions = np.arange(len(TYPED.item_rows))
    user_starts = np.isin(positions, TYPED.user_offsets[:-1])
    codes = context.codes(TYPED, positions, user_starts)
    assert codes is not None
    assert (codes % 3 == TYPED.event_types).all()
    assert (codes[user_starts] // 3 == 0).all()
    assert (codes[~user_starts] // 3 == gap_bucket(np.diff(TYPED.timestamps)[positions[~user_starts] - 1])).all()


@pytest.mark.parametrize("types", [False, True])
def test_contexts_are_replayed_as_they_are_in_a_plain_loop(types: bool) -> None:
    context = EventContext.of(3, gaps=True, types=types)
    shape = HrnnShape(num_items=20, hidden_dimension=5, gap_buckets=context.gap_buckets, event_types=context.event_types)
    model = Hrnn.initial(shape, TYPED.item_counts(), seed=0)
    generator = torch.Generator().manual_seed(0)
    for table in (view for name, view in model._views().items() if name in ("gap_input", "type_input")):
        table.copy_(torch.randn(table.shape, generator=generator))
    replayed = replay(model, TYPED, np.arange(12))
    for user in range(12):
        session, known = torch.zeros(1, 5), torch.zeros(1, 5)
        begin, end = TYPED.user_offsets[user : user + 2]
        for event in range(begin, end):
            first = np.asarray([[event == begin]])
            code = context.codes(TYPED, np.asarray([[event]]), first)
            starts = Starts.of(TYPED.session_starts[event : event + 1, None], first, session)
            assert code is not None
            item = model.item_table[None, None, TYPED.item_rows[event], :5]
            _, session, known = model.states(item, session, known, starts, torch.from_numpy(code))
        torch.testing.assert_close(replayed.same_session[user], session[0], atol=1e-5, rtol=0)
    without = replace(shape, gap_buckets=0, event_types=0)
    rest = model.dense[: len(Hrnn.initial(without, TYPED.item_counts(), seed=0).dense)]
    plain = replay(Hrnn(without, model.item_table, rest), TYPED, np.arange(12))
    assert not torch.allclose(plain.same_session, replayed.same_session)
