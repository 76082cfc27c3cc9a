"""`hrnn filter check`: what a filter expression means, or where it is wrong; and what it would leave of a solution version."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from jobs.cli import Summary
from schemas.dataset_rules import DatasetType
from schemas.datasets import DatasetSchema
from schemas.errors import DataError
from schemas.filters import (
    PUBLISHED,
    Filter,
    FilterError,
    FilterPolicy,
    FilterValues,
    check_filter,
    in_words,
    parse_filter,
)
from schemas.filters.checks import unchecked


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
        `character` (None where a trial could not be made); `checked` and `refused` count them.

    Raises:
        StorageError: There is no solution version.
    """
    results = []
    for expression in expressions:
        result: dict[str, Any] = {"expression": expression}
        try:
            parsed = parse_filter(expression, extended=extended, historic=historic, policy=policy)
            check_filter(parsed, schemas or {})
            result |= _meaning(parsed, schemas or {})
            if solution_uri is not None:
                from jobs.filter.trial import try_filter  # numpy and pyarrow, which a check by itself does without

                result["trial"] = try_filter(parsed, solution_uri, values or {}, past_events=policy.past_events)
                result["unchecked"] = []  # the solution version knows all its datasets
        except FilterError as error:
            result = {"expression": expression, "accepted": False, "error": error.sentence, "character": error.span.start + 1}
            print(f"hrnn: {error}", file=sys.stderr)
        except DataError as error:  # of this expression alone: another may need no value, or nothing of the users' past
            result = {"expression": expression, "accepted": False, "error": str(error), "character": None}
            print(f"hrnn: {error}", file=sys.stderr)
        else:
            _describe(result)
        results.append(result)
    refused = sum(not result["accepted"] for result in results)
    return {"job": "filter", "checked": len(results), "refused": refused, "filters": results}


def _meaning(parsed: Filter, schemas: Mapping[DatasetType, DatasetSchema]) -> dict[str, Any]:
    """Result of an accepted filter."""
    return {
        "accepted": True,
        "words": in_words(parsed),
        "subject": parsed.subject,
        "parameters": list(parsed.parameters),
        "unchecked": list(unchecked(parsed, schemas)),
    }


def _describe(result: Mapping[str, Any]) -> None:
    """Print the result on stderr, for people."""
    print(f"{result['expression']}\n  {result['words']}", file=sys.stderr)
    if result["unchecked"]:
        print(f"  Not checked, for want of a schema: fields of {', '.join(result['unchecked'])}.", file=sys.stderr)
    if trial := result.get("trial"):
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
