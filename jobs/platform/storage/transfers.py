"""Files to S3 and from it: small ones whole, with their checksum; large ones in parts, several at a time."""

from __future__ import annotations

import os
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from jobs.platform.storage.assembly import MOST_PARTS
from jobs.platform.storage.s3_client import BROKEN, call

WHOLE_BYTES = 64 << 20  # at most, of what is sent or fetched in one request
PART_BYTES = 32 << 20
TOKEN = "hrnn-token"  # object metadata: who wrote this object
_AT_ONCE = 4  # parts, all of them in memory


def send(path: Path, bucket: str, key: str) -> None:
    """Copy a local file to an object, which appears at once, whole.

    Raises:
        OSError: The file can't be read.
        ClientError, BotoCoreError: As `call` raises them.
    """
    size = path.stat().st_size
    if size <= WHOLE_BYTES:
        call("put_object", Bucket=bucket, Key=key, Body=path.read_bytes())
        return
    token = uuid.uuid4().hex
    begun = call("create_multipart_upload", Bucket=bucket, Key=key, Metadata={TOKEN: token}, ChecksumAlgorithm="CRC32")
    target = {"Bucket": bucket, "Key": key, "UploadId": begun["UploadId"]}

    def send_part(number: int, start: int, end: int) -> dict[str, Any]:
        answer = call("upload_part", **target, PartNumber=number, Body=_bytes_of(path, start, end))
        return {"PartNumber": number, "ETag": answer["ETag"], "ChecksumCRC32": answer["ChecksumCRC32"]}

    try:
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            parts = list(pool.map(send_part, *zip(*_ranges(size), strict=True)))
        try:
            call("complete_multipart_upload", **target, MultipartUpload={"Parts": parts})
        except (ClientError, BotoCoreError, *BROKEN):
            # The response may be lost, and the repetition refused: the object's token shows who wrote it.
            if call("head_object", Bucket=bucket, Key=key)["Metadata"].get(TOKEN) != token:
                raise
    except BaseException:
        with suppress(ClientError, BotoCoreError, *BROKEN):  # then it costs space until `gc` drops it
            call("abort_multipart_upload", **target)
        raise


def fetch(bucket: str, key: str, path: Path) -> None:
    """Copy an object to a local file, or leave none.

    Raises:
        OSError: The file can't be written.
        ClientError, BotoCoreError: As `call` raises them; the object is missing, or changed meanwhile.
    """
    head = call("head_object", Bucket=bucket, Key=key)
    size, pinned = head["ContentLength"], {"Bucket": bucket, "Key": key, "IfMatch": head["ETag"]}
    try:
        with open(path, "wb") as file:
            if size <= WHOLE_BYTES:
                file.write(call("get_object", **pinned)["Body"])
                return

            def fetch_part(_number: int, start: int, end: int) -> None:
                data = memoryview(call("get_object", **pinned, Range=f"bytes={start}-{end - 1}")["Body"])
                while data:
                    written = os.pwrite(file.fileno(), data, start)
                    data, start = data[written:], start + written

            with ThreadPoolExecutor(_AT_ONCE) as pool:
                list(pool.map(fetch_part, *zip(*_ranges(size), strict=True)))
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _ranges(size: int) -> list[tuple[int, int, int]]:
    """Number from 1, first byte and end byte of each part."""
    length = max(PART_BYTES, -(-size // MOST_PARTS))
    return [(number, start, min(start + length, size)) for number, start in enumerate(range(0, size, length), start=1)]


def _bytes_of(path: Path, start: int, end: int) -> bytes:
    with open(path, "rb") as file:
        file.seek(start)
        return file.read(end - start)
