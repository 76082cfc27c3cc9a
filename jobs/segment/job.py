"""Answer batch input lines with segments of users, in Amazon Personalize's format."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from jobs.batch.options import FilterOptions
from jobs.batch.parts import Part
from jobs.batch.run import run_batch
from jobs.platform.process.scratch import scratch_folder
from jobs.platform.spark.session import spark_session
from jobs.platform.storage import StoredFile
from jobs.platform.storage.folders import StepFolder
from jobs.segment.lines import MOST_LINES, LineReader
from jobs.segment.options import segment_options
from jobs.segment.pipeline import Work, answer, write_block
from jobs.segment.users import user_filter
from jobs.solutions.solution import Solution
from schemas import columns
from schemas.batch_jobs import SegmentSettings

_ENTRIES_AT_ONCE = 1 << 21  # users in the answers to a block of lines


def segment(
    *,
    solution_uri: str,
    input_uri: str,
    output_uri: str,
    settings: SegmentSettings,
    master: str | None = None,
    before_publication: Callable[[], None] | None = None,
    anew: bool = False,
) -> dict[str, Any]:
    """Write `<output>/<input file name>.out` for every input file, and `_CHECK` when all are there.

    Line n of an `.out` answers line n of its input with the users who are most likely to take the line's item, or any item with
    the line's attributes; a line that can't be answered becomes an error line. The same inputs and solution version give the
    same bytes; where they were answered already, nothing is done.

    Args:
        solution_uri: Folder that `train` wrote, with aws-item-affinity or aws-item-attribute-affinity.
        input_uri: A file of lines, a folder of such files, or, on S3, a prefix as Personalize takes it.
        output_uri: Folder for the answers; not the input's.
        settings: What every line is answered with; all users that there are where they are fewer than `num_results`.
        master: Spark master; None: what spark-submit set, else this machine's cores.
        before_publication: Called when all answers are ready and none is visible; what it raises keeps them so.
        anew: Answer also where the same was answered already.

    Returns:
        The summary: files, seconds, whether it was skipped, and the counts of jobs/batch/tally.py.

    Raises:
        ConfigError: The recipe makes no segments, or the output lies where the input is.
        FilterError: The filter is wrong.
        StorageError: Something is missing, or changed while it was read.
        DataError: There are too many lines, or two input files have the same name.
    """
    SegmentSettings.require(settings)
    folder = StepFolder(solution_uri)
    manifest = folder.require("solution_version")
    config, filter_options = segment_options(manifest, settings)

    def answered(files: list[StoredFile], parts_uri: str, token: str) -> list[list[Part]]:
        return _answered(files, Solution.of(folder, manifest), settings, filter_options, parts_uri, token, master)

    return run_batch(
        "segment",
        folder,
        manifest,
        config,
        input_uri,
        output_uri,
        answered,
        before_publication,
        max_error_fraction=settings.max_error_fraction,
        anew=anew,
    )


def _answered(
    files: list[StoredFile],
    solution: Solution,
    settings: SegmentSettings,
    filter_options: FilterOptions | None,
    parts_uri: str,
    token: str,
    master: str | None,
) -> list[list[Part]]:
    """The parts of every file, in order; Spark is not started where no line can be answered."""
    with scratch_folder("segment") as path:
        scratch = Path(path)
        source = StepFolder(solution.uri)
        names = [columns.ITEM_ID, columns.NUM_EVENTS] if solution.kind == "item_users" else None
        catalogue = pq.read_table(source.fetch(solution.catalogue, scratch), columns=names)
        users_filter = None
        if filter_options is not None:
            attributes = pq.read_schema(source.fetch(solution.attributes[0], scratch)) if solution.attributes else None
            users_filter = user_filter(solution, filter_options, attributes)
    reader = LineReader(solution.kind, catalogue, solution.dataset_schemas, users_filter)
    most = MOST_LINES[solution.kind] if settings.most_lines is None else settings.most_lines
    segments = reader.read(files, most, max(1, _ENTRIES_AT_ONCE // settings.num_results))
    work = Work(
        solution=solution,
        kind=solution.kind,
        segments=segments,
        num_ranked=int(np.count_nonzero(catalogue[columns.NUM_EVENTS].to_numpy())),
        num_results=settings.num_results,
        filter=filter_options,
        parts_uri=parts_uri,
        token=token,
    )
    if len(segments.sets):
        block_parts = answer(spark_session(master), work)
    else:
        block_parts = [write_block(work, number, {}) for number in range(len(segments.blocks))]
    parts: list[list[Part]] = [[] for _ in files]
    for block, part in zip(segments.blocks, block_parts, strict=True):
        parts[block.file_number].append(part)
    return parts
