"""What validate's tasks do with files, without Spark: headers, splits, blocks, rows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

from jobs.platform.storage import list_input
from jobs.validate.inputs import InputFile, Split, open_inputs
from jobs.validate.reading import record_blocks
from jobs.validate.rows import CheckedBlock, check_block
from jobs.validate.splits import plan_splits, quoting_of, scan
from schemas.datasets import DatasetSchema


def checked_blocks(uri: str, schema: DatasetSchema, split_bytes: int) -> Iterator[tuple[InputFile, CheckedBlock]]:
    """All blocks of a file or of a folder's files, in order."""
    return blocks_of(open_inputs(list_input(uri), uri, schema), schema, split_bytes)


def splits_of(files: list[InputFile], split_bytes: int) -> list[Split]:
    """The splits of files, all with their way of quoting; between driver and workers goes plain JSON only."""
    splits = plan_splits(files, split_bytes, lambda byte_ranges: [json.loads(json.dumps(scan(each))) for each in byte_ranges])
    return [replace(split, quoting=split.quoting or quoting_of(split)) for split in splits]


def blocks_of(files: list[InputFile], schema: DatasetSchema, split_bytes: int) -> Iterator[tuple[InputFile, CheckedBlock]]:
    """All blocks of files whose headers were read."""
    for split in splits_of(files, split_bytes):
        for block in record_blocks(split):
            yield split.file, check_block(block, split.file, schema)
