"""One map, one shuffle, one reduce in Spark, of parcels of bytes instead of rows.

Rows are dear where they cross between the JVM and Python, and a shuffle makes them cross twice: ten million rows of five
numbers took 9.4 CPU seconds there and back, and 3.6 as parcels. Senders therefore pack all they have for one receiver into
one parcel of a few megabytes; Spark moves, retries and spills parcels, and never looks into them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial

import pyarrow as pa
from pyspark import TaskContext
from pyspark.sql import SparkSession

from jobs.spark.session import spark_errors

Send = Callable[[int], Iterable[tuple[int, bytes]]]
Receive = Callable[[int, Iterator[bytes]], bytes]

_PARCEL = pa.schema([("target", pa.int32()), ("body", pa.binary())])
_PARCEL_SQL = "target int, body binary"


def exchange(spark: SparkSession, num_senders: int, num_receivers: int, send: Send, receive: Receive) -> list[bytes]:
    """What every receiver made of the parcels that were sent to it, by receiver.

    Both functions run on workers, perhaps more than once, so what they write elsewhere must bear attempt-unique names.

    Args:
        spark: The session to run in.
        num_senders: `send` is called once with each number below it.
        num_receivers: `receive` is called once with each number below it, also where nothing was sent to it.
        send: Yields (receiver, parcel); parcels stay below 2 GiB.
        receive: Takes its own number and its parcels, in no particular order.

    Raises:
        HrnnError: What a worker raised.
    """
    sent = spark.range(0, num_senders, 1, num_senders).mapInArrow(partial(_sending, send), _PARCEL_SQL)
    received = sent.repartitionById(num_receivers, "target").mapInArrow(partial(_receiving, receive), _PARCEL_SQL)
    with spark_errors():
        table = received.toArrow()
    bodies = dict(zip(table["target"].to_pylist(), table["body"].to_pylist(), strict=True))
    return [bodies.get(target, b"") for target in range(num_receivers)]


def _sending(send: Send, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        for sender in batch.column(0).to_pylist():
            for target, body in send(sender):
                yield _parcel(target, body)


def _receiving(receive: Receive, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    context = TaskContext.get()
    assert context is not None
    target = context.partitionId()
    yield _parcel(target, receive(target, _bodies(target, batches)))


def _bodies(target: int, batches: Iterator[pa.RecordBatch]) -> Iterator[bytes]:
    for batch in batches:
        for number, body in zip(batch.column(0).to_pylist(), batch.column(1), strict=True):
            assert number == target, f"a parcel for {number} came to {target}"
            yield body.as_buffer()


def _parcel(target: int, body: bytes) -> pa.RecordBatch:
    return pa.record_batch([pa.array([target], pa.int32()), pa.array([body], pa.binary())], schema=_PARCEL)
