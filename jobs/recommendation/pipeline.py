"""The Spark side: every split of the input becomes one part of the output, in one stage or in three.

Few users (what must be known of them fits in each worker), or none: one stage. A task reads its split, looks its users up,
scores and writes.

Many users: three stages with two shuffles between them, both of parcels, one a pair of tasks, of a few bytes a line:

    split ── user ids ──▶ shard of users: load its states, score ── item rows and scores ──▶ split: write lines in order

The input is read twice, so that lines never travel; only what a user gets does, in 8 bytes an item. Lists to be ranked travel
as item rows, and values of a filter once a parcel. A user without a state gets what everybody gets, for which nothing needs
to travel, unless a filter asks for their attributes, which only their shard knows. No task holds more than a split's answers
or a shard's states.

Where answers are explained there are three stages always, as only shards know the users' events. A shard's task then waits for
all that is asked of it and takes it in the order of the input: which histories are run together must not depend on chance.
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

from hrnn.data.arrays import Rows
from hrnn.hashing import hash64
from jobs.recommendation.answers import REASON_NUMBERS, Answers
from jobs.recommendation.asked import Batch
from jobs.recommendation.explaining import Explainer, Sources
from jobs.recommendation.inputs import Split, read_lines
from jobs.recommendation.lines import Requests, first_error, read_requests
from jobs.recommendation.options import Options
from jobs.recommendation.parts import Part, store_part
from jobs.recommendation.served import Served, Solution, all_users, bytes_of_users, served
from jobs.recommendation.tally import Tally
from jobs.recommendation.users import UserTable
from jobs.spark.errors import spark_errors
from jobs.spark.following import following

MOST_BYTES_IN_WORKER = 256 << 20  # of what must be known of users, as it is stored
_LINES_AT_ONCE = 8192  # answered together by a shard
_EXPLAINED_AT_ONCE = 1024  # where they are explained: these take ten times the room

_PARCEL = pa.schema([("target", pa.int32()), ("sender", pa.int32()), ("body", pa.binary())])
_PARCEL_SQL = "target int, sender int, body binary"
_PART = pa.schema([("part", pa.string())])
_PART_SQL = "part string"


@dataclass(frozen=True, kw_only=True)
class Work:
    """What every task must know.

    Attributes:
        solution: The solution version that answers.
        options: What lines are answered with.
        sources: What explanations are made from; None: there are none, or everybody gets the same.
        splits: All of the input.
        parts_uri: Folder for parts; they are no output yet.
        token: Makes the names of this run's parts its own.
    """

    solution: Solution
    options: Options
    sources: Sources | None = None
    splits: tuple[Split, ...]
    parts_uri: str
    token: str

    def served(self) -> Served:
        """The solution version, loaded once in each worker process."""
        return served(self.solution, self.options)

    def requests(self, number: int) -> Requests:
        """The lines of a split."""
        fault = self.served().fault if self.options.filter is not None else None
        return read_requests(read_lines(self.splits[number]), self.solution.kind, fault)


def answer(spark: SparkSession, work: Work) -> list[Part]:
    """Answer every split; returns one part for each, in order.

    Raises:
        HrnnError: What a worker raised.
    """
    num_splits, num_shards = len(work.splits), len(work.solution.states)
    numbers, num_tasks = spark.range(0, num_splits, 1, num_splits), num_splits
    if work.sources is None and bytes_of_users(work.solution, work.options) <= MOST_BYTES_IN_WORKER:
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
        requests, solution = work.requests(number), work.served()
        batch = solution.batch(requests)
        if work.solution.kind == "item":
            yield _write(work, number, requests, solution.for_items(batch), len(batch))
            continue
        users, attributes = all_users(work.solution, work.options)
        answers, num_known = _answered(solution, batch, users, attributes)
        # Where no user has a state, the popular list is everybody's own.
        yield _write(work, number, requests, answers, num_known if work.solution.dimension else len(batch))


def _answered(solution: Served, batch: Batch, users: UserTable | None, attributes: pa.Table | None) -> tuple[Answers, int]:
    """Answers to lines of users, and how many of them are known."""
    places = np.full(len(batch), -1) if users is None else users.find(batch.subjects)
    known, unknown = np.flatnonzero(places >= 0), np.flatnonzero(places < 0)
    if users is None or not len(known):
        return solution.for_unknown(batch, attributes), 0
    if not len(unknown):
        return solution.for_known(users, places, batch, attributes), len(batch)
    answers = Answers.none(solution.widths(batch))
    answers.put(known, solution.for_known(users, places[known], batch.take(known), attributes))
    answers.put(unknown, solution.for_unknown(batch.take(unknown), attributes))
    return answers, len(known)


def _send_users(work: Work, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """First stage of three: what users want, with the positions of their lines, to the shards that know them."""
    num_shards = len(work.solution.states)
    for number in _numbers(batches):
        requests = work.requests(number)
        batch = work.served().batch(requests)
        shards = (hash64(batch.subjects, work.solution.hash_seed) % np.uint64(num_shards)).astype(np.int64)
        order = np.argsort(shards, kind="stable")
        bounds = np.searchsorted(shards[order], np.arange(num_shards + 1))
        for shard in np.flatnonzero(np.diff(bounds)).tolist():
            places = order[bounds[shard] : bounds[shard + 1]]
            yield _parcel(shard, number, _packed(batch.take(places).to_table(requests.positions[places])))
        yield _parcel(number % num_shards, number, b"")  # an empty answer, so that a split of bad lines only is written too


def _score_users(work: Work, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Second stage: what each user gets, back to the splits. Small parcels are scored together."""
    shard: _Shard | None = None
    waiting: list[tuple[int, pa.Table]] = []
    parcels, at_once = _parcels(batches), _LINES_AT_ONCE
    if work.sources is not None:
        parcels, at_once = iter(sorted(parcels, key=lambda parcel: parcel[1])), _EXPLAINED_AT_ONCE
    for target, sender, body in parcels:
        if not body.size:
            yield _parcel(sender, target, b"")
            continue
        shard = shard or _Shard.load(work, target)
        waiting.append((sender, _unpacked(body)))
        if sum(table.num_rows for _, table in waiting) >= at_once:
            yield from _scored(work, shard, waiting)
            waiting = []
    if shard is not None and waiting:
        yield from _scored(work, shard, waiting)


@dataclass(frozen=True)
class _Shard:
    """What is known of a shard's users."""

    number: int
    users: UserTable | None
    attributes: pa.Table | None
    explainer: Explainer | None

    @classmethod
    def load(cls, work: Work, number: int) -> _Shard:
        served = work.served()
        explainer = None if work.sources is None else Explainer(served, work.solution, work.sources, number)
        return cls(number, served.load_users([number]), served.load_attributes([number]), explainer)


def _scored(work: Work, shard: _Shard, waiting: Sequence[tuple[int, pa.Table]]) -> Iterator[pa.RecordBatch]:
    """Answers to the lines of some parcels. Without a filter, those of unknown users are left to the third stage."""
    solution = work.served()
    lines, batch = Batch.from_tables([table for _, table in waiting])
    senders = np.repeat([sender for sender, _ in waiting], [table.num_rows for _, table in waiting])
    places = np.full(len(batch), -1) if shard.users is None else shard.users.find(batch.subjects)
    if work.options.filter is None:
        answered = np.flatnonzero(places >= 0)
        lines, senders, places, batch = lines[answered], senders[answered], places[answered], batch.take(answered)
    answers, _ = _answered(solution, batch, shard.users, shard.attributes)
    if shard.explainer is not None and shard.users is not None:
        answers = shard.explainer.explain(shard.users, places, batch, answers)
    for sender, _ in waiting:
        own = np.flatnonzero(senders == sender)
        yield _parcel(sender, shard.number, _packed_answers(lines[own], places[own] >= 0, answers.take(own)))


def _write_split(work: Work, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Third stage: read the split again and write its lines with what its users get."""
    number = _partition()
    requests, solution = work.requests(number), work.served()
    batch = solution.batch(requests)
    widths = solution.widths(batch)
    answers = Answers.none(widths) if work.options.filter is not None else solution.for_unknown(batch)
    answers = answers if work.sources is None else answers.as_popular()
    known = 0
    for _, _, body in _parcels(batches):
        if body.size:
            known += _put_answers(body, requests.positions, widths, answers)
    yield _write(work, number, requests, answers, known if work.solution.dimension else len(batch))


def _packed_answers(lines: Rows, known: npt.NDArray[np.bool_], answers: Answers) -> bytes:
    """int32: how many lines, their positions, whether their users are known, entries, scores, and reasons if there are any."""
    count = np.array([len(lines)], np.int32)
    columns = [count, lines.astype(np.int32), known.astype(np.int32), answers.entries, answers.scores]
    columns += [] if answers.reasons is None else [answers.reasons.reshape(-1)]
    return np.concatenate(columns).tobytes()


def _put_answers(body: pa.Buffer, positions: Rows, widths: Rows, answers: Answers) -> int:
    """Fill in what a parcel holds; returns how many users are known."""
    numbers = np.frombuffer(body, np.int32)
    count = int(numbers[0])
    lines, known, rest = numbers[1 : 1 + count], numbers[1 + count : 1 + 2 * count], numbers[1 + 2 * count :]
    places = np.searchsorted(positions, lines)
    offsets = Answers.none(widths[places]).offsets
    entries, scores, reasons = np.split(rest, [offsets[-1], 2 * offsets[-1]])
    explained = None if answers.reasons is None else reasons.reshape(-1, REASON_NUMBERS)
    answers.put(places, Answers(offsets, entries, scores, explained))
    return int(known.sum())


def _write(work: Work, number: int, requests: Requests, answers: Answers, known: int) -> pa.RecordBatch:
    """Store the answers to a split; a row for the driver."""
    part = store_part(
        work.served().writer.output_lines(requests, answers),
        work.parts_uri,
        work.token,
        number,
        Tally(
            lines=requests.num_lines,
            errors=len(requests.errors),
            unknown_users=len(requests.subjects) - known,
            empty_lists=answers.num_empty(),
            first_error=first_error(requests.errors),
            **requests.values_told(() if work.options.filter is None else work.options.filter.parsed().parameters),
        ),
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
