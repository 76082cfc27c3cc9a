"""The process's S3 client, and what its errors mean; endpoint and credentials come from boto3's standard chain."""

from __future__ import annotations

import functools
import io
import queue
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    FlexibleChecksumError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    ParamValidationError,
    ReadTimeoutError,
    ResponseStreamingError,
    SSLError,
)
from botocore.exceptions import ConnectionError as Unreachable
from botocore.parsers import ResponseParserError
from urllib3.exceptions import HTTPError

from jobs.platform.storage.aws_settings import checked, error_text, remedy_of
from schemas.errors import StorageError

ATTEMPTS = 7  # of a request; their waits add up to half a minute at most
BUDGET_SECONDS = 60.0  # of a request with all its attempts, for whatever carries no data
LEAST_RATE = 128 << 10  # bytes a second: data that come more slowly than this never end
READ_TIMEOUT_SECONDS = 30  # without a byte
NO_BUCKET = "there is no such bucket"

_REASONS = {
    "NoSuchBucket": (NO_BUCKET, "Check the bucket's name and the region."),
    "NoSuchKey": ("there is no such object", "Check the path."),
    "404": ("there is no such object or bucket", "Check the path."),
    "AccessDenied": ("access is denied", "Grant these credentials s3:GetObject, s3:PutObject and s3:ListBucket there."),
    "403": ("access is denied", "Grant these credentials s3:GetObject, s3:PutObject and s3:ListBucket there."),
    "InvalidAccessKeyId": ("the access key is not known", "Check AWS_ACCESS_KEY_ID."),
    "SignatureDoesNotMatch": ("the secret key is wrong", "Check AWS_SECRET_ACCESS_KEY."),
    "AuthorizationHeaderMalformed": ("the region is wrong", "Set AWS_DEFAULT_REGION to the bucket's."),
    "PermanentRedirect": ("the bucket is in another region", "Set AWS_DEFAULT_REGION to the bucket's."),
    "IllegalLocationConstraintException": ("the bucket is in another region", "Set AWS_DEFAULT_REGION to the bucket's."),
    "400": ("the store refuses the request", "Check the endpoint (http:// or https://), the region and this machine's clock."),
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
    HTTPClientError,
    HTTPError,
    ConnectionError,
    TimeoutError,
)
_PASSING_STATUS = frozenset({409, 429, 500, 502, 503, 504})  # 409: another writer is at it this moment
_PASSING_CODES = frozenset({"RequestTimeout", "SlowDown", "Throttling"})  # of any status
Result = TypeVar("Result")
_lock = threading.Lock()  # boto3 can't make two sessions at once


@functools.cache
def client() -> Any:
    """The process's one boto3 client."""
    settings = Config(
        retries={"mode": "standard", "total_max_attempts": 1},  # `call` repeats them
        connect_timeout=5,
        read_timeout=READ_TIMEOUT_SECONDS,
        max_pool_connections=32,
    )
    with _lock:
        made = checked(lambda: boto3.session.Session().client("s3", config=settings))
    made.meta.events.register("before-parse.s3", _refuse_cut_answers)
    return made


def _refuse_cut_answers(operation_model: Any, response_dict: dict[str, Any], **_: Any) -> None:
    """Have a request repeated whose response ends early: boto3 would take a listing cut to nothing for an empty one."""
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
    except NoCredentialsError as error:
        raise StorageError("no AWS credentials were found", where=where, remedy=remedy_of(error)) from None
    except ParamValidationError:
        raise StorageError("this is no valid bucket and object name", where=where, allowed="s3://bucket/path") from None
    except (BotoCoreError, *BROKEN) as error:
        raise StorageError(error_text(error), where=where, remedy=remedy_of(error)) from None


def _refusal(where: str, error: ClientError) -> StorageError:
    message = f"S3 answered {error_code(error)}: {error.response.get('Error', {}).get('Message', '')}".rstrip(".: ")
    problem, remedy = _REASONS.get(error_code(error), (message, None))
    return StorageError(problem, where=where, remedy=remedy)


def call(operation: str, **request: Any) -> dict[str, Any]:
    """One request, repeated while its failure may pass and its budget lasts. Nothing else repeats requests.

    Its budget is BUDGET_SECONDS, and a second more for each LEAST_RATE bytes that it sends or receives.

    Args:
        operation: Name of the boto3 client's method. The body of `get_object` is read, and comes as bytes.
        request: Its arguments; `Body` as bytes.

    Raises:
        ClientError: S3 refuses, or keeps failing.
        BotoCoreError: It can't be reached.
        OSError, HTTPError: Answers break off or don't come in time.
    """
    until = time.monotonic() + BUDGET_SECONDS + len(request.get("Body", b"")) / LEAST_RATE
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return _attempt(operation, request, until)
        except (ClientError, BotoCoreError, *BROKEN) as error:
            wait = min(0.5 * 2 ** (attempt - 1), 8.0) * (0.5 + random.random() / 2)
            if attempt == ATTEMPTS or not may_pass(error) or time.monotonic() + wait >= until:
                raise
        time.sleep(wait)
    raise AssertionError("the last attempt raises")


def _attempt(operation: str, request: dict[str, Any], until: float) -> dict[str, Any]:
    sent = {name: io.BytesIO(value) if name == "Body" else value for name, value in request.items()}
    method = getattr(client(), operation)
    try:
        answer: dict[str, Any] = _within(until, lambda: method(**sent))
        if operation == "get_object":
            until += answer["ContentLength"] / LEAST_RATE
            answer["Body"] = _within(until, answer["Body"].read)
        return answer
    finally:
        if "Body" in sent:
            sent["Body"].close()  # a request that was given up sends no more


def may_pass(error: Exception) -> bool:
    """Whether the same request may succeed later."""
    if isinstance(error, ClientError):
        return http_status(error) in _PASSING_STATUS or error_code(error) in _PASSING_CODES
    return isinstance(error, (Unreachable, *BROKEN)) and not isinstance(error, SSLError)


def _within(until: float, work: Callable[[], Result]) -> Result:
    """The result of `work`, if it ends in time: a store may send a byte now and then for ever, and no socket times out.

    Raises:
        TimeoutError: It does not; its thread is left to itself, and ends with the process at the latest.
    """
    outcome: queue.SimpleQueue[tuple[Result, None] | tuple[None, BaseException]] = queue.SimpleQueue()

    def run() -> None:
        try:
            outcome.put((work(), None))
        except BaseException as error:
            outcome.put((None, error))

    threading.Thread(target=run, daemon=True).start()
    try:
        result, error = outcome.get(timeout=max(0.0, until - time.monotonic()))
    except queue.Empty:
        raise TimeoutError("the store did not finish its answer in time") from None
    if error is not None:
        raise error
    return cast("Result", result)
