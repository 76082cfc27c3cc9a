"""Reasons of ranked items add up to their scores, and say what the trees have learnt."""

from __future__ import annotations

import numpy as np
import pytest
from ranked_shop import METADATA, SHOP, ranked_shop

from hrnn.data.metadata import Metadata
from hrnn.data.ragged import Ragged
from hrnn.explain import ranked
from hrnn.explain.families import FAMILIES
from hrnn.explain.ranked import ranked_reasons
from hrnn.ranker.features import features_of
from hrnn.ranker.snapshot import RankedSnapshot

USERS = np.asarray([3, 90, 3, 201])


@pytest.fixture(scope="module", params=[METADATA, Metadata()], ids=["metadata", "none"])
def snapshot(request: pytest.FixtureRequest) -> RankedSnapshot:
    return ranked_shop(request.param)


def lists_of_all() -> Ragged[np.int64]:
    return Ragged.from_rows([np.arange(SHOP.num_items)] * len(USERS), np.int64)


def test_they_add_up_to_the_score_above_the_mean_of_those_that_all_trees_are_shown(snapshot: RankedSnapshot) -> None:
    reasons = ranked_reasons(snapshot, SHOP, USERS, lists_of_all())
    candidates = snapshot.sources.of(SHOP, USERS)
    features, users = features_of(snapshot.knowledge, SHOP, USERS, candidates), candidates.items.row_ids()
    scores, shown = snapshot.ranker.scores(features), snapshot.ranker.shown(features, users)
    means = np.asarray([scores[shown][users[shown] == user].mean() for user in range(len(USERS))])
    at = users * SHOP.num_items + candidates.items.values
    np.testing.assert_allclose(reasons.families.sum(axis=1)[at], scores - means[users], atol=1e-4)
    assert reasons.ranked.sum() == len(at)
    assert reasons.ranked[at].all()
    assert not reasons.families[~reasons.ranked].any()
    assert np.abs(reasons.families[at]).max() > 0.5


def test_they_do_not_hang_on_what_else_is_asked(snapshot: RankedSnapshot, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = ranked_reasons(snapshot, SHOP, USERS, lists_of_all())
    same = [whole.families[user * SHOP.num_items : (user + 1) * SHOP.num_items] for user in (0, 2)]
    np.testing.assert_allclose(*same, atol=1e-5)
    monkeypatch.setattr(ranked, "_AT_ONCE", 3)
    few = Ragged.from_rows([[5, 2], [], [9], [2, 100, 4]], np.int64)
    part = ranked_reasons(snapshot, SHOP, USERS, few)
    at = few.row_ids() * SHOP.num_items + few.values
    np.testing.assert_allclose(part.families, whole.families[at], atol=1e-5)
    np.testing.assert_array_equal(part.ranked, whole.ranked[at])
    assert len(part.blend.query) == len(USERS)


def test_who_has_no_events_has_none(snapshot: RankedSnapshot) -> None:
    nobody = SHOP.truncate(np.asarray([3]), np.asarray([0]))
    reasons = ranked_reasons(snapshot, nobody, np.asarray([3]), Ragged.from_rows([[1, 2]], np.int64))
    assert not reasons.ranked.any()
    assert reasons.families.shape == (2, len(FAMILIES))
