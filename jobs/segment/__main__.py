"""The command `hrnn segment`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from jobs.batch.command_options import AnswersFolder, MaxErrorFraction, SolutionFolder, SparkMaster
from schemas.batch_jobs import MOST_SEGMENT_USERS
from schemas.filters import PUBLISHED


def run(
    solution: SolutionFolder,
    input: Annotated[str, typer.Option(help='File of lines {"itemId": "…"} or {"itemAttributes": "…"}, or a folder of them.')],
    output: AnswersFolder,
    num_results: Annotated[int, typer.Option(min=1, max=MOST_SEGMENT_USERS, help="Users a line.")] = 25,
    filter: Annotated[str | None, typer.Option(help='Such as: EXCLUDE UserID WHERE Users.COUNTRY IN ("Japan").')] = None,
    extended_filters: Annotated[bool, typer.Option(help="Allow now() - 30d, booleans and parentheses in the filter.")] = False,
    filter_events: Annotated[
        int, typer.Option(min=1, max=1000, help="A user's newest events of each type that the filter looks at.")
    ] = PUBLISHED.past_events,
    max_lines: Annotated[
        int | None, typer.Option(min=1, help="Lines of all files; default: Personalize's, 500 of items, 10 of attributes.")
    ] = None,
    max_error_fraction: MaxErrorFraction = 1.0,
    master: SparkMaster = None,
) -> dict[str, Any]:
    """Answer batch input lines with the users who are most likely to take an item, or items with attributes."""
    from jobs.segment.job import segment

    return segment(
        solution_uri=solution,
        input_uri=input,
        output_uri=output,
        num_results=num_results,
        filter_expression=filter,
        extended_filters=extended_filters,
        filter_events=filter_events,
        most_lines=max_lines,
        max_error_fraction=max_error_fraction,
        master=master,
    )


if __name__ == "__main__":
    from jobs.cli import job_main

    job_main("segment")
