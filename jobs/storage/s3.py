"""S3 behind the interface of jobs/storage/store.py, by boto3: endpoint and credentials come from its standard chain."""

from __future__ import annotations

import functools
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, IncompleteReadError, NoCredentialsError, ReadTimeoutError
from urllib3.exceptions import HTTPError

from jobs.storage.assembly import plan_parts
from jobs.storage.local import local_errors
from jobs.storage.store import StoredFile
from schemas.errors import CommitLost, CommitUnknown, StorageError

_ATTEMPTS = 8
_TRANSFER = TransferConfig(multipart_threshold=64 << 20, multipart_chunksize=32 << 20)
_TOKEN = "hrnn-token"  # object metadata: who wrote this object
_REASONS = {
    "NoSuchBucket": ("there is no such bucket", "Check the bucket's name and the region."),
    "NoSuchKey": ("there is no such object", "Check the path."),
    "404": ("there is no such object or bucket", "Check the path."),
    "AccessDenied": ("access is denied", "Grant these credentials access to the path."),
    "403": ("access is denied", "Grant these credentials access to the path."),
    "InvalidAccessKeyId": ("the access key is not known", "Check AWS_ACCESS_KEY_ID."),
    "SignatureDoesNotMatch": ("the secret key is wrong", "Check AWS_SECRET_ACCESS_KEY."),
    "ExpiredToken": ("the credentials have expired", "Renew them."),
    "RequestTimeTooSkewed": ("this machine's clock is wrong", "Set the clock."),
    "PreconditionFailed": ("the object changed while it was being read", "Run again when it is complete."),
    "412": ("the object changed while it was being read", "Run again when it is complete."),
    "SlowDown": ("the store is throttling and did not recover", "Run again later."),
}


@functools.cache
def client() -> Any:
    """The process's one boto3 client."""
    return boto3.client(
        "s3",
        config=Config(
            retries={"mode": "standard", "max_attempts": _ATTEMPTS},
            connect_timeout=5,
            read_timeout=30,
            max_pool_connections=32,
        ),
    )


@contextmanager
def s3_errors(where: str) -> Iterator[None]:
    """Turn boto3's errors into a StorageError that names the object, the reason and the remedy."""
    try:
        yield
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        problem, remedy = _REASONS.get(code, (f"S3 answered {code}: {error.response['Error'].get('Message', '')}", None))
        raise StorageError(problem, where=where, remedy=remedy) from None
    except NoCredentialsError:
        raise StorageError(
            "no AWS credentials were found", where=where, remedy="Set AWS_PROFILE, AWS_ACCESS_KEY_ID or a role."
        ) from None
    except BotoCoreError as error:
        raise StorageError(str(error).rstrip("."), where=where, remedy="Check AWS_ENDPOINT_URL and the network.") from None


class S3Store:
    """Objects of S3, or of a store that speaks its protocol and honours conditional PUTs."""

    def list(self, uri: str) -> list[StoredFile]:
        bucket, prefix = _split(uri)
        files = []
        with s3_errors(uri):
            for page in client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
                for item in page.get("Contents", []):
                    if not item["Key"].endswith("/"):
                        files.append(StoredFile(f"s3://{bucket}/{item['Key']}", item["Size"], item["ETag"]))
        return files

    def stat(self, uri: str) -> StoredFile | None:
        head = self._head(uri)
        return None if head is None else StoredFile(uri, head["ContentLength"], head["ETag"])

    def read(self, uri: str, start: int = 0, end: int | None = None, version: str | None = None) -> bytes:
        if end is not None and end <= start:
            return b""
        bucket, key = _split(uri)
        request: dict[str, Any] = {"Bucket": bucket, "Key": key}
        if start or end is not None:
            request["Range"] = f"bytes={start}-{'' if end is None else end - 1}"
        if version is not None:
            request["IfMatch"] = version
        with s3_errors(uri):
            return _body(request)

    def write(self, uri: str, data: bytes) -> None:
        bucket, key = _split(uri)
        with s3_errors(uri):
            client().put_object(Bucket=bucket, Key=key, Body=data)

    def upload(self, path: Path, uri: str) -> None:
        bucket, key = _split(uri)
        with s3_errors(uri), local_errors(str(path)):
            client().upload_file(str(path), bucket, key, Config=_TRANSFER)

    def download(self, uri: str, path: Path) -> None:
        bucket, key = _split(uri)
        with s3_errors(uri), local_errors(str(path)):
            client().download_file(bucket, key, str(path), Config=_TRANSFER)

    def create(self, uri: str, data: bytes) -> None:
        self._commit(uri, data, IfNoneMatch="*")

    def replace(self, uri: str, data: bytes, version: str) -> None:
        self._commit(uri, data, IfMatch=version)

    def concatenate(self, sources: Sequence[StoredFile], uri: str) -> None:
        """One multipart upload of server-side copies; small sources are read and sent together (parts must be ≥ 5 MiB)."""
        bucket, key = _split(uri)
        if sum(source.size for source in sources) <= 8 << 20:
            return self.write(uri, b"".join(self.read(s.uri, version=s.version) for s in sources))
        token = uuid.uuid4().hex
        with s3_errors(uri):
            upload = client().create_multipart_upload(Bucket=bucket, Key=key, Metadata={_TOKEN: token})["UploadId"]
            target = {"Bucket": bucket, "Key": key, "UploadId": upload}
            try:
                parts = [
                    {"PartNumber": number, "ETag": self._send_part(target, number, pieces)}
                    for number, pieces in enumerate(plan_parts([source.size for source in sources], sources), start=1)
                ]
                self._complete(target, parts, uri, token)
            except BaseException:
                client().abort_multipart_upload(**target)
                raise

    def delete(self, uris: Iterable[str]) -> None:
        for uri in uris:
            bucket, key = _split(uri)
            with s3_errors(uri):
                client().delete_object(Bucket=bucket, Key=key)

    def abort_uploads(self, uri: str, before: datetime) -> int:
        bucket, prefix = _split(uri)
        dropped = 0
        with s3_errors(uri):
            for page in client().get_paginator("list_multipart_uploads").paginate(Bucket=bucket, Prefix=prefix):
                for upload in page.get("Uploads", []):
                    if upload["Initiated"] < before:
                        client().abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])
                        dropped += 1
        return dropped

    def _send_part(self, target: dict[str, Any], number: int, pieces: Sequence[tuple[StoredFile, int, int]]) -> str:
        """Send one part: a server-side copy of a single piece of at least 5 MiB, or the bytes of several."""
        if len(pieces) == 1 and pieces[0][2] - pieces[0][1] >= 5 << 20:
            source, start, end = pieces[0]
            bucket, key = _split(source.uri)
            answer = client().upload_part_copy(
                **target,
                PartNumber=number,
                CopySource={"Bucket": bucket, "Key": key},
                CopySourceRange=f"bytes={start}-{end - 1}",
                CopySourceIfMatch=source.version,
            )
            return str(answer["CopyPartResult"]["ETag"])
        data = b"".join(self.read(source.uri, start, end, source.version) for source, start, end in pieces)
        return str(client().upload_part(**target, PartNumber=number, Body=data)["ETag"])

    def _complete(self, target: dict[str, Any], parts: Sequence[dict[str, Any]], uri: str, token: str) -> None:
        """Complete the upload; when the answer is lost, the object's token tells whether it landed."""
        try:
            client().complete_multipart_upload(**target, MultipartUpload={"Parts": parts})
        except (ClientError, BotoCoreError):
            head = self._head(uri)
            if head is None or head["Metadata"].get(_TOKEN) != token:
                raise

    def _commit(self, uri: str, data: bytes, **condition: str) -> None:
        bucket, key = _split(uri)
        token = uuid.uuid4().hex
        for attempt in range(_ATTEMPTS):
            try:
                client().put_object(Bucket=bucket, Key=key, Body=data, Metadata={_TOKEN: token}, **condition)
                return
            except ClientError as error:
                code = error.response.get("Error", {}).get("Code", "")
                if code in {"409", "ConditionalRequestConflict"} and attempt + 1 < _ATTEMPTS:
                    time.sleep(0.1 * 2**attempt)
                    continue
                if code in {
                    "NoSuchBucket",
                    "AccessDenied",
                    "403",
                    "InvalidAccessKeyId",
                    "SignatureDoesNotMatch",
                    "ExpiredToken",
                }:
                    with s3_errors(uri):
                        raise
                break
            except BotoCoreError:
                break
        self._settle(uri, token)

    def _settle(self, uri: str, token: str) -> None:
        """Decide a commit whose answer was a refusal or got lost: only the object itself tells who won."""
        try:
            head = self._head(uri)
        except StorageError as error:
            raise CommitUnknown(
                f"{uri}: the store did not say whether the commit landed; nothing was deleted. ({error})"
            ) from None
        if head is None:
            raise CommitUnknown(f"{uri}: the commit was not acknowledged and nothing is visible. Run again.")
        if head["Metadata"].get(_TOKEN) != token:
            raise CommitLost(f"{uri}: another run published first.")

    def _head(self, uri: str) -> dict[str, Any] | None:
        bucket, key = _split(uri)
        try:
            with s3_errors(uri):
                try:
                    answer: dict[str, Any] = client().head_object(Bucket=bucket, Key=key)
                except ClientError as error:
                    if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
                        raise
                    client().head_bucket(Bucket=bucket)  # a missing bucket is an error, a missing object is not
                    return None
        except StorageError as error:
            if "no such object or bucket" in error.problem:
                raise StorageError("there is no such bucket", where=uri, remedy="Check its name and the region.") from None
            raise
        return answer


def _split(uri: str) -> tuple[str, str]:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key


def _body(request: dict[str, Any]) -> bytes:
    """Read an object whole; a body that breaks off is asked for again (boto3 retries requests, not bodies)."""
    for attempt in range(_ATTEMPTS):
        try:
            data: bytes = client().get_object(**request)["Body"].read()
            return data
        except (IncompleteReadError, ReadTimeoutError, HTTPError, ConnectionError):
            if attempt + 1 == _ATTEMPTS:
                raise StorageError(
                    "the answer kept breaking off",
                    where=f"s3://{request['Bucket']}/{request['Key']}",
                    remedy="Check the network, then run again.",
                ) from None
            time.sleep(0.1 * 2**attempt)
    raise AssertionError("unreachable")
