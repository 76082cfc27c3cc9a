"""The command `hrnn gc`."""

from __future__ import annotations

from typing import Annotated, Any

import typer


def run(
    workspace: Annotated[str, typer.Option(help="Workspace of a dataset group: s3://…, file://… or a path.", metavar="URI")],
    output: Annotated[
        list[str] | None,
        typer.Option(help="A folder of .out files that no night of the workspace published; may be repeated.", metavar="URI"),
    ] = None,
    older_than: Annotated[str, typer.Option(help="What is younger stays: 12h, 7d, 2w; longer than any run.")] = "7d",
    keep_nights: Annotated[
        int | None, typer.Option(min=1, help="Also remove steps that none of so many newest nights is made of.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would go, on stderr.")] = False,
) -> dict[str, Any]:
    """Remove what killed runs left: parts, unfinished uploads, files that no manifest names, steps that never finished."""
    from jobs.gc.job import gc
    from jobs.workspace.steps import parse_age

    return gc(
        workspace_uri=workspace,
        output_uris=output or [],
        older_than=parse_age(older_than),
        keep_nights=keep_nights,
        dry_run=dry_run,
    )


if __name__ == "__main__":
    from jobs.cli import job_main

    job_main("gc")
