"""The command `hrnn recommend`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from jobs.batch.command_options import AnswersFolder, MaxErrorFraction, SolutionFolder, SparkMaster
from schemas.batch_jobs import LISTS, check_mode


def run(
    solution: SolutionFolder,
    input: Annotated[str, typer.Option(help='File of lines as {"userId": "…"}, or a folder of them; on S3 any prefix.')],
    output: AnswersFolder,
    num_results: Annotated[int, typer.Option(min=1, help="Items a line.")] = 25,
    filter: Annotated[
        str | None, typer.Option(help='Such as: EXCLUDE ItemID WHERE Interactions.EVENT_TYPE IN ("buy").')
    ] = None,
    extended_filters: Annotated[
        bool, typer.Option("--extended-filters", help="Allow now() - 30d, booleans, parentheses.")
    ] = False,
    filter_events: Annotated[
        int, typer.Option(min=1, max=1000, help="A user's newest events of a type that filters see.")
    ] = 100,
    item_exploration_config: Annotated[
        str | None, typer.Option(help='JSON: {"explorationWeight": "0.3", "explorationItemAgeCutOff": "30"}.')
    ] = None,
    mode: Annotated[str, typer.Option(help="Personalize's batchInferenceJobMode; THEME_GENERATION is refused.")] = LISTS,
    explain: Annotated[bool, typer.Option("--explain", help="Say why each item is listed; much slower.")] = False,
    max_error_fraction: MaxErrorFraction = 1.0,
    master: SparkMaster = None,
) -> dict[str, Any]:
    """Answer batch input lines in Personalize's format: <input file name>.out for each input file, and _CHECK."""
    from jobs.batch.options import parse_exploration
    from jobs.recommend.job import recommend

    check_mode(mode, "--mode")
    return recommend(
        solution_uri=solution,
        input_uri=input,
        output_uri=output,
        num_results=num_results,
        filter_expression=filter,
        extended_filters=extended_filters,
        filter_events=filter_events,
        item_exploration_config=None if item_exploration_config is None else parse_exploration(item_exploration_config),
        explain=explain,
        max_error_fraction=max_error_fraction,
        master=master,
    )


if __name__ == "__main__":
    from jobs.cli import job_main

    job_main("recommend")
