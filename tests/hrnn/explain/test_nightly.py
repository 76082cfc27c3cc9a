from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ranked_shop import SHOP, ranked_shop

from hrnn.data.ragged import Ragged
from hrnn.explain.families import DUE, FAMILIES, LATELY, ORDER, POPULAR
from hrnn.explain.nightly import ranked_list
from hrnn.explain.ranked import ranked_reasons
from hrnn.ranker.snapshot import RankedSnapshot


@pytest.fixture(scope="module")
def snapshot() -> RankedSnapshot:
    return ranked_shop()


def scores_of(view: RankedSnapshot, user: int) -> np.ndarray:
    states = view.user_states(SHOP, np.asarray([user]))
    product = (states.query @ view.items().vectors.t() + view.items().bias)[0].numpy()
    return np.asarray(product + states.sparse.dense(0, SHOP.num_items))


@pytest.mark.parametrize("user", [3, 90])
def test_a_list_is_the_served_one_and_its_families_add_up(snapshot: RankedSnapshot, user: int) -> None:
    found, scores = ranked_list(snapshot, SHOP, user, num_ranked=SHOP.num_items), scores_of(snapshot, user)
    assert found.item_rows.tolist() == np.argsort(-scores, kind="stable")[:10].tolist()
    assert found.paths == tuple(FAMILIES)
    told = ranked_reasons(snapshot, SHOP, np.asarray([user]), Ragged.from_rows([found.item_rows], np.int64))
    np.testing.assert_array_equal(found.reasons.paths[told.ranked], told.families[told.ranked])
    np.testing.assert_allclose(found.reasons.total, found.reasons.paths.sum(axis=1))
    assert found.probabilities.sum() < 1


def test_past_items_are_those_without_which_the_blend_s_score_would_fall(snapshot: RankedSnapshot) -> None:
    user, found = 3, ranked_list(snapshot, SHOP, 3, num_ranked=SHOP.num_items)
    whole = slice(int(SHOP.user_offsets[user]), int(SHOP.user_offsets[user + 1]))

    def above_the_mean(sequences: object) -> np.ndarray:
        states = snapshot.blend.user_states(sequences, np.asarray([user]))  # type: ignore[arg-type]
        items = snapshot.blend.items()
        scores = (states.query @ items.vectors.t() + items.bias)[0].double().numpy() + states.sparse.dense(0, SHOP.num_items)
        return np.asarray(scores - scores.mean())

    past = int(found.reasons.past_items[0, 0])
    chosen = np.ones(len(SHOP.item_rows), dtype=np.bool_)
    chosen[whole] = SHOP.item_rows[whole] != past
    falls = above_the_mean(SHOP) - above_the_mean(SHOP.only(chosen))
    np.testing.assert_allclose(found.reasons.contributions[:, 0], falls[found.item_rows], atol=1e-3)


def test_what_was_no_candidate_keeps_the_blend_s_paths(snapshot: RankedSnapshot, monkeypatch: pytest.MonkeyPatch) -> None:
    before = ranked_list(snapshot, SHOP, 3, num_ranked=SHOP.num_items)

    def of_nobody(*given: object) -> object:
        told = ranked_reasons(*given)  # type: ignore[arg-type]
        return replace(told, ranked=np.zeros_like(told.ranked), families=np.zeros_like(told.families))

    monkeypatch.setattr("hrnn.explain.nightly.ranked_reasons", of_nobody)
    found = ranked_list(snapshot, SHOP, 3, num_ranked=SHOP.num_items)
    used = [list(FAMILIES).index(name) for name in (DUE, ORDER, POPULAR, LATELY)]
    others = [place for place in range(len(FAMILIES)) if place not in used]
    assert not found.reasons.paths[:, others].any()
    assert np.abs(found.reasons.paths[:, used]).max() > 0.1
    np.testing.assert_array_equal(before.reasons.contributions, found.reasons.contributions)
