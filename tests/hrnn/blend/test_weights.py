from __future__ import annotations

import numpy as np
import torch
from small_sequences import circular_histories, random_histories, sequences_of

from hrnn.blend.item_statistics import Counted
from hrnn.blend.snapshots import EvaluationView, Fitted
from hrnn.blend.weights import FEATURES, draw_examples, fit_weights
from hrnn.data.preparation import prepare, users_between
from hrnn.data.sequences import Sequences
from hrnn.inference.replay import replay
from hrnn.models.hrnn import Hrnn, HrnnShape

RANDOM = sequences_of(random_histories(200, 30))


def faithful_users(num_users: int = 120, num_items: int = 40) -> Sequences:
    """Everybody takes the same two items in every session; which two differs from user to user."""
    random = np.random.default_rng(0)
    pairs = [random.choice(num_items, 2, replace=False).tolist() for _ in range(num_users)]
    return sequences_of([[pair] * 5 for pair in pairs], num_items=num_items)


def untrained(sequences: Sequences) -> Hrnn:
    shape = HrnnShape(num_items=sequences.num_items, hidden_dimension=4)
    return Hrnn.initial(shape, sequences.item_counts(), seed=0)


def mean_own_score(sequences: Sequences, weights: np.ndarray) -> float:
    """What the weights add to an item that the user has had, on average."""
    users = np.arange(sequences.num_users)
    as_of = np.full(len(users), sequences.timestamps.max())
    fitted = Fitted(untrained(sequences), weights, weights, Counted.of(sequences))
    states = replay(fitted.model, sequences, users)
    had = fitted.counted.user_items(sequences, users, as_of).features[:, 0] > 0
    return float(fitted.own_scores(sequences, users, as_of, users >= 0, states).own_item_scores[had].mean())


def test_no_user_is_an_example_twice_and_all_have_something_to_go_on_and_something_to_find() -> None:
    examples = draw_examples(RANDOM, seed=0)
    assert len(np.unique(examples.user_rows)) == len(examples.user_rows)
    assert (examples.keep_counts >= 1).all()
    assert (examples.truth_counts >= 1).all()
    assert (examples.keep_counts + examples.truth_counts <= RANDOM.history_lengths[examples.user_rows]).all()
    assert examples.only(True).later.all()
    assert len(examples.only(True).user_rows) + len(examples.only(False).user_rows) == len(examples.user_rows)


def test_later_examples_are_all_asked_at_one_moment_near_the_end() -> None:
    examples = draw_examples(RANDOM, seed=0).only(True)
    assert len(examples.user_rows) > 1
    [moment] = set(examples.as_of.tolist())
    begin = RANDOM.user_offsets[:-1][examples.user_rows] + examples.keep_counts
    assert (RANDOM.timestamps[begin - 1] < moment).all()
    assert (RANDOM.timestamps[begin] >= moment).all()
    assert (begin + examples.truth_counts == RANDOM.user_offsets[1:][examples.user_rows]).all()
    assert 0.9 < (RANDOM.timestamps < moment).mean() <= 0.95


def test_examples_depend_on_the_seed_alone() -> None:
    assert np.array_equal(draw_examples(RANDOM, 1).user_rows, draw_examples(RANDOM, 1).user_rows)
    assert not np.array_equal(draw_examples(RANDOM, 1).user_rows, draw_examples(RANDOM, 2).user_rows)


def test_prepared_parts_hide_what_is_tested_and_what_weighs() -> None:
    prepared = prepare(RANDOM, 0)
    lengths = prepared.learnt_from.history_lengths
    assert np.array_equal(
        lengths[prepared.split.user_rows], np.minimum(prepared.split.keep_counts, lengths[prepared.split.user_rows])
    )
    assert np.array_equal(lengths[prepared.examples.user_rows], prepared.examples.keep_counts)
    assert prepared.learnt_from.num_events < prepared.available.num_events < RANDOM.num_events


def test_where_users_take_their_own_items_again_that_path_counts() -> None:
    sequences = faithful_users()
    prepared = prepare(sequences, 0)
    for later in (False, True):
        weights = fit_weights(
            untrained(sequences),
            prepared.available,
            prepared.learnt_from,
            prepared.examples,
            later=later,
            use_trends=True,
            seed=0,
        )
        assert mean_own_score(sequences, weights) > 2


def test_where_nobody_takes_an_item_twice_own_items_are_held_back() -> None:
    random = np.random.default_rng(0)
    walks = [random.permutation(40)[:12].tolist() for _ in range(150)]
    sequences = sequences_of([[walk[:6], walk[6:]] for walk in walks])
    prepared = prepare(sequences, 0)
    weights = fit_weights(
        untrained(sequences), prepared.available, prepared.learnt_from, prepared.examples, later=True, use_trends=False, seed=0
    )
    assert mean_own_score(sequences, weights) < -2


def test_where_items_follow_one_another_successors_find_the_next_one() -> None:
    sequences = sequences_of(circular_histories(150, 30), num_items=30)
    prepared = prepare(sequences, 0)
    model = untrained(sequences)
    weights = fit_weights(
        model, prepared.available, prepared.learnt_from, prepared.examples, later=False, use_trends=False, seed=0
    )
    fitted = Fitted(model, weights, weights, Counted.of(prepared.learnt_from))
    view = EvaluationView(fitted)
    states = view.user_states(prepared.learnt_from, prepared.examples.user_rows)
    scores = (states.query @ view.item_vectors().t()).numpy()
    scores[np.repeat(np.arange(len(scores)), np.diff(states.own_offsets)), states.own_item_rows] += states.own_item_scores
    next_items = prepared.available.item_rows[
        prepared.available.user_offsets[prepared.examples.user_rows] + prepared.examples.keep_counts
    ]
    assert (scores.argmax(axis=1) == next_items).mean() > 0.8


def test_without_recency_the_trends_weigh_nothing() -> None:
    prepared = prepare(RANDOM, 0)
    model = untrained(RANDOM)
    args = (model, prepared.available, prepared.learnt_from, prepared.examples)
    without = fit_weights(*args, later=True, use_trends=False, seed=0)
    assert not without[["trend" in name for name in FEATURES]].any()


def test_without_examples_the_weights_are_those_of_the_plain_sequence_model() -> None:
    single = sequences_of([[[0, 1, 2]]] * 3)  # one session each: nobody comes back later
    prepared = prepare(single, 0)
    weights = fit_weights(
        untrained(single), prepared.available, prepared.learnt_from, prepared.examples, later=True, use_trends=True, seed=0
    )
    assert dict(zip(FEATURES, weights.tolist(), strict=True)) == dict.fromkeys(FEATURES, 0.0) | {
        "next_session": 1.0,
        "bias": 1.0,
    }


def test_percentiles_leave_out_users_with_short_and_long_histories() -> None:
    sequences = sequences_of([[[0] * length] for length in (1, 2, 3, 4, 50)], num_items=1)
    assert users_between(sequences, 0.0, 0.99).tolist() == [0, 1, 2, 3]
    assert users_between(sequences, 0.25, 1.0).tolist() == [1, 2, 3, 4]
    assert users_between(sequences, 0.0, 1.0).tolist() == [0, 1, 2, 3, 4]
    assert torch.is_tensor(untrained(sequences).dense)
