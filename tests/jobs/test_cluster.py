"""A night on a real Spark standalone cluster and two torchrun ranks gives the bytes of a night on one machine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from small_shop import night_config, write_shop

from jobs.spark.java import java_home
from jobs.storage import join, store_for

pytestmark = [pytest.mark.slow, pytest.mark.cluster, pytest.mark.timeout(900)]
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Cluster:
    """A running master with two workers of one core each."""

    url: str
    web: str

    def state(self) -> dict[str, Any]:
        """What the master says of workers and applications."""
        with urllib.request.urlopen(f"{self.web}/json/", timeout=5) as answer:
            state: dict[str, Any] = json.load(answer)
        return state


@pytest.fixture
def environment(seaweed_environment: dict[str, str]) -> dict[str, str]:
    """What every process of the cluster and the night gets: where S3 is, which Java and Python, and the packages."""
    return {
        **os.environ,
        **seaweed_environment,
        "JAVA_HOME": str(java_home()),
        "PYSPARK_PYTHON": sys.executable,
        "PYTHONPATH": str(ROOT),
        "SPARK_LOCAL_IP": "127.0.0.1",
    }


@pytest.fixture
def cluster(environment: dict[str, str], tmp_path: Path, free_ports: Callable[[int], list[int]]) -> Iterator[Cluster]:
    """Spark's own master and worker classes, each a process; ended with all that they started."""
    import pyspark

    spark_class = Path(pyspark.__file__).parent / "bin" / "spark-class"
    port, web = free_ports(2)
    found = Cluster(f"spark://127.0.0.1:{port}", f"http://127.0.0.1:{web}")
    master = ["org.apache.spark.deploy.master.Master", "--host", "127.0.0.1", "--port", str(port), "--webui-port", str(web)]
    worker = ["org.apache.spark.deploy.worker.Worker", found.url, "--cores", "1", "--memory", "1g", "--webui-port", "0"]
    with ExitStack() as stack:
        for name, command in (("master", master), ("worker-1", worker), ("worker-2", worker)):
            log = stack.enter_context(open(tmp_path / f"{name}.log", "wb"))
            folders = {"SPARK_WORKER_DIR": str(tmp_path / name), "SPARK_LOCAL_DIRS": str(tmp_path / name)}
            process = subprocess.Popen(
                [spark_class, *command], env=environment | folders, stdout=log, stderr=log, start_new_session=True
            )
            stack.callback(_end, process)
        _wait_for_workers(found, tmp_path)
        yield found


def _end(process: subprocess.Popen[bytes]) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _wait_for_workers(cluster: Cluster, logs: Path) -> None:
    deadline = time.monotonic() + 120
    while True:
        try:
            if cluster.state()["aliveworkers"] == 2:
                return
        except OSError:
            pass
        if time.monotonic() > deadline:
            pytest.fail("the cluster did not start:\n" + "\n".join(log.read_text()[-1000:] for log in logs.glob("*.log")))
        time.sleep(0.3)


def _night(name: str, master: str, shop: str, environment: dict[str, str], folder: Path) -> bytes:
    """Run a night of its own workspace; gives its `.out`."""
    place = join(shop, name)
    config = folder / f"{name}.toml"
    config.write_text(night_config(shop, join(place, "ws"), join(place, "out")))
    command = [sys.executable, "-m", "jobs.nightly", "--config", str(config), "--master", master, "--nproc-per-node", "2"]
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=folder, check=False)
    assert answer.returncode == 0, answer.stderr[-3000:]
    summary = json.loads(answer.stdout.splitlines()[-1])
    assert summary["job"] == "nightly"
    assert not summary["skipped"]
    return store_for(place).read(join(place, "out", "users.json.out"))


def test_a_night_on_a_cluster_gives_the_bytes_of_a_night_on_one_machine(
    cluster: Cluster, environment: dict[str, str], seaweed: str, tmp_path: Path
) -> None:
    shop = join(seaweed, f"shop-{uuid.uuid4().hex[:6]}")
    write_shop(tmp_path / "shop")
    for path in (path for path in (tmp_path / "shop").rglob("*") if path.is_file()):
        store_for(shop).upload(path, join(shop, str(path.relative_to(tmp_path / "shop"))))
    on_cluster = _night("cluster", cluster.url, shop, environment, tmp_path)
    ran = cluster.state()["completedapps"]
    assert [app["cores"] for app in ran] == [2] * len(ran) != []
    assert on_cluster.count(b"\n") == 1000
    assert on_cluster == _night("local", "local[2]", shop, environment, tmp_path)
