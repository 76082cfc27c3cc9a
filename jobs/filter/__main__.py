"""The command `hrnn filter`."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated, Any

import typer

from jobs.platform.process.ending import print_result
from schemas.datasets import parse_schema
from schemas.documents import read_json
from schemas.errors import ConfigError
from schemas.filters import PUBLISHED, FilterPolicy, FilterValues, parse_filter_values


class Action(StrEnum):
    """What is done with a filter."""

    CHECK = "check"


def run(
    action: Annotated[Action, typer.Argument(help="`check`: parse, and say what it means.")],
    expression: Annotated[str | None, typer.Argument(help="The filter expression.")] = None,
    schema: Annotated[
        list[str] | None, typer.Option(help="File of a dataset's schema, to check fields and types; may be repeated.")
    ] = None,
    stdin: Annotated[bool, typer.Option("--stdin", help="Read expressions from standard input, one a line.")] = False,
    extended: Annotated[
        bool,
        typer.Option(
            "--extended-filters",
            "--extended",
            help="Allow now() - 30d, true and false, and parentheses, which Personalize has not.",
        ),
    ] = False,
    historic: Annotated[
        bool, typer.Option("--historic", help="Refuse placeholders but with IN and =, as Personalize once did.")
    ] = False,
    most_fields: Annotated[int, typer.Option(min=1, help="Most distinct fields of a filter.")] = PUBLISHED.fields,
    past_events: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=1000,
            help="--solution: a user's newest events of each type that count.",
            show_default=str(PUBLISHED.past_events),
        ),
    ] = None,
    solution: Annotated[
        str | None, typer.Option(help="Folder that `hrnn train` wrote: how many items would survive, for a sample of users.")
    ] = None,
    values: Annotated[str | None, typer.Option(help=r'--solution: JSON as in filterValues: {"GENRES": "\"horror\""}.')] = None,
) -> dict[str, Any]:
    """Say what a filter expression means, or point at what is wrong in it.

    The exit status is 1 where an expression is refused. With a solution version it is also tried: how many items survive, and
    how many each user of a sample may get.
    """
    from jobs.filter.job import check
    from jobs.platform.storage import read_given

    assert action is Action.CHECK
    if (expression is None) is not stdin:
        raise typer.BadParameter("give one expression, or --stdin")
    expressions = [line.strip() for line in sys.stdin if line.strip()] if expression is None else [expression]
    for name, given in (("past_events", past_events), ("values", values)):
        if given is not None and solution is None:
            problem = "this says how a filter is tried on a solution version, and none is given"
            raise ConfigError(problem, where=name, value=given, remedy="Leave it out, or name a solution.")
    schemas = [parse_schema(*read_given(uri, "--schema")) for uri in schema or []]
    summary = check(
        expressions,
        schemas={each.dataset_type: each for each in schemas},
        extended=extended,
        historic=historic,
        policy=FilterPolicy(fields=most_fields, past_events=past_events or PUBLISHED.past_events),
        solution_uri=solution,
        values=_values(values or "{}"),
    )
    if summary["refused"]:
        print_result(summary)
        raise typer.Exit(1)
    return summary


def _values(text: str) -> FilterValues:
    """The values of placeholders; ConfigError where they are not a JSON object of texts."""
    problem, allowed = "this is no JSON object of texts", r'{"GENRES": "\"horror\""}'
    try:
        document = read_json(text)
    except ValueError as error:
        raise ConfigError(f"{problem} ({error})", where="values", value=text, allowed=allowed) from None
    if not isinstance(document, dict) or not all(isinstance(value, str) for value in document.values()):
        raise ConfigError(problem, where="values", value=text, allowed=allowed)
    return parse_filter_values(document, "values")


if __name__ == "__main__":
    from jobs.cli import job_main

    job_main("filter")
