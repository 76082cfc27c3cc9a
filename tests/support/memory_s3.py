"""An S3 in memory, with boto3's methods, that does what S3 does where several writers meet; and with the faults of bad days.

Strict where mocks are lenient: conditions of PUT and of CompleteMultipartUpload, the order, the sizes and the ETags of parts,
uploads that are gone. Each call is one atomic request; `before` and `after` let a test choose who is next, and what is lost.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, BinaryIO

from botocore.exceptions import ClientError

from jobs.platform.storage import assembly

_NOW = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class _Object:
    data: bytes
    etag: str
    metadata: dict[str, str]


@dataclass
class _Upload:
    key: str
    metadata: dict[str, str]
    parts: dict[int, _Object] = field(default_factory=dict)


class Body:
    """What get_object gives."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def read(self) -> bytes:
        """All of it."""
        return self._data


@dataclass
class MemoryS3:
    """One bucket.

    Attributes:
        around: (name of the operation, the request) -> its answer; by default the request is done.
    """

    around: Callable[[str, Callable[[], Any]], Any] = lambda _, request: request()
    objects: dict[str, _Object] = field(default_factory=dict)
    pending: dict[str, _Upload] = field(default_factory=dict)
    _numbers: Any = field(default_factory=itertools.count)

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        method = getattr(type(self), f"_{operation}", None)
        if method is None:
            raise AttributeError(operation)
        return lambda **request: self.around(operation, lambda: method(self, **request))

    def _put_object(
        self, Bucket: str, Key: str, Body: BinaryIO, Metadata: dict[str, str] | None = None, **conditions: str
    ) -> Any:
        self._check(Key, **conditions)
        data = _whole(Body)
        self.objects[Key] = _Object(data, _etag(data), Metadata or {})
        return {"ETag": self.objects[Key].etag}

    def _get_object(self, Bucket: str, Key: str, Range: str | None = None, IfMatch: str | None = None) -> Any:
        found = self._existing(Key)
        if IfMatch is not None and found.etag != IfMatch:
            raise _error("PreconditionFailed", 412)
        data = found.data
        if Range is not None:
            first, _, last = Range.removeprefix("bytes=").partition("-")
            data = data[int(first) : int(last) + 1 if last else None]
        return {"Body": Body(data), "ContentLength": len(data), "ETag": found.etag}

    def _head_object(self, Bucket: str, Key: str) -> Any:
        if Key not in self.objects:
            raise _error("404", 404)
        found = self.objects[Key]
        return {"ContentLength": len(found.data), "ETag": found.etag, "LastModified": _NOW, "Metadata": found.metadata}

    def _head_bucket(self, Bucket: str) -> Any:
        return {}

    def _delete_object(self, Bucket: str, Key: str, **conditions: str) -> Any:
        self._check(Key, **conditions)
        self.objects.pop(Key, None)
        return {}

    def _list_objects_v2(self, Bucket: str, Prefix: str) -> Any:
        items = sorted((key, found) for key, found in self.objects.items() if key.startswith(Prefix))
        return {
            "Contents": [
                {"Key": key, "Size": len(found.data), "ETag": found.etag, "LastModified": _NOW} for key, found in items
            ]
        }

    def _create_multipart_upload(self, Bucket: str, Key: str, Metadata: dict[str, str], ChecksumAlgorithm: str) -> Any:
        upload = f"upload-{next(self._numbers)}"
        self.pending[upload] = _Upload(Key, Metadata)
        return {"UploadId": upload}

    def _upload_part(self, Bucket: str, Key: str, UploadId: str, PartNumber: int, Body: BinaryIO) -> Any:
        return self._keep_part(UploadId, Key, PartNumber, _whole(Body))

    def _keep_part(self, upload: str, key: str, number: int, data: bytes) -> dict[str, str]:
        self._upload(upload, key).parts[number] = _Object(data, _etag(data), {})
        return {"ETag": _etag(data)}

    def _upload_part_copy(
        self,
        Bucket: str,
        Key: str,
        UploadId: str,
        PartNumber: int,
        CopySource: dict[str, str],
        CopySourceIfMatch: str,
        CopySourceRange: str | None = None,
    ) -> Any:
        answer = self._get_object(Bucket, CopySource["Key"], CopySourceRange, CopySourceIfMatch)
        return {"CopyPartResult": self._keep_part(UploadId, Key, PartNumber, answer["Body"].read())}

    def _complete_multipart_upload(
        self, Bucket: str, Key: str, UploadId: str, MultipartUpload: dict[str, Any], **conditions: str
    ) -> Any:
        upload = self._upload(UploadId, Key)
        self._check(Key, **conditions)
        listed = MultipartUpload["Parts"]
        if not listed:
            raise _error("MalformedXML", 400)
        if [part["PartNumber"] for part in listed] != list(range(1, len(listed) + 1)):
            raise _error("InvalidPartOrder", 400)
        for part in listed:
            stored = upload.parts.get(part["PartNumber"])
            if stored is None or stored.etag != part["ETag"]:
                raise _error("InvalidPart", 400)
            if part is not listed[-1] and len(stored.data) < assembly.SMALLEST_PART:
                raise _error("EntityTooSmall", 400)
        data = b"".join(upload.parts[part["PartNumber"]].data for part in listed)
        etag = _etag(b"".join(upload.parts[part["PartNumber"]].etag.encode() for part in listed))
        self.objects[Key] = _Object(data, etag, upload.metadata)
        del self.pending[UploadId]
        return {"ETag": etag}

    def _abort_multipart_upload(self, Bucket: str, Key: str, UploadId: str) -> Any:
        self._upload(UploadId, Key)
        del self.pending[UploadId]
        return {}

    def _list_multipart_uploads(self, Bucket: str, Prefix: str) -> Any:
        found = [(upload.key, number) for number, upload in self.pending.items() if upload.key.startswith(Prefix)]
        return {"Uploads": [{"Key": key, "UploadId": number, "Initiated": _NOW} for key, number in sorted(found)]}

    def _upload(self, number: str, key: str) -> _Upload:
        if number not in self.pending or self.pending[number].key != key:
            raise _error("NoSuchUpload", 404)
        return self.pending[number]

    def _existing(self, key: str) -> _Object:
        if key not in self.objects:
            raise _error("NoSuchKey", 404)
        return self.objects[key]

    def _check(self, key: str, IfMatch: str | None = None, IfNoneMatch: str | None = None) -> None:
        if IfNoneMatch == "*" and key in self.objects:
            raise _error("PreconditionFailed", 412)
        if IfMatch is not None and self._existing(key).etag != IfMatch:
            raise _error("PreconditionFailed", 412)


def _whole(body: BinaryIO) -> bytes:
    """What is sent, from its start: a request that is repeated sends it again."""
    body.seek(0)
    return body.read()


def _etag(data: bytes) -> str:
    return f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"'


def _error(code: str, status: int) -> ClientError:
    return ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, "Operation")  # type: ignore[typeddict-item]


def conflict() -> ClientError:
    """What S3 answers where two conditional writes meet."""
    return _error("ConditionalRequestConflict", 409)
