"""Batch inference holds a split and its answers, however long the input is: counted in bytes, in this process."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from tiny_solution import publish_solution

from jobs.batch import inputs
from jobs.batch.options import Options
from jobs.platform.spark.items import batches_of
from jobs.platform.storage import normalise
from jobs.platform.storage.folders import StepFolder
from jobs.recommend import line_kinds, pipeline, user_data
from jobs.solutions.solution import Solution

SPLIT_BYTES = 8 << 10  # about 400 lines
LINES = 1_500


@pytest.fixture
def peaks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[int, int]]:
    """How many times as long the input is -> the most bytes that answering it held at once."""

    monkeypatch.setattr(inputs, "_LEAST_SPLIT_BYTES", SPLIT_BYTES)
    monkeypatch.setattr(inputs, "_MOST_SPLIT_BYTES", SPLIT_BYTES)
    folder = StepFolder(publish_solution(str(tmp_path / "solution")).uri)
    solution = Solution.of(folder, folder.require("solution_version"))
    found = {}
    for times in (1, 1, 12):  # the first loads the solution version, and imports
        file = tmp_path / "in" / f"{times}.json"
        file.parent.mkdir(exist_ok=True)
        file.write_text("".join(json.dumps({"userId": f"user {line % 400}"}) + "\n" for line in range(times * LINES)))
        work = pipeline.Work(
            solution=solution,
            options=Options(num_results=25),
            parts_uri=normalise(str(tmp_path / "parts")),
            token="0" * 12,
        )
        found[times] = _most_held(work, inputs.bundle(inputs.cut(inputs.input_files(str(file)), 4), 4))
    yield found
    line_kinds.load_solution.cache_clear()
    user_data.all_users.cache_clear()


def _most_held(work: pipeline.Work, bundles: list[tuple[inputs.Split, ...]]) -> int:
    """Bytes of Python, numpy and Arrow beyond what was held before, at the worst moment."""
    arrow, lines = pa.total_allocated_bytes(), 0
    tracemalloc.start()
    try:
        most_arrow = 0
        for told in pipeline._answer_splits(work, batches_of(map(pipeline.packed, bundles))):
            lines += json.loads(told.column(0)[0].as_py())["lines"]
            most_arrow = max(most_arrow, pa.total_allocated_bytes() - arrow)
        return tracemalloc.get_traced_memory()[1] + most_arrow
    finally:
        tracemalloc.stop()
        assert lines % LINES == 0


def test_twelve_times_the_lines_hold_no_more_bytes_at_once(peaks: dict[int, int]) -> None:
    assert peaks[1] > SPLIT_BYTES
    assert peaks[12] < 1.2 * peaks[1]
