from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.solutions.staging import EVENT_WEIGHTS, _write_weights
from schemas import columns
from schemas.errors import ConfigError, DataError
from schemas.event_rules import event_rules


def shard(path: Path, codes: list[int], values: list[float | None] | None) -> Path:
    table = {columns.EVENT_TYPE_CODE: pa.array(codes, pa.int32())}
    if values is not None:
        table[columns.EVENT_VALUE] = pa.array(values, pa.float32())
    pq.write_table(pa.table(table), path)
    return path


def weights(tmp_path: Path, event_type: str | None, threshold: str | None, *, valued: bool = True) -> list[float]:
    events = [
        shard(tmp_path / "0.parquet", [0, 1, 1], [0.1, 0.1, None] if valued else None),
        shard(tmp_path / "1.parquet", [1, 0], [0.0999, 5.0] if valued else None),
    ]
    rules = event_rules(event_type, threshold, None)
    assert rules is not None
    _write_weights(events, ["buy", "view"], rules, tmp_path / EVENT_WEIGHTS)
    found: list[float] = np.load(tmp_path / EVENT_WEIGHTS).tolist()
    return found


def test_weights_follow_the_shards_and_a_value_at_the_threshold_is_kept(tmp_path: Path) -> None:
    assert weights(tmp_path, None, "0.1") == [1, 1, 0, 0, 1]
    assert weights(tmp_path, "view", "0.1") == [0, 1, 0, 0, 0]
    assert weights(tmp_path, "buy", None, valued=False) == [1, 0, 0, 0, 1]


def test_rules_that_no_event_meets_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no event meets"):
        weights(tmp_path, "view", "7")
    with pytest.raises(ConfigError, match="no EVENT_VALUE"):
        weights(tmp_path, None, "7", valued=False)
