"""A night on a real Spark standalone cluster, on S3, with two torchrun ranks gives the bytes of one on this machine's files."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from commands import hrnn
from small_shop import night_config, write_shop
from standalone_cluster import Cluster, cluster_environment, standalone_cluster

from jobs.platform.storage import join, store_for

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = [pytest.mark.slow, pytest.mark.cluster, pytest.mark.timeout(900)]


@pytest.fixture
def environment(seaweed_environment: dict[str, str]) -> dict[str, str]:
    """Of every process of the cluster and the night."""
    return cluster_environment(seaweed_environment)


@pytest.fixture
def cluster(environment: dict[str, str], tmp_path: Path) -> Iterator[Cluster]:
    """A running cluster of two workers."""
    with standalone_cluster(environment, tmp_path) as found:
        yield found


def _on_cluster(cluster: Cluster, shop: str, environment: dict[str, str], folder: Path) -> bytes:
    """Run a night on a cluster and S3; gives its `.out`."""
    config = folder / "cluster.toml"
    config.write_text(night_config(shop, join(shop, "ws"), join(shop, "out")))
    command = [
        sys.executable,
        "-m",
        "jobs.nightly",
        "--config",
        str(config),
        "--master",
        cluster.url,
        "--nproc-per-node",
        "2",
    ]
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=folder, check=False)
    assert answer.returncode == 0, answer.stderr[-3000:]
    summary = json.loads(answer.stdout.splitlines()[-1])
    assert summary["job"] == "nightly"
    assert not summary["skipped"]
    return store_for(shop).read(join(shop, "out", "users.json.out"))


def _on_one_machine(shop: Path, folder: Path) -> bytes:
    """Run a night on local files; gives its `.out`."""
    config = folder / "local.toml"
    config.write_text(night_config(str(shop), str(folder / "ws"), str(folder / "out")))
    hrnn("nightly", "--config", str(config), "--nproc-per-node", "2")
    return (folder / "out" / "users.json.out").read_bytes()


def test_a_night_on_a_cluster_gives_the_bytes_of_a_night_on_one_machine(
    cluster: Cluster, environment: dict[str, str], seaweed: str, spark: SparkSession, tmp_path: Path
) -> None:
    shop = join(seaweed, f"shop-{uuid.uuid4().hex[:6]}")
    write_shop(tmp_path / "shop")
    for path in (path for path in (tmp_path / "shop").rglob("*") if path.is_file()):
        store_for(shop).upload(path, join(shop, str(path.relative_to(tmp_path / "shop"))))
    on_cluster = _on_cluster(cluster, shop, environment, tmp_path)
    ran = cluster.state()["completedapps"]
    assert [app["cores"] for app in ran] == [2] * len(ran) != []
    assert on_cluster.count(b"\n") == 1000
    assert on_cluster == _on_one_machine(tmp_path / "shop", tmp_path)
