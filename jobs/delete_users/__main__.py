"""The command `hrnn delete-users`."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer


def run(
    users: Annotated[str, typer.Option(help="CSV file with the single column USER_ID: s3://…, file://… or a path.")],
    workspace: Annotated[
        str | None, typer.Option(help="Workspace of a dataset group: all that its nights wrote.", metavar="URI")
    ] = None,
    dataset: Annotated[
        list[str] | None,
        typer.Option(help="A folder that validate, sessionize or train wrote; may be repeated.", metavar="URI"),
    ] = None,
    batch_output: Annotated[
        list[str] | None, typer.Option(help="A folder of .out files; may be repeated.", metavar="URI")
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(help="Folder for deletion.json and report.html.", show_default="below the workspace", metavar="URI"),
    ] = None,
    older_than: Annotated[
        str, typer.Option(help="An unfinished step with a younger file is at work: nothing is done. 0m: none is, I know.")
    ] = "1h",
) -> dict[str, Any]:
    """Take users out of all that the platform wrote, and prove it by a second scan.

    Trained parameters stay; the next night trains without the users. Your CSV files stay too: the report names those in which
    the users still stand. Run it again after a failure or a kill. It refuses to begin while a step of the workspace is at work.
    """
    from jobs.delete_users.job import delete_users
    from jobs.delete_users.report import deletion_lines
    from jobs.workspace.steps import parse_age

    summary = delete_users(
        users_uri=users,
        workspace_uri=workspace,
        dataset_uris=dataset or [],
        batch_output_uris=batch_output or [],
        output_uri=output,
        older_than=parse_age(older_than),
    )
    print("\n".join(deletion_lines(summary)), file=sys.stderr)
    return {key: value for key, value in summary.items() if key not in {"places", "inputs"}}


if __name__ == "__main__":
    from jobs.cli import job_main

    job_main("delete-users")
