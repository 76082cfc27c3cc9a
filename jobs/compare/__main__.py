"""The command `hrnn compare`."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer


def run(
    old: Annotated[
        str, typer.Argument(help="A .out or .out.gz file, or a folder of them: s3://…, file://… or a path.", metavar="OLD.out")
    ],
    new: Annotated[str, typer.Argument(help="The other side; files of folders are matched by name.", metavar="NEW.out")],
    output: Annotated[
        str | None, typer.Option(help="Folder for compare.json and report.html; nothing is written without it.")
    ] = None,
) -> dict[str, Any]:
    """Compare two batch outputs, of Personalize or of this platform: overlap, rank-biased overlap, who differs most.

    Lines are matched by their input, whatever their order; error lines are counted and not compared.
    """
    from jobs.compare.job import DETAILS, compare
    from jobs.compare.report import comparison_lines

    summary = compare(old_uri=old, new_uri=new, output_uri=output)
    print("\n".join(comparison_lines(summary)), file=sys.stderr)
    if summary["report"]:
        print(f"Page: {summary['report']}", file=sys.stderr)
    return {key: value for key, value in summary.items() if key not in DETAILS}


if __name__ == "__main__":
    from jobs.cli import job_main

    job_main("compare")
