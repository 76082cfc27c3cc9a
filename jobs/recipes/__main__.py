"""The command `hrnn recipes`."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated, Any

import typer


class Output(StrEnum):
    """What is printed on stdout."""

    TEXT = "text"
    JSON = "json"


def run(
    output: Annotated[
        Output | None,
        typer.Option(
            help="text: a table for people; json: one line for programs.", show_default="text on a terminal, else json"
        ),
    ] = None,
) -> dict[str, Any] | None:
    """List every recipe with its hyperparameters, defaults and ranges.

    Names, defaults and ranges are Personalize's. Values may be given as strings ("43") or as numbers, and names with or without
    Personalize's prefixes (training.bptt). Recipes that run on another one's model say so;
    those that can't be trained here are listed with the reason.
    """
    from jobs.recipes.job import recipes, write_table

    if output is Output.TEXT or (output is None and sys.stdout.isatty()):
        write_table(sys.stdout)
        return None
    return recipes()


if __name__ == "__main__":
    from jobs.cli import job_main

    job_main("recipes")
