from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from small_sequences import publish_sequences, random_histories, sequences_of

from hrnn.blend.item_statistics import ItemStatistics
from hrnn.blend.repeats import UserItems
from hrnn.blend.snapshots import BlendedModel, ServingSnapshot
from hrnn.blend.weights import FEATURES, BlendWeights
from hrnn.data.arrays import Rows
from hrnn.data.past_events import past_events
from hrnn.data.sequences import Sequences
from hrnn.models.contract import Snapshot
from hrnn.models.hrnn import Hrnn, HrnnShape
from jobs.platform.storage import folders
from jobs.platform.storage.folders import StepFolder, sha256_of
from jobs.solutions.staging import Staged, stage
from jobs.train import states
from jobs.train.states import states_table, write_states
from schemas import columns
from schemas.errors import DataError, MachineError
from schemas.manifest import FileEntry

NUM_ITEMS = 40


class Deadly(ItemStatistics):
    """Counts that kill the process that asks them of users."""

    def user_items(self, sequences: Sequences, user_rows: Rows, as_of: Rows) -> UserItems:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError


class Refusing(ItemStatistics):
    """Counts that find their events bad."""

    def user_items(self, sequences: Sequences, user_rows: Rows, as_of: Rows) -> UserItems:
        raise DataError("these are bad", where="events", remedy="Mend them.")


@pytest.fixture(autouse=True)
def few_events_are_worth_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(states, "_EVENTS_A_PROCESS", 1)


@pytest.fixture
def staged(tmp_path: Path) -> Staged:
    """Sequences in three shards."""
    sequences = sequences_of(random_histories(100, NUM_ITEMS))
    source = StepFolder(publish_sequences(sequences, str(tmp_path / "sequences"), tmp_path, num_shards=3))
    return stage(source, source.require("sequences"), tmp_path)


def nightly(sequences: Sequences, statistics: type[ItemStatistics] = ItemStatistics) -> ServingSnapshot:
    """An untrained model, with all of its paths."""
    model = Hrnn.initial(HrnnShape(num_items=NUM_ITEMS, hidden_dimension=8), sequences.item_counts(), seed=0)
    weights = np.random.default_rng(0).normal(size=len(FEATURES)).astype(np.float32)
    cut = int(np.asarray(sequences.timestamps).max()) + 1
    return ServingSnapshot(BlendedModel(model, BlendWeights(weights, weights + 1), statistics.of(sequences)), cut, 1_800)


def written(place: Path, model: Snapshot, staged: Staged, processes: int) -> tuple[StepFolder, list[FileEntry]]:
    folder = StepFolder(str(place / f"by {processes}"))
    torch.set_num_threads(1)
    entries, facts = write_states(folder, place, model, Sequences.load(staged.arrays), staged, processes)
    assert [fact["states"] for fact in facts] == [entry.path for entry in entries]
    assert [fact["first_user_row"] for fact in facts] == [shard["first_user_row"] for shard in staged.shards]
    assert [entry.rows for entry in entries] == [fact["num_users"] for fact in facts]
    assert list(place.glob("states-*")) == []
    return folder, entries


def test_states_are_the_same_bytes_however_many_processes_make_them(tmp_path: Path, staged: Staged) -> None:
    sequences = Sequences.load(staged.arrays)
    model = nightly(sequences)
    here, there = written(tmp_path, model, staged, 1), written(tmp_path, model, staged, 2)
    assert len(here[1]) == 3
    assert [entry.sha256 for entry in here[1]] == [entry.sha256 for entry in there[1]]
    for folder, entries in (here, there):
        assert [sha256_of(Path(folder.uri) / entry.path) for entry in entries] == [entry.sha256 for entry in entries]
    rows = np.arange(sequences.num_users)
    found = pa.concat_tables([pq.read_table(Path(there[0].uri) / entry.path) for entry in there[1]])
    ids = pa.concat_tables([pq.read_table(users) for users in staged.users])[columns.USER_ID].combine_chunks()
    expected = states_table(ids, rows, model.user_states(sequences, rows), past_events(sequences, rows))
    for name in (columns.USER_ID, columns.USER_ROW, columns.SPARSE_ITEM_ROWS, columns.PAST_ITEM_ROWS, columns.PAST_RANKS):
        assert found[name].to_pylist() == expected[name].to_pylist()
    queries, whole = (np.asarray(table[columns.QUERY].to_pylist(), np.float32) for table in (found, expected))
    np.testing.assert_allclose(queries, whole, atol=1e-6)


def test_states_are_hashed_as_they_are_written(tmp_path: Path, staged: Staged, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_again(path: Path) -> str:
        raise AssertionError(f"{path} is read again for its digest")

    monkeypatch.setattr(folders, "sha256_of", read_again)
    folder, entries = written(tmp_path, nightly(Sequences.load(staged.arrays)), staged, 1)
    assert [sha256_of(Path(folder.uri) / entry.path) for entry in entries] == [entry.sha256 for entry in entries]


def test_a_process_that_dies_is_one_clear_error(tmp_path: Path, staged: Staged) -> None:
    with pytest.raises(MachineError, match=r"a process that made the states of users died\. .*on fewer cores"):
        written(tmp_path, nightly(Sequences.load(staged.arrays), Deadly), staged, 2)


def test_a_process_is_started_where_there_are_events_enough_for_it(
    tmp_path: Path, staged: Staged, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, events = nightly(Sequences.load(staged.arrays), Deadly), Sequences.load(staged.arrays).num_events
    monkeypatch.setattr(states, "_EVENTS_A_PROCESS", events // 2)
    with pytest.raises(MachineError):
        written(tmp_path, model, staged, 3)
    monkeypatch.setattr(states, "_EVENTS_A_PROCESS", events // 2 + 1)
    monkeypatch.setattr(Deadly, "user_items", ItemStatistics.user_items)
    monkeypatch.setattr(states, "process_pool", None)
    written(tmp_path, model, staged, 3)


def test_what_a_process_says_is_said(tmp_path: Path, staged: Staged) -> None:
    with pytest.raises(DataError, match=r"^events: these are bad\. Mend them\.$"):
        written(tmp_path, nightly(Sequences.load(staged.arrays), Refusing), staged, 2)
