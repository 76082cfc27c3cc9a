"""Why an import fails once its report is written: what is wrong, where, and on which page to read about it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from jobs.validate.insight import Insight
from jobs.validate.strings import FAILS_THE_IMPORT
from schemas.errors import DataError


def too_few(report: dict[str, Any], page: str) -> DataError | None:
    """The error of an import with too many rejected rows, or no accepted one; None where there are enough."""
    if report["accepted"]:
        return None
    return DataError(
        f"{report['rows_rejected']:,} of {report['rows_read']:,} rows were rejected: "
        f"{'; '.join(map(_sentence, report['reasons'][:3]))}",
        where=report["data"],
        allowed=f"a fraction of {report['max_rejected_fraction']:g}, and at least one right row",
        remedy=f"See {page}; mend the rows, or raise --max-rejected-fraction.",
    )


def too_long(reasons: Iterable[dict[str, Any]], data_uri: str, page: str) -> DataError | None:
    """The first category that is too long, which fails a whole import in Personalize; None where there is none.

    Args:
        reasons: Of rejection, all of them, with examples.
        data_uri: What is imported.
        page: Where to read about it.
    """
    fatal = [
        (example["file"], example["line"], reason["column"], reason["reason"], example["value"])
        for reason in reasons
        if reason["reason"].endswith(FAILS_THE_IMPORT)
        for example in reason["examples"]
    ]
    if not fatal:
        return None
    file, line, column, reason, value = min(fatal)
    return DataError(
        f"{file} line {line}, column {column}: {reason}",
        where=data_uri,
        value=value,
        remedy="Shorten it; or reject such rows alone, with --long-categories reject "
        f'(a night: [validation] long_categories = "reject"). See {page}.',
    )


def broken(failed: Sequence[str], data_uri: str, page: str) -> DataError:
    """The error of accepted rows that do not meet expectations."""
    return DataError(f"the accepted rows break an expectation: {'; '.join(failed)}", where=data_uri, remedy=f"See {page}.")


def refused(insights: Iterable[Insight], data_uri: str, page: str) -> DataError | None:
    """The error of insights that fail, for --strict; None where none does."""
    titles = [insight.title for insight in insights if insight.status == "fail"]
    if not titles:
        return None
    return DataError(
        f"Personalize would refuse this: {' '.join(titles)}",
        where=data_uri,
        remedy=f"See {page}; mend the data, change a --quota, or leave --strict out.",
    )


def _sentence(reason: dict[str, Any]) -> str:
    """`TIMESTAMP: not a whole number (12 rows, as in events.csv line 3: 'yesterday')`."""
    column = f"{reason['column']}: " if reason["column"] else ""
    example = "".join(
        f", as in {first['file']} line {first['line']}: {first['value'][:40]!r}" for first in reason["examples"][:1]
    )
    return f"{column}{reason['reason']} ({reason['rows']:,} rows{example})"
