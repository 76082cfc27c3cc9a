"""`hrnn filter check`: what a filter expression means, or where it is wrong; and what it would leave of a solution version."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any

import typer

from jobs.cli import Summary, job_main
from jobs.ending import tell
from jobs.storage import read_given
from schemas.dataset_rules import DatasetType
from schemas.datasets import DatasetSchema, parse_schema
from schemas.documents import read_json
from schemas.errors import ConfigError
from schemas.filters import (
    PUBLISHED,
    Filter,
    FilterError,
    FilterPolicy,
    FilterValues,
    check_filter,
    in_words,
    parse_filter,
    parse_filter_values,
)
from schemas.filters.checks import unchecked


class Action(StrEnum):
    """What is done with a filter."""

    CHECK = "check"


def check(
    expressions: Sequence[str],
    *,
    schemas: Mapping[DatasetType, DatasetSchema] | None = None,
    extended: bool = False,
    historic: bool = False,
    policy: FilterPolicy = PUBLISHED,
    solution_uri: str | None = None,
    values: FilterValues | None = None,
) -> Summary:
    """Check filter expressions, and try them on a solution version.

    Args:
        expressions: Each by itself.
        schemas: Of datasets; fields of the others are not checked.
        extended, historic, policy: See `parse_filter`.
        solution_uri: Folder that `train` wrote; None: nothing is tried.
        values: Of placeholders, for the trial.

    Returns:
        The summary: `filters`, one dict an expression in their order: `accepted`, `words`, `parameters` …, or `error` and
        `character`; `checked` and `refused` count them.

    Raises:
        StorageError: There is no solution version.
        DataError: A value for the trial is missing or does not fit.
    """
    found = []
    for expression in expressions:
        told: dict[str, Any] = {"expression": expression}
        try:
            wanted = parse_filter(expression, extended=extended, historic=historic, policy=policy)
            check_filter(wanted, schemas or {})
            told |= _meaning(wanted, schemas or {})
            if solution_uri is not None:
                from jobs.filtering.trial import try_filter  # numpy and pyarrow, which a check by itself does without

                told["trial"] = try_filter(wanted, solution_uri, values or {}, past_events=policy.past_events)
                told["unchecked"] = []  # the solution version knows all its datasets
        except FilterError as error:
            told = {"expression": expression, "accepted": False, "error": error.sentence, "character": error.span.start + 1}
            print(f"hrnn: {error}", file=sys.stderr)
        else:
            _describe(told)
        found.append(told)
    refused = sum(not told["accepted"] for told in found)
    return {"job": "filter", "checked": len(found), "refused": refused, "filters": found}


def run(
    action: Annotated[Action, typer.Argument(help="`check`: parse, and say what it means.")],
    expression: Annotated[str | None, typer.Argument(help="The filter expression.")] = None,
    schema: Annotated[
        list[str] | None, typer.Option(help="File of a dataset's schema, to check fields and types; may be repeated.")
    ] = None,
    stdin: Annotated[bool, typer.Option("--stdin", help="Read expressions from standard input, one a line.")] = False,
    extended: Annotated[
        bool, typer.Option("--extended", help="Allow now() - 30d, true and false, and parentheses, which Personalize has not.")
    ] = False,
    historic: Annotated[
        bool, typer.Option("--historic", help="Refuse placeholders but with IN and =, as Personalize once did.")
    ] = False,
    most_fields: Annotated[int, typer.Option(min=1, help="Most distinct fields of a filter.")] = PUBLISHED.fields,
    past_events: Annotated[
        int, typer.Option(min=1, max=1000, help="--solution: a user's newest events of each type that count.")
    ] = PUBLISHED.past_events,
    solution: Annotated[
        str | None, typer.Option(help="Folder that `hrnn train` wrote: how many items would survive, for a sample of users.")
    ] = None,
    values: Annotated[str, typer.Option(help=r'--solution: JSON as in filterValues: {"GENRES": "\"horror\""}.')] = "{}",
) -> Summary:
    """Say what a filter expression means, or point at what is wrong in it.

    The exit status is 1 where an expression is refused. With a solution version it is also tried: how many items survive, and
    how many each user of a sample may get.
    """
    assert action is Action.CHECK
    if (expression is None) is not stdin:
        raise typer.BadParameter("give one expression, or --stdin")
    given = [line.strip() for line in sys.stdin if line.strip()] if expression is None else [expression]
    parsed = [parse_schema(*read_given(given)) for given in schema or []]
    summary = check(
        given,
        schemas={one.dataset_type: one for one in parsed},
        extended=extended,
        historic=historic,
        policy=FilterPolicy(fields=most_fields, past_events=past_events),
        solution_uri=solution,
        values=_values(values),
    )
    if summary["refused"]:
        tell(summary)
        raise typer.Exit(1)
    return summary


def _meaning(wanted: Filter, schemas: Mapping[DatasetType, DatasetSchema]) -> dict[str, Any]:
    """What is told of a filter that is accepted."""
    return {
        "accepted": True,
        "words": in_words(wanted),
        "subject": wanted.subject,
        "parameters": list(wanted.parameters),
        "unchecked": list(unchecked(wanted, schemas)),
    }


def _describe(told: Mapping[str, Any]) -> None:
    """The same, for people."""
    print(f"{told['expression']}\n  {told['words']}", file=sys.stderr)
    if told["unchecked"]:
        print(f"  Not checked, for want of a schema: fields of {', '.join(told['unchecked'])}.", file=sys.stderr)
    if trial := told.get("trial"):
        print(f"  {_trial_words(trial)}", file=sys.stderr)
        for name in trial["unknown_event_types"]:
            print(f'hrnn: warning: no event is of type "{name}"', file=sys.stderr)


def _trial_words(trial: Mapping[str, Any]) -> str:
    if "kept" in trial:
        return f"{trial['kept']:,} of {trial['users']:,} users are kept."
    survive = f"{trial['surviving_items']:,} of {trial['items']:,} items survive"
    if "least" not in trial:
        return f"{survive}; the solution version has no users to try."
    who = "current_items" if "current_items" in trial else "users"
    return (
        f"{survive} for one at least of {trial[who]:,} {who.replace('_', ' ')}. Each may get {trial['least']:,} at least, "
        f"{trial['median']:,.0f} in the middle, {trial['most']:,} at most; {trial['fewer_than_25']:,} have fewer than 25 left."
    )


def _values(text: str) -> FilterValues:
    """The values of placeholders; ConfigError where they are not a JSON object of texts."""
    problem, allowed = "this is no JSON object of texts", r'{"GENRES": "\"horror\""}'
    try:
        given = read_json(text)
    except ValueError as error:
        raise ConfigError(f"{problem} ({error})", where="values", value=text, allowed=allowed) from None
    if not isinstance(given, dict) or not all(isinstance(value, str) for value in given.values()):
        raise ConfigError(problem, where="values", value=text, allowed=allowed)
    return parse_filter_values(given, "values")


if __name__ == "__main__":
    job_main("filter", run)
