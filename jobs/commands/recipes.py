"""The command `hrnn recipes`."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated, Any

import typer


class Output(StrEnum):
    """How the list is printed."""

    TABLE = "table"
    JSON = "json"


def run(
    output: Annotated[
        Output, typer.Option(help="`table`: for people, on stderr. `json`: all of it as the one line on stdout.")
    ] = Output.TABLE,
) -> dict[str, Any]:
    """List every recipe with its hyperparameters, defaults and ranges.

    Names, defaults and ranges are Personalize's. Values may be given as strings ("43") or as numbers, and names with or without
    Personalize's prefixes (training.bptt). Recipes that run on another one's model say so;
    those that can't be trained here are listed with the reason.
    """
    from jobs.recipes import recipes, write_table

    document = recipes()
    if output is Output.JSON:
        return document
    write_table(sys.stderr)
    return {"job": "recipes", "available": [recipe["name"] for recipe in document["recipes"] if recipe["available"]]}
