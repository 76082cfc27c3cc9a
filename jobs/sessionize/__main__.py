"""The command `hrnn sessionize`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from jobs.options import SparkMaster, with_settings
from schemas.data_settings import SessionizeSettings


@with_settings
def run(
    *,
    interactions: Annotated[
        str, typer.Option(help="Folder of the Interactions dataset that `hrnn validate` wrote.", metavar="URI")
    ],
    output: Annotated[str, typer.Option(help="Folder to write sequences, users and the catalogue to.", metavar="URI")],
    items: Annotated[
        str | None,
        typer.Option(help="Folder of the validated Items dataset: metadata and items without events.", metavar="URI"),
    ] = None,
    users: Annotated[
        str | None,
        typer.Option(help="Folder of the validated Users dataset: attributes of users, for filters.", metavar="URI"),
    ] = None,
    settings: SessionizeSettings,
    master: SparkMaster = None,
) -> dict[str, Any]:
    """Cut validated interactions into sessions; write sequences and the catalogue."""
    from jobs.sessionize.job import sessionize

    return sessionize(
        interactions_uri=interactions,
        output_uri=output,
        items_uri=items,
        users_uri=users,
        settings=settings,
        master=master,
    )


if __name__ == "__main__":
    from jobs.cli import job_main

    job_main("sessionize")
