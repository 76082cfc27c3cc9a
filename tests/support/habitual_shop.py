"""Sequences of buyers with habits: what they take next hangs on how long ago they took it, and on what is new today."""

from __future__ import annotations

import numpy as np

from hrnn.data.metadata import ItemValues, Metadata
from hrnn.data.ragged import Ragged, offsets_of
from hrnn.data.sequences import Sequences

DAY = 86_400
START = 1_700_000_000
NUM_DAYS = 30
NUM_HABITUAL = 60  # items that are taken again; the others are new for a day


def habitual_shop(num_users: int = 240, seed: int = 0) -> Sequences:
    """Everybody has five items, each taken again after its own number of days, and takes one of the day's two new items.

    Item rows are in random order: nothing may hang on them.
    """
    random = np.random.default_rng(seed)
    num_items = NUM_HABITUAL + 2 * NUM_DAYS
    names = random.permutation(num_items)
    interval = random.integers(2, 7, NUM_HABITUAL)
    items, times, starts, lengths = [], [], [], []
    for _ in range(num_users):
        own = random.choice(NUM_HABITUAL, 5, replace=False)
        phase = random.integers(0, interval[own])
        events = []
        for day in range(NUM_DAYS):
            due = own[(day + phase) % interval[own] == 0]
            basket = [*due, *([NUM_HABITUAL + 2 * day + random.integers(2)] if len(due) else [])]
            opening = START + day * DAY + int(random.integers(8, 20)) * 3_600
            events += [(opening + 60 * place, item, place == 0) for place, item in enumerate(random.permutation(basket))]
        times += [time for time, _, _ in events]
        items += [names[int(item)] for _, item, _ in events]
        starts += [start for _, _, start in events]
        lengths.append(len(events))
    return Sequences(
        user_offsets=offsets_of(lengths),
        item_rows=np.asarray(items, dtype=np.int32),
        timestamps=np.asarray(times, dtype=np.int64),
        session_starts=np.asarray(starts, dtype=np.bool_),
        event_types=np.zeros(len(items), dtype=np.int32),
        num_items=num_items,
    )


def with_other_future(sequences: Sequences, moment: int, seed: int = 0) -> Sequences:
    """The same events before a moment; those after it are others, at other times, in other sessions."""
    random, after = np.random.default_rng(seed), np.flatnonzero(sequences.timestamps >= moment)
    items, times, starts = (
        np.array(values) for values in (sequences.item_rows, sequences.timestamps, sequences.session_starts)
    )
    items[after] = random.permutation(items[after])
    times[after] += 1_000
    starts[after] = random.permutation(starts[after])
    types = np.array(sequences.event_types)
    types[after] = random.integers(0, 2, len(after))
    return Sequences(sequences.user_offsets, items, times, starts, types, sequences.num_items)


def metadata_of(sequences: Sequences) -> Metadata:
    """Columns of every kind; those of events hang on the event, so that another future has other ones."""
    random = np.random.default_rng(2)
    number, parity = np.sin(sequences.timestamps + 7.0 * sequences.item_rows), sequences.timestamps % 5
    genre = random.integers(0, 6, sequences.num_items)
    one_each = Ragged(np.arange(sequences.num_items + 1), genre)
    return Metadata(
        item_values={"GENRE": ItemValues(one_each, np.ones(sequences.num_items, np.float32), 6, words=False)},
        item_numbers={"PRICE": random.random(sequences.num_items).astype(np.float32)},
        user_codes={"AGE": random.integers(-1, 3, sequences.num_users).astype(np.int32)},
        event_codes={"DEVICE": parity.astype(np.int32)},
        event_numbers={"EVENT_VALUE": number.astype(np.float32)},
        event_types=("view", "buy"),
    )
