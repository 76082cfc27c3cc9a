"""The command `hrnn doctor`."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated, Any

import typer

from jobs.platform.process.ending import print_result


class Output(StrEnum):
    """How the answer is shown."""

    text = "text"
    json = "json"


def run(
    output: Annotated[Output, typer.Option(help="text: lines on stderr besides the JSON; json: that alone.")] = Output.text,
    folder: Annotated[str | None, typer.Option(help="A workspace to try as well: s3://bucket/path or a local folder.")] = None,
) -> dict[str, Any]:
    """Say what this machine has, what it lacks, and the remedy. Exit status 0 when a night can run here, else 1."""
    from infra.doctor.job import doctor

    summary = doctor(folder=folder)
    if output is Output.text:
        for check in summary["checks"]:
            print(f"{check['state']:<8} {check['name']:<9} {check['found']}", file=sys.stderr)
            if check["remedy"]:
                print(f"{'':<18} → {check['remedy']}", file=sys.stderr)
    if not summary["ready"]:
        print_result(summary)
        raise typer.Exit(1)
    return summary


if __name__ == "__main__":
    from jobs.cli import job_main

    job_main("doctor")
