"""The benchmarks of jobs on Spark: their contenders find the same, on few rows and in the test session's Spark."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import bench_sessionize
import bench_validate
import pytest
from contenders import check_same

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@pytest.fixture(autouse=True)
def _no_spark_of_their_own(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.platform.spark.session.spark_session", lambda *_: spark)
    monkeypatch.setattr(spark, "stop", lambda: None)


def test_validate_finds_what_polars_finds(tmp_path: Path) -> None:
    bench_validate.make_files(tmp_path / "data", 6_000)
    found = check_same(
        contender(tmp_path / "data", tmp_path / name, 2) for name, contender in bench_validate.CONTENDERS.items()
    )
    assert found["accepted"] > 5_000 > found["rejected"] > 0


def test_sessionize_finds_what_polars_finds(tmp_path: Path) -> None:
    bench_sessionize.make_dataset(tmp_path / "data", 4_000, 1_000)
    found = check_same(
        contender(tmp_path / "data", tmp_path / name, 2) for name, contender in bench_sessionize.CONTENDERS.items()
    )
    assert found["events"] == 4_000
