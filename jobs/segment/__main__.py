"""The command `hrnn segment`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from jobs.batch.command_options import AnswersFolder, SolutionFolder
from jobs.options import SparkMaster, with_settings
from schemas.batch_jobs import SegmentSettings


@with_settings
def run(
    solution: SolutionFolder,
    input: Annotated[str, typer.Option(help='File of lines {"itemId": "…"} or {"itemAttributes": "…"}, or a folder of them.')],
    output: AnswersFolder,
    settings: SegmentSettings,
    master: SparkMaster = None,
) -> dict[str, Any]:
    """Answer batch input lines with the users who are most likely to take an item, or items with attributes."""
    from jobs.segment.job import segment

    return segment(solution_uri=solution, input_uri=input, output_uri=output, settings=settings, master=master)


if __name__ == "__main__":
    from jobs.cli import job_main

    job_main("segment")
