"""The Spark side: a stage scores users by shard, and a second one merges the best of them and writes the lines.

    shard of users: affinities to every line's items, the best kept ── best users ──▶ block of lines: merge, write in order

A task holds the states of one shard, or the best users of one block of lines; never all users.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa
from pyspark import TaskContext
from pyspark.sql import SparkSession

from jobs.batch.options import FilterOptions
from jobs.batch.parts import Part, store_part
from jobs.batch.tally import Tally, filter_value_counts
from jobs.platform.spark.errors import spark_errors
from jobs.platform.spark.stage_progress import following
from jobs.segment.best import SCHEMA, BestOfSet, BestOfShard
from jobs.segment.lines import Block, Segments
from jobs.segment.users import Shard, load_model
from jobs.solutions.solution import Solution
from schemas.batch import BadLine, LineKind, Request, error_line, segment_line

_MESSAGE = pa.schema([("target", pa.int32()), ("body", pa.binary())])
_MESSAGE_SQL = "target int, body binary"
_PART = pa.schema([("part", pa.string())])
_PART_SQL = "part string"


@dataclass(frozen=True, kw_only=True)
class Work:
    """The parameters of every task.

    Attributes:
        solution: The solution version that answers.
        kind: Kind of the lines.
        segments: Lines and sets of items.
        num_ranked: How many items have events.
        num_results: Users a line.
        filter: Which users count; None: all.
        parts_uri: Folder for parts; they are no output yet.
        token: Makes the names of this run's parts its own.
    """

    solution: Solution
    kind: LineKind
    segments: Segments
    num_ranked: int
    num_results: int
    filter: FilterOptions | None
    parts_uri: str
    token: str


def answer(spark: SparkSession, work: Work) -> list[Part]:
    """Answer every block; returns one part for each, in order.

    Raises:
        HrnnError: What a worker raised.
    """
    num_shards, num_blocks = len(work.solution.states), len(work.segments.blocks)
    shards = spark.range(0, num_shards, 1, num_shards)
    best = shards.mapInArrow(partial(_score_shards, work), _MESSAGE_SQL)
    parts = best.repartitionById(num_blocks, "target").mapInArrow(partial(_write_block, work), _PART_SQL)
    with spark_errors(), following(spark, num_shards + num_blocks, "segment"):
        rows = parts.toArrow()["part"].to_pylist()
    return parts_in_order(rows, num_blocks)


def parts_in_order(rows: list[str], num_blocks: int) -> list[Part]:
    """The parts of all blocks, from the rows of their tasks."""
    by_block = {part.split: part for part in (Part(**json.loads(row)) for row in rows)}
    assert len(rows) == len(by_block) == num_blocks, "every block has one part"
    return [by_block[number] for number in range(num_blocks)]


def write_block(work: Work, number: int, best: dict[int, BestOfSet]) -> Part:
    """Store the lines of a block.

    Args:
        work: The parameters of the job.
        number: The block's.
        best: The best users of each set; a set without any is missing.
    """
    block = work.segments.blocks[number]
    return store_part(
        _lines(work.kind, block, best),
        work.parts_uri,
        work.token,
        number,
        _tally(work, block, best),
    )


def _tally(work: Work, block: Block, best: dict[int, BestOfSet]) -> Tally:
    good = [(line, number) for line, number in zip(block.lines, block.sets, strict=True) if isinstance(line, Request)]
    errors = [line.error for line in block.lines if isinstance(line, BadLine)]
    placeholders = () if work.filter is None else work.filter.parsed().parameters
    return Tally(
        lines=len(block.lines),
        errors=len(errors),
        empty_lists=sum(number not in best or not best[number].user_ids() for _, number in good),
        first_error=errors[0] if errors else "",
        **filter_value_counts([(line.filter_values, 1) for line, _ in good], placeholders),
    )


def _lines(kind: LineKind, block: Block, best: dict[int, BestOfSet]) -> Iterator[bytes]:
    for line, number in zip(block.lines, block.sets, strict=True):
        if isinstance(line, BadLine):
            yield error_line(line, kind)
        else:
            yield segment_line(line, best[number].user_ids() if number in best else [])


def _score_shards(work: Work, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """First stage: the best users of a shard for every line, to the lines' blocks."""
    block_of = np.repeat(np.arange(len(work.segments.blocks)), [len(block.sets) for block in work.segments.blocks])
    sets = np.concatenate([block.sets for block in work.segments.blocks])
    block_of = block_of[sets >= 0]  # by set: sets are numbered in the order of the lines
    for batch in batches:
        for number in batch.column(0).to_pylist():
            if number == 0:  # an empty message each, so that a block for whose lines nobody is found is written too
                yield from (_message(block, SCHEMA.empty_table()) for block in range(len(work.segments.blocks)))
            shard = Shard(work.solution, number, work.filter)
            model = load_model(work.solution, work.segments.sets, work.num_ranked)
            best = BestOfShard(shard.user_ids, work.num_results)
            for first, affinities in shard.affinities(model, work.segments.values):
                yield from _messages(block_of, best.add(first, affinities))
            yield from _messages(block_of, best.rest())


def _messages(block_of: np.ndarray, tables: list[pa.Table]) -> Iterator[pa.RecordBatch]:
    for table in tables:
        targets = block_of[table["set"].to_numpy()]
        for target in np.unique(targets).tolist():
            yield _message(target, table.filter(pa.array(targets == target)))


def _write_block(work: Work, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Second stage: merge the best users of all shards, write the lines."""
    context = TaskContext.get()
    assert context is not None
    best: dict[int, BestOfSet] = {}
    for batch in batches:
        for body in batch.column(1):
            table = pa.ipc.open_stream(body.as_buffer()).read_all()
            sets = table["set"].to_numpy()
            for number in np.unique(sets).tolist():
                best.setdefault(number, BestOfSet(work.num_results)).add(table.filter(pa.array(sets == number)))
    part = write_block(work, context.partitionId(), best)
    yield pa.record_batch([pa.array([part.to_json()])], schema=_PART)


def _message(target: int, table: pa.Table) -> pa.RecordBatch:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return pa.record_batch(
        [pa.array([target], pa.int32()), pa.array([sink.getvalue().to_pybytes()], pa.binary())], schema=_MESSAGE
    )
