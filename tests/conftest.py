"""Fixtures that every test may ask for; the servers among them start when the first test asks."""

from __future__ import annotations

import functools
import json
import logging
import os
import socket
import threading
import uuid
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import botocore.loaders
import pytest
from hypothesis import HealthCheck, settings
from java_archive import archive_options

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


# A deadline would be a timing as an assertion; pytest-timeout ends what hangs.
settings.register_profile("any-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any-machine")


def pytest_addoption(parser: pytest.Parser) -> None:
    """`make interleavings` asks for more schedules than `make test`."""
    parser.addoption(
        "--schedules", type=int, default=60, help="orders of steps that runs try which publish to one folder, a place"
    )


def pytest_configure(config: pytest.Config) -> None:
    """PySpark and boto3 leave sockets to the garbage collector; every other warning is an error."""
    config.addinivalue_line("filterwarnings", "ignore:unclosed <socket:ResourceWarning")
    warnings.filterwarnings("ignore", "unclosed <socket", ResourceWarning)  # what is collected between the tests


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with long tests come first: where files are dealt to several processes, none is left with a long one at the end."""
    weights: Counter[Path] = Counter()
    for item in items:
        weights[item.path] += sum(item.get_closest_marker(name) is not None for name in ("chaos", "cluster", "slow"))
    items.sort(key=lambda item: -weights[item.path])


@pytest.fixture(scope="session", autouse=True)
def aws_environment() -> Iterator[pytest.MonkeyPatch]:
    """No test ever talks to the real AWS: its settings point at a port of this machine that nothing serves."""
    with pytest.MonkeyPatch.context() as patch:
        # Each new client would read the models of all AWS services anew: 0.2 s.
        patch.setattr("botocore.session.create_loader", functools.cache(botocore.loaders.create_loader))
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        patch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test-secret")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.setenv("AWS_CONFIG_FILE", os.devnull)
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
        # Tests are over before the JVM's second compiler is worth the cores that it takes.
        patch.setenv("JDK_JAVA_OPTIONS", f"-XX:TieredStopAtLevel=1 {archive_options()}")
        yield patch


@pytest.fixture(scope="session")
def moto_endpoint(aws_environment: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of a mock S3 that lives as long as the test session; from now on it is this process's endpoint."""
    from moto.server import ThreadedMotoServer

    _one_request_at_a_time(aws_environment)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line a request would drown what a failed test has to say
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    aws_environment.setenv("AWS_ENDPOINT_URL", endpoint)
    _forget_client()
    yield endpoint
    server.stop()


def _one_request_at_a_time(patch: pytest.MonkeyPatch) -> None:
    """Have the mock look at an object and write it, with its metadata, as one step, as S3 does.

    Its threads hold no lock: two that look for an object at the same time both miss it, and both create it.
    """
    from moto.s3.responses import S3Response

    lock = threading.RLock()

    def alone(answer: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(answer)
        def locked(*request: Any, **named: Any) -> Any:
            with lock:
                return answer(*request, **named)

        return locked

    for name in ("_bucket_response", "_key_response"):  # where a request has been read whole
        patch.setattr(S3Response, name, alone(getattr(S3Response, name)))


@pytest.fixture
def s3(moto_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URI of a fresh, empty bucket on the mock S3: `s3://test-…`."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto_endpoint)
    _forget_client()
    bucket = f"test-{uuid.uuid4().hex[:12]}"
    boto3.client("s3", endpoint_url=moto_endpoint).create_bucket(Bucket=bucket)
    return f"s3://{bucket}"


@pytest.fixture(scope="session")
def seaweed_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """AWS settings for a real S3 server (SeaweedFS) that lives as long as the test session.

    Their user may do all but make buckets; the user `reader`, whose secret is `reader-secret`, may only read.
    """
    from infra.local_s3 import local_s3

    folder = tmp_path_factory.mktemp("seaweedfs")
    write = ["Read", "Write", "List", "Tagging"]
    rights = {"owner": ["Admin", *write], "test": write, "reader": ["Read", "List"]}
    identities = [
        {"name": name, "credentials": [{"accessKey": name, "secretKey": f"{name}-secret"}], "actions": actions}
        for name, actions in rights.items()
    ]
    (folder / "s3.json").write_text(json.dumps({"identities": identities}))
    with local_s3(folder, buckets=["tests"]) as environment:
        yield environment | {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test-secret"}


@pytest.fixture
def seaweed(seaweed_environment: dict[str, str]) -> Iterator[str]:
    """The URI of a fresh folder on the real S3 server; this test's process, not Spark's workers, talks to it."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in seaweed_environment.items():
            patch.setenv(name, value)
        _forget_client()
        yield f"s3://tests/{uuid.uuid4().hex}"
    _forget_client()


@pytest.fixture(scope="session")
def spark(moto_endpoint: str) -> Iterator[SparkSession]:
    """The one Spark of the test session, on two cores; its workers see the bucket of `s3`."""
    from jobs.platform.spark.session import spark_session

    session = spark_session("local[2]")
    yield session
    session.stop()


@pytest.fixture
def no_space(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of 1 MiB; skipped where this user may not mount one."""
    import subprocess

    folder = tmp_path / "small-disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True, check=False)
    if mounted.returncode != 0:
        pytest.skip("mounting a small disk needs root")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture
def free_ports() -> Callable[[int], list[int]]:
    """Gives that many ports of loopback that nothing listens on."""

    def ports(count: int) -> list[int]:
        with ExitStack() as stack:
            listeners = [stack.enter_context(socket.socket()) for _ in range(count)]
            for listener in listeners:
                listener.bind(("127.0.0.1", 0))
            return [int(listener.getsockname()[1]) for listener in listeners]

    return ports


@pytest.fixture
def free_port(free_ports: Callable[[int], list[int]]) -> int:
    """A port of loopback that nothing listens on."""
    return free_ports(1)[0]


def _forget_client() -> None:
    """Make the next S3 call read the environment again."""
    from jobs.platform.storage.s3 import client

    client.cache_clear()
