"""The command `hrnn recommend`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from jobs.batch.command_options import AnswersFolder, SolutionFolder
from jobs.options import SparkMaster, with_settings
from schemas.batch_jobs import RecommendSettings


@with_settings
def run(
    solution: SolutionFolder,
    input: Annotated[str, typer.Option(help='File of lines as {"userId": "…"}, or a folder of them; on S3 any prefix.')],
    output: AnswersFolder,
    settings: RecommendSettings,
    master: SparkMaster = None,
) -> dict[str, Any]:
    """Answer batch input lines in Personalize's format: <input file name>.out for each input file, and _CHECK."""
    from jobs.recommend.job import recommend

    return recommend(solution_uri=solution, input_uri=input, output_uri=output, settings=settings, master=master)


if __name__ == "__main__":
    from jobs.cli import job_main

    job_main("recommend")
