"""Options of the commands that answer batch input, `recommend` and `segment`."""

from __future__ import annotations

from typing import Annotated

import typer

SolutionFolder = Annotated[str, typer.Option(help="Folder that `hrnn train` wrote: s3://…, file://… or a path.")]
AnswersFolder = Annotated[str, typer.Option(help="Folder for <input file name>.out and _CHECK; not the input's.")]
