from __future__ import annotations

import numpy as np
import pytest
import torch
from small_sequences import circular_histories, random_histories, sequences_of

from hrnn.blend.item_statistics import ItemStatistics
from hrnn.blend.snapshots import BlendedModel, PerUserSnapshot
from hrnn.blend.weights import FEATURES, BlendWeights, fit_weights
from hrnn.data.sequences import Sequences
from hrnn.data.splits import draw_calibration, prepare, users_between
from hrnn.inference.replay import replay
from hrnn.models.hrnn import Hrnn, HrnnShape
from schemas.errors import DataError

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
    fitted = BlendedModel(untrained(sequences), BlendWeights(weights, weights), ItemStatistics.of(sequences))
    states = replay(fitted.model, sequences, users)
    had = fitted.statistics.user_items(sequences, users, as_of).features[:, 0] > 0
    return float(fitted.sparse_scores(sequences, users, as_of, users >= 0, states).scores[had].mean())


def test_no_user_is_an_example_twice_and_all_have_something_to_go_on_and_something_to_find() -> None:
    calibration = draw_calibration(RANDOM, seed=0)
    assert len(np.unique(calibration.user_rows)) == len(calibration.user_rows)
    assert (calibration.keep_counts >= 1).all()
    assert (calibration.truth_counts >= 1).all()
    assert (calibration.keep_counts + calibration.truth_counts <= RANDOM.history_lengths[calibration.user_rows]).all()
    assert calibration.only(True).next_session.all()
    assert len(calibration.only(True).user_rows) + len(calibration.only(False).user_rows) == len(calibration.user_rows)


def test_next_session_users_share_one_prediction_time_near_the_end() -> None:
    calibration = draw_calibration(RANDOM, seed=0).only(True)
    assert len(calibration.user_rows) > 1
    [moment] = set(calibration.as_of.tolist())
    begin = RANDOM.user_offsets[:-1][calibration.user_rows] + calibration.keep_counts
    assert (RANDOM.timestamps[begin - 1] < moment).all()
    assert (RANDOM.timestamps[begin] >= moment).all()
    assert (begin + calibration.truth_counts == RANDOM.user_offsets[1:][calibration.user_rows]).all()
    assert 0.9 < (RANDOM.timestamps < moment).mean() <= 0.95


def test_examples_depend_on_the_seed_alone() -> None:
    assert np.array_equal(draw_calibration(RANDOM, 1).user_rows, draw_calibration(RANDOM, 1).user_rows)
    assert not np.array_equal(draw_calibration(RANDOM, 1).user_rows, draw_calibration(RANDOM, 2).user_rows)


def test_prepared_parts_hide_what_is_tested_and_what_weighs() -> None:
    prepared = prepare(RANDOM, 0)
    lengths = prepared.fit.history_lengths
    assert np.array_equal(
        lengths[prepared.split.user_rows], np.minimum(prepared.split.keep_counts, lengths[prepared.split.user_rows])
    )
    assert np.array_equal(lengths[prepared.calibration.user_rows], prepared.calibration.keep_counts)
    assert prepared.fit.num_events < prepared.fit_and_calibration.num_events < RANDOM.num_events


def test_where_users_take_their_own_items_again_that_path_counts() -> None:
    sequences = faithful_users()
    prepared = prepare(sequences, 0)
    for later in (False, True):
        weights = fit_weights(
            untrained(sequences),
            prepared.fit_and_calibration,
            prepared.fit,
            prepared.calibration,
            next_session=later,
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
        untrained(sequences),
        prepared.fit_and_calibration,
        prepared.fit,
        prepared.calibration,
        next_session=True,
        use_trends=False,
        seed=0,
    )
    assert mean_own_score(sequences, weights) < -2


def test_where_items_follow_one_another_successors_find_the_next_one() -> None:
    sequences = sequences_of(circular_histories(150, 30), num_items=30)
    prepared = prepare(sequences, 0)
    model = untrained(sequences)
    weights = fit_weights(
        model, prepared.fit_and_calibration, prepared.fit, prepared.calibration, next_session=False, use_trends=False, seed=0
    )
    fitted = BlendedModel(model, BlendWeights(weights, weights), ItemStatistics.of(prepared.fit))
    view = PerUserSnapshot(fitted)
    states = view.user_states(prepared.fit, prepared.calibration.user_rows)
    scores = (states.query @ view.items().vectors.t()).numpy()
    scores[np.repeat(np.arange(len(scores)), np.diff(states.sparse.offsets)), states.sparse.item_rows] += states.sparse.scores
    next_items = prepared.fit_and_calibration.item_rows[
        prepared.fit_and_calibration.user_offsets[prepared.calibration.user_rows] + prepared.calibration.keep_counts
    ]
    assert (scores.argmax(axis=1) == next_items).mean() > 0.8


def test_without_recency_the_trends_weigh_nothing() -> None:
    prepared = prepare(RANDOM, 0)
    model = untrained(RANDOM)
    args = (model, prepared.fit_and_calibration, prepared.fit, prepared.calibration)
    without = fit_weights(*args, next_session=True, use_trends=False, seed=0)
    assert not without[["trend" in name for name in FEATURES]].any()


def test_without_examples_the_weights_are_those_of_the_plain_sequence_model() -> None:
    single = sequences_of([[[0, 1, 2]]] * 3)  # one session each: nobody comes back later
    prepared = prepare(single, 0)
    weights = fit_weights(
        untrained(single),
        prepared.fit_and_calibration,
        prepared.fit,
        prepared.calibration,
        next_session=True,
        use_trends=True,
        seed=0,
    )
    assert dict(zip(FEATURES, weights.tolist(), strict=True)) == dict.fromkeys(FEATURES, 0.0) | {
        "next_session": 1.0,
        "bias": 1.0,
    }


def test_weights_of_another_release_are_refused() -> None:
    stored = BlendWeights.plain().to_tensors()
    with pytest.raises(DataError, match="Train it again"):
        BlendWeights.of_tensors({name: weights[:3] for name, weights in stored.items()})


def test_percentiles_leave_out_users_with_short_and_long_histories() -> None:
    sequences = sequences_of([[[0] * length] for length in (1, 2, 3, 4, 50)], num_items=1)
    assert users_between(sequences, 0.0, 0.99).tolist() == [0, 1, 2, 3]
    assert users_between(sequences, 0.25, 1.0).tolist() == [1, 2, 3, 4]
    assert users_between(sequences, 0.0, 1.0).tolist() == [0, 1, 2, 3, 4]
    assert torch.is_tensor(untrained(sequences).dense)
