from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from jobs.platform.storage.folders import sha256_of
from jobs.platform.storage.hashed import HashedFile


def test_a_digest_is_known_when_a_file_is_written(tmp_path: Path) -> None:
    table = pa.table({"row": range(300_000), "text": [str(row) * 7 for row in range(300_000)]})
    with HashedFile(tmp_path / "rows.parquet") as file:
        pq.write_table(table, file, row_group_size=50_000)
    assert file.sha256 == sha256_of(tmp_path / "rows.parquet")
    assert pq.read_table(tmp_path / "rows.parquet").equals(table)
