"""The command `hrnn evaluate`."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer


def run(
    solution: Annotated[str, typer.Option(help="Folder that `hrnn train` wrote: s3://…, file://… or a path.")],
    sequences: Annotated[
        str | None, typer.Option(help="Folder of its sequences: check that the hidden events are really theirs.")
    ] = None,
    output: Annotated[str | None, typer.Option(help="Folder for metrics.json; nothing is written without it.")] = None,
) -> dict[str, Any]:
    """Measure a solution version by Personalize's split and metrics, beside plain recommenders."""
    from jobs.evaluate.job import evaluate, table_lines

    summary = evaluate(solution_uri=solution, sequences_uri=sequences, output_uri=output)
    print("\n".join(table_lines(summary)), file=sys.stderr)
    return summary


if __name__ == "__main__":
    from jobs.cli import job_main

    job_main("evaluate")
