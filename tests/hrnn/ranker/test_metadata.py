"""Features of metadata beside plain counts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from habitual_shop import DAY, START, habitual_shop

from hrnn.blend.item_statistics import ItemStatistics
from hrnn.blend.snapshots import BlendedModel, ServingSnapshot
from hrnn.blend.weights import BlendWeights
from hrnn.data.metadata import ItemValues, Metadata
from hrnn.data.ragged import Ragged
from hrnn.data.sequences import Sequences
from hrnn.evaluation.metrics import HEADLINE
from hrnn.evaluation.settings.next_period import NextPeriod, cut_at
from hrnn.models.contract import DataSpec
from hrnn.models.hrnn import Hrnn
from hrnn.ranker.candidates import MOST
from hrnn.ranker.features import FEATURES
from hrnn.ranker.fitting import FittedRanker, fit_ranker
from hrnn.ranker.knowledge import Knowledge
from hrnn.ranker.metadata import MetadataTables, feature_names
from hrnn.ranker.moments import training_moments
from hrnn.training.settings import TrainingSettings

SHOP = habitual_shop(num_users=40)
MOMENT = START + 20 * DAY
KNOWN = SHOP.before(MOMENT)
RANDOM = np.random.default_rng(3)
N, U, E = SHOP.num_items, SHOP.num_users, len(SHOP.item_rows)
GENRES = [sorted(RANDOM.choice(5, RANDOM.integers(0, 3), replace=False).tolist()) for _ in range(N)]
PRICES = np.where(RANDOM.random(N) < 0.1, np.nan, RANDOM.random(N)).astype(np.float32)
AGES = RANDOM.integers(-1, 3, U).astype(np.int32)
DEVICES = RANDOM.integers(0, 4, E).astype(np.int32)
VALUES = np.where(RANDOM.random(E) < 0.2, np.nan, RANDOM.random(E) * 9).astype(np.float32)
TYPES = RANDOM.integers(0, 2, E).astype(np.int32)
TYPED = replace(SHOP, event_types=TYPES)
METADATA = Metadata(
    item_values={
        "GENRES": ItemValues(
            Ragged.from_rows(GENRES, np.int64),
            np.concatenate([np.full(len(row), max(1, len(row)) ** -0.5) for row in GENRES]).astype(np.float32),
            5,
            words=False,
        )
    },
    item_numbers={"PRICE": PRICES},
    user_codes={"AGE": AGES},
    event_codes={"DEVICE": DEVICES},
    event_numbers={"EVENT_VALUE": VALUES},
    event_types=("view", "buy"),
)
USERS = np.asarray([3, 0, 17])
PAIRS = Ragged.from_rows([np.sort(RANDOM.choice(N, 30, replace=False)) for _ in USERS], np.int64)


def column(name: str, *, recency: bool = True) -> np.ndarray:
    known = TYPED.before(MOMENT)
    tables = MetadataTables.of(METADATA, known, MOMENT, recency=recency)
    columns = tables.columns(METADATA, known, USERS, PAIRS, tables.taken(known, USERS))
    names = feature_names(METADATA)
    assert columns.shape == (len(PAIRS.values), len(names))
    return columns[:, names.index(name)]


def events_of(user: int) -> list[int]:
    begin = int(SHOP.user_offsets[user])
    return list(range(begin, begin + int(KNOWN.history_lengths[user])))


def of_pairs(value: object) -> list[float]:
    return [value(int(USERS[row]), int(item)) for row, item in zip(PAIRS.row_ids(), PAIRS.values, strict=True)]  # type: ignore[operator]


def test_a_share_is_that_of_the_user_s_events_by_their_age() -> None:
    def share(user: int, item: int) -> float:
        weights = {event: 2.0 ** (-(MOMENT - SHOP.timestamps[event]) / DAY / 60) for event in events_of(user)}
        total = 0.0
        for event, weight in weights.items():
            theirs, ours = GENRES[SHOP.item_rows[event]], GENRES[item]
            total += weight * len(set(theirs) & set(ours)) / max(1e-9, (len(theirs) * len(ours)) ** 0.5)
        return total / sum(weights.values())

    np.testing.assert_allclose(column("Items.GENRES share"), of_pairs(share), rtol=1e-4, atol=1e-6)
    assert not np.allclose(column("Items.GENRES share"), column("Items.GENRES share", recency=False))


def test_the_latest_share_is_of_ten_events() -> None:
    def share(user: int, item: int) -> float:
        latest = [GENRES[SHOP.item_rows[event]] for event in events_of(user)[-10:]]
        ours = GENRES[item]
        return sum(len(set(each) & set(ours)) / max(1e-9, (len(each) * len(ours)) ** 0.5) for each in latest) / len(latest)

    np.testing.assert_allclose(column("Items.GENRES latest_share"), of_pairs(share), rtol=1e-4, atol=1e-6)


def test_a_place_counts_what_is_more_popular_in_the_genre() -> None:
    known = np.concatenate([events_of(user) for user in range(U)])
    recent = np.bincount(SHOP.item_rows[known], 2.0 ** (-(MOMENT - SHOP.timestamps[known]) / DAY / 28), N)

    def place(_: int, item: int) -> float:
        places = [sum(recent[other] > recent[item] for other in range(N) if genre in GENRES[other]) for genre in GENRES[item]]
        return np.log1p(min(places)) if places else np.nan

    np.testing.assert_allclose(column("Items.GENRES place"), of_pairs(place), rtol=1e-5)


def test_a_distance_is_from_what_the_user_takes() -> None:
    known = np.sort(PRICES[~np.isnan(PRICES)])
    quantile = {
        price: (np.searchsorted(known, price) + np.searchsorted(known, price, "right")) / 2 / len(known) for price in known
    }

    def distance(user: int, item: int) -> float:
        if np.isnan(PRICES[item]):
            return np.nan
        events = [event for event in events_of(user) if not np.isnan(PRICES[SHOP.item_rows[event]])]
        weights = [2.0 ** (-(MOMENT - SHOP.timestamps[event]) / DAY / 60) for event in events]
        prices = [quantile[PRICES[SHOP.item_rows[event]]] for event in events]
        return float(quantile[PRICES[item]] - np.average(prices, weights=weights))

    np.testing.assert_allclose(column("Items.PRICE distance"), of_pairs(distance), atol=1e-5)


@pytest.mark.parametrize("name", ["Users.AGE fit", "Interactions.DEVICE fit"])
def test_a_fit_is_the_share_among_an_item_s_events_over_that_among_all(name: str) -> None:
    known = [(user, event) for user in range(U) for event in events_of(user)]
    codes = {event: int(AGES[user] if "AGE" in name else DEVICES[event]) for user, event in known}

    def fit(user: int, item: int) -> float:
        code = int(AGES[user]) if "AGE" in name else codes[events_of(user)[-1]]
        if code < 0:
            return 0.0
        share = sum(each == code for each in codes.values()) / len(codes)
        of_item = [codes[event] for _, event in known if SHOP.item_rows[event] == item]
        return float(np.log((of_item.count(code) + 10 * share) / (len(of_item) + 10) / share))

    np.testing.assert_allclose(column(name), of_pairs(fit), atol=1e-5)
    assert len(set(column(name).round(4).tolist())) > 10


def test_all_fits_are_added() -> None:
    np.testing.assert_allclose(column("fits"), column("Users.AGE fit") + column("Interactions.DEVICE fit"), atol=1e-6)


def test_types_and_values_of_own_events() -> None:
    def bought(user: int, item: int) -> float:
        own = [event for event in events_of(user) if SHOP.item_rows[event] == item and TYPES[event] == 1]
        return float(np.log1p(sum(2.0 ** (-(MOMENT - SHOP.timestamps[event]) / DAY / 60) for event in own)))

    def value(user: int, item: int) -> float:
        own = [VALUES[event] for event in events_of(user) if SHOP.item_rows[event] == item and not np.isnan(VALUES[event])]
        return float(np.mean(np.log1p(own))) if own else np.nan

    np.testing.assert_allclose(column("Interactions.EVENT_TYPE=buy own"), of_pairs(bought), atol=1e-5)
    np.testing.assert_allclose(column("Interactions.EVENT_VALUE own"), of_pairs(value), atol=1e-5)
    assert np.isfinite(column("Interactions.EVENT_VALUE own")).any()


def test_without_metadata_there_are_no_columns() -> None:
    nothing = Metadata()
    tables = MetadataTables.of(nothing, KNOWN, MOMENT)
    taken = tables.taken(KNOWN, USERS)
    assert tables.columns(nothing, KNOWN, USERS, PAIRS, taken).shape == (len(PAIRS.values), 0)
    assert tables.category_scores(taken).nnz == 0


def test_who_has_no_events_has_no_share_and_no_fit_of_context() -> None:
    nobody = TYPED.truncate(np.arange(U), np.zeros(U, np.int64))
    tables = MetadataTables.of(METADATA, TYPED.before(MOMENT), MOMENT)
    columns = tables.columns(METADATA, nobody, USERS, PAIRS, tables.taken(nobody, USERS))
    names = feature_names(METADATA)
    assert not columns[:, names.index("Items.GENRES share")].any()
    assert not columns[:, names.index("Interactions.DEVICE fit")].any()
    assert np.isfinite(columns[:, names.index("Users.AGE fit")]).all()


class OfGenres:
    """A shop whose users keep to one genre, which no event says: everybody takes another item of it each time."""

    def __init__(self, num_users: int = 300, num_items: int = 400, seed: int = 0) -> None:
        random = np.random.default_rng(seed)
        self.genre = random.integers(0, 40, num_items)
        items, times = [], []
        for _ in range(num_users):
            own = np.flatnonzero(self.genre == random.integers(0, 40))
            taken = random.permutation(own)[:8] if len(own) else random.integers(0, num_items, 8)
            items.append(taken)
            times.append(START + np.sort(random.choice(20 * 24, len(taken), replace=False)) * 3_600)
        lengths = [len(row) for row in items]
        self.sequences = Sequences(
            Ragged.from_rows(items, np.int64).offsets,
            np.concatenate(items).astype(np.int32),
            np.concatenate(times),
            np.ones(sum(lengths), np.bool_),
            np.zeros(sum(lengths), np.int32),
            num_items,
        )
        one_each = Ragged(np.arange(num_items + 1), self.genre.astype(np.int64))
        self.metadata = Metadata({"GENRE": ItemValues(one_each, np.ones(num_items, np.float32), 40, words=False)})

    def fitted(self, metadata: Metadata, without: tuple[str, ...] = ()) -> FittedRanker:
        horizon = 3 * DAY

        def moments() -> Iterator[tuple[Knowledge, NextPeriod]]:
            for moment in training_moments(self.sequences, horizon):
                known = self.sequences.before(moment)
                spec = DataSpec(np.ones(self.sequences.num_items, dtype=np.int64), 1)
                torch.manual_seed(0)
                model = Hrnn.build({"hidden_dimension": 4}, TrainingSettings(), spec)
                blended = BlendedModel(model, BlendWeights.plain(), ItemStatistics.of(known))
                serving = ServingSnapshot(blended, moment, 1_800)
                yield Knowledge.of(known, serving, metadata), cut_at(self.sequences, moment - 1, horizon)

        return fit_ranker(moments(), horizon, seed=0, without=without)


def test_a_column_that_tells_is_found_and_used() -> None:
    shop = OfGenres()
    others = tuple(source for source in MOST if source not in {"categories", "popular"})  # neighbours know genres too
    told, untold = shop.fitted(shop.metadata, without=others), shop.fitted(Metadata(), without=others)
    assert told.ranker is not None
    assert next(iter(told.ranker.gains())) == "categories"
    assert told.recall_of_sources["categories"] > 0.5 > untold.candidate_recall
    assert told.ranked[HEADLINE] > 2 * told.blended[HEADLINE]


def test_a_column_that_only_the_future_fills_gains_nothing() -> None:
    shop = OfGenres()
    moments = training_moments(shop.sequences, 3 * DAY)
    after = shop.sequences.timestamps >= moments[-1]
    # Constant before the newest moment; from then on it tells the genre.
    numbers = np.where(after, shop.genre[shop.sequences.item_rows], 0).astype(np.float32)
    planted = Metadata(event_codes={"PLANTED": numbers.astype(np.int32)}, event_numbers={"PLANTED": numbers})
    found = shop.fitted(planted)
    assert found.ranker is not None
    gains = found.ranker.gains()
    assert len(gains) > len(FEATURES)
    assert all(share == 0.0 for name, share in gains.items() if "PLANTED" in name)
