"""The pieces of sessionize that need no Spark."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from hrnn.data.hashing import hash64
from hrnn.data.histories import event_order, session_starts
from jobs.platform.spark.partition_rows import narrow_table, pack, unpack, widen
from jobs.sessionize.catalogue import ItemLookup, make_catalogue
from jobs.sessionize.events import HASH
from jobs.sessionize.passes import SequenceFiles, manifest_metadata
from jobs.sessionize.plan import EventColumns, Plan, Slice, cut_tasks, shards_for
from jobs.sessionize.shard import HashCollision, count_ties, merge_users
from schemas.datasets import parse_schema_document
from schemas.errors import SchemaError
from schemas.manifest import FileEntry


def part(rows: int) -> FileEntry:
    return FileEntry(path=f"data/{rows}", size=1, sha256="0" * 64, rows=rows)


def test_a_session_ends_after_the_gap_and_not_with_it() -> None:
    users = np.array([0, 0, 0, 1, 1])
    times = np.array([100, 1900, 3701, 3701, 9000])
    assert session_starts(users, times, 1800).tolist() == [True, False, True, True, True]


def test_without_a_gap_a_history_is_one_session() -> None:
    assert session_starts(np.array([0, 0, 1, 1]), np.array([0, 10**9, 0, 10**9]), None).tolist() == [True, False, True, False]


@pytest.mark.parametrize("scale", [1, 2**40], ids=["one key", "too wide for one key"])
def test_events_are_ordered_by_user_time_and_tie_key(scale: int) -> None:
    random = np.random.default_rng(0)
    users, times = random.integers(0, 5_000_000, 3000) // 10**6, random.integers(-9, 9, 3000) * scale * 100_000
    for ties in (np.arange(3000), random.permutation(3000)):
        np.testing.assert_array_equal(event_order(users, times, ties), np.lexsort((ties, times, users)))


def test_no_events_have_an_order_too() -> None:
    empty = np.empty(0, np.int64)
    assert event_order(empty, empty, empty).tolist() == []
    assert session_starts(empty, empty, 1800).tolist() == []


def test_ties_are_neighbours_of_one_user_at_one_time_with_different_items() -> None:
    rows = [(0, 5, 1), (0, 5, 2), (0, 5, 2), (0, 5, 0), (0, 6, 1), (1, 6, 2)]
    users, times, items = (np.array(column) for column in zip(*rows, strict=True))
    events = {"user": users, "timestamp": times, "item_row": items}
    assert count_ties(events, np.array([0, 1, 2], np.int32)) == (2, 1)
    assert count_ties(events, np.array([2, 1, 0], np.int32)) == (2, 1)
    assert count_ties(events, np.array([2, 0, 1], np.int32)) == (2, 2)


def test_users_of_several_parcels_become_one_list_by_hash() -> None:
    tables = [
        pa.table({HASH: np.array(hashes, np.uint64), "USER_ID": ids})
        for hashes, ids in (([9, 2], ["i", "b"]), ([2, 5], ["b", "e"]))
    ]
    users = merge_users(tables)
    assert users.ids.to_pylist() == ["b", "e", "i"]
    assert [positions.tolist() for positions in users.positions] == [[2, 0], [0, 1]]


def test_two_users_with_one_hash_are_noticed() -> None:
    tables = [pa.table({HASH: np.array([7], np.uint64), "USER_ID": [name]}) for name in ("ann", "bob")]
    with pytest.raises(HashCollision):
        merge_users(tables)
    with pytest.raises(HashCollision):
        merge_users([pa.concat_tables(tables)])
    assert merge_users([tables[0], tables[0]]).ids.to_pylist() == ["ann"]


@settings(deadline=None)
@given(st_numpy.arrays(np.int64, st.integers(0, 20)), st_numpy.arrays(np.int32, st.integers(0, 20)))
def test_narrow_columns_come_back_as_they_were(longs: np.ndarray[Any, Any], ints: np.ndarray[Any, Any]) -> None:
    for values in (longs, ints):
        (table,) = unpack(pack([narrow_table({"column": values}, {})]))
        np.testing.assert_array_equal(widen(table, "column"), values)


def test_columns_travel_in_as_few_bytes_as_their_spread_needs() -> None:
    table = narrow_table(
        {"a": np.array([10**12, 10**12 + 255]), "b": np.array([-1, 255]), "c": np.array([0, 2**32])},
        {"d": pa.array([1.5, None])},
    )
    assert [str(kind) for kind in table.schema.types] == ["uint8", "uint16", "int64", "double"]


def test_several_tables_travel_in_one_parcel() -> None:
    tables = [pa.table({"a": [1, 2]}), pa.table({"b": pa.array([], pa.string())})]
    assert unpack(pack(tables)) == tables


def test_large_parts_are_cut_and_small_ones_gathered() -> None:
    parts = [part(rows) for rows in (40, 50, 30, 250, 10)]
    tasks = [[(piece.part.rows, piece.number, piece.total) for piece in task] for task in cut_tasks(parts, rows_a_task=100)]
    assert sorted(tasks) == [[(30, 0, 1), (10, 0, 1)], [(40, 0, 1), (50, 0, 1)], [(250, 0, 3)], [(250, 1, 3)], [(250, 2, 3)]]


@pytest.mark.parametrize("count", [0, 1, 2, 7, 100])
def test_slices_of_a_part_hold_every_row_group_once(count: int) -> None:
    groups = [group for number in range(3) for group in Slice(part=part(1), number=number, total=3).row_groups(count)]
    assert groups == list(range(count))


@pytest.mark.parametrize(
    ("events", "shards"), [(1, 1), (499_999, 1), (500_000, 2), (1_000_000, 4), (10_000_000, 4), (10_000_001, 5), (10**9, 400)]
)
def test_shards_grow_with_the_events(events: int, shards: int) -> None:
    assert shards_for(events) == shards


def test_sequences_carry_codes_and_numbers_but_no_plain_strings() -> None:
    extra = [
        {"name": "DEVICE", "type": ["null", "string"], "categorical": True},
        {"name": "NOTE", "type": "string"},
        {"name": "IMPRESSION", "type": ["null", "string"]},
        {"name": "PRICE", "type": "double"},
        {"name": "EVENT_VALUE", "type": ["null", "float"]},
        {"name": "EVENT_TYPE", "type": "string"},
    ]
    columns = EventColumns.of(interactions_schema(extra))
    assert columns.coded == ("EVENT_TYPE", "DEVICE")
    assert columns.numeric == {"EVENT_VALUE": "float", "PRICE": "double"}


def test_a_metadata_column_must_not_take_a_name_of_the_sequences() -> None:
    with pytest.raises(SchemaError, match=r"column of this name themselves \(got 'item_row'\).*Rename"):
        EventColumns.of(interactions_schema([{"name": "item_row", "type": "int"}]))


def interactions_schema(extra: list[dict[str, Any]]) -> Any:
    required = [
        {"name": "USER_ID", "type": "string"},
        {"name": "ITEM_ID", "type": "string"},
        {"name": "TIMESTAMP", "type": "long"},
    ]
    return parse_schema_document({"type": "record", "name": "Interactions", "fields": required + extra})


def counted_items(*rows: tuple[str, int, int, int]) -> pa.Table:
    names = ["ITEM_ID", "num_events", "first_timestamp", "last_timestamp"]
    return pa.table([pa.array(column) for column in zip(*rows, strict=True)], names=names)


def test_items_stand_in_falling_order_of_events_and_ties_by_id() -> None:
    catalogue = make_catalogue(counted_items(("b", 2, 5, 6), ("c", 9, 1, 7), ("a", 2, 3, 4)), None, 7)
    assert catalogue.to_pylist() == [
        {"ITEM_ID": "c", "item_row": 0, "num_events": 9, "first_timestamp": 1, "last_timestamp": 7, "CREATION_TIMESTAMP": 1},
        {"ITEM_ID": "a", "item_row": 1, "num_events": 2, "first_timestamp": 3, "last_timestamp": 4, "CREATION_TIMESTAMP": 3},
        {"ITEM_ID": "b", "item_row": 2, "num_events": 2, "first_timestamp": 5, "last_timestamp": 6, "CREATION_TIMESTAMP": 5},
    ]


def test_items_without_events_come_last_and_count_as_new() -> None:
    items = pa.table({"ITEM_ID": ["z", "a", "y"], "GENRE": ["war", None, "love"]})
    catalogue = make_catalogue(counted_items(("a", 1, 3, 9)), items, 8)
    assert catalogue["ITEM_ID"].to_pylist() == ["a", "y", "z"]
    assert catalogue["num_events"].to_pylist() == [1, 0, 0]
    assert catalogue["last_timestamp"].to_pylist() == [9, None, None]
    assert catalogue["CREATION_TIMESTAMP"].to_pylist() == [3, 8, 8]
    assert catalogue["GENRE"].to_pylist() == [None, "love", "war"]


def test_the_items_dataset_knows_creation_times_better() -> None:
    items = pa.table({"ITEM_ID": ["a", "b"], "CREATION_TIMESTAMP": [2, 1]})
    catalogue = make_catalogue(counted_items(("a", 1, 3, 8), ("c", 1, 4, 4)), items, 8)
    assert catalogue.select(["ITEM_ID", "CREATION_TIMESTAMP"]).to_pylist() == [
        {"ITEM_ID": "a", "CREATION_TIMESTAMP": 2},
        {"ITEM_ID": "c", "CREATION_TIMESTAMP": 4},
        {"ITEM_ID": "b", "CREATION_TIMESTAMP": 1},
    ]


def test_a_creation_time_that_is_a_null_written_as_a_number_is_unknown() -> None:
    items = pa.table({"ITEM_ID": ["a", "b", "c"], "CREATION_TIMESTAMP": [0, 1, 2]})
    now = 1_700_000_000
    catalogue = make_catalogue(counted_items(("a", 1, now - 9, now)), items, now)
    assert catalogue["CREATION_TIMESTAMP"].to_pylist() == [now - 9, now, 2]


def test_the_lookup_finds_every_item_and_survives_its_file(tmp_path: Path) -> None:
    ids = pa.array([f"item-{number}" for number in np.random.default_rng(0).permutation(1000)])
    lookup = ItemLookup.of(ids, 3)
    assert lookup is not None
    lookup.save(tmp_path / "lookup.arrow")
    mapped = ItemLookup.load(tmp_path / "lookup.arrow")
    (tmp_path / "lookup.arrow").unlink()
    np.testing.assert_array_equal(mapped.rows_of(ids, 3), np.arange(1000))
    np.testing.assert_array_equal(mapped.rows_of(ids.take(pa.array([7, 7, 999])), 3), [7, 7, 999])


def test_ids_are_ranked_as_numbers_where_all_are_numbers() -> None:
    for ids, ranks in ((["10", "9", "100"], [1, 0, 2]), (["10", "9", "1x"], [0, 2, 1])):
        lookup = ItemLookup.of(pa.array(ids), 0)
        assert lookup is not None
        assert lookup.id_ranks.tolist() == ranks


def test_two_items_with_one_hash_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def poor_hash(ids: pa.Array, seed: int) -> Any:
        return hash64(ids, seed) % np.uint64(10)

    monkeypatch.setattr("jobs.sessionize.catalogue.hash64", poor_hash)
    assert ItemLookup.of(pa.array([str(number) for number in range(11)]), 0) is None


@pytest.mark.parametrize(
    ("pairs", "ascending", "tie_order", "warning"),
    [
        (1000, 960, "file", "96% of 1,000 neighbouring events of one user at one time lie in ascending ITEM_ID order"),
        (2000, 40, "file", "98% of 2,000 neighbouring events of one user at one time lie in descending ITEM_ID order"),
        (1000, 940, "file", None),
        (999, 999, "file", None),
        (1000, 1000, "hash", None),
    ],
)
def test_events_at_one_time_in_the_order_of_ids_are_warned_of(
    pairs: int, ascending: int, tie_order: Any, warning: str | None
) -> None:
    shard = {
        "first_user_row": 0,
        "num_users": 1,
        "num_events": 1,
        "num_sessions": 1,
        "tied_pairs": pairs,
        "tied_pairs_ascending": ascending,
    }
    shard |= {"shards": {"path": "shards/0"}, "users": {"path": "users/0"}}  # type: ignore[dict-item]
    plan = Plan(
        interactions_uri="in",
        output_uri="out",
        tasks=(),
        columns=EventColumns(event_type=False, categorical=(), numeric={}),
        event_types=None,
        gap_seconds=1800,
        tie_order=tie_order,
        num_shards=1,
    )
    made = SequenceFiles(shards=[shard], catalogue=part(1), categories={}, hash_seed=0)
    warnings = manifest_metadata(plan, made)["warnings"]
    assert len(warnings) == (warning is not None)
    if warning:
        assert warnings[0].startswith(warning)
        assert 'tie_order = "hash"' in warnings[0]
    assert json.dumps(warnings)
