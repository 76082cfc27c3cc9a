"""The process's S3 client, and what its errors mean; endpoint and credentials come from boto3's standard chain."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
from boto3.exceptions import Boto3Error
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    FlexibleChecksumError,
    IncompleteReadError,
    NoCredentialsError,
    ParamValidationError,
    ReadTimeoutError,
    ResponseStreamingError,
)
from botocore.parsers import ResponseParserError
from urllib3.exceptions import HTTPError

from schemas.errors import StorageError

ATTEMPTS = 7  # with boto3's waits in between, a store that only throttles is given up after at most a minute
READ_TIMEOUT_SECONDS = 30
NO_BUCKET = "there is no such bucket"

_REASONS = {
    "NoSuchBucket": (NO_BUCKET, "Check the bucket's name and the region."),
    "NoSuchKey": ("there is no such object", "Check the path."),
    "404": ("there is no such object or bucket", "Check the path."),
    "AccessDenied": ("access is denied", "Grant these credentials s3:GetObject, s3:PutObject and s3:ListBucket there."),
    "403": ("access is denied", "Grant these credentials s3:GetObject, s3:PutObject and s3:ListBucket there."),
    "InvalidAccessKeyId": ("the access key is not known", "Check AWS_ACCESS_KEY_ID."),
    "SignatureDoesNotMatch": ("the secret key is wrong", "Check AWS_SECRET_ACCESS_KEY."),
    "ExpiredToken": ("the credentials have expired", "Renew them."),
    "RequestTimeTooSkewed": ("this machine's clock is wrong", "Set the clock."),
    "PreconditionFailed": ("the object changed while it was being read", "Run again when it is complete."),
    "412": ("the object changed while it was being read", "Run again when it is complete."),
    "500": ("the store failed, or its answers broke off", "Check the network, then run again."),
    "InternalError": ("the store failed", "Run again later."),
    "SlowDown": ("the store is throttling and did not recover", "Run again later."),
}
BROKEN = (  # an answer that breaks off, comes too late, can't be parsed or fails its checksum
    IncompleteReadError,
    ReadTimeoutError,
    ResponseStreamingError,
    ResponseParserError,
    FlexibleChecksumError,
    HTTPError,
    ConnectionError,
)
_lock = threading.Lock()  # boto3 can't make two sessions at once


@functools.cache
def client() -> Any:
    """The process's one boto3 client."""
    settings = Config(
        retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
        connect_timeout=5,
        read_timeout=READ_TIMEOUT_SECONDS,
        max_pool_connections=32,
    )
    with _lock:
        made = boto3.session.Session().client("s3", config=settings)
    made.meta.events.register("before-parse.s3", _refuse_cut_answers)
    return made


def _refuse_cut_answers(operation_model: Any, response_dict: dict[str, Any], **_: Any) -> None:
    """Have an answer that ends early asked for again: boto3 would take a listing cut to nothing for an empty one."""
    body, headers = response_dict["body"], response_dict["headers"]
    if not isinstance(body, bytes) or operation_model.http["method"] == "HEAD" or "content-encoding" in headers:
        return
    if len(body) < int(headers.get("content-length", 0)):
        response_dict["status_code"] = 500


def error_code(error: ClientError) -> str:
    """S3's name of an error, or its HTTP status where the answer had no body."""
    return str(error.response.get("Error", {}).get("Code", ""))


def http_status(error: ClientError) -> int:
    """The HTTP status of an error."""
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


@contextmanager
def s3_errors(where: str) -> Iterator[None]:
    """Turn boto3's errors into a StorageError that names the object, the reason and the remedy."""
    try:
        yield
    except ClientError as error:
        raise _refusal(where, error) from None
    except NoCredentialsError:
        raise StorageError(
            "no AWS credentials were found", where=where, remedy="Set AWS_PROFILE, AWS_ACCESS_KEY_ID or a role."
        ) from None
    except ParamValidationError:
        raise StorageError("this is no valid bucket and object name", where=where, allowed="s3://bucket/path") from None
    except Boto3Error as error:
        # The transfer manager wraps S3's refusal.
        if isinstance(error.__context__, ClientError):
            raise _refusal(where, error.__context__) from None
        raise StorageError(str(error).rstrip("."), where=where, remedy="Check AWS_ENDPOINT_URL and the network.") from None
    except (BotoCoreError, *BROKEN) as error:
        raise StorageError(str(error).rstrip("."), where=where, remedy="Check AWS_ENDPOINT_URL and the network.") from None


def _refusal(where: str, error: ClientError) -> StorageError:
    said = f"S3 answered {error_code(error)}: {error.response.get('Error', {}).get('Message', '')}".rstrip(".: ")
    problem, remedy = _REASONS.get(error_code(error), (said, None))
    return StorageError(problem, where=where, remedy=remedy)


def ask(operation: str, **request: Any) -> dict[str, Any]:
    """One request that may be sent twice, asked again when its answer breaks off: boto3 retries requests, not bodies.

    Args:
        operation: Name of the boto3 client's method. The body of `get_object` is read, and comes as bytes.
        request: Its arguments.

    Raises:
        ClientError: S3 refuses.
        BotoCoreError: It can't be reached.
        StorageError: Every answer broke off or failed its checksum.
    """
    for attempt in range(ATTEMPTS):
        try:
            answer: dict[str, Any] = getattr(client(), operation)(**request)
            if operation == "get_object":
                answer["Body"] = answer["Body"].read()
            return answer
        except BROKEN:
            if attempt + 1 < ATTEMPTS:
                time.sleep(0.1 * 2**attempt)
    raise StorageError(
        "every answer broke off or failed its checksum",
        where=f"s3://{request['Bucket']}/{request.get('Key', '')}",
        remedy="Check the network, then run again.",
    )
