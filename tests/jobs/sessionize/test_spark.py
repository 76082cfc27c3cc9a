"""Sessionize where Spark carries the messages; what the job makes of them is tested in test_sessionize.py."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from called_jobs import sessionize
from pyspark.sql import SparkSession
from typed_datasets import publish_interactions

from jobs.platform.spark.exchange import exchange
from jobs.platform.storage.folders import StepFolder
from schemas.errors import IntegrityError, StorageError


def test_every_receiver_gets_its_parcels_and_those_without_any_still_answer(spark: SparkSession) -> None:
    def send(sender: int) -> list[tuple[int, bytes]]:
        return [(0, f"{sender} to first".encode()), (2, f"{sender} to last".encode())]

    def receive(receiver: int, bodies: Iterator[bytes]) -> bytes:
        return f"{receiver}: {sorted(bytes(body).decode() for body in bodies)}".encode()

    assert exchange(spark, 3, 4, send, receive, "test") == [
        b"0: ['0 to first', '1 to first', '2 to first']",
        b"1: []",
        b"2: ['0 to last', '1 to last', '2 to last']",
        b"3: []",
    ]


def test_what_a_task_raises_reaches_the_caller_as_itself(spark: SparkSession) -> None:
    def send(sender: int) -> list[tuple[int, bytes]]:
        raise StorageError("no space is left on the disk", where=f"/scratch/{sender}", remedy="Free some space.")

    with pytest.raises(StorageError, match=r"^/scratch/0: no space is left on the disk\. Free some space\.$"):
        exchange(spark, 1, 1, send, lambda receiver, bodies: b"", "test")


def test_the_same_events_give_the_same_bytes_here_and_on_s3(spark: SparkSession, tmp_path: Path, s3: str) -> None:
    rows = [(f"u{number % 61}", f"i{number % 31}", number * 97 % 5000) for number in range(3000)]
    published = []
    for place in (str(tmp_path), s3):
        publish_interactions(f"{place}/in", rows, parts=3)
        sessionize(interactions_uri=f"{place}/in", output_uri=f"{place}/out", num_shards=3)
        published.append(StepFolder(f"{place}/out").require("sequences"))
    assert [file.sha256 for file in published[0].files] == [file.sha256 for file in published[1].files]
    assert published[0].counts == {"events": 3000, "users": 61, "items": 31, "sessions": published[1].counts["sessions"]}
    assert spark.range(3).count() == 3  # the session is left running


def test_a_damaged_part_is_refused(spark: SparkSession, tmp_path: Path) -> None:
    publish_interactions(f"{tmp_path}/in", [("ann", "ink", 1)])
    (damaged,) = Path(tmp_path, "in", "data").iterdir()
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"!")
    with pytest.raises(IntegrityError, match=r"differ from its manifest; delete the folder and run the step again\.$"):
        sessionize(interactions_uri=f"{tmp_path}/in", output_uri=f"{tmp_path}/out")
    assert StepFolder(f"{tmp_path}/out").manifest() is None


@pytest.mark.slow  # a million events
def test_one_user_may_have_a_million_events(spark: SparkSession, tmp_path: Path) -> None:
    rows = [("heavy" if number % 50 else f"u{number}", f"i{number % 700}", number * 60) for number in range(1_020_000)]
    publish_interactions(f"{tmp_path}/in", rows, parts=2)
    summary = sessionize(interactions_uri=f"{tmp_path}/in", output_uri=f"{tmp_path}/out")
    assert (summary["events"], summary["users"]) == (1_020_000, 20_401)
    folder = StepFolder(f"{tmp_path}/out")
    longest = 0
    for shard in folder.require("sequences").metadata["shards"]:
        users = pq.read_table(pa.BufferReader(folder.read(folder.require("sequences").file(shard["users"]))))
        longest = max(longest, *users["num_events"].to_pylist())
    assert longest == 999_600
