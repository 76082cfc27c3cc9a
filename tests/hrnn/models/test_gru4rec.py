from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_sequences import circular_histories, random_histories, sequences_of

from hrnn.data.sessions import sessions_alone
from hrnn.evaluation.baselines import lists
from hrnn.evaluation.baselines.lists import baseline_lists
from hrnn.evaluation.baselines.neural import NeuralBaseline
from hrnn.evaluation.baselines.prediction_points import points_after
from hrnn.models.contract import DataSpec
from hrnn.models.gru4rec import Gru4Rec
from hrnn.models.registry import model_for
from hrnn.training.settings import TrainingSettings

GRU = model_for("hrnn-gru4rec")
SETTINGS = TrainingSettings(num_lanes=4, num_steps=8, epochs=8, num_negatives=64)


def test_every_session_becomes_a_user_and_truncated_events_stay_away() -> None:
    sequences = sequences_of([[[0, 1], [2]], [[3, 4, 5], [0]]])
    alone = sessions_alone(sequences.truncate(np.asarray([0, 1]), np.asarray([2, 2])))
    assert alone.user_offsets.tolist() == [0, 2, 3, 6, 7]
    assert alone.history_lengths.tolist() == [2, 0, 2, 0]
    assert sessions_alone(sequences).item_counts().tolist() == sequences.item_counts().tolist()


def test_it_learns_which_item_comes_next_in_a_session() -> None:
    sequences = sequences_of(circular_histories(80, 12))
    gru = NeuralBaseline(sequences, SETTINGS, GRU, {"hidden_dimension": 16})
    users = np.arange(80)
    scores = gru.scores(points_after(sequences, users, np.zeros(80, dtype=np.int64)))
    last = sequences.item_rows[sequences.user_offsets[1:] - 1]
    assert (scores.argmax(axis=1) == (last + 1) % 12).mean() > 0.9


def test_what_users_did_in_other_sessions_moves_nothing() -> None:
    sequences = sequences_of([[[0, 1, 2], [3, 4]], [[5, 6], [6, 5], [3, 4]], *random_histories(20, 7)], num_items=7)
    gru = NeuralBaseline(sequences, replace(SETTINGS, epochs=1), GRU, {"hidden_dimension": 5})
    one, other = gru.scores(points_after(sequences, np.asarray([0, 1]), np.zeros(2, dtype=np.int64)))
    np.testing.assert_allclose(one, other, atol=1e-6)


def test_events_of_weight_nothing_are_not_learnt() -> None:
    sequences = sequences_of(circular_histories(80, 12))
    weights = np.where(sequences.item_rows == 3, np.float32(0), np.float32(1))
    gru = NeuralBaseline(sequences, SETTINGS, GRU, {"hidden_dimension": 16}, event_weights=weights)
    scores = gru.scores(points_after(sequences, np.arange(80), np.zeros(80, dtype=np.int64)))
    assert (scores.argmax(axis=1) != 3).all()


def test_of_many_events_some_are_enough_and_the_lists_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    sequences = sequences_of(circular_histories(40, 12))
    monkeypatch.setattr(lists, "_MOST_EVENTS", 100)

    def fit(some: lists.Sequences) -> NeuralBaseline:
        assert 0 < some.history_lengths.sum() <= 100
        return NeuralBaseline(some, replace(SETTINGS, epochs=1), GRU, {"hidden_dimension": 4})

    found = baseline_lists(sequences, np.arange(40), names=("popularity, last 3 days",), others={"shuffled GRU": fit})
    assert list(found.lists) == ["popularity, last 3 days", "shuffled GRU"]
    assert list(found.fitted_on) == ["shuffled GRU"]
    assert found.fitted_on["shuffled GRU"][1] == sequences.num_events


def test_queries_are_those_of_the_equations() -> None:
    histories = random_histories(20, 12)
    sequences = sequences_of(histories)
    model = Gru4Rec.build({"hidden_dimension": 5}, SETTINGS, DataSpec.of(sequences, sequences)).double()
    model.start.copy_(torch.linspace(-1, 1, 5))
    model.input_bias.copy_(torch.linspace(-0.5, 0.5, 15))
    found = model.queries(sequences, np.arange(20))
    for user, history in enumerate(histories):
        state = torch.tanh(model.start)
        torch.testing.assert_close(found.next_session[user], state)
        for item in history[-1]:
            a = model.item_table[item, :-1] @ model.input_weight + model.input_bias
            h = state @ model.hidden_weight
            reset, update = torch.sigmoid(a[:5] + h[:5]), torch.sigmoid(a[5:10] + h[5:10])
            state = state + update * (torch.tanh(a[10:] + reset * h[10:]) - state)
        torch.testing.assert_close(found.same_session[user], state, atol=1e-9, rtol=0)
