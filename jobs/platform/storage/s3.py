"""S3 behind the interface of jobs/platform/storage/store.py."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, ParamValidationError

from jobs.platform.storage import assembly, transfers
from jobs.platform.storage.local import local_errors
from jobs.platform.storage.s3_client import BROKEN, NO_BUCKET, call, client, error_code, http_status, may_pass, s3_errors
from jobs.platform.storage.store import Staged, StoredFile, is_left_out
from schemas.errors import CommitLost, CommitUnknown, StorageError

__all__ = ["S3Store", "client"]

_LOG = logging.getLogger(__name__)
_TOKEN = transfers.TOKEN


class S3Store:
    """Objects of S3, or of a store that speaks its protocol and honours conditional PUTs."""

    def list(self, uri: str, without: tuple[str, ...] = (".",)) -> list[StoredFile]:
        bucket, prefix = _split(uri)
        with s3_errors(uri):
            return [
                StoredFile(f"s3://{bucket}/{item['Key']}", item["Size"], item["ETag"], item["LastModified"])
                for item in _contents(bucket, prefix)
                if not item["Key"].endswith("/") and not is_left_out(item["Key"], prefix, without)
            ]

    def stat(self, uri: str) -> StoredFile | None:
        if not _split(uri)[1]:
            return None  # a bucket is a folder
        head = self._head(uri)
        return None if head is None else StoredFile(uri, head["ContentLength"], head["ETag"], head["LastModified"])

    def now(self, uri: str) -> datetime:
        bucket, prefix = _split(uri)
        with s3_errors(uri):
            answer = call("list_objects_v2", Bucket=bucket, Prefix=prefix, MaxKeys=1)
        date = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
        return parsedate_to_datetime(date) if date else datetime.now(UTC)

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
            try:
                data: bytes = call("get_object", **request)["Body"]
                return data
            except ClientError as error:
                if error_code(error) == "InvalidRange":
                    return b""  # the file ends before `start`
                raise

    def write(self, uri: str, data: bytes) -> None:
        bucket, key = _split(uri)
        with s3_errors(uri):
            call("put_object", Bucket=bucket, Key=key, Body=data)

    def upload(self, path: Path, uri: str) -> None:
        bucket, key = _split(uri)
        with local_errors(str(path)), s3_errors(uri):
            transfers.send(path, bucket, key)

    def download(self, uri: str, path: Path) -> None:
        bucket, key = _split(uri)
        with local_errors(str(path)), s3_errors(uri):
            transfers.fetch(bucket, key, path)

    def create(self, uri: str, data: bytes) -> str:
        return self._commit(uri, data, None)

    def replace(self, uri: str, data: bytes, version: str) -> str:
        return self._commit(uri, data, version)

    def stage(self, sources: Sequence[StoredFile], uri: str) -> Staged:
        """A multipart upload of server-side copies; small sources are read and sent together (parts must be ≥ 5 MiB)."""
        bucket, key = _split(uri)
        token = uuid.uuid4().hex
        with s3_errors(uri):
            # boto3 sends a CRC-32 with each part; S3 then needs it announced here, and all of them at the completion.
            upload = call(
                "create_multipart_upload", Bucket=bucket, Key=key, Metadata={_TOKEN: token}, ChecksumAlgorithm="CRC32"
            )
            target = {"Bucket": bucket, "Key": key, "UploadId": upload["UploadId"]}
            try:
                planned = list(assembly.plan_parts([s.size for s in sources], sources)) or [[]]  # S3 wants a part, if empty
                parts = [
                    {"PartNumber": number, **self._send_part(target, number, pieces)}
                    for number, pieces in enumerate(planned, start=1)
                ]
            except BaseException:
                self._abort(target)
                raise
        size = sum(source.size for source in sources)
        return Staged(uri=uri, id=upload["UploadId"], size=size, token=token, parts=tuple(parts))

    def reveal(self, staged: Staged, seen: StoredFile | None, claim: StoredFile) -> None:
        bucket, key = _split(staged.uri)
        request = {"Bucket": bucket, "Key": key, "UploadId": staged.id, "MultipartUpload": {"Parts": list(staged.parts)}}
        request |= {"IfNoneMatch": "*"} if seen is None else {"IfMatch": seen.version}
        with s3_errors(staged.uri):
            try:
                call("complete_multipart_upload", **request)
            except (ClientError, BotoCoreError, *BROKEN) as error:
                # The response may be lost, or the repetition of a success refused: the object's token shows who wrote it.
                head = self._head(staged.uri)
                if head is not None and head["Metadata"].get(_TOKEN) == staged.token:
                    return
                if isinstance(error, ClientError) and http_status(error) in {404, 412}:
                    raise CommitLost(f"{staged.uri}: another run has published, or is about to.") from None
                raise

    def withdraw(self, uri: str, claim: StoredFile, version: str | None = None) -> None:
        bucket, key = _split(uri)
        condition = {} if version is None else {"IfMatch": version}
        with s3_errors(uri):
            try:
                call("delete_object", Bucket=bucket, Key=key, **condition)
            except ClientError as error:
                if http_status(error) not in {404, 412}:
                    raise
        current = self.stat(claim.uri)
        if current is None or current.version != claim.version:
            raise CommitLost(f"{claim.uri}: another run has published, or is about to.")

    def drop(self, uri: str, staged_id: str) -> None:
        bucket, key = _split(uri)
        with s3_errors(uri):
            try:
                call("abort_multipart_upload", Bucket=bucket, Key=key, UploadId=staged_id)
            except ClientError as error:
                if error_code(error) != "NoSuchUpload":
                    raise

    def delete(self, uris: Iterable[str]) -> None:
        for uri in uris:
            bucket, key = _split(uri)
            with s3_errors(uri):
                call("delete_object", Bucket=bucket, Key=key)

    def uploads(self, uri: str, before: datetime, *, sized: bool = True) -> Sequence[StoredFile]:
        """Unfinished multipart uploads; `version` is the upload's id."""
        bucket, prefix = _split(uri)
        with s3_errors(uri):
            begun = [upload for upload in _uploads(bucket, prefix) if upload["Initiated"] < before]
            return [
                StoredFile(
                    f"s3://{bucket}/{each['Key']}", _sent(bucket, each) if sized else 0, each["UploadId"], each["Initiated"]
                )
                for each in begun
            ]

    def abort_uploads(self, uri: str, before: datetime, spared: tuple[str, ...] = ()) -> int:
        left = [each for each in self.uploads(uri, before, sized=False) if not each.uri.startswith(spared)]
        with s3_errors(uri):
            for each in left:
                bucket, key = _split(each.uri)
                self._abort({"Bucket": bucket, "Key": key, "UploadId": each.version})
        return len(left)

    def _abort(self, target: dict[str, Any]) -> None:
        """Drop an upload; where that fails, it costs space until the next night, and must not hide why it was dropped."""
        try:
            call("abort_multipart_upload", **target)
        except (ClientError, BotoCoreError, *BROKEN) as error:
            if not (isinstance(error, ClientError) and error_code(error) == "NoSuchUpload"):
                _LOG.warning(
                    "s3://%s/%s: an unfinished upload could not be dropped: %s", target["Bucket"], target["Key"], error
                )

    def _send_part(self, target: dict[str, Any], number: int, pieces: Sequence[assembly.Piece[StoredFile]]) -> dict[str, str]:
        """Send one part, by a server-side copy where it is a single large piece; returns what completing it needs."""
        if len(pieces) == 1 and pieces[0][2] - pieces[0][1] >= assembly.SMALLEST_PART:
            source, start, end = pieces[0]
            bucket, key = _split(source.uri)
            request = {"CopySource": {"Bucket": bucket, "Key": key}, "CopySourceIfMatch": source.version}
            if end - start < source.size:
                request["CopySourceRange"] = f"bytes={start}-{end - 1}"
            answer = call("upload_part_copy", **target, PartNumber=number, **request)["CopyPartResult"]
        else:
            data = b"".join(self.read(source.uri, start, end, source.version) for source, start, end in pieces)
            answer = call("upload_part", **target, PartNumber=number, Body=data)
        return {name: answer[name] for name in ("ETag", "ChecksumCRC32") if name in answer}

    def _commit(self, uri: str, data: bytes, version: str | None) -> str:
        """Write `uri` if it is still of that version (None: absent); returns the new one."""
        bucket, key = _split(uri)
        condition = {"IfNoneMatch": "*"} if version is None else {"IfMatch": version}
        token = uuid.uuid4().hex
        refused = False
        with s3_errors(uri):
            try:
                answer = call("put_object", Bucket=bucket, Key=key, Body=data, Metadata={_TOKEN: token}, **condition)
                return str(answer["ETag"])
            except (NoCredentialsError, ParamValidationError):
                raise
            except ClientError as error:
                refused = http_status(error) in {404, 412} and error_code(error) != "NoSuchBucket"
                if not refused and not may_pass(error):
                    raise
            except (BotoCoreError, *BROKEN):
                pass
        return self._settle(uri, token, version, refused)

    def _settle(self, uri: str, token: str, version: str | None, refused: bool) -> str:
        """Decide a commit that was refused or whose answer got lost: only the object itself shows who won.

        A refusal alone does not: a request whose answer is lost is repeated, and the repetition of a success is refused.
        """
        try:
            head = self._head(uri)
        except StorageError as error:
            if error.problem == NO_BUCKET:
                raise
            raise CommitUnknown(
                f"{uri}: the store did not say whether the commit landed; nothing was deleted. ({error})"
            ) from None
        if head is not None and head["Metadata"].get(_TOKEN) == token:
            return str(head["ETag"])
        if refused or (head is not None and head["ETag"] != version):
            raise CommitLost(f"{uri}: another run published first.")
        raise CommitUnknown(f"{uri}: the commit was not acknowledged and is not visible. Run again.")

    def _head(self, uri: str) -> dict[str, Any] | None:
        bucket, key = _split(uri)
        with s3_errors(uri):
            try:
                return call("head_object", Bucket=bucket, Key=key)
            except ClientError as error:
                if http_status(error) != 404:
                    raise
            try:
                call("head_bucket", Bucket=bucket)
            except ClientError as error:
                # Credentials that are good for one folder may not look at the bucket: then it is there.
                if http_status(error) == 404:
                    raise StorageError(NO_BUCKET, where=uri, remedy="Check its name and the region.") from None
        return None


def _split(uri: str) -> tuple[str, str]:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key


def _contents(bucket: str, prefix: str) -> Iterator[dict[str, Any]]:
    """Every object below a prefix, in the order of keys."""
    more: dict[str, str] = {}
    while True:
        page = call("list_objects_v2", Bucket=bucket, Prefix=prefix, **more)
        yield from page.get("Contents", [])
        if not page.get("IsTruncated"):
            return
        more = {"ContinuationToken": page["NextContinuationToken"]}


def _uploads(bucket: str, prefix: str) -> Iterator[dict[str, Any]]:
    """Every unfinished multipart upload below a prefix."""
    more: dict[str, str] = {}
    while True:
        page = call("list_multipart_uploads", Bucket=bucket, Prefix=prefix, **more)
        yield from page.get("Uploads", [])
        if not page.get("IsTruncated"):
            return
        more = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}


def _sent(bucket: str, upload: dict[str, Any]) -> int:
    """Bytes of the parts that an unfinished upload has."""
    target = {"Bucket": bucket, "Key": upload["Key"], "UploadId": upload["UploadId"]}
    sent = 0
    more: dict[str, int] = {}
    while True:
        try:
            page = call("list_parts", **target, **more)
        except ClientError as error:
            if error_code(error) == "NoSuchUpload":
                return sent  # completed or dropped meanwhile
            raise
        sent += sum(int(part["Size"]) for part in page.get("Parts", []))
        if not page.get("IsTruncated"):
            return sent
        more = {"PartNumberMarker": page["NextPartNumberMarker"]}
