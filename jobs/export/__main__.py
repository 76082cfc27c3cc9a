"""The command `hrnn export`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from jobs.options import SparkMaster


def run(
    dataset: Annotated[str, typer.Option(help="Folder that `hrnn validate` wrote: s3://…, file://… or a path.")],
    output: Annotated[str, typer.Option(help="Folder for the CSV files, which lie in data/ below it.")],
    ingestion_mode: Annotated[
        str, typer.Option(help="BULK: imported rows. PUT: rows put one by one, of which there are none here. ALL: both.")
    ] = "BULK",
    master: SparkMaster = None,
) -> dict[str, Any]:
    """Write a validated dataset as CSV files with the schema's fields as header; importing them gives the same rows.

    Every row stands there once; of several rows for one user, item or action the newest. A rerun does nothing.
    """
    from jobs.export.job import export

    return export(dataset_uri=dataset, output_uri=output, ingestion_mode=ingestion_mode, master=master)


if __name__ == "__main__":
    from jobs.cli import job_main

    job_main("export")
