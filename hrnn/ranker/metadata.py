"""Features of what the datasets say: metadata of items and users; types, numbers and context of events.

    p(u)    of a column of Items: the user's events, each counted as 2^(-age / 60 days), dealt out among their items' values
    x(i)    the item's values, of length 1; of words, weighted by inverse document frequency
    share   p(u) · x(i): of a category, the user's share of it; of words, how near the item's text is to the user's texts

    fit     of a column of Users, or of the context of events: log(share of the user's value among the item's events / among all
            events), drawn towards 0 as by ten events

Columns are found by their type and marks; the trees find out which of them count. In lists of names, a dataset's column stands
before what is said of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import scipy.sparse as sp

from hrnn.data.arrays import Doubles, Floats, Rows
from hrnn.data.metadata import Codes, ItemValues, Metadata
from hrnn.data.ragged import Ragged, find_keys, offsets_of
from hrnn.data.sequences import Sequences

HALF_LIFE_DAYS = 60.0
_DAY = 86_400
_MOST_OF_USER = 200  # events of a user, the newest
_LATEST = 10  # of them, which the latest share is of
_POPULAR_DAYS = (0.5, 28.0)  # half-lives by which the items of a category are compared
_POPULAR = 15  # items of a category that may be candidates, by each half-life
_PRIOR = 10.0  # events
_MOST_CODES = 64  # of a column of users or of context; of rarer ones nothing is said
_MOST_CELLS = 1 << 20  # of a table of codes and items; of less popular items nothing is said
_MOST_COUNTED = 5_000_000  # events that fits are counted from, the newest
_MOST_TYPES = 8
_CELLS_AT_ONCE = 1 << 23  # of users and values


def feature_names(metadata: Metadata) -> tuple[str, ...]:
    """Names of the columns that `MetadataTables.columns` makes."""
    names = []
    for column, values in metadata.item_values.items():
        names += [f"Items.{column} {kind}" for kind in ("share", "latest_share")]
        names += [] if values.words else [f"Items.{column} {kind}" for kind in ("place", "events")]
    for column in metadata.item_numbers:
        names += [f"Items.{column} {kind}" for kind in ("value", "distance")]
    names += [f"Users.{column} fit" for column in metadata.user_codes]
    names += [f"Interactions.{column} fit" for column in metadata.event_codes]
    names += ["fits"] if metadata.user_codes or metadata.event_codes else []
    for column in (*(f"EVENT_TYPE={name}" for name in _types(metadata)), *metadata.event_numbers):
        names += [f"Interactions.{column} {kind}" for kind in ("own", "item", "user")]
    return tuple(names)


def _types(metadata: Metadata) -> tuple[str, ...]:
    """Event types that features are made of; one alone says nothing."""
    return metadata.event_types[:_MOST_TYPES] if len(metadata.event_types) > 1 else ()


@dataclass(frozen=True, eq=False)
class Taken:
    """What B users took.

    Attributes:
        events: [B] positions of their newest events, oldest first.
        weights: float64 of each, 2^(-age / half-life).
        items: float64 [B, N], share of each item in the weights.
        values, latest: float64 [B, V], shares of the items' values, of all these events and of the latest.
    """

    events: Ragged[np.int64]
    weights: Doubles
    items: sp.csr_matrix
    values: sp.csr_matrix
    latest: sp.csr_matrix


@dataclass(frozen=True, eq=False)
class MetadataTables:
    """What is known at a moment; it holds nothing that grows with users or events.

    Attributes:
        as_of: The moment, UTC epoch seconds.
        recency: False: ages have no part in it.
        values: Of Items.
        fits: Of Users' columns, then of events'.
        events: Of types and numbers of events.
    """

    as_of: int
    recency: bool
    values: _ItemTable
    fits: tuple[_Fit, ...]
    events: _EventTable

    @classmethod
    def of(cls, metadata: Metadata, sequences: Sequences, as_of: int, *, recency: bool = True) -> MetadataTables:
        """Count what is known.

        Args:
            metadata: Of these sequences.
            sequences: Histories up to the moment.
            as_of: UTC epoch seconds.
            recency: Whether recent popularity may have a part in lists.
        """
        events = sequences.event_positions(np.arange(sequences.num_users))
        times, items = np.asarray(sequences.timestamps[events.values]), sequences.item_rows[events.values].astype(np.int64)
        ages = (as_of - times) / _DAY if recency else np.zeros(len(times))
        fits = tuple(_Fit.all_of(metadata, events, times, items, sequences.num_items))
        values = _ItemTable.of(metadata, items, ages, sequences.num_items)
        return cls(as_of, recency, values, fits, _EventTable.of(metadata, sequences, events.values, items))

    def taken(self, histories: Sequences, user_rows: Rows) -> Taken:
        """What B users took, int64 [B]."""
        events, size = histories.newest_positions(user_rows, _MOST_OF_USER), len(user_rows)
        users, items = events.row_ids(), histories.item_rows[events.values]
        ages = np.maximum(self.as_of - np.asarray(histories.timestamps[events.values]), 0) / _DAY
        weights = np.exp2(-ages / HALF_LIFE_DAYS) if self.recency else np.ones(len(ages))
        latest = (np.arange(len(users)) >= events.offsets[1:][users] - _LATEST).astype(np.float64)
        shape = (size, histories.num_items)
        of_items, of_latest = (
            sp.csr_matrix((each / np.maximum(np.bincount(users, each, size), 1e-12)[users], (users, items)), shape=shape)
            for each in (weights, latest)
        )
        values = self.values.matrix
        return Taken(events, weights, of_items, (of_items @ values).tocsr(), (of_latest @ values).tocsr())

    def category_scores(self, taken: Taken) -> sp.csr_matrix:
        """Popular items of the users' categories, by the users' shares of these: float32 [B, N], sorted by item in a row."""
        scores = (taken.values @ self.values.popular).tocsr().astype(np.float32)
        scores.sort_indices()
        return scores

    def columns(
        self, metadata: Metadata, histories: Sequences, user_rows: Rows, pairs: Ragged[np.int64], taken: Taken
    ) -> Floats:
        """Columns of `feature_names`: float32 [pairs, F].

        Args:
            metadata: That the tables are of.
            histories: Those that the metadata are of, up to the moment.
            user_rows: int64 [B].
            pairs: [B] item rows, rising.
            taken: By these users.
        """
        users, items = pairs.row_ids(), pairs.values
        columns = self.values.columns(taken, users, items)
        codes = [np.asarray(each[user_rows]) for each in metadata.user_codes.values()]
        codes += [_of_last_events(each, histories, user_rows) for each in metadata.event_codes.values()]
        fits = [fit.of(each[users], items) for fit, each in zip(self.fits, codes, strict=True)]
        columns += fits
        columns += [np.sum(fits, axis=0)] if fits else []
        columns += self.events.columns(metadata, histories, pairs, taken)
        return np.stack(columns, axis=1).astype(np.float32) if columns else np.empty((len(items), 0), np.float32)


@dataclass(frozen=True, eq=False)
class _ItemTable:
    """Columns of Items.

    Attributes:
        matrix: float32 [N, V], the values of all columns side by side.
        column_of: int64 [V], which column a value is of.
        of_categories: float32 [N, 2] each, of columns in order; None: words.
        numbers: float32 [N] each: which share of the items has less, NaN where there is none.
        popular: float32 [V, N], of each category the most popular items, with their share of its events.
    """

    matrix: sp.csr_matrix
    column_of: Rows
    of_categories: tuple[Floats | None, ...]
    numbers: tuple[Floats, ...]
    popular: sp.csr_matrix

    @classmethod
    def of(cls, metadata: Metadata, items: Rows, ages: Doubles, num_items: int) -> _ItemTable:
        """Of events' items and ages in days."""
        popularity = [
            np.bincount(items, np.exp2(-ages / half_life), num_items).astype(np.float64) for half_life in _POPULAR_DAYS
        ]
        all_values = list(metadata.item_values.values())
        blocks = [_matrix(values, num_items) for values in all_values]
        popular = [_popular(values, popularity) for values in all_values]
        empty = sp.csr_matrix((num_items, 0), dtype=np.float32)
        return cls(
            sp.hstack(blocks, format="csr") if blocks else empty,
            np.repeat(np.arange(len(blocks)), [values.count for values in all_values]),
            tuple(None if values.words else _of_categories(values, popularity) for values in all_values),
            tuple(_quantiles(numbers) for numbers in metadata.item_numbers.values()),
            sp.vstack(popular, format="csr") if popular else empty.T.tocsr(),
        )

    def columns(self, taken: Taken, users: Rows, items: Rows) -> list[Floats]:
        """float32 [pairs] each."""
        shares = self._products(taken, users, items)
        columns: list[Floats] = []
        for place, of_items in enumerate(self.of_categories):
            columns += [each[:, place] for each in shares]
            columns += [] if of_items is None else list(of_items[items].T)
        for numbers in self.numbers:
            known = ~np.isnan(numbers)
            sums, weights = taken.items @ np.where(known, numbers, 0), taken.items @ known.astype(np.float64)
            usual = np.where(weights > 0, sums / np.maximum(weights, 1e-12), np.nan)
            columns += [numbers[items], (numbers[items] - usual[users]).astype(np.float32)]
        return columns

    def _products(self, taken: Taken, users: Rows, items: Rows) -> list[Floats]:
        """p(u) · x(i) of all events and of the latest, of each column: float32 [pairs, columns] each."""
        num_columns, num_values = len(self.of_categories), len(self.column_of)
        products = [np.zeros((len(users), num_columns), np.float32) for _ in range(2)]
        if not num_columns:
            return products
        indptr = self.matrix.indptr.astype(np.int64)
        step = max(1, _CELLS_AT_ONCE // max(1, num_values))  # users at once: their shares stand in a full table
        num_users = taken.values.shape[0]
        bounds = np.searchsorted(users, np.arange(0, num_users + step, step))
        for number, (begin, end) in enumerate(pairwise(bounds)):
            first = number * step
            of_items = items[begin:end]
            places = Ragged.expand(indptr[of_items], indptr[of_items + 1] - indptr[of_items])
            pairs, values = places.row_ids(), self.matrix.indices[places.values]
            cells = (users[begin:end] - first)[pairs] * np.int64(num_values) + values
            groups = pairs * num_columns + self.column_of[values]
            for product, shares in zip(products, (taken.values, taken.latest), strict=True):
                of_cells = shares[first : first + step].toarray().reshape(-1)[cells] * self.matrix.data[places.values]
                product[begin:end] = np.bincount(groups, of_cells, (end - begin) * num_columns).reshape(-1, num_columns)
        return products


@dataclass(frozen=True, eq=False)
class _Fit:
    """How likely items are where a column has some value.

    Attributes:
        rows: int64 [codes + 1], row of the table of each code; the last one is that of no code.
        places: int64 [N], column of the table of each item.
        table: float32; its last row and column say nothing.
    """

    rows: Rows
    places: Rows
    table: Floats

    @classmethod
    def all_of(cls, metadata: Metadata, events: Ragged[np.int64], times: Rows, items: Rows, num_items: int) -> list[_Fit]:
        """Of every column: events are positions of each user's, with their times and items."""
        if not metadata.user_codes and not metadata.event_codes:
            return []
        most = min(num_items, _MOST_CELLS // (_MOST_CODES + 1))
        places = np.full(num_items, most, dtype=np.int64)
        places[np.argsort(-np.bincount(items, minlength=num_items), kind="stable")[:most]] = np.arange(most)
        newest = np.arange(len(times))
        if len(times) > _MOST_COUNTED:
            newest = np.flatnonzero(times >= np.partition(times, -_MOST_COUNTED)[-_MOST_COUNTED])
        users, positions, of_items = events.row_ids()[newest], events.values[newest], places[items[newest]]
        columns = [(codes, users) for codes in metadata.user_codes.values()]
        columns += [(codes, positions) for codes in metadata.event_codes.values()]
        tables = (_fit_table(codes[at], int(np.max(codes, initial=-1)) + 1, of_items, most) for codes, at in columns)
        return [cls(rows, places, table) for rows, table in tables]

    def of(self, codes: Codes, items: Rows) -> Floats:
        """float32 [pairs]."""
        return self.table[self.rows[codes], self.places[items]]


def _of_last_events(codes: Codes, histories: Sequences, user_rows: Rows) -> Codes:
    """Code of each user's last event: int32 [B]; -1 of no event."""
    known, last = histories.last_positions(user_rows)
    of_users = np.full(len(user_rows), -1, dtype=np.int32)
    of_users[known] = codes[last]
    return of_users


@dataclass(frozen=True, eq=False)
class _EventTable:
    """Types and numbers of events.

    Attributes:
        types: How many event types features are made of.
        of_items: float32 [N] each: of types, their share of the item's events; of numbers, their mean.
    """

    types: int
    of_items: tuple[Floats, ...]

    @classmethod
    def of(cls, metadata: Metadata, sequences: Sequences, positions: Rows, items: Rows) -> _EventTable:
        """Of events' positions and items."""
        num_items, types = sequences.num_items, len(_types(metadata))
        codes = np.asarray(sequences.event_types[positions])
        of_items = [_averages((codes == code).astype(np.float32), items, num_items) for code in range(types)]
        numbers = metadata.event_numbers.values()
        of_items += [_averages(_compressed(np.asarray(each[positions])), items, num_items) for each in numbers]
        return cls(types, tuple(of_items))

    def columns(self, metadata: Metadata, histories: Sequences, pairs: Ragged[np.int64], taken: Taken) -> list[Floats]:
        """float32 [pairs] each: of the user's events with the item, of the item's events, of the user's events."""
        if not self.of_items:
            return []
        num_items, size = np.int64(histories.num_items), len(pairs)
        users, events = taken.events.row_ids(), taken.events.values
        keys = pairs.row_ids() * num_items + pairs.values
        of_events = users * num_items + histories.item_rows[events]
        own, places = find_keys(keys, of_events)
        codes, columns = np.asarray(histories.event_types[events]), []
        for code in range(self.types):
            of_type = (codes == code).astype(np.float64)
            counts = np.bincount(places, (of_type * taken.weights)[own], len(keys))
            columns += [np.log1p(counts), self.of_items[code][pairs.values]]
            columns += [_means(of_type, users, size)[pairs.row_ids()]]
        for numbers, of_items in zip(metadata.event_numbers.values(), self.of_items[self.types :], strict=True):
            values = _compressed(np.asarray(numbers[events]))
            columns += [_means(values[own], places, len(keys)), of_items[pairs.values]]
            columns += [_means(values, users, size)[pairs.row_ids()]]
        return columns


def _matrix(values: ItemValues, num_items: int) -> sp.csr_matrix:
    return sp.csr_matrix((values.weights, values.codes.values, values.codes.offsets), shape=(num_items, values.count))


def _of_categories(values: ItemValues, popularity: list[Doubles]) -> Floats:
    """Of the category that an item stands highest in: log(1 + items with more events); log of its events: float32 [N, 2]."""
    items, codes = values.codes.row_ids(), values.codes.values
    recent = popularity[-1]
    order = np.lexsort((-recent[items], codes))
    ranked = -recent[items][order]
    begins = np.append(True, (codes[order][1:] != codes[order][:-1]) | (ranked[1:] != ranked[:-1]))[: len(order)]
    at = np.arange(len(order))
    place = np.empty(len(order))
    starts = offsets_of(np.bincount(codes, minlength=values.count))
    place[order] = np.maximum.accumulate(np.where(begins, at, 0)) - starts[codes[order]]
    events = np.bincount(codes, recent[items], values.count)[codes]
    columns = np.full((len(values.codes), 2), np.nan)
    highest = np.lexsort((-events, place, items))
    firsts = highest[np.flatnonzero(np.append(True, np.diff(items[highest]) != 0)[: len(items)])]
    columns[items[firsts]] = np.stack([np.log1p(place[firsts]), np.log1p(events[firsts])], axis=1)
    return columns.astype(np.float32)


def _popular(values: ItemValues, popularity: list[Doubles]) -> sp.csr_matrix:
    """Of each category the most popular items, with the larger of their shares of its events: float32 [V, N]; of words none."""
    shape = (values.count, len(values.codes))
    if values.words:
        return sp.csr_matrix(shape, dtype=np.float32)
    items, codes = values.codes.row_ids(), values.codes.values
    best = sp.csr_matrix(shape, dtype=np.float32)
    starts = offsets_of(np.bincount(codes, minlength=values.count))
    for counts in popularity:
        order = np.lexsort((-counts[items], codes))
        kept = order[np.arange(len(order)) - starts[codes[order]] < _POPULAR]
        kept = kept[counts[items[kept]] > 0]
        totals = np.bincount(codes, counts[items], values.count)
        shares = (counts[items[kept]] / totals[codes[kept]]).astype(np.float32)
        best = best.maximum(sp.csr_matrix((shares, (codes[kept], items[kept])), shape=shape))
    return best.tocsr()


def _fit_table(of_events: Codes, num_codes: int, places: Rows, most: int) -> tuple[Rows, Floats]:
    """Rows of codes, and the table: [kept codes + 1, most + 1]."""
    known = of_events >= 0
    counts = np.bincount(of_events[known], minlength=num_codes)
    kept = np.argsort(-counts, kind="stable")[: min(_MOST_CODES, np.count_nonzero(counts))]
    rows = np.full(num_codes + 1, len(kept), dtype=np.int64)
    rows[kept] = np.arange(len(kept))
    width = most + 1
    cells = np.bincount(rows[of_events] * width + places, minlength=(len(kept) + 1) * width).reshape(-1, width)
    shares = cells.sum(axis=1, keepdims=True) / max(1, len(of_events))
    table = np.log((cells + _PRIOR * shares) / (cells.sum(axis=0) + _PRIOR) / np.maximum(shares, 1e-12) + 1e-9)
    table[-1], table[:, -1] = 0.0, 0.0
    return rows, table.astype(np.float32)


def _quantiles(numbers: Floats) -> Floats:
    """Which share of the known numbers is less, of equal ones the middle."""
    known = np.sort(numbers[~np.isnan(numbers)])
    below, upto = (np.searchsorted(known, numbers, side=side) for side in ("left", "right"))
    return np.where(np.isnan(numbers), np.nan, (below + upto) / 2 / max(1, len(known))).astype(np.float32)


def _compressed(numbers: Floats) -> Floats:
    """Logs of size, with their sign: one large number does not make a mean."""
    return np.asarray(np.sign(numbers) * np.log1p(np.abs(numbers)), dtype=np.float32)


def _averages(numbers: Floats, items: Rows, num_items: int) -> Floats:
    """Mean of an item's numbers, drawn towards the mean of all as by _PRIOR events: float32 [N]."""
    known = ~np.isnan(numbers)
    if not known.any():
        return np.full(num_items, np.nan, dtype=np.float32)
    usual = float(numbers[known].astype(np.float64).mean())
    sums = np.bincount(items[known], numbers[known], num_items) + _PRIOR * usual
    return (sums / (np.bincount(items[known], minlength=num_items) + _PRIOR)).astype(np.float32)


def _means(numbers: Doubles | Floats, groups: Rows, size: int) -> Doubles:
    """Mean of each group's known numbers: float64 [size], NaN of none."""
    known = ~np.isnan(numbers)
    counts = np.bincount(groups[known], minlength=size)
    sums = np.bincount(groups[known], numbers[known], size)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
