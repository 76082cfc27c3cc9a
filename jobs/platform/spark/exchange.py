"""Parcels of bytes, not rows, through Spark's shuffle: one map, then a reduce, or several in a row.

Rows are dear where they cross between the JVM and Python, and a shuffle makes them cross twice: ten million rows of five
numbers took 9.4 CPU seconds there and back, and 3.6 as messages. Senders therefore pack all they have for one receiver into
one message of a few megabytes; Spark moves, retries and spills messages, and never looks into them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

import pyarrow as pa
from pyspark import TaskContext
from pyspark.sql import SparkSession

from jobs.platform.spark.errors import spark_errors
from jobs.platform.spark.stage_progress import following

Message = tuple[int, bytes]  # who gets it, and what
Send = Callable[[int], Iterable[Message]]
Receive = Callable[[int, Iterator[bytes]], bytes]
Relay = Callable[[int, Iterator[bytes]], Iterable[Message]]

_MESSAGE = pa.schema([("target", pa.int32()), ("body", pa.binary())])
_MESSAGE_SQL = "target int, body binary"


def exchange(
    spark: SparkSession,
    num_senders: int,
    num_receivers: int,
    send: Send,
    receive: Receive,
    label: str,
    *,
    relays: Sequence[tuple[int, Relay]] = (),
) -> list[bytes]:
    """What every receiver made of the messages that were sent to it, by receiver.

    All functions run on workers, perhaps more than once, so what they write elsewhere must bear attempt-unique names.

    Args:
        spark: The session to run in.
        num_senders: `send` is called once with each number below it.
        num_receivers: `receive` is called once with each number below it, also where nothing was sent to it.
        send: Yields (receiver, message); messages stay below 2 GiB.
        receive: Takes its own number and its messages, in no particular order.
        label: What is being done, for the progress on stderr.
        relays: What stands between, in order: how many, and what each makes of its messages. Senders then address the
            first relays, these the next ones, the last of them the receivers.

    Raises:
        HrnnError: What a worker raised.
    """
    messages = spark.range(0, num_senders, 1, num_senders).mapInArrow(partial(_sending, send), _MESSAGE_SQL)
    for number, relay in relays:
        messages = messages.repartitionById(number, "target").mapInArrow(partial(_relaying, relay), _MESSAGE_SQL)
    received = messages.repartitionById(num_receivers, "target").mapInArrow(partial(_receiving, receive), _MESSAGE_SQL)
    num_tasks = num_senders + num_receivers + sum(number for number, _ in relays)
    with spark_errors(), following(spark, num_tasks, label):
        table = received.toArrow()
    bodies = dict(zip(table["target"].to_pylist(), table["body"].to_pylist(), strict=True))
    return [bodies.get(target, b"") for target in range(num_receivers)]


def _sending(send: Send, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        for sender in batch.column(0).to_pylist():
            for target, body in send(sender):
                yield _message(target, body)


def _relaying(relay: Relay, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    own = _own_number()
    for target, body in relay(own, _bodies(own, batches)):
        yield _message(target, body)


def _receiving(receive: Receive, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    own = _own_number()
    yield _message(own, receive(own, _bodies(own, batches)))


def _own_number() -> int:
    context = TaskContext.get()
    assert context is not None
    return context.partitionId()


def _bodies(target: int, batches: Iterator[pa.RecordBatch]) -> Iterator[bytes]:
    for batch in batches:
        for number, body in zip(batch.column(0).to_pylist(), batch.column(1), strict=True):
            assert number == target, f"a parcel for {number} came to {target}"
            yield body.as_buffer()


def _message(target: int, body: bytes) -> pa.RecordBatch:
    return pa.record_batch([pa.array([target], pa.int32()), pa.array([body], pa.binary())], schema=_MESSAGE)
