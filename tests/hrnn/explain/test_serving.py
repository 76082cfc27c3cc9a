from __future__ import annotations

import numpy as np
import pytest
from small_sequences import DAY, sequences_of

from hrnn.blend.item_statistics import ItemStatistics
from hrnn.blend.snapshots import BlendedModel, ServingSnapshot
from hrnn.blend.weights import FEATURES, TREND_NAMES, BlendWeights
from hrnn.data.ragged import Ragged
from hrnn.data.sequences import Sequences
from hrnn.explain.serving import MOST_PAST_ITEMS, ServingExplainer, Shares
from hrnn.inference.replay import replay
from hrnn.models.hrnn import Hrnn, HrnnShape

NUM_ITEMS = 40
random = np.random.default_rng(0)
HISTORIES = [
    [random.integers(0, NUM_ITEMS, random.integers(1, 6)).tolist() for _ in range(random.integers(1, 5))] for _ in range(10)
]
HISTORIES[3] = [[8, 9], [9, 8, 10], [8]]
HISTORIES[4] = [list(range(1, 16)), list(range(16, 31))]  # more than are tried
HISTORIES[6] = []
SEQUENCES = sequences_of(HISTORIES, num_items=NUM_ITEMS)
WIDTH = 5
GAP = 1_800
POPULAR = ("bias", *TREND_NAMES)


def fitted_with(**weights: float) -> BlendedModel:
    """A random model with the given weights of features; without any, random ones too."""
    model = Hrnn.initial(HrnnShape(num_items=NUM_ITEMS, hidden_dimension=WIDTH), SEQUENCES.item_counts(), seed=0)
    if weights:
        now = later = np.asarray([weights.get(name, 0.0) for name in FEATURES], dtype=np.float32)
    else:
        now, later = (np.random.default_rng(seed).normal(size=len(FEATURES)).astype(np.float32) for seed in (1, 2))
    return BlendedModel(model, BlendWeights(now, later), ItemStatistics.of(SEQUENCES))


class Night:
    """A night's view of a model, its states and full scores, and the explainer that is under test."""

    def __init__(self, fitted: BlendedModel, cut: int, gap: int | None = GAP) -> None:
        self.fitted, self.cut, self.gap = fitted, cut, gap
        view = self.view = ServingSnapshot(fitted, cut, gap)
        self.states = view.user_states(SEQUENCES, np.arange(len(HISTORIES)))
        vectors = view.items().vectors.numpy()
        self.explainer = ServingExplainer(fitted.model, fitted.weights, vectors, NUM_ITEMS, cut, gap)

    def told(self, users: list[int], items: list[list[int]], most: int = NUM_ITEMS) -> Shares:
        own = self.states.sparse.take(np.asarray(users))
        listed = Ragged.from_rows(items, np.int64)
        queries = self.states.query[users].numpy()
        return self.explainer.shares(SEQUENCES, np.asarray(users), queries, own, listed, most)

    def scores(self, sequences: Sequences, user: int) -> np.ndarray:
        """float64 [N], what the view serves a user who has these histories."""
        states = self.view.user_states(sequences, np.asarray([user]))
        scores = (states.query @ self.view.items().vectors.t() + self.view.items().bias)[0].double().numpy()
        scores[states.sparse.item_rows] += states.sparse.scores
        return scores

    def is_later(self, user: int) -> bool:
        mine = SEQUENCES.timestamps[SEQUENCES.user_offsets[user] : SEQUENCES.user_offsets[user + 1]]
        return self.gap is not None and (not len(mine) or self.cut - int(mine[-1]) >= self.gap)


def without(user: int, item: int) -> Sequences:
    """The histories but for a user's events with an item."""
    histories = [list(each) for each in HISTORIES]
    histories[user] = [[row for row in session if row != item] for session in histories[user]]
    return sequences_of([[session for session in each if session] for each in histories], num_items=NUM_ITEMS)


# Some users are asked `now` at the first moment, as their last event lies shortly before it; all are `later` at the second.
MOMENTS = [(DAY + 30 * 60, GAP), (30 * DAY, GAP), (30 * DAY, None)]


@pytest.mark.parametrize(("cut", "gap"), MOMENTS)
def test_popularity_is_the_part_of_bias_and_trends(cut: int, gap: int | None) -> None:
    night = Night(fitted_with(), cut, gap)
    table, trends = night.fitted.model.item_table.numpy(), night.fitted.trends.at(cut)
    features = np.concatenate([table[:, -1:], trends], axis=1).astype(np.float64)
    features -= features.mean(axis=0)
    users = [0, 1, 2, 3, 4, 5, 7, 8, 9]
    told = night.told(users, [list(range(NUM_ITEMS))] * len(users))
    kinds = set()
    for number, user in enumerate(users):
        kinds.add(night.is_later(user))
        weights = night.fitted.weights.next_session if night.is_later(user) else night.fitted.weights.same_session
        scores = night.scores(SEQUENCES, user)
        total = scores - scores.mean()
        popular = features @ weights[[FEATURES.index(name) for name in POPULAR]]
        had = sorted({row for session in HISTORIES[user] for row in session})
        popular[had] += features[had] @ weights[[FEATURES.index(f"own_{name}") for name in POPULAR]]
        shares = told.popularity[number * NUM_ITEMS : (number + 1) * NUM_ITEMS]
        above = total > 1e-3
        np.testing.assert_allclose(shares[above], np.clip(popular[above] / total[above], 0, 1), atol=2e-3)
        assert ((shares >= 0) & (shares <= 1)).all()
    assert kinds == ({True, False} if cut < 2 * DAY else {gap is not None})


@pytest.mark.parametrize(("cut", "gap"), MOMENTS)
def test_contributions_are_those_of_plain_runs_without_the_events(cut: int, gap: int | None) -> None:
    """Where only the sequence counts, a contribution is by how much the served score falls, measured from the mean."""
    night = Night(fitted_with(same_session=1.5, next_session=0.7, bias=0.3), cut, gap)
    users, items = [0, 3, 5, 3], [[1, 2, 30], list(range(NUM_ITEMS)), [5, 7], [9]]
    told = night.told(users, items)
    at = 0
    for user, listed in zip(users, items, strict=True):
        whole = night.scores(SEQUENCES, user)
        past = list(dict.fromkeys(row for session in HISTORIES[user] for row in session))
        falls = {}
        for row in past:
            fall = whole - night.scores(without(user, row), user)
            falls[row] = fall - fall.mean()
        for item in listed:
            above = {row: falls[row][item] for row in past if falls[row][item] > 1e-6}
            left = 1.0 - told.popularity[at]
            expected = {row: left * value / sum(above.values()) for row, value in above.items()}
            got = {int(row): share for row, share in zip(told.past_items[at], told.shares[at], strict=True) if row >= 0}
            for row in past:
                assert got.get(row, 0.0) == pytest.approx(expected.get(row, 0.0), abs=1e-3)
            assert list(told.shares[at]) == sorted(told.shares[at], reverse=True)
            assert told.popularity[at] + told.shares[at].sum() == pytest.approx(1.0 if above else told.popularity[at], abs=1e-6)
            at += 1
    np.testing.assert_array_equal(told.shares[3 + 9], told.shares[-1])  # who is asked twice is told the same


@pytest.mark.parametrize(("cut", "gap"), MOMENTS)
def test_every_term_of_a_contribution_is_as_documented(cut: int, gap: int | None) -> None:
    night = Night(fitted_with(), cut, gap)
    vectors = night.fitted.model.item_table[:, :WIDTH].double().numpy()
    vectors -= vectors.mean(axis=0)
    for user in (0, 1, 3, 8):
        weights = night.fitted.weights.next_session if night.is_later(user) else night.fitted.weights.same_session
        weight = dict(zip(FEATURES, weights.tolist(), strict=True))
        told = night.told([user], [list(range(NUM_ITEMS))])
        mine = slice(night.states.sparse.offsets[user], night.states.sparse.offsets[user + 1])
        own = dict(zip(night.states.sparse.item_rows[mine].tolist(), night.states.sparse.scores[mine].tolist(), strict=True))
        history = [row for session in HISTORIES[user] for row in session]
        latest = history[::-1][:3]
        whole = replay(night.fitted.model, SEQUENCES, np.asarray([user]))
        falls = {}
        for past in set(history):
            other = replay(night.fitted.model, without(user, past), np.asarray([user]))
            same_session = (whole.same_session - other.same_session)[0].double().numpy()
            fresh = (whole.next_session - other.next_session)[0].double().numpy()
            faded = sum(1 / back for back, row in enumerate(latest, 1) if row == past)
            for item in range(NUM_ITEMS):
                fall = vectors[item] @ (weight["same_session"] * same_session + weight["next_session"] * fresh)
                if item == past:
                    fall += own[item]
                elif item in history:
                    fall += vectors[item] @ (weight["own_same_session"] * same_session + weight["own_next_session"] * fresh)
                else:
                    fall += own.get(item, 0.0) * faded / sum(1 / back for back in range(1, len(latest) + 1))
                falls[item, past] = fall
        for item in range(NUM_ITEMS):
            above = {past: max(falls[item, past], 0.0) for past in set(history)}
            total = sum(above.values())
            got = dict(zip(told.past_items[item].tolist(), told.shares[item].tolist(), strict=True))
            for past, value in above.items():
                expected = (1 - told.popularity[item]) * value / total if total else 0.0
                assert got.get(past, 0.0) == pytest.approx(expected, abs=1e-4)


def test_an_own_item_is_listed_because_of_its_own_events_however_old() -> None:
    night = Night(fitted_with(own=4.0, next_session=0.1), 30 * DAY)
    told = night.told([4, 3], [[30, 2], [10]], most=3)
    assert 2 not in HISTORIES[4][1][-MOST_PAST_ITEMS:]
    assert told.past_items[:, 0].tolist() == [30, 2, 10]
    assert (told.shares[:, 0] > 0.8).all()
    assert (told.popularity == 0).all()


def test_successors_are_listed_because_of_the_latest_events() -> None:
    sequences_end = HISTORIES[3][-1]
    night = Night(fitted_with(symmetric=5.0), 30 * DAY)
    mine = slice(night.states.sparse.offsets[3], night.states.sparse.offsets[4])
    rows, scores = night.states.sparse.item_rows[mine], night.states.sparse.scores[mine]
    new = [int(row) for row, score in zip(rows, scores, strict=True) if score > 0 and row not in (8, 9, 10)]
    assert new
    told = night.told([3], [new], most=3)
    assert sequences_end == [8]  # after 10, after 8
    assert told.past_items[0].tolist() == [8, 10, -1]
    np.testing.assert_allclose(told.shares[0], [(1 + 1 / 3) / (1 + 1 / 2 + 1 / 3), (1 / 2) / (1 + 1 / 2 + 1 / 3), 0], atol=1e-9)


def test_where_only_popularity_counts_its_share_is_one() -> None:
    night = Night(fitted_with(bias=1.0, trend_7d=0.5), 30 * DAY)
    scores = night.scores(SEQUENCES, 3)
    best = np.argsort(-scores)[:5].tolist()
    told = night.told([3, 6], [best, best])  # user 6 has no events
    np.testing.assert_allclose(told.popularity, 1.0, atol=1e-6)
    assert (told.shares < 1e-6).all()


def test_lists_of_nobody_and_empty_lists_are_explained() -> None:
    night = Night(fitted_with(), 30 * DAY)
    assert len(night.told([6], [[1, 2]]).popularity) == 2
    assert (night.told([6], [[1, 2]]).past_items == -1).all()
    assert len(night.told([0, 3], [[], []]).popularity) == 0


def test_histories_are_run_a_parcel_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    night, users = Night(fitted_with(), 30 * DAY), [0, 3, 4, 5, 7, 8]
    whole = night.told(users, [[1, 2, 3]] * len(users), most=3)
    runs = []

    def statistics(model: Hrnn, sequences: Sequences, user_rows: np.ndarray) -> object:
        runs.append(sequences.num_events)
        return replay(model, sequences, user_rows)

    monkeypatch.setattr("hrnn.explain.engine._MOST_EVENTS", 200)
    monkeypatch.setattr(Hrnn, "queries", statistics)
    parts = night.told(users, [[1, 2, 3]] * len(users), most=3)
    assert len(runs) > 2
    np.testing.assert_allclose(parts.shares, whole.shares, atol=1e-5)
    np.testing.assert_array_equal(parts.past_items, whole.past_items)
