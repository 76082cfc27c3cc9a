from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, pairwise

import numpy as np
import pytest
import torch
from habitual_shop import DAY, START, habitual_shop

from hrnn.blend.item_statistics import ItemStatistics
from hrnn.blend.snapshots import BlendedModel, ServingSnapshot
from hrnn.blend.weights import FEATURES as BLEND
from hrnn.blend.weights import BlendWeights
from hrnn.data.metadata import Metadata
from hrnn.data.ragged import row_ids
from hrnn.data.sequences import Sequences
from hrnn.evaluation.metrics import HEADLINE
from hrnn.evaluation.settings.next_period import NextPeriod, best_of, cut_at
from hrnn.models.contract import DataSpec, Snapshot, UserStates
from hrnn.models.hrnn import Hrnn
from hrnn.ranker.candidates import MOST, CandidateSources
from hrnn.ranker.features import FEATURES, features_of
from hrnn.ranker.fitting import FittedRanker, fit_ranker
from hrnn.ranker.knowledge import Knowledge
from hrnn.ranker.moments import COUNT, training_moments
from hrnn.ranker.snapshot import RankedSnapshot
from hrnn.ranker.trees import averaged
from hrnn.training.settings import TrainingSettings

SHOP = habitual_shop()
END = START + 29 * DAY  # of what is known; the day after it is the truth
KNOWN = SHOP.only(SHOP.timestamps < END)


def own_items_count() -> BlendWeights:
    """A blend of counts of own items alone, which does not know when one is due."""
    weights = np.zeros(len(BLEND), dtype=np.float32)
    weights[BLEND.index("own")], weights[BLEND.index("log_count")] = 5.0, 1.0
    return BlendWeights(weights, weights)


def knowledge_at(moment: int, sequences: Sequences = KNOWN) -> Knowledge:
    known = sequences.before(moment)
    model = Hrnn.build({"hidden_dimension": 4}, TrainingSettings(), DataSpec(np.ones(SHOP.num_items, dtype=np.int64), 1))
    serving = ServingSnapshot(BlendedModel(model, own_items_count(), ItemStatistics.of(known)), moment, 1_800)
    return Knowledge.of(known, serving, Metadata())


def moments(sequences: Sequences = KNOWN) -> Iterator[tuple[Knowledge, NextPeriod]]:
    for moment in training_moments(sequences, DAY):
        yield knowledge_at(moment, sequences), cut_at(sequences, moment - 1, DAY)


@pytest.fixture(scope="module")
def fitted() -> FittedRanker:
    return fit_ranker(moments(), DAY, seed=0)


def scores_of(view: Snapshot, states: UserStates) -> np.ndarray:
    scores = (states.query @ view.items().vectors.t() + view.items().bias).numpy()
    scores[row_ids(states.sparse.offsets), states.sparse.item_rows] += states.sparse.scores
    return scores


def ndcg(view: Snapshot, night: NextPeriod) -> float:
    scores = scores_of(view, view.user_states(KNOWN, night.user_rows))
    scores[:, ~night.known] = -np.inf
    return float(night.per_user(best_of(scores))[HEADLINE].mean())


def test_trees_learn_what_a_blend_can_not_say_and_the_next_day_shows_it(fitted: FittedRanker) -> None:
    assert fitted.serves
    assert fitted.gain[0] > 5 * fitted.gain[1] > 0
    assert fitted.ranked[HEADLINE] == pytest.approx(fitted.blended[HEADLINE] + fitted.gain[0])
    assert fitted.ranker is not None
    assert next(iter(fitted.ranker.gains())) in {"own_due", "item_due", "log_age", "log_sessions_since", "own_interval"}
    night, now = cut_at(SHOP, END - 1, DAY), knowledge_at(END)
    assert ndcg(RankedSnapshot(now, fitted.ranker), night) > ndcg(now.serving, night) + 0.5 * fitted.gain[0]


def test_the_same_moments_and_seed_give_the_same_trees(fitted: FittedRanker) -> None:
    again = fit_ranker(moments(), DAY, seed=0)
    assert again.ranker == fitted.ranker
    assert fit_ranker(moments(), DAY, seed=1).ranker != fitted.ranker


def test_candidate_recall_is_that_of_the_union(fitted: FittedRanker) -> None:
    assert set(fitted.recall_of_sources) == set(MOST)
    assert max(fitted.recall_of_sources.values()) <= fitted.candidate_recall <= 1
    alone = fit_ranker(moments(), DAY, seed=0, without=tuple(name for name in MOST if name != "popular"))
    assert set(alone.recall_of_sources) == {"popular"}
    assert alone.candidate_recall == pytest.approx(fitted.recall_of_sources["popular"])


def test_of_too_few_users_nothing_is_learnt() -> None:
    few = KNOWN.only(np.arange(len(KNOWN.item_rows)) < KNOWN.user_offsets[10])
    known = ((knowledge_at(END - age * DAY, few), cut_at(few, END - age * DAY - 1, DAY)) for age in (4, 2, 1))
    nothing = fit_ranker(known, DAY, seed=0)
    assert nothing.ranker is None
    assert not nothing.serves


def test_moments_are_a_quarter_of_the_horizon_apart_and_their_period_is_over() -> None:
    found = training_moments(KNOWN, DAY)
    last = int(KNOWN.timestamps.max())
    assert len(found) == COUNT
    assert found[-1] + DAY == last + 1
    assert set(np.diff(found)) == {DAY // 4}


def test_where_data_end_with_days_of_hardly_any_events_moments_are_older() -> None:
    """One user goes on for two days after all others have left: the newest moment is one that many came back after."""
    late = np.flatnonzero(SHOP.timestamps >= START + 27 * DAY)
    of_last = np.zeros(len(SHOP.item_rows), dtype=np.bool_)
    of_last[late[late >= SHOP.user_offsets[-2]]] = True
    thin = SHOP.only((SHOP.timestamps < START + 27 * DAY) | of_last)
    found = training_moments(thin, DAY)
    assert len(found) == COUNT
    assert START + 25 * DAY < found[-1] < START + 27 * DAY
    assert set(np.diff(found)) == {DAY // 4}
    assert training_moments(SHOP, DAY)[-1] > found[-1]


@pytest.mark.parametrize("days", [20, 29, 300])
def test_data_that_are_short_for_the_horizon_have_no_moments(days: int) -> None:
    assert training_moments(SHOP, days * DAY) == ()


def test_where_hardly_anybody_comes_back_there_are_no_moments() -> None:
    few = habitual_shop(num_users=20)
    assert len(training_moments(few, DAY)) == 0
    assert len(training_moments(SHOP, DAY)) == COUNT


def test_a_candidate_s_score_is_the_ranker_s_and_all_other_items_keep_the_blend_s(fitted: FittedRanker) -> None:
    assert fitted.ranker is not None
    now, users = knowledge_at(END), np.arange(40)
    ranked = RankedSnapshot(now, fitted.ranker)
    scores, blend = (
        scores_of(ranked, ranked.user_states(KNOWN, users)),
        scores_of(now.serving, now.serving.user_states(KNOWN, users)),
    )
    candidates = CandidateSources(now).of(KNOWN, users)
    features = features_of(now, KNOWN, users, candidates)
    logits = fitted.ranker.scores_of_lists(features, candidates.items.row_ids())
    for user in users:
        row = candidates.items.row(int(user))
        of_user = logits[candidates.items.offsets[user] : candidates.items.offsets[user + 1]]
        shift = scores[user, row] - of_user
        np.testing.assert_allclose(shift, shift.mean(), atol=2e-3)
        others = np.setdiff1d(np.arange(SHOP.num_items), row)
        np.testing.assert_allclose(scores[user, others], blend[user, others], atol=1e-4)
        # All candidates together are as likely as the blend says.
        totals = [np.log(np.exp(of[user, row].astype(np.float64)).sum()) for of in (scores, blend)]
        assert totals[0] == pytest.approx(totals[1], abs=1e-3)


def test_states_hardly_hang_on_who_is_asked_together(fitted: FittedRanker, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last bits of a state do, by the shape of a product; and a feature beside a split may then fall on its other side."""
    assert fitted.ranker is not None
    ranked = RankedSnapshot(knowledge_at(END), fitted.ranker)
    users = np.arange(30)
    together = ranked.user_states(KNOWN, users)
    monkeypatch.setattr("hrnn.ranker.snapshot._AT_ONCE", 7)
    apart = ranked.user_states(KNOWN, users)
    torch.testing.assert_close(together.query, apart.query)
    for name in ("offsets", "item_rows"):
        np.testing.assert_array_equal(getattr(together.sparse, name), getattr(apart.sparse, name))
    np.testing.assert_allclose(together.sparse.scores, apart.sparse.scores, atol=0.2)
    monkeypatch.undo()


def test_another_process_makes_the_same_states(fitted: FittedRanker) -> None:
    assert fitted.ranker is not None
    ranked, users = RankedSnapshot(knowledge_at(END), fitted.ranker), np.arange(30)
    together = ranked.user_states(KNOWN, users)
    rebuilt = RankedSnapshot.of_parts(ranked.parts, KNOWN, Metadata()).user_states(KNOWN, users)
    np.testing.assert_array_equal(rebuilt.sparse.scores, together.sparse.scores)


def test_who_has_no_events_gets_the_blend_s_list(fitted: FittedRanker) -> None:
    assert fitted.ranker is not None
    now = knowledge_at(END)
    nobody = KNOWN.truncate(np.asarray([3]), np.asarray([0]))
    ranked = RankedSnapshot(now, fitted.ranker)
    ours, theirs = (scores_of(view, view.user_states(nobody, np.asarray([3, 4]))) for view in (ranked, now.serving))
    np.testing.assert_allclose(ours[0], theirs[0], atol=1e-5)
    assert np.abs(ours[1] - theirs[1]).max() > 0.1
    empty = ranked.user_states(KNOWN, np.empty(0, np.int64))
    assert len(empty.query) == 0
    assert empty.sparse.offsets.tolist() == [0]


def test_contributions_add_up_to_a_candidate_s_score(fitted: FittedRanker) -> None:
    assert fitted.ranker is not None
    now, users = knowledge_at(END), np.arange(5)
    features = features_of(now, KNOWN, users, CandidateSources(now).of(KNOWN, users))
    parts = fitted.ranker.contributions(features)
    assert parts.shape == (len(features), len(FEATURES))
    rest = fitted.ranker.scores(features) - parts.sum(axis=1)
    np.testing.assert_allclose(rest, rest.mean(), atol=1e-5)


def test_who_is_not_among_the_best_by_the_first_trees_stands_below_in_their_order(
    fitted: FittedRanker, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fitted.ranker is not None
    now, users = knowledge_at(END), np.arange(20)
    candidates = CandidateSources(now).of(KNOWN, users)
    features, of_pairs = features_of(now, KNOWN, users, candidates), candidates.items.row_ids()
    all_shown = fitted.ranker.scores(features)
    monkeypatch.setattr("hrnn.ranker.trees._SHOWN", 1_000)
    np.testing.assert_allclose(fitted.ranker.scores_of_lists(features, of_pairs), all_shown, atol=1e-3)
    monkeypatch.setattr("hrnn.ranker.trees._SHOWN", 10)
    shown = fitted.ranker.scores_of_lists(features, of_pairs)
    first = averaged([each.scores(features, 0, 20) for each in fitted.ranker.trees], features)
    for user in users:
        of_user = np.flatnonzero(of_pairs == user)
        by_first = of_user[np.argsort(-first[of_user], kind="stable")]
        np.testing.assert_allclose(shown[by_first[:10]], all_shown[by_first[:10]], atol=1e-3)
        assert shown[by_first[:10]].min() >= shown[by_first[10:]].max() - 1e-3
        np.testing.assert_allclose(np.diff(shown[by_first[10:]]), np.diff(first[by_first[10:]]), atol=1e-3)


def test_histories_hold_events_that_are_never_true() -> None:
    """With event rules the truth is of some events, but what is known of a user is of all."""
    counts = np.arange(len(KNOWN.item_rows)) % 3 > 0
    some = KNOWN.only(counts)

    def with_rules() -> Iterator[tuple[Knowledge, NextPeriod]]:
        for moment in training_moments(KNOWN, DAY):
            yield knowledge_at(moment), cut_at(KNOWN, moment - 1, DAY, event_weights=counts.astype(np.float32))

    def as_if_there_were_nothing_else() -> Iterator[tuple[Knowledge, NextPeriod]]:
        for moment in training_moments(KNOWN, DAY):
            yield knowledge_at(moment, some), cut_at(some, moment - 1, DAY)

    found, without = fit_ranker(with_rules(), DAY, seed=0), fit_ranker(as_if_there_were_nothing_else(), DAY, seed=0)
    assert found.ranked[HEADLINE] > without.ranked[HEADLINE] + 0.02


def test_what_counts_more_by_event_rules_stands_higher() -> None:
    """Items that are taken again soon count a twentieth of the others: in lists they fall behind these."""
    users = np.repeat(np.arange(KNOWN.num_users), np.diff(KNOWN.user_offsets))
    order = np.lexsort((KNOWN.timestamps, users * SHOP.num_items + KNOWN.item_rows))
    again = np.diff((users * SHOP.num_items + KNOWN.item_rows)[order]) == 0
    days, items = np.diff(KNOWN.timestamps[order])[again] / DAY, KNOWN.item_rows[order][1:][again]
    counts = np.maximum(1, np.bincount(items, minlength=SHOP.num_items))
    heavy = np.bincount(items, days, SHOP.num_items) / counts > 3.5
    weights = np.where(heavy[KNOWN.item_rows], 1.0, 0.05).astype(np.float32)

    def share(event_weights: np.ndarray | None) -> float:
        """Of pairs of a heavy and a light item among a user's best four, those in which the heavy one stands first."""

        def nights() -> Iterator[tuple[Knowledge, NextPeriod]]:
            for moment in training_moments(KNOWN, DAY):
                yield knowledge_at(moment), cut_at(KNOWN, moment - 1, DAY, event_weights=event_weights)

        ranker = fit_ranker(nights(), DAY, seed=0).ranker
        assert ranker is not None
        now, users = knowledge_at(END), np.arange(200)
        candidates = CandidateSources(now).of(KNOWN, users)
        scores = ranker.scores(features_of(now, KNOWN, users, candidates))
        first = []
        for begin, end in pairwise(candidates.items.offsets):
            best = begin + np.argsort(-scores[begin:end], kind="stable")[:4]
            first += [one for one, other in combinations(heavy[candidates.items.values[best]].tolist(), 2) if one != other]
        return float(np.mean(first))

    assert share(weights) > share(None) + 0.05
