from __future__ import annotations

import numpy as np
import pytest
import torch
from small_sequences import DAY, random_histories, sequences_of

from hrnn.blend.item_statistics import ItemStatistics
from hrnn.blend.snapshots import BlendedModel, PerUserSnapshot, ServingSnapshot
from hrnn.blend.weights import ALL_WEIGHTS, COUNTED_WEIGHTS, FEATURES, OWN_AGAIN_WEIGHTS, TREND_WEIGHTS, BlendWeights
from hrnn.inference.replay import replay
from hrnn.models.contract import Snapshot, UserStates
from hrnn.models.hrnn import Hrnn, HrnnShape

SEQUENCES = sequences_of(random_histories(12, 20))
USERS = np.arange(12)
CUT = int(SEQUENCES.timestamps.max()) + 1
GAP = 1_800


def some_weights(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=len(FEATURES)).astype(np.float32)


@pytest.fixture(scope="module")
def fitted() -> BlendedModel:
    shape = HrnnShape(num_items=SEQUENCES.num_items, hidden_dimension=4)
    model = Hrnn.initial(shape, SEQUENCES.item_counts(), seed=0)
    return BlendedModel(model, BlendWeights(some_weights(1), some_weights(2)), ItemStatistics.of(SEQUENCES))


def scores_of(view: Snapshot, states: UserStates) -> np.ndarray:
    """[B, N], as design.md says scores come about."""
    scores = (states.query @ view.items().vectors.t() + view.items().bias).numpy()
    for user in range(len(scores)):
        own = slice(states.sparse.offsets[user], states.sparse.offsets[user + 1])
        scores[user, states.sparse.item_rows[own]] += states.sparse.scores[own]
    return scores


def by_hand(fitted: BlendedModel, user: int, weights: np.ndarray, as_of: int, trends: np.ndarray) -> np.ndarray:
    """w · features of every item for one user."""
    model = fitted.model
    states = replay(model, SEQUENCES, np.asarray([user]))
    features = np.zeros((SEQUENCES.num_items, len(FEATURES)), dtype=np.float32)
    features[:, 0] = (model.item_table[:, :4] @ states.same_session[0]).numpy()
    features[:, 1] = (model.item_table[:, :4] @ states.next_session[0]).numpy()
    features[:, 2] = model.item_table[:, 4].numpy()
    features[:, TREND_WEIGHTS] = trends
    own = fitted.statistics.user_items(SEQUENCES, np.asarray([user]), np.asarray([as_of]))
    features[own.item_rows, COUNTED_WEIGHTS] = own.features
    had = np.unique(SEQUENCES.item_rows[SEQUENCES.user_offsets[user] : SEQUENCES.user_offsets[user + 1]])
    features[had, OWN_AGAIN_WEIGHTS] = features[had, ALL_WEIGHTS]
    scores: np.ndarray = features @ weights
    return scores


def test_a_nightly_score_is_the_weighed_sum_of_the_three_paths(fitted: BlendedModel) -> None:
    view = ServingSnapshot(fitted, CUT, GAP)
    scores = scores_of(view, view.user_states(SEQUENCES, USERS))
    last = SEQUENCES.timestamps[SEQUENCES.user_offsets[1:] - 1]
    assert 0 < (CUT - last >= GAP).sum() < 12  # both kinds are there
    for user in range(12):
        weights = fitted.weights.next_session if CUT - last[user] >= GAP else fitted.weights.same_session
        expected = by_hand(fitted, user, weights, CUT, fitted.trends.at(CUT))
        assert scores[user] == pytest.approx(expected, abs=1e-4)


def test_an_evaluation_s_score_is_as_of_the_user_s_last_event(fitted: BlendedModel) -> None:
    view = PerUserSnapshot(fitted)
    scores = scores_of(view, view.user_states(SEQUENCES, USERS))
    for user in range(12):
        last = int(SEQUENCES.timestamps[SEQUENCES.user_offsets[user + 1] - 1])
        trends = fitted.trends.at(fitted.trends.time_of(int(fitted.trends.grid_index(np.asarray([last]))[0])))
        assert scores[user] == pytest.approx(by_hand(fitted, user, fitted.weights.same_session, last, trends), abs=1e-4)


def test_the_item_bias_answers_for_a_user_nobody_knows(fitted: BlendedModel) -> None:
    view = ServingSnapshot(fitted, CUT, GAP)
    nobody = SEQUENCES.truncate(np.asarray([0]), np.asarray([0]))
    states = view.user_states(nobody, np.asarray([0]))
    assert torch.allclose(states.query, torch.zeros(1), atol=1e-6)
    assert len(states.sparse.item_rows) == 0


def test_without_a_gap_everybody_may_go_on(fitted: BlendedModel) -> None:
    view = ServingSnapshot(fitted, CUT + 100 * DAY, None)
    scores = scores_of(view, view.user_states(SEQUENCES, USERS))
    cut = CUT + 100 * DAY
    assert scores[3] == pytest.approx(by_hand(fitted, 3, fitted.weights.same_session, cut, fitted.trends.at(cut)), abs=1e-4)


def test_without_trends_an_evaluation_needs_no_moments(fitted: BlendedModel) -> None:
    now = fitted.weights.same_session.copy()
    now[TREND_WEIGHTS] = 0
    view = PerUserSnapshot(BlendedModel(fitted.model, BlendWeights(now, fitted.weights.next_session), fitted.statistics))
    assert view.items().vectors.shape == (SEQUENCES.num_items, 5)
    assert view.user_states(SEQUENCES, USERS).query.shape == (12, 5)


def test_both_views_are_scoring_models(fitted: BlendedModel) -> None:
    assert isinstance(ServingSnapshot(fitted, CUT, GAP), Snapshot)
    assert isinstance(PerUserSnapshot(fitted), Snapshot)
