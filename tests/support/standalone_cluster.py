"""A Spark standalone cluster of this machine: Spark's own master and workers, each a process."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.platform.spark.java import java_home

ROOT = Path(__file__).parents[2]
_START_SECONDS = 120.0


@dataclass(frozen=True)
class Cluster:
    """A running master with workers of one core each.

    Attributes:
        url: Of the master, for `--master`.
        web: Of the master's page.
        folder: Of logs; those of executors are `worker-<n>/app-…/<executor>/stderr`.
    """

    url: str
    web: str
    folder: Path

    def state(self) -> dict[str, Any]:
        """What the master says of workers and applications."""
        with urllib.request.urlopen(f"{self.web}/json/", timeout=5) as answer:
            state: dict[str, Any] = json.load(answer)
        return state


def cluster_environment(s3: Mapping[str, str]) -> dict[str, str]:
    """What every process of a cluster and its drivers get: where S3 is, which Java and Python, and the packages."""
    return {
        **os.environ,
        **s3,
        "JAVA_HOME": str(java_home()),
        "PYSPARK_PYTHON": sys.executable,
        "PYTHONPATH": str(ROOT),
        "SPARK_LOCAL_IP": "127.0.0.1",
    }


@contextmanager
def standalone_cluster(
    environment: Mapping[str, str], folder: Path, hosts: Sequence[str] = ("127.0.0.1", "127.0.0.1")
) -> Iterator[Cluster]:
    """A master, and a worker of one core and 1 GiB a host; ended with all that they started."""
    import pyspark

    spark_class = Path(pyspark.__file__).parent / "bin" / "spark-class"
    port, web = _free_ports(2)
    found = Cluster(f"spark://127.0.0.1:{port}", f"http://127.0.0.1:{web}", folder)
    master = ["org.apache.spark.deploy.master.Master", "--host", "127.0.0.1", "--port", str(port), "--webui-port", str(web)]
    worker = ["org.apache.spark.deploy.worker.Worker", found.url, "--cores", "1", "--memory", "1g", "--webui-port", "0"]
    processes = [("master", "127.0.0.1", master)]
    processes += [(f"worker-{number}", host, [*worker, "--host", host]) for number, host in enumerate(hosts, start=1)]
    with ExitStack() as stack:
        for name, host, command in processes:
            log = stack.enter_context(open(folder / f"{name}.log", "wb"))
            own = {"SPARK_WORKER_DIR": str(folder / name), "SPARK_LOCAL_DIRS": str(folder / name), "SPARK_LOCAL_IP": host}
            process = subprocess.Popen(
                [spark_class, *command], env={**environment, **own}, stdout=log, stderr=log, start_new_session=True
            )
            stack.callback(_end, process)
        _wait_for_workers(found, len(hosts))
        yield found


def _end(process: subprocess.Popen[bytes]) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _wait_for_workers(cluster: Cluster, count: int) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            if cluster.state()["aliveworkers"] == count:
                return
        except OSError:
            pass
        if time.monotonic() > deadline:
            said = "\n".join(log.read_text()[-1000:] for log in cluster.folder.glob("*.log"))
            raise AssertionError(f"the cluster did not start:\n{said}")
        time.sleep(0.3)


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        listeners = [stack.enter_context(socket.socket()) for _ in range(count)]
        for listener in listeners:
            listener.bind(("127.0.0.1", 0))
        return [int(listener.getsockname()[1]) for listener in listeners]
