"""Spark's Python workers begin with the package's modules, and do between two tasks what they must."""

from __future__ import annotations

import gc
import os
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pyspark
import pytest

from jobs.platform.spark import daemon
from jobs.platform.spark.daemon import without_own_archives
from jobs.platform.spark.tasks import run_tasks

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

PACKAGE = Path(pyspark.__file__).parent


def seen_in_a_task(_: int) -> dict[str, Any]:
    import pyspark

    archives = [place for place in sys.path if place.endswith((".zip", ".jar")) and os.path.exists(place)]
    known = [place for place in sys.path_importer_cache if place.endswith((".zip", ".jar")) and os.path.exists(place)]
    return {"archives": archives, "known": known, "pyspark": pyspark.__file__, "kept": gc.get_freeze_count()}


def test_workers_take_pyspark_from_the_package_and_look_at_what_they_imported_once(spark: SparkSession) -> None:
    for task in [run_tasks(spark, seen_in_a_task, [1] * 8, "looking") for _ in range(2)][1]:
        assert task["archives"] == task["known"] == []
        assert task["pyspark"] == pyspark.__file__
        assert task["kept"] > 10_000


def test_archives_of_another_spark_and_of_others_stay(tmp_path: Path) -> None:
    others = ["/opt/spark/python/lib/pyspark.zip", "/opt/spark/jars/spark-core_2.13-4.1.4.jar", "/opt/job.zip"]
    own = [str(path) for path in (PACKAGE / "python/lib").glob("*.zip")] + [str(next((PACKAGE / "jars").glob("spark-core_*")))]
    (tmp_path / "linked").symlink_to(PACKAGE)
    own.append(str(tmp_path / "linked/python/lib/pyspark.zip"))
    assert without_own_archives([*own, *others, *sys.path]) == [*others, *sys.path]
    assert without_own_archives([*own, *others]) == [*own, *others]  # where the package is not found, they are all there is


def test_garbage_is_collected_after_each_task_and_modules_are_kept_once(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    calls = {name: partial(done.append, name) for name in ("collect", "freeze")}
    monkeypatch.setattr(daemon, "gc", SimpleNamespace(**calls))
    monkeypatch.setattr(daemon, "sys", SimpleNamespace(modules=["pyspark"]))
    collector = daemon.Collector()
    collector.collect()
    collector.collect()
    monkeypatch.setattr(daemon, "sys", SimpleNamespace(modules=["pyspark", "torch"]))
    collector.collect()
    assert done == ["collect", "freeze", "collect", "collect", "freeze"]
