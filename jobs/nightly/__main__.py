"""The command `hrnn nightly`."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from jobs.options import SparkMaster, with_settings
from jobs.train.options import LaunchSettings


@with_settings
def run(
    *,
    config: Annotated[
        str, typer.Option(help="TOML file, or JSON of AWS's Maintaining Personalized Experiences.", metavar="URI")
    ],
    plan: Annotated[bool, typer.Option("--plan", help="Only say what would run, and why.")] = False,
    master: SparkMaster = None,
    workspace: Annotated[
        str | None, typer.Option(help="For AWS's JSON: folder for all that is written.", metavar="URI")
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="For AWS's JSON: folder of interactions.csv or interactions/, …", metavar="URI")
    ] = None,
    batch: Annotated[
        str | None, typer.Option(help="For AWS's JSON: folder of SOLUTION/job_config.json.", metavar="URI")
    ] = None,
    launch: LaunchSettings,
) -> dict[str, Any]:
    """Run the whole night from one config file.

    Validates every dataset, cuts sessions, trains and measures every solution, writes every batch's lists, and a page about it
    all. Run it again after a failure or a kill: finished steps are not done twice, and training goes on from its checkpoint.
    """
    from jobs.nightly.configs import load_config

    loaded, warnings = load_config(config, workspace=workspace, data=data, batch=batch)
    for warning in warnings:
        print(f"hrnn: {config}: {warning}", file=sys.stderr)
    if plan:
        from jobs.nightly.decisions import plan_document
        from jobs.nightly.terminal import plan_lines

        document = plan_document(loaded)
        print("\n".join(plan_lines(document)), file=sys.stderr)
        return document
    from jobs.nightly.job import brief, follow, nightly
    from jobs.nightly.running import Runtime
    from jobs.nightly.wording import night_lines
    from jobs.train.launch import Launch

    runtime = Runtime(master=master, launch=Launch(**launch.model_dump(exclude_unset=True)))
    if launch.node_rank > 0:
        return follow(config=loaded, runtime=runtime)
    summary = nightly(config=loaded, runtime=runtime)
    print("\n".join(night_lines(summary)), file=sys.stderr)
    return brief(summary)


if __name__ == "__main__":
    from jobs.cli import job_main

    job_main("nightly")
