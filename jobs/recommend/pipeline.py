"""The Spark side: every split of the input becomes one part of the output, in one stage or in three.

A task has a bundle of neighbouring splits, so that many small files are few tasks; no other bundles are sent with it.

Few users (what answers need of them fits in each worker), or none: one stage. A task reads its split, looks its users up,
scores and writes.

Many users: three stages with two shuffles between them, both of messages, one a pair of tasks, of a few bytes a line:

    bundle ── user ids ──▶ shard of users: load its states, score ── item rows and scores ──▶ bundle: write lines in order

The input is read twice, so that lines never travel; only what a user gets does, in 8 bytes an item. Lists to be ranked travel
as item rows, and values of a filter once a message. Users without a state get popular items, for which nothing needs to travel,
unless a filter asks for their attributes, which only their shard has. No task holds more than a bundle's answers,
or a shard's states.

Where answers are explained there are three stages always, as only shards have the users' events. A shard's task then waits for
all of its requests and takes them in the order of the input: which histories are run together must not depend on chance.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import SparkSession

from hrnn.data.arrays import Rows
from hrnn.data.hashing import hash64
from jobs.batch.inputs import Split, read_lines
from jobs.batch.options import Options
from jobs.batch.parts import Part, store_part
from jobs.batch.tally import Tally
from jobs.batch.users import UserTable
from jobs.platform.spark.errors import spark_errors
from jobs.platform.spark.items import items_of, one_task_each
from jobs.platform.spark.stage_progress import following
from jobs.recommend.answers import REASON_NUMBERS, Answers
from jobs.recommend.explanations import Explainer, Sources
from jobs.recommend.line_kinds import load_solution
from jobs.recommend.lines import Requests, first_error, read_requests
from jobs.recommend.loaded_solution import LoadedSolution
from jobs.recommend.request_batch import RequestBatch
from jobs.recommend.user_data import all_users, load_attributes, load_states, stored_bytes
from jobs.solutions.solution import Solution

MOST_BYTES_IN_WORKER = 256 << 20  # of what answers need of users, as it is stored
_LINES_AT_ONCE = 8192  # answered together by a shard
_EXPLAINED_AT_ONCE = 1024  # where they are explained: these take ten times the room

_MESSAGE = pa.schema([("target", pa.int32()), ("bundle", pa.int32()), ("split", pa.binary()), ("body", pa.binary())])
_MESSAGE_SQL = "target int, bundle int, split binary, body binary"
_PART = pa.schema([("part", pa.string())])
_PART_SQL = "part string"


@dataclass(frozen=True, kw_only=True)
class Work:
    """The parameters of every task.

    Attributes:
        solution: The solution version that answers.
        options: How lines are answered.
        sources: What explanations are made from; None: there are none, or everybody gets the same.
        parts_uri: Folder for parts; they are no output yet.
        token: Makes the names of this run's parts its own.
    """

    solution: Solution
    options: Options
    sources: Sources | None = None
    parts_uri: str
    token: str

    def loaded(self) -> LoadedSolution:
        """The solution version, loaded once in each worker process."""
        return load_solution(self.solution, self.options)

    def requests(self, split: Split) -> Requests:
        """The lines of a split."""
        fault = self.loaded().fault if self.options.filter is not None else None
        return read_requests(read_lines(split), self.solution.kind, fault)


@dataclass(frozen=True)
class Message:
    """Requests or answers of one split, on the way between two tasks.

    Attributes:
        bundle: Number of the bundle that holds the split.
        split: The split as bytes; the task that writes its part learns of it here.
        body: Empty where the message only announces the split: all of its lines may be bad ones.
    """

    bundle: int
    split: bytes
    body: pa.Buffer


def answer(spark: SparkSession, work: Work, bundles: Sequence[Sequence[Split]]) -> list[Part]:
    """Answer every split; returns one part for each, in order.

    Args:
        spark: The session.
        work: The parameters of every task.
        bundles: All of the input, in order; each is a task.

    Raises:
        HrnnError: What a worker raised.
    """
    num_tasks, num_shards = len(bundles), len(work.solution.states)
    num_bundles, num_splits = len(bundles), sum(map(len, bundles))
    tasks = one_task_each(spark, [packed(bundle) for bundle in bundles])
    if work.sources is None and stored_bytes(work.solution, work.options) <= MOST_BYTES_IN_WORKER:
        parts = tasks.mapInArrow(partial(_answer_splits, work), _PART_SQL)
    else:
        requests = tasks.mapInArrow(partial(_send_requests, work), _MESSAGE_SQL)
        answers = requests.repartitionById(num_shards, "target").mapInArrow(partial(_score_users, work), _MESSAGE_SQL)
        parts = answers.repartitionById(num_bundles, "target").mapInArrow(partial(_write_splits, work), _PART_SQL)
        num_tasks += num_shards + num_bundles
    with spark_errors(), following(spark, num_tasks, "recommend"):
        rows = parts.toArrow()["part"].to_pylist()
    by_split = {part.split: part for part in (Part(**json.loads(row)) for row in rows)}
    assert len(rows) == len(by_split) == num_splits, "every split has one part"
    return [by_split[number] for number in range(num_splits)]


def _answer_splits(work: Work, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """One stage: read, look up, score, write."""
    for _, split in _splits(batches):
        requests, solution = work.requests(split), work.loaded()
        batch = solution.batch(requests)
        if work.solution.kind == "item":
            yield _write(work, split, requests, solution.answers(batch), len(batch))
            continue
        users, attributes = all_users(work.solution, work.options)
        answers, num_known = _answered(solution, batch, users, attributes)
        # Where the model has no states, popular items are what it recommends: nobody counts as unknown.
        yield _write(work, split, requests, answers, num_known if work.solution.dimension else len(batch))


def _answered(
    solution: LoadedSolution, batch: RequestBatch, users: UserTable | None, attributes: pa.Table | None
) -> tuple[Answers, int]:
    """Answers to lines of users, and how many of them are known."""
    places = np.full(len(batch), -1) if users is None else users.find(batch.subjects)
    known, unknown = np.flatnonzero(places >= 0), np.flatnonzero(places < 0)
    if users is None or not len(known):
        return solution.answers(batch, attributes=attributes), 0
    if not len(unknown):
        return solution.answers(batch, users, places, attributes), len(batch)
    answers = Answers.none(solution.widths(batch))
    answers.put(known, solution.answers(batch.take(known), users, places[known], attributes))
    answers.put(unknown, solution.answers(batch.take(unknown), attributes=attributes))
    return answers, len(known)


def _send_requests(work: Work, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """First stage of three: requests, with the positions of their lines, to the shards of their users."""
    num_shards = len(work.solution.states)
    for number, split in _splits(batches):
        requests, split_bytes = work.requests(split), split.to_bytes()
        batch = work.loaded().batch(requests)
        shards = (hash64(batch.subjects, work.solution.hash_seed) % np.uint64(num_shards)).astype(np.int64)
        order = np.argsort(shards, kind="stable")
        bounds = np.searchsorted(shards[order], np.arange(num_shards + 1))
        for shard in np.flatnonzero(np.diff(bounds)).tolist():
            lines = order[bounds[shard] : bounds[shard + 1]]
            yield _message(shard, number, split_bytes, _encode(batch.take(lines).to_table(requests.positions[lines])))
        yield _message(split.number % num_shards, number, split_bytes, b"")


def _score_users(work: Work, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Second stage: answers, back to the bundles of their lines. Small messages are scored together."""
    shard: _Shard | None = None
    waiting: list[tuple[Message, pa.Table]] = []
    messages, lines_at_once = _messages(batches), _LINES_AT_ONCE
    if work.sources is not None:
        messages = iter(sorted(messages, key=lambda message: Split.of_bytes(message[1].split).number))
        lines_at_once = _EXPLAINED_AT_ONCE
    for target, message in messages:
        if not message.body.size:
            yield _message(message.bundle, message.bundle, message.split, b"")
            continue
        shard = shard or _Shard.load(work, target)
        waiting.append((message, _decode(message.body)))
        if sum(table.num_rows for _, table in waiting) >= lines_at_once:
            yield from _scored(work, shard, waiting)
            waiting = []
    if shard is not None and waiting:
        yield from _scored(work, shard, waiting)


@dataclass(frozen=True)
class _Shard:
    """What answers need of a shard's users."""

    users: UserTable | None
    attributes: pa.Table | None
    explainer: Explainer | None

    @classmethod
    def load(cls, work: Work, number: int) -> _Shard:
        loaded = work.loaded()
        explainer = None if work.sources is None else Explainer(loaded, work.solution, work.sources, number)
        states, attributes = (load(work.solution, work.options, [number]) for load in (load_states, load_attributes))
        return cls(states, attributes, explainer)


def _scored(work: Work, shard: _Shard, waiting: Sequence[tuple[Message, pa.Table]]) -> Iterator[pa.RecordBatch]:
    """Answers to the lines of some messages. Without a filter, those of unknown users are left to the third stage."""
    solution = work.loaded()
    lines, batch = RequestBatch.from_tables([table for _, table in waiting])
    message_of = np.repeat(np.arange(len(waiting)), [table.num_rows for _, table in waiting])
    places = np.full(len(batch), -1) if shard.users is None else shard.users.find(batch.subjects)
    if work.options.filter is None:
        known = np.flatnonzero(places >= 0)
        lines, message_of, places, batch = lines[known], message_of[known], places[known], batch.take(known)
    answers, _ = _answered(solution, batch, shard.users, shard.attributes)
    if shard.explainer is not None and shard.users is not None:
        answers = shard.explainer.explain(shard.users, places, batch, answers)
    bounds = np.searchsorted(message_of, np.arange(len(waiting) + 1))
    for (message, _), begin, end in zip(waiting, bounds[:-1], bounds[1:], strict=True):
        part = np.arange(begin, end)
        body = _encode_answers(lines[part], places[part] >= 0, answers.take(part))
        yield _message(message.bundle, message.bundle, message.split, body)


class _SplitAnswers:
    """The answers to a split, gathered from the shards: its lines are read again, and unknown users' answers filled in."""

    def __init__(self, work: Work, split: Split) -> None:
        self._work, self._split, solution = work, split, work.loaded()
        self._requests = work.requests(split)
        self._batch = solution.batch(self._requests)
        self._widths, self._known = solution.widths(self._batch), 0
        answers = Answers.none(self._widths) if work.options.filter is not None else solution.answers(self._batch)
        self._answers = answers if work.sources is None else answers.as_popular(solution.places(self._batch, answers)[0])

    def put(self, body: pa.Buffer) -> None:
        """Fill in the answers of a shard."""
        if body.size:
            self._known += _decode_answers(body, self._requests.positions, self._widths, self._answers)

    def write(self) -> pa.RecordBatch:
        """Store the output lines."""
        known = self._known if self._work.solution.dimension else len(self._batch)
        return _write(self._work, self._split, self._requests, self._answers, known)


def _write_splits(work: Work, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Third stage: read the splits of a bundle again and write their lines with their answers."""
    splits: dict[bytes, _SplitAnswers] = {}
    for _, message in _messages(batches):
        if message.split not in splits:
            splits[message.split] = _SplitAnswers(work, Split.of_bytes(message.split))
        splits[message.split].put(message.body)
    while splits:  # each is dropped once it is written
        yield splits.popitem()[1].write()


def _encode_answers(lines: Rows, known: npt.NDArray[np.bool_], answers: Answers) -> bytes:
    """int32: how many lines, their positions, whether their users are known, entries, scores, and reasons if there are any."""
    count = np.array([len(lines)], np.int32)
    columns = [count, lines.astype(np.int32), known.astype(np.int32), answers.entries, answers.scores]
    columns += [] if answers.reasons is None else [answers.reasons.reshape(-1)]
    return np.concatenate(columns).tobytes()


def _decode_answers(body: pa.Buffer, positions: Rows, widths: Rows, answers: Answers) -> int:
    """Fill in the answers of `_encode_answers`; returns how many users are known."""
    numbers = np.frombuffer(body, np.int32)
    count = int(numbers[0])
    lines, known, rest = numbers[1 : 1 + count], numbers[1 + count : 1 + 2 * count], numbers[1 + 2 * count :]
    places = np.searchsorted(positions, lines)
    offsets = Answers.none(widths[places]).offsets
    entries, scores, reasons = np.split(rest, [offsets[-1], 2 * offsets[-1]])
    explained = None if answers.reasons is None else reasons.reshape(-1, REASON_NUMBERS)
    answers.put(places, Answers(offsets, entries, scores, explained))
    return int(known.sum())


def _write(work: Work, split: Split, requests: Requests, answers: Answers, known: int) -> pa.RecordBatch:
    """Store the answers to a split; a row for the driver."""
    part = store_part(
        work.loaded().writer.output_lines(requests, answers),
        work.parts_uri,
        work.token,
        split.number,
        Tally(
            lines=requests.num_lines,
            errors=len(requests.errors),
            unknown_users=len(requests.subjects) - known,
            empty_lists=answers.num_empty(),
            first_error=first_error(requests.errors),
            **requests.filter_value_counts(() if work.options.filter is None else work.options.filter.parsed().parameters),
        ),
    )
    return pa.record_batch([pa.array([part.to_json()])], schema=_PART)


def packed(bundle: Sequence[Split]) -> bytes:
    """A bundle as bytes, the item of a task: a line for each split."""
    return b"\n".join(split.to_bytes() for split in bundle)


def _splits(batches: Iterator[pa.RecordBatch]) -> Iterator[tuple[int, Split]]:
    """The splits of a task's bundles, with the number of their bundle."""
    for number, bundle in items_of(batches):
        for line in bundle.splitlines():
            yield number, Split.of_bytes(line)


def _messages(batches: Iterator[pa.RecordBatch]) -> Iterator[tuple[int, Message]]:
    """The messages to this task, with their target."""
    for batch in batches:
        targets, bundles, splits = (column.to_pylist() for column in batch.columns[:3])
        for target, bundle, split, body in zip(targets, bundles, splits, batch.column(3), strict=True):
            yield target, Message(bundle, split, body.as_buffer())


def _message(target: int, bundle: int, split: bytes, body: bytes) -> pa.RecordBatch:
    numbers = [pa.array([target], pa.int32()), pa.array([bundle], pa.int32())]
    return pa.record_batch([*numbers, pa.array([split], pa.binary()), pa.array([body], pa.binary())], schema=_MESSAGE)


def _encode(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def _decode(body: pa.Buffer) -> pa.Table:
    return pa.ipc.open_stream(body).read_all()
