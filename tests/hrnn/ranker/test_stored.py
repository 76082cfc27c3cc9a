"""A ranked snapshot that was stored says the same, bit for bit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from ranked_shop import METADATA, SHOP, model_of_the_shop, ranked_shop, weights_of_the_shop

from hrnn.data.metadata import Metadata
from hrnn.data.sequences import Sequences
from hrnn.ranker.snapshot import RankedSnapshot
from hrnn.ranker.stored import StoredRanker
from schemas import columns

EVERYBODY = np.arange(SHOP.num_users)


def stored_and_read(snapshot: RankedSnapshot, folder: Path) -> StoredRanker:
    StoredRanker.of(snapshot).save(folder / "tables.safetensors", folder / "neighbours.parquet")
    trees = [each.model for each in snapshot.ranker.trees]
    return StoredRanker.load(folder / "tables.safetensors", folder / "neighbours.parquet", trees)


def assert_same_states(ours: RankedSnapshot, theirs: RankedSnapshot) -> None:
    for one, other in zip(ours.items(), theirs.items(), strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())
    one, other = (view.user_states(SHOP, EVERYBODY) for view in (ours, theirs))
    np.testing.assert_array_equal(one.query.numpy(), other.query.numpy())
    for part in ("offsets", "item_rows", "scores"):
        np.testing.assert_array_equal(getattr(one.sparse, part), getattr(other.sparse, part))


@pytest.mark.parametrize("metadata", [METADATA, Metadata()], ids=["metadata", "none"])
def test_states_are_the_same_bits(tmp_path: Path, metadata: Metadata) -> None:
    snapshot = ranked_shop(metadata)
    stored = stored_and_read(snapshot, tmp_path)
    # Of items' columns only the tables are needed.
    of_others = replace(metadata, item_values={}, item_numbers={}, event_types=())
    assert_same_states(snapshot, stored.snapshot(model_of_the_shop(), weights_of_the_shop(), SHOP, of_others))


def test_a_shard_of_neighbouring_users_has_the_states_of_the_whole(tmp_path: Path) -> None:
    snapshot, first = ranked_shop(), 100
    stored = stored_and_read(snapshot, tmp_path)
    begin = int(SHOP.user_offsets[first])
    events = slice(begin, None)
    shard = Sequences(
        SHOP.user_offsets[first:] - begin,
        *(getattr(SHOP, name)[events] for name in ("item_rows", "timestamps", "session_starts", "event_types")),
        num_items=SHOP.num_items,
    )
    metadata = Metadata(
        user_codes={name: codes[first:] for name, codes in METADATA.user_codes.items()},
        event_codes={name: codes[events] for name, codes in METADATA.event_codes.items()},
        event_numbers={name: numbers[events] for name, numbers in METADATA.event_numbers.items()},
    )
    of_shard = stored.snapshot(model_of_the_shop(), weights_of_the_shop(), shard, metadata, first)
    whole, part = snapshot.user_states(SHOP, EVERYBODY[first:]), of_shard.user_states(shard, np.arange(shard.num_users))
    np.testing.assert_array_equal(whole.sparse.item_rows, part.sparse.item_rows)
    np.testing.assert_allclose(whole.sparse.scores, part.sparse.scores, atol=1e-5)


def test_the_files_are_the_same_bytes_and_a_neighbour_has_a_row_that_can_go(tmp_path: Path) -> None:
    snapshot = ranked_shop()
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        stored_and_read(snapshot, tmp_path / name)
    for file in ("tables.safetensors", "neighbours.parquet"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    path = tmp_path / "one" / "neighbours.parquet"
    table = pq.read_table(path)
    assert columns.USER_ROW in table.column_names
    assert columns.USER_ID not in table.column_names
    pq.write_table(table.slice(5), path)  # five users have been deleted
    trees = [each.model for each in snapshot.ranker.trees]
    stored = StoredRanker.load(tmp_path / "one" / "tables.safetensors", path, trees)
    left = stored.snapshot(model_of_the_shop(), weights_of_the_shop(), SHOP, METADATA)
    assert len(left.knowledge.neighbourhoods.users) == len(table) - 5
    assert len(left.user_states(SHOP, EVERYBODY).query) == SHOP.num_users
