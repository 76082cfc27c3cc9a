"""The Spark side: every split of the input becomes one part of the output, in one stage or in three.

Few users (their states fit in each worker): one stage. A task reads its split, looks its users up, scores and writes.

Many users: three stages with two shuffles between them, both of parcels, one a pair of tasks, of a few bytes a line:

    split ── user ids ──▶ shard of users: load its states, score ── item rows and scores ──▶ split: write lines in order

The input is read twice, so that lines never travel; only what a user gets does, in 8 bytes an item. No task holds more than a
split's answers or a shard's states.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark import TaskContext
from pyspark.sql import SparkSession

from hrnn.hashing import hash64
from jobs.recommendation.inputs import Split, read_lines
from jobs.recommendation.lines import Requests, read_requests
from jobs.recommendation.parts import Part, store_part
from jobs.recommendation.served import Items, Served, Solution, UserTable, all_users, served
from jobs.spark.following import following
from jobs.spark.session import spark_errors

MOST_BYTES_IN_WORKER = 256 << 20  # of states, as they are stored
_LINES_AT_ONCE = 8192  # scored together: several full products

_PARCEL = pa.schema([("target", pa.int32()), ("sender", pa.int32()), ("body", pa.binary())])
_PARCEL_SQL = "target int, sender int, body binary"
_PART = pa.schema([("part", pa.string())])
_PART_SQL = "part string"


@dataclass(frozen=True, kw_only=True)
class Work:
    """What every task must know.

    Attributes:
        solution: The solution version that answers.
        num_results: Items a user.
        splits: All of the input.
        parts_uri: Folder for parts; they are no output yet.
        token: Makes the names of this run's parts its own.
    """

    solution: Solution
    num_results: int
    splits: tuple[Split, ...]
    parts_uri: str
    token: str


def answer(spark: SparkSession, work: Work) -> list[Part]:
    """Answer every split; returns one part for each, in order.

    Raises:
        HrnnError: What a worker raised.
    """
    num_splits, num_shards = len(work.splits), len(work.solution.states)
    numbers, num_tasks = spark.range(0, num_splits, 1, num_splits), num_splits
    if work.solution.states_bytes <= MOST_BYTES_IN_WORKER:
        parts = numbers.mapInArrow(partial(_answer_splits, work), _PART_SQL)
    else:
        asked = numbers.mapInArrow(partial(_send_users, work), _PARCEL_SQL)
        scored = asked.repartitionById(num_shards, "target").mapInArrow(partial(_score_users, work), _PARCEL_SQL)
        parts = scored.repartitionById(num_splits, "target").mapInArrow(partial(_write_split, work), _PART_SQL)
        num_tasks += num_shards + num_splits
    with spark_errors(), following(spark, num_tasks, "recommend"):
        rows = parts.toArrow()["part"].to_pylist()
    found = {part.split: part for part in (Part(**json.loads(row)) for row in rows)}
    assert len(rows) == len(found) == num_splits, "every split has one part"
    return [found[number] for number in range(num_splits)]


def _answer_splits(work: Work, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """One stage: read, look up, score, write."""
    for number in _numbers(batches):
        requests = read_requests(read_lines(work.splits[number]))
        solution = served(work.solution, work.num_results)
        item_rows, scores = solution.for_unknown_users(len(requests.user_ids))
        num_known = len(requests.user_ids)  # where no user has a state, the popular list is everybody's own
        if (users := all_users(work.solution, work.num_results)) is not None:
            places = users.find(requests.user_ids)
            known = np.flatnonzero(places >= 0)
            num_known = len(known)
            item_rows[known], scores[known] = _recommend(solution, users, places[known])
        yield _write(work, number, requests, item_rows, scores, num_known)


def _send_users(work: Work, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """First stage of three: user ids, with the positions of their lines, to the shards that know them."""
    num_shards = len(work.solution.states)
    for number in _numbers(batches):
        requests = read_requests(read_lines(work.splits[number]))
        user_ids = pa.array(requests.user_ids, pa.string())
        shards = (hash64(user_ids, work.solution.hash_seed) % np.uint64(num_shards)).astype(np.int64)
        order = np.argsort(shards, kind="stable")
        table = pa.table({"line": pa.array(requests.positions), "user_id": user_ids}).take(pa.array(order))
        bounds = np.searchsorted(shards[order], np.arange(num_shards + 1))
        for shard in np.flatnonzero(np.diff(bounds)).tolist():
            yield _parcel(shard, number, _packed(table.slice(bounds[shard], bounds[shard + 1] - bounds[shard])))
        yield _parcel(number % num_shards, number, b"")  # an empty answer, so that a split of bad lines only is written too


def _score_users(work: Work, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Second stage: what each user gets, back to the splits. Small parcels are scored together."""
    solution, users = served(work.solution, work.num_results), None
    waiting: list[tuple[int, pa.Table]] = []
    for target, sender, body in _parcels(batches):
        if not body.size:
            yield _parcel(sender, target, b"")
            continue
        users = users or solution.load_users([target])
        waiting.append((sender, _unpacked(body)))
        if sum(table.num_rows for _, table in waiting) >= _LINES_AT_ONCE:
            yield from _scored(solution, users, target, waiting)
            waiting = []
    if users is not None:
        yield from _scored(solution, users, target, waiting)


def _scored(
    solution: Served, users: UserTable, shard: int, waiting: Sequence[tuple[int, pa.Table]]
) -> Iterator[pa.RecordBatch]:
    user_ids = [user_id for _, table in waiting for user_id in table["user_id"].to_pylist()]
    lines = np.concatenate([np.empty(0, np.int64), *(table["line"].to_numpy() for _, table in waiting)])
    senders = np.repeat([sender for sender, _ in waiting], [table.num_rows for _, table in waiting])
    places = users.find(user_ids)
    known = np.flatnonzero(places >= 0)
    item_rows, scores = _recommend(solution, users, places[known])
    answers = np.concatenate([lines[known, None].astype(np.int32), item_rows, scores], axis=1)
    for sender, _ in waiting:
        yield _parcel(sender, shard, answers[senders[known] == sender].tobytes())


def _write_split(work: Work, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Third stage: read the split again and write its lines with what its users get."""
    number = _partition()
    requests = read_requests(read_lines(work.splits[number]))
    solution = served(work.solution, work.num_results)
    item_rows, scores = solution.for_unknown_users(len(requests.user_ids))
    known = 0
    for _, _, body in _parcels(batches):
        answers = np.frombuffer(body, np.int32).reshape(-1, 1 + 2 * solution.num_results)
        places = np.searchsorted(requests.positions, answers[:, 0])
        item_rows[places], scores[places] = answers[:, 1 : 1 + solution.num_results], answers[:, 1 + solution.num_results :]
        known += len(answers)
    yield _write(work, number, requests, item_rows, scores, known)


def _recommend(solution: Served, users: UserTable, places: npt.NDArray[np.int64]) -> tuple[Items, Items]:
    """Item rows and scores of users by where they stand."""
    pieces = [places[start : start + _LINES_AT_ONCE] for start in range(0, max(1, len(places)), _LINES_AT_ONCE)]
    answers = [solution.recommend(users, piece) for piece in pieces]
    return np.concatenate([rows for rows, _ in answers]), np.concatenate([scores for _, scores in answers])


def _write(work: Work, number: int, requests: Requests, item_rows: Items, scores: Items, known: int) -> pa.RecordBatch:
    """Store the answers to a split; a row for the driver."""
    part = store_part(
        served(work.solution, work.num_results).writer.output_lines(requests, item_rows, scores),
        work.parts_uri,
        work.token,
        split=number,
        num_lines=requests.num_lines,
        errors=len(requests.errors),
        unknown_users=len(requests.user_ids) - known,
    )
    return pa.record_batch([pa.array([part.to_json()])], schema=_PART)


def _numbers(batches: Iterator[pa.RecordBatch]) -> Iterator[int]:
    for batch in batches:
        yield from batch.column(0).to_pylist()


def _partition() -> int:
    context = TaskContext.get()
    assert context is not None
    return context.partitionId()


def _parcels(batches: Iterator[pa.RecordBatch]) -> Iterator[tuple[int, int, pa.Buffer]]:
    for batch in batches:
        targets, senders = batch.column(0).to_pylist(), batch.column(1).to_pylist()
        for target, sender, body in zip(targets, senders, batch.column(2), strict=True):
            yield target, sender, body.as_buffer()


def _parcel(target: int, sender: int, body: bytes) -> pa.RecordBatch:
    columns = [pa.array([target], pa.int32()), pa.array([sender], pa.int32()), pa.array([body], pa.binary())]
    return pa.record_batch(columns, schema=_PARCEL)


def _packed(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    packed: bytes = sink.getvalue().to_pybytes()
    return packed


def _unpacked(body: pa.Buffer) -> pa.Table:
    return pa.ipc.open_stream(body).read_all()
