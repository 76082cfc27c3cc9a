"""The command `hrnn demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from jobs.options import SparkMaster


def run(
    folder: Annotated[Path, typer.Option(help="Local folder for S3's data, the input, the lists and the page.")] = Path("demo"),
    keep_serving: Annotated[bool, typer.Option("--keep-serving", help="Serve S3 on until Ctrl-C, to look around.")] = False,
    master: SparkMaster = None,
) -> dict[str, Any]:
    """Run a night on household purchases, on this machine, and show what came out.

    Starts a real S3 server on this machine, puts three months of purchases there as CSV files, and runs `hrnn nightly` on them.
    Takes a few minutes; a second time it finds all done. Everything lies in one folder, and no server is left behind.
    """
    from infra.demo.job import demonstrate

    return demonstrate(folder=folder, keep_serving=keep_serving, master=master)


if __name__ == "__main__":
    from jobs.cli import job_main

    job_main("demo")
