"""Knowledge at a moment: all that a list made then is made from. Only events before the moment have a part in it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hrnn.blend.snapshots import BlendedModel, ServingSnapshot
from hrnn.data.arrays import Doubles, Floats, Rows
from hrnn.data.metadata import Metadata
from hrnn.data.sequences import Sequences
from hrnn.ranker.metadata import MetadataTables
from hrnn.ranker.neighbours import Neighbourhoods

HALF_LIVES = {
    "5min": 300,
    "20min": 1_200,
    "1h": 3_600,
    "4h": 14_400,
    "12h": 43_200,
    "2d": 172_800,
    "1w": 604_800,
    "4w": 2_419_200,
    "16w": 9_676_800,
}
"""Of popularity, in seconds: news lives for minutes, groceries for months; the trees find out which of them count."""
_RANKED = ("20min", "4h", "2d", "4w")  # half-lives by which items are ranked too
ITEM_NAMES = (
    *(f"item_events_{name}" for name in HALF_LIVES),
    *(f"item_trend_{name}" for name in list(HALF_LIVES)[:-1]),
    *(f"item_rank_{name}" for name in _RANKED),
    "item_users",
    "item_repeaters",
    "item_age",
    "item_idle",
    "item_interval",
    "item_bias",
)
_DAY = 86_400
_LEAST = 1e-3  # is added to a decayed count before its log is taken
_BREAK_DAYS = 0.02  # events with an item that are nearer than that are one occasion
_PRIOR_INTERVALS = 3.0  # of the average item, where few are known


@dataclass(frozen=True)
class ItemTable:
    """What is known of items alone.

    Attributes:
        decayed: float64 [N, half-lives], events, each counted as 2 ** (-age / half-life).
        columns: float32 [N, ITEM_NAMES].
        intervals: float32 [N], mean days between the events of a user with the item.
    """

    decayed: Doubles
    columns: Floats
    intervals: Floats


@dataclass(frozen=True)
class Knowledge:
    """All that is known at a moment.

    Attributes:
        sequences: Histories up to the moment.
        as_of: The moment, UTC epoch seconds: events before it are known.
        gap_seconds: Of the sessions; None: there are none.
        blended: The model, learnt from events before the moment, and statistics of these.
        serving: Its convex blend as of the moment.
        items: What is known of items.
        neighbourhoods: Over whole histories.
        metadata: What the datasets say.
        metadata_tables: What is known of it.
    """

    sequences: Sequences
    as_of: int
    gap_seconds: int | None
    blended: BlendedModel
    serving: ServingSnapshot
    items: ItemTable
    neighbourhoods: Neighbourhoods
    metadata: Metadata
    metadata_tables: MetadataTables

    @classmethod
    def of(cls, sequences: Sequences, serving: ServingSnapshot, metadata: Metadata, *, recency: bool = True) -> Knowledge:
        """Knowledge at the moment of a snapshot.

        Args:
            sequences: Histories; later events have no part in it.
            serving: Of the model.
            metadata: Of the sequences.
            recency: Whether recent popularity may have a part in lists (`recency_mask`).
        """
        blended, as_of, gap_seconds = serving.parts
        sequences = sequences.before(as_of)
        table = item_table(sequences, as_of, blended.model.items().bias.numpy(), recency)
        neighbourhoods = Neighbourhoods.of(sequences, as_of)
        tables = MetadataTables.of(metadata, sequences, as_of, recency=recency)
        return cls(sequences, as_of, gap_seconds, blended, serving, table, neighbourhoods, metadata, tables)


def item_table(sequences: Sequences, as_of: int, bias: Floats, recency: bool = True) -> ItemTable:
    """Count what is known of items.

    Args:
        sequences: Histories up to the moment.
        as_of: The moment.
        bias: float32 [N], of the model.
        recency: False: events count alike however old they are, and what tells new from old is 0.
    """
    events = sequences.event_positions(np.arange(sequences.num_users))
    users, items = events.row_ids(), sequences.item_rows[events.values].astype(np.int64)
    times, num_items = np.asarray(sequences.timestamps[events.values]), sequences.num_items
    ages = (as_of - times).astype(np.float64) if recency else np.zeros(len(times))
    decayed: Doubles = np.stack([np.bincount(items, np.exp2(-ages / half), num_items) for half in HALF_LIVES.values()], axis=1)
    counts = np.bincount(items, minlength=num_items)
    first, last = np.full(num_items, as_of, dtype=np.int64), np.zeros(num_items, dtype=np.int64)
    np.minimum.at(first, items, times)
    np.maximum.at(last, items, times)
    last = np.where(counts > 0, last, first)
    # A stable sort by (user, item) puts each pair's events side by side, oldest first.
    keys = users * np.int64(num_items) + items
    order = np.argsort(keys, kind="stable")
    again = np.flatnonzero(keys[order][1:] == keys[order][:-1])
    days = (times[order][again + 1] - times[order][again]) / _DAY
    apart = days > _BREAK_DAYS
    repeated, days = items[order][again + 1][apart], days[apart]
    usual = float(days.mean()) if len(days) else 30.0
    intervals = (np.bincount(repeated, days, num_items) + _PRIOR_INTERVALS * usual) / (
        np.bincount(repeated, minlength=num_items) + _PRIOR_INTERVALS
    )
    pairs, of_pair = np.unique(keys, return_counts=True)
    holders = np.bincount(pairs % num_items, minlength=num_items)
    repeaters = np.bincount(pairs[of_pair > 1] % num_items, minlength=num_items)
    logs, names = np.log(decayed + _LEAST), list(HALF_LIVES)
    columns = {f"item_events_{name}": logs[:, place] for place, name in enumerate(names)}
    columns |= {f"item_trend_{name}": logs[:, place] - logs[:, place + 1] for place, name in enumerate(names[:-1])}
    columns |= {f"item_rank_{name}": _ranks_of(decayed[:, names.index(name)]) for name in _RANKED}
    columns |= {
        "item_users": np.log1p(holders),
        "item_repeaters": (repeaters + 1) / (holders + 5),
        "item_age": np.log1p((as_of - first) / 3_600),
        "item_idle": np.log1p((as_of - last) / 60),
        "item_interval": intervals,
        "item_bias": bias,
    }
    if not recency:
        columns |= {name: np.zeros(num_items) for name in ("item_age", "item_idle")}
    table = np.stack([columns[name] for name in ITEM_NAMES], axis=1)
    return ItemTable(decayed, table.astype(np.float32), intervals.astype(np.float32))


def _ranks_of(values: Doubles) -> Doubles:
    """log(1 + how many items have a greater value): nothing hangs on the order of items, which later events decide."""
    return np.log1p(len(values) - np.searchsorted(np.sort(values), values, side="right"))


USER_NAMES = (
    "user_events",
    "user_sessions",
    "user_events_a_session",
    "user_idle",
    "user_interval",
    "user_due",
    "user_distinct",
    "user_events_1d",
    "user_events_7d",
    "user_events_28d",
)


def user_table(sequences: Sequences, user_rows: Rows, as_of: int) -> Floats:
    """USER_NAMES of B users at a moment: float32 [B, F]."""
    events = sequences.event_positions(user_rows)
    lengths, users, size = events.lengths, events.row_ids(), len(user_rows)
    times = np.asarray(sequences.timestamps[events.values])
    begins = np.array(sequences.session_starts[events.values])
    begins[events.offsets[:-1][lengths > 0]] = True
    sessions = np.bincount(users, begins, size)
    first, last = np.full(size, as_of, dtype=np.int64), np.full(size, as_of, dtype=np.int64)
    first[lengths > 0] = times[events.offsets[:-1][lengths > 0]]
    last[lengths > 0] = times[events.offsets[1:][lengths > 0] - 1]
    idle, interval = np.maximum(as_of - last, 0) / _DAY, (last - first) / _DAY / np.maximum(sessions - 1, 1)
    pairs = np.unique(users * np.int64(sequences.num_items) + sequences.item_rows[events.values])
    distinct = np.bincount(pairs // sequences.num_items, minlength=size)
    columns = [
        np.log1p(lengths),
        np.log1p(sessions),
        lengths / np.maximum(sessions, 1),
        np.log1p(idle),
        interval,
        idle / np.maximum(interval, 0.01),
        distinct / np.maximum(lengths, 1),
        *(np.log1p(np.bincount(users, times >= as_of - days * _DAY, size)) for days in (1, 7, 28)),
    ]
    return np.stack(columns, axis=1).astype(np.float32)
