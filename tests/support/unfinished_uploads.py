"""What a killed writer leaves: an upload that was begun, on S3 or on a disk."""

from __future__ import annotations

import os

from jobs.platform.storage import join


def begin_upload(place: str, key: str) -> None:
    """Leave half a file; on a disk it is a minute old, as the mock of S3 dates all uploads long ago."""
    if place.startswith("s3://"):
        from jobs.platform.storage.s3_client import client

        bucket, _, key = join(place, key).removeprefix("s3://").partition("/")
        upload = client().create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
        client().upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=1, Body=b"half a file")
    else:
        from jobs.platform.storage.local import _temporary

        temporary = _temporary(join(place, key))
        temporary.parent.mkdir(parents=True)
        temporary.write_bytes(b"half a file")
        minute_ago = temporary.stat().st_mtime - 60
        os.utime(temporary, (minute_ago, minute_ago))
