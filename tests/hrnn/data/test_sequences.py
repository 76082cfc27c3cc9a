from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_sequences import publish_sequences, random_histories, sequences_of

from hrnn.data.sequences import Sequences, cache_shards
from jobs.platform.storage.folders import StepFolder
from jobs.solutions.staging import stage
from schemas import columns
from schemas.errors import DataError

SEQUENCES = sequences_of(random_histories(9, 12))


def test_saved_sequences_come_back_as_they_were(tmp_path: Path) -> None:
    SEQUENCES.save(tmp_path / "arrays")
    assert_same(Sequences.load(tmp_path / "arrays"), SEQUENCES)


def test_parquet_shards_become_one_set_of_arrays(tmp_path: Path) -> None:
    folder = StepFolder(publish_sequences(SEQUENCES, str(tmp_path / "sequences"), tmp_path, num_shards=3))
    staged = stage(folder, folder.require("sequences"), tmp_path / "scratch")
    assert_same(Sequences.load(staged.arrays), SEQUENCES)
    assert staged.catalogue_table([columns.ITEM_ROW]).num_rows == SEQUENCES.num_items
    assert len(staged.users) == 3


def test_truncated_histories_keep_their_oldest_events() -> None:
    cut = SEQUENCES.truncate(np.asarray([2, 5]), np.asarray([1, 10_000]))
    assert cut.history_lengths[2] == 1
    assert cut.history_lengths[5] == SEQUENCES.history_lengths[5]
    assert cut.num_events == SEQUENCES.num_events - SEQUENCES.history_lengths[2] + 1
    positions = cut.event_positions(np.asarray([5, 2]))
    begin = SEQUENCES.user_offsets
    assert positions.row(0).tolist() == [*range(begin[5], begin[6])]
    assert positions.row(1).tolist() == [begin[2]]


def test_items_are_counted_among_the_events_that_count() -> None:
    sequences = sequences_of([[[0, 1, 1]], [[1, 2]]], num_items=4)
    assert sequences.item_counts().tolist() == [1, 3, 1, 0]
    assert sequences.truncate(np.asarray([0]), np.asarray([2])).item_counts().tolist() == [1, 2, 1, 0]


def shard(path: Path, user_rows: list[int], item_rows: list[int]) -> Path:
    count = len(user_rows)
    table = {
        columns.USER_ROW: pa.array(user_rows, pa.int64()),
        columns.ITEM_ROW: pa.array(item_rows, pa.int64()),
        columns.EVENT_TIME: pa.array(range(count), pa.int64()),
        columns.SESSION_START: pa.array([True] * count, pa.bool_()),
        columns.EVENT_TYPE_CODE: pa.array([0] * count, pa.int32()),
    }
    pq.write_table(pa.table(table), path)
    return path


def test_no_events_at_all_is_a_data_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no events"):
        cache_shards([(shard(tmp_path / "a", [], []), 0, 0, 0)], 3, tmp_path / "arrays")


def test_a_full_disk_is_an_error_before_an_array_is_touched(tmp_path: Path, no_space: Path) -> None:
    events = 200_000
    path = shard(tmp_path / "a", [0] * events, [1] * events)
    with pytest.raises(OSError, match="No space left on device"):
        cache_shards([(path, 0, 1, events)], 3, no_space / "arrays")


@pytest.mark.parametrize(("user_rows", "events"), [([0, 1], 3), ([1, 0], 2), ([0, 5], 2)])
def test_shards_that_contradict_their_manifest_are_refused(tmp_path: Path, user_rows: list[int], events: int) -> None:
    path = shard(tmp_path / "a", user_rows, [0] * len(user_rows))
    with pytest.raises(DataError, match="not those that its manifest names"):
        cache_shards([(path, 0, 2, events)], 3, tmp_path / "arrays")


def test_an_item_outside_the_catalogue_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="outside the catalogue"):
        cache_shards([(shard(tmp_path / "a", [0], [3]), 0, 1, 1)], 3, tmp_path / "arrays")


def assert_same(one: Sequences, other: Sequences) -> None:
    for name in ("user_offsets", "item_rows", "timestamps", "session_starts", "event_types"):
        assert np.array_equal(getattr(one, name), getattr(other, name)), name
        assert getattr(one, name).dtype == getattr(other, name).dtype, name
    assert one.num_items == other.num_items


def test_some_events_alone_leave_every_user_and_begin_sessions_anew() -> None:
    sequences = sequences_of([[[0, 1, 2], [3]], [[4], [5, 6]]], num_items=7)
    odd = sequences.only(np.asarray([False, True, True, False, False, False, True]))
    assert odd.user_offsets.tolist() == [0, 2, 3]
    assert odd.item_rows.tolist() == [1, 2, 6]
    assert odd.session_starts.tolist() == [True, False, True]
    assert odd.timestamps.tolist() == sequences.timestamps[[1, 2, 6]].tolist()
    none = sequences.only(np.zeros(7, dtype=np.bool_))
    assert none.history_lengths.tolist() == [0, 0]


def test_some_events_of_truncated_histories_stay_truncated() -> None:
    sequences = sequences_of([[[0, 1, 2, 3]], [[4, 5]]], num_items=7).truncate(np.asarray([0]), np.asarray([2]))
    some = sequences.only(np.asarray([False, True, True, True, True, True]))
    assert some.history_lengths.tolist() == [1, 2]
    assert some.item_rows[some.event_positions(np.arange(2)).values].tolist() == [1, 4, 5]
