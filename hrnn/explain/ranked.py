"""Why a ranked snapshot lists items: what each family of features adds to their scores.

Every feature is of one family, but for the convex blend's score and rank. These are dealt out by what the score is made of:
each of the blend's own features (hrnn/blend/weights.py) is of one family too. What the trees start from, the score times a
weight, is dealt out as it is; what they have learnt of it, among the families whose parts of the score have its sign.

What a feature adds to a candidate's logit is found by TreeSHAP. Everything is measured from the mean over the candidates of
the user that all trees are shown: numbers say why an item stands above these.

Source: Lundberg, Lee 2018, "Consistent Individualized Feature Attribution for Tree Ensembles".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hrnn.blend import cooccurrence, item_statistics, repeats, weights
from hrnn.data.arrays import Doubles, Flags, Floats, Rows
from hrnn.data.ragged import Ragged, find_keys
from hrnn.data.sequences import Sequences
from hrnn.explain.families import DUE, FAMILIES, HISTORY, KIND, LATELY, LATEST, LIKED, ORDER, POPULAR, RHYTHM, SIMILAR
from hrnn.models.contract import UserStates
from hrnn.ranker.candidates import Candidates
from hrnn.ranker.features import FEATURES, features_of
from hrnn.ranker.knowledge import ITEM_NAMES, USER_NAMES, Knowledge
from hrnn.ranker.snapshot import RankedSnapshot, joined

DEALT = ("blend", "blend_rank")
"""Features that are dealt out among families."""
_OLD = ("1w", "4w", "16w")  # half-lives that tell of more than the last days
_OF_ITEMS = {
    name: POPULAR
    if name.removeprefix("item_events_").removeprefix("item_rank_") in _OLD
    or name in {"item_users", "item_repeaters", "item_interval", "item_bias"}
    else LATELY
    for name in ITEM_NAMES
}
_OF_SCORES = {
    "same_session": ORDER,
    "next_session": ORDER,
    "item_neighbours": HISTORY,
    "user_neighbours": SIMILAR,
    "categories": LIKED,
}
_FAMILY_OF = {
    **dict.fromkeys((*repeats.FEATURES, "own_interval", "own_due", "item_due"), DUE),
    **dict.fromkeys(cooccurrence.FEATURES, LATEST),
    **_OF_ITEMS,
    **dict.fromkeys((*USER_NAMES, "asks_next_session"), RHYTHM),
    **_OF_SCORES,
    **{f"{name}_rank": family for name, family in _OF_SCORES.items()},
    "fits": KIND,
}
_OF_KINDS = {"fit": KIND, "own": DUE, "item": POPULAR, "user": RHYTHM}  # of columns of Users and Interactions
_BLEND = [FEATURES.index(name) for name in DEALT]
_AT_ONCE = 250  # users


def family_of(feature: str) -> str:
    """Family of a feature by its name.

    Raises:
        KeyError: It is of none.
    """
    column, _, kind = feature.rpartition(" ")
    if not column:
        return _FAMILY_OF[feature]
    return LIKED if column.startswith("Items.") else _OF_KINDS[kind]


def family_of_blend(feature: str) -> str:
    """Family of a feature of the blend (hrnn/blend/weights.py) by its name.

    Raises:
        KeyError: It is of none.
    """
    name = feature.removeprefix("own_")
    return POPULAR if name == "bias" else LATELY if name.startswith("trend_") else _FAMILY_OF[name]


@dataclass(frozen=True)
class RankedReasons:
    """Why n places of lists are as they are.

    Attributes:
        ranked: bool [n], whether the item was a candidate: others keep the blend's reasons.
        families: float64 [n, FAMILIES], what each adds to the log-odds of the item against the candidates that all trees are
            shown, on average; their sum is by how much its score exceeds their mean. 0 where the item was no candidate.
        blend: The users' states by the convex blend alone.
    """

    ranked: Flags
    families: Doubles
    blend: UserStates


def ranked_reasons(snapshot: RankedSnapshot, histories: Sequences, user_rows: Rows, listed: Ragged[np.int64]) -> RankedReasons:
    """Reasons of every place.

    Args:
        snapshot: That made the lists.
        histories: Of the users.
        user_rows: int64 [B], one at least; a user may occur again.
        listed: [B] item rows.
    """
    starts = range(0, len(user_rows), _AT_ONCE)
    parts = [
        _reasons(
            snapshot, histories, user_rows[begin : begin + _AT_ONCE], listed.part(begin, min(begin + _AT_ONCE, len(listed)))
        )
        for begin in starts
    ]
    return RankedReasons(
        np.concatenate([part.ranked for part in parts]),
        np.concatenate([part.families for part in parts]),
        joined([part.blend for part in parts]),
    )


def _reasons(snapshot: RankedSnapshot, histories: Sequences, user_rows: Rows, listed: Ragged[np.int64]) -> RankedReasons:
    num_items = np.int64(histories.num_items)
    candidates = snapshot.sources.of(histories, user_rows)
    features, users = features_of(snapshot.knowledge, histories, user_rows, candidates), candidates.items.row_ids()
    with_events = np.flatnonzero(histories.history_lengths[user_rows][users] > 0)  # of others nothing is ranked
    shown = with_events[snapshot.ranker.shown(features[with_events], users[with_events])]
    keys, of_places = users * num_items + candidates.items.values, listed.row_ids() * num_items + listed.values
    places, found = find_keys(keys[with_events], of_places)
    chosen = np.union1d(shown, with_events[found])
    families = np.zeros((len(of_places), len(FAMILIES)))
    ranked = np.zeros(len(of_places), dtype=np.bool_)
    if len(chosen):
        told = _contributions(snapshot, candidates, features, chosen, shown)
        families[places], ranked[places] = told[np.searchsorted(chosen, with_events[found])], True
    return RankedReasons(ranked, families, candidates.asked.states)


def _contributions(snapshot: RankedSnapshot, candidates: Candidates, features: Floats, chosen: Rows, shown: Rows) -> Doubles:
    """What each family adds to candidates' logits, above its mean over those of the user that all trees are shown.

    Args:
        snapshot: The trees, and what is known.
        candidates: Of B users.
        features: float32 [pairs, F], of all of them.
        chosen: int64 [n], positions of pairs, rising, that are asked for.
        shown: Those of `chosen` that the means are of, one at least of every user who is asked for.

    Returns:
        float64 [n, FAMILIES].
    """
    ranker = snapshot.ranker
    of_features = ranker.contributions(features[chosen])
    families = of_features @ _membership([None if name in DEALT else family_of(name) for name in ranker.names])
    parts = _blend_parts(snapshot.knowledge, candidates, chosen)
    blend = features[chosen, _BLEND[0]].astype(np.float64)
    learnt = of_features[:, _BLEND].sum(axis=1) - ranker.blend_weight * blend  # what trees make of the blend
    users, of_shown = candidates.items.row_ids()[chosen], np.searchsorted(chosen, shown)
    families, parts, learnt = (_centred(each, users, of_shown) for each in (families, parts, learnt[:, None]))
    return families + ranker.blend_weight * parts + learnt * _shares(parts, learnt)


def _membership(names: list[str | None]) -> Doubles:
    """1 where a name is the family's: float64 [names, FAMILIES]."""
    return np.asarray([[float(family == name) for family in FAMILIES] for name in names])


_OF_BLEND = _membership([family_of_blend(name) for name in weights.FEATURES])


def _blend_parts(knowledge: Knowledge, candidates: Candidates, chosen: Rows) -> Doubles:
    """What each family adds to the convex blend's score: float64 [n, FAMILIES]; their sum is the score."""
    asked, num_items = candidates.asked, np.int64(knowledge.sequences.num_items)
    users, items = candidates.items.row_ids()[chosen], candidates.items.values[chosen]
    times = np.full(len(asked.next_session), knowledge.as_of)
    dense = knowledge.blended.dense_features(asked.queries, users, items, times)
    sparse = np.zeros((len(chosen), len(item_statistics.FEATURES)), dtype=np.float32)
    found, places = find_keys(asked.user_items.keys(num_items), users * num_items + items)
    sparse[found] = asked.user_items.features[places]
    features = np.concatenate([dense, sparse, dense * sparse[:, :1]], axis=1).astype(np.float64)
    parts: Doubles = (features * knowledge.blended.weights.of(asked.next_session)[users]) @ _OF_BLEND
    return parts


def _centred(values: Doubles, users: Rows, of_mean: Rows) -> Doubles:
    """[n, …] less each user's mean over some of the rows."""
    size = int(users.max(initial=-1)) + 1
    counts = np.bincount(users[of_mean], minlength=size)
    sums = np.stack([np.bincount(users[of_mean], column[of_mean], size) for column in values.T], axis=1)
    centred: Doubles = values - (sums / np.maximum(counts, 1)[:, None])[users]
    return centred


def _shares(parts: Doubles, dealt: Doubles) -> Doubles:
    """Which share of [n, 1] each family gets, [n, FAMILIES]: by the parts that have its sign; the sequence's where none has."""
    same = np.maximum(np.sign(dealt) * parts, 0.0)
    totals = same.sum(axis=1, keepdims=True)
    return np.where(totals > 0, same / np.where(totals > 0, totals, 1.0), _membership([ORDER]))
