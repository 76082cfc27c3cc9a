"""SQL in users' expectations: it may select rows from {batch}, and nothing else.

Spark's SQL can do more than ask: write files, start programs, call any Java method, read any file that the cluster can. The
check is of the text, and rather refuses too much: a harmless value that looks like such a thing must be put otherwise.
"""

from __future__ import annotations

import re
from typing import Any

from schemas.errors import ConfigError

_FORBIDDEN = {
    r";": "one statement only",
    r"--|/\*": "no comments",
    r"\b(java_method|reflect|try_reflect)\b": "no calls of Java",
    r"\bidentifier\b": "no names made of texts",
    r"\b(insert|update|delete|merge)\s": "no changes",
    r"\busing\s*r?['\"]": "no programs",
    r"\.\s*`": "no files",
}


def check_condition(value: Any, where: str) -> None:
    """Refuse a condition on rows, as text or as Great Expectations' own form of it, that may do more than compare.

    Raises:
        ConfigError: As `check_sql`.
    """
    if isinstance(value, str):
        check_sql(value, where, whole=False)
    elif isinstance(value, (dict, list)):
        for part in value.values() if isinstance(value, dict) else value:
            check_condition(part, where)


def check_sql(text: str, where: str, *, whole: bool) -> None:
    """Refuse SQL that does anything but select.

    Args:
        text: A query, or a condition on a row.
        where: Where it stands, for messages.
        whole: It is a query, which begins with SELECT or WITH and reads {batch}; else a condition, which holds no query.

    Raises:
        ConfigError: It does, or may.
    """
    if whole and not re.match(r"\s*(select|with)\b", text, re.IGNORECASE):
        raise ConfigError("this is no query", where=where, value=text, allowed="SELECT … FROM {batch} …")
    if whole and "{batch}" not in text:
        raise ConfigError("the query does not ask for the rows", where=where, value=text, allowed="SELECT … FROM {batch} …")
    if not whole and re.search(r"\bselect\b", text, re.IGNORECASE):
        raise ConfigError("a condition holds no query", where=where, value=text, allowed="an expression on columns of the row")
    for pattern, rule in _FORBIDDEN.items():
        if match := re.search(pattern, text, re.IGNORECASE):
            raise ConfigError(
                f"this SQL may do more than select ({rule})",
                where=where,
                value=match[0],
                remedy="Put the condition otherwise.",
            )
