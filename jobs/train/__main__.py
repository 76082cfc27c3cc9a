"""The command `hrnn train`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from jobs.options import with_settings
from jobs.train.options import LaunchSettings
from schemas.solutions import TrainSettings


@with_settings
def run(
    sequences: Annotated[str, typer.Option(help="Folder that `hrnn sessionize` wrote: s3://…, file://… or a path.")],
    output: Annotated[str, typer.Option(help="Folder of the solution version.")],
    settings: TrainSettings,
    launch: LaunchSettings,
) -> dict[str, Any]:
    """Fit a recipe to sequences; write a solution version."""
    from jobs.train.job import train
    from jobs.train.launch import Launch

    chosen = Launch(**launch.model_dump(exclude_unset=True))
    return train(sequences_uri=sequences, output_uri=output, settings=settings, launch=chosen)


if __name__ == "__main__":
    from jobs.cli import job_main

    job_main("train")
