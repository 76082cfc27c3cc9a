from __future__ import annotations

from dataclasses import replace

import numpy as np
from small_sequences import random_histories, sequences_of

from hrnn.blend import cooccurrence, repeats
from hrnn.blend.item_statistics import FEATURES, ItemStatistics
from hrnn.blend.repeats import own_item_features

SEQUENCES = sequences_of(random_histories(40, 30))
USERS = np.asarray([5, 0, 31])
AS_OF = np.asarray([int(SEQUENCES.timestamps.max())] * 3)
HAD = len(repeats.FEATURES)


def test_items_of_either_kind_stand_once_with_the_features_of_both() -> None:
    statistics = ItemStatistics.of(SEQUENCES)
    merged = statistics.user_items(SEQUENCES, USERS, AS_OF)
    had = own_item_features(SEQUENCES, USERS, AS_OF, statistics.item_repeat_odds)
    following = statistics.cooccurrence.of_users(SEQUENCES, USERS)
    both = 0
    for user in range(len(USERS)):
        rows = {}
        for found, place in ((had, slice(0, HAD)), (following, slice(HAD, len(FEATURES)))):
            mine = slice(found.offsets[user], found.offsets[user + 1])
            for item, features in zip(found.item_rows[mine].tolist(), found.features[mine], strict=True):
                both += item in rows
                rows.setdefault(item, np.zeros(len(FEATURES), dtype=np.float32))[place] = features
        mine = slice(merged.offsets[user], merged.offsets[user + 1])
        assert merged.item_rows[mine].tolist() == sorted(rows)
        assert np.array_equal(merged.features[mine], np.stack([rows[item] for item in sorted(rows)]))
    assert 0 < both < len(merged.item_rows)


def test_the_first_feature_of_each_kind_tells_whether_an_item_is_of_it() -> None:
    merged = ItemStatistics.of(SEQUENCES).user_items(SEQUENCES, USERS, AS_OF)
    assert (FEATURES[0], FEATURES[HAD]) == ("own", "symmetric") == (repeats.FEATURES[0], cooccurrence.FEATURES[0])
    kinds = merged.features[:, [0, HAD]]
    assert {tuple(kind) for kind in kinds.tolist()} == {(1.0, 0.0), (0.0, 1.0), (1.0, 1.0)}


def test_hidden_events_change_nothing() -> None:
    users = np.arange(SEQUENCES.num_users)
    keep = np.maximum(SEQUENCES.history_lengths - 2, 1)
    cut = SEQUENCES.truncate(users, keep)
    other = SEQUENCES.item_rows.copy()
    hidden = np.setdiff1d(np.arange(len(other)), cut.event_positions(users).values)
    other[hidden] = 29 - other[hidden]
    changed = replace(cut, item_rows=other)
    found = [ItemStatistics.of(each).user_items(each, USERS, AS_OF) for each in (cut, changed)]
    assert np.array_equal(found[0].item_rows, found[1].item_rows)
    assert np.array_equal(found[0].features, found[1].features)
