"""An HTTP proxy that stands before an S3 endpoint and does to requests what networks and stores do on bad days.

It forwards bytes unmodified (also `Host`, so signatures hold) unless a rule says otherwise:

    with FaultProxy("http://127.0.0.1:8333", [Rule("drop_response", method="PUT", path=r"manifest\\.json", nth=1)]) as proxy:
        ...                                     # use proxy.endpoint
    assert proxy.count("drop_response") == 1

For a whole night, as a program: `python tests/support/fault_proxy.py http://127.0.0.1:8333 --rule '{"fault": "slow_down",
"probability": 0.3}'` prints its endpoint; `GET /_faults` answers the log, `PUT /_faults` takes other rules.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import socket
import struct
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Literal, Self, get_args
from urllib.parse import urlsplit

Fault = Literal[
    "slow_down",  # 503, as S3 throttles
    "internal_error",  # 500
    "conflict",  # 409: another writer is at this key
    "ok_with_error",  # 200 whose body is an error, as CompleteMultipartUpload may answer
    "reset_before",  # the connection is reset before the store hears of the request
    "hang",  # no answer, and the store does not hear of it
    "truncate_request",  # the store hears half of the request
    "truncate_response",  # the client hears a part of the answer
    "drop_response",  # the store has done it, the client hears nothing
    "error_after_success",  # the store has done it, the client hears 500
    "flip_byte",  # one bit of the answer's body differs
    "drip",  # the answer comes byte by byte, and the connection then stays silent
    "access_denied",  # 403
]
_ANSWERS: dict[str, tuple[str, str]] = {
    "slow_down": ("503 Slow Down", "SlowDown"),
    "internal_error": ("500 Internal Server Error", "InternalError"),
    "error_after_success": ("500 Internal Server Error", "InternalError"),
    "conflict": ("409 Conflict", "ConditionalRequestConflict"),
    "access_denied": ("403 Forbidden", "AccessDenied"),
    "ok_with_error": ("200 OK", "InternalError"),
}
_HEARD = {"truncate_response", "drop_response", "error_after_success", "flip_byte", "drip"}  # the store has done it
_ADMIN = "/_faults"
_DRIP_SECONDS = 0.1  # between two bytes


@dataclass
class Rule:
    """When to do what.

    Attributes:
        fault: What happens.
        method: Regular expression that the whole method matches.
        path: Regular expression found in the path with its query.
        nth: Only the nth matching request, from 1; None: each, with `probability`.
        probability: Share of the matching requests.
        times: At most so often; None: no limit.
        share: How much of a truncated body gets through, from 0 to 1.
        seen, done: How many requests matched, and how many of them it struck.
        struck: Path of the request that it struck last.
    """

    fault: Fault
    method: str = ".*"
    path: str = ""
    nth: int | None = None
    probability: float = 1.0
    times: int | None = None
    share: float = 0.5
    seen: int = field(default=0, init=False)
    done: int = field(default=0, init=False)
    struck: str = field(default="", init=False)

    def __post_init__(self) -> None:
        if self.fault not in get_args(Fault):
            raise ValueError(f"unknown fault {self.fault!r}; known: {', '.join(get_args(Fault))}")

    def applies(self, method: str, path: str, dice: random.Random) -> bool:
        """Whether it strikes this request; counts."""
        if not re.fullmatch(self.method, method) or not re.search(self.path, path):
            return False
        self.seen += 1
        strikes = dice.random() < self.probability if self.nth is None else self.seen == self.nth
        if not strikes or (self.times is not None and self.done >= self.times):
            return False
        self.done, self.struck = self.done + 1, path
        return True


@dataclass(frozen=True)
class Seen:
    """One request as the proxy saw it; `status` is the store's, 0 where the store did not hear of it."""

    method: str
    path: str
    fault: str | None
    status: int


@dataclass(frozen=True)
class _Message:
    """A request or an answer: its head with the blank line, and its raw body."""

    head: bytes
    body: bytes

    @property
    def first_line(self) -> list[str]:
        return self.head.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2)

    @property
    def raw(self) -> bytes:
        return self.head + self.body


@dataclass(frozen=True)
class _Outcome:
    """What the client hears (None: a reset), the status that the store gave, whether the connection ends, or drips."""

    answer: bytes | None
    status: int = 0
    ends: bool = False
    drips: bool = False


class FaultProxy:
    """The proxy, on a thread of its own, for as long as the context lasts."""

    def __init__(self, upstream: str, rules: Sequence[Rule] = (), seed: int = 0) -> None:
        parts = urlsplit(upstream)
        assert parts.hostname is not None
        self._upstream = (parts.hostname, parts.port or 80)
        self.rules = list(rules)
        self.log: list[Seen] = []
        self._dice = random.Random(seed)
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()

    def count(self, fault: str) -> int:
        """How often a fault struck."""
        return sum(seen.fault == fault for seen in self.log)

    def join(self) -> None:
        """Serve until the process is ended."""
        self._thread.join()

    async def _serve(self) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._client, "127.0.0.1", 0, limit=1 << 20)
        self.endpoint = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self._ready.set()
        await self._over.wait()
        server.close()

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while (request := await _read_request(reader, writer)) is not None:
                outcome = await self._outcome(request)
                if outcome.answer is None:
                    _reset(writer)
                    return
                for place in range(len(outcome.answer) if outcome.drips else 0):
                    writer.write(outcome.answer[place : place + 1])
                    await asyncio.sleep(_DRIP_SECONDS)
                if outcome.drips:
                    await self._over.wait()
                writer.write(outcome.answer)
                await writer.drain()
                if outcome.ends:
                    break
        writer.close()

    async def _outcome(self, request: _Message) -> _Outcome:
        method, path = request.first_line[:2]
        if path == _ADMIN:
            return _Outcome(self._administer(method, request.body))
        rule = next((rule for rule in self.rules if rule.applies(method, path, self._dice)), None)
        outcome = await (self._pass(request, rule) if rule is None or rule.fault in _HEARD else self._refuse(request, rule))
        self.log.append(Seen(method, path, rule.fault if rule else None, outcome.status))
        return outcome

    async def _refuse(self, request: _Message, rule: Rule) -> _Outcome:
        """Faults that the store does not hear of, or only half."""
        if rule.fault in _ANSWERS:
            return _Outcome(_error(rule.fault, request))
        if rule.fault == "hang":
            await self._over.wait()
        if rule.fault == "truncate_request":
            await self._forward(request.raw[: len(request.head) + int(len(request.body) * rule.share)], whole=False)
        return _Outcome(None)

    async def _pass(self, request: _Message, rule: Rule | None) -> _Outcome:
        """The store's answer, or what a rule makes of it."""
        answer = await self._forward(request.raw, method=request.first_line[0])
        status = int(answer.first_line[1])
        fault = rule.fault if rule else None
        if fault == "drop_response":
            return _Outcome(None, status)
        if fault == "error_after_success" and status < 300:
            return _Outcome(_error(fault, request), status)
        if rule is not None and fault == "truncate_response":
            return _Outcome(answer.head + answer.body[: int(len(answer.body) * rule.share)], status, ends=True)
        if fault == "drip":
            return _Outcome(answer.raw, status, drips=True)
        if fault == "flip_byte" and answer.body:
            body = bytearray(answer.body)
            body[self._dice.randrange(len(body))] ^= 1
            return _Outcome(answer.head + body, status)
        return _Outcome(answer.raw, status)

    async def _forward(self, data: bytes, method: str = "", whole: bool = True) -> _Message:
        reader, writer = await asyncio.open_connection(*self._upstream, limit=1 << 20)
        try:
            writer.write(data)
            await writer.drain()
            return await _read_answer(reader, method) if whole else _Message(b"", b"")
        finally:
            writer.close()

    def _administer(self, method: str, body: bytes) -> bytes:
        if method == "PUT":
            self.rules = [Rule(**rule) for rule in json.loads(body)]
        data = json.dumps([asdict(seen) for seen in self.log]).encode()
        return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(data), data)


def _error(fault: str, request: _Message) -> bytes:
    status, code = _ANSWERS[fault]
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{fault} by rule</Message></Error>'
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\n\r\n"
    return (head + ("" if request.first_line[0] == "HEAD" else body)).encode()


async def _read_request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> _Message | None:
    """The next request of a connection; None where the client has closed it."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    if _header(head, b"expect"):
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    return _Message(head, await _read_body(reader, head, b""))


async def _read_answer(reader: asyncio.StreamReader, method: str) -> _Message:
    """The store's final answer; what it said in between (100 Continue) is passed over."""
    while True:
        head = await reader.readuntil(b"\r\n\r\n")
        status = int(head.split(b" ", 2)[1])
        if status >= 200:
            break
    if method == "HEAD" or status in (204, 304):
        return _Message(head, b"")
    return _Message(head, await _read_body(reader, head, None))


async def _read_body(reader: asyncio.StreamReader, head: bytes, without_length: bytes | None) -> bytes:
    if _header(head, b"transfer-encoding").lower() == b"chunked":
        raw = b""
        while True:
            line = await reader.readuntil(b"\r\n")
            size = int(line.split(b";")[0], 16)
            raw += line
            if size == 0:
                while line != b"\r\n":
                    line = await reader.readuntil(b"\r\n")
                    raw += line
                return raw
            raw += await reader.readexactly(size + 2)
    length = _header(head, b"content-length")
    if length:
        return await reader.readexactly(int(length))
    return await reader.read() if without_length is None else without_length


def _header(head: bytes, name: bytes) -> bytes:
    match = re.search(rb"(?im)^" + name + rb":[ \t]*([^\r\n]*)", head)
    return match[1].strip() if match else b""


def _reset(writer: asyncio.StreamWriter) -> None:
    """End a connection as a crashed baseline does: what was not yet received is lost."""
    baseline: socket.socket = writer.get_extra_info("socket")
    baseline.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def main() -> None:
    """Serve until ended."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("upstream", help="URL of the S3 endpoint")
    parser.add_argument("--rule", action="append", default=[], type=json.loads, help="a rule as JSON; may be given again")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with FaultProxy(options.upstream, [Rule(**rule) for rule in options.rule], options.seed) as proxy:
        print(proxy.endpoint, flush=True)
        proxy.join()


if __name__ == "__main__":
    main()
