"""Batch outputs: lines that answer a user, and lists of users, as inference and segment jobs write them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from jobs.delete_users.tables import Held
from jobs.delete_users.users import Users
from schemas.errors import DataError

_USER_LISTS = ("usersList", "recommendedUsers")


def held_by_lines(local: Path, users: Users) -> Held:
    """The users in a batch output: lines that answer one of them, or list one."""
    held = Held()
    for _, document in _documents(local):
        held.rows += 1
        user, listed = _asked(document), _listed(document)
        ids = ({user} | set(listed or ())) & users.ids
        held.rows_of_users += bool(ids)
        held.ids |= {each for each in ids if each is not None}
    return held


def write_lines_without(local: Path, target: Path, users: Users) -> int:
    """Copy a batch output without the lines that answer one of the users, and take them out of lists of users.

    All other lines stay byte for byte.

    Returns:
        Lines that are left.
    """
    lines = 0
    with open(target, "wb") as file:
        for line, document in _documents(local):
            if _asked(document) in users.ids:
                continue
            listed = _listed(document)
            if listed and not users.ids.isdisjoint(listed):
                line = _without_listed(line, document, users)
            file.write(line)
            lines += 1
    return lines


def _documents(local: Path) -> Iterator[tuple[bytes, dict[str, Any]]]:
    with open(local, "rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                document = orjson.loads(line)
            except orjson.JSONDecodeError as fault:
                raise DataError(f"the line is not JSON ({fault.msg})", where=f"{local.name}, line {number}") from None
            yield line, document if type(document) is dict else {}


def _asked(document: dict[str, Any]) -> str | None:
    """The user that a line answers; ids are often written as numbers."""
    line_input = document.get("input")
    user = line_input.get("userId") if type(line_input) is dict else None
    return str(user) if type(user) in (str, int) else None


def _listed(document: dict[str, Any]) -> list[str] | None:
    output = document.get("output")
    if type(output) is not dict:
        return None
    return next((output[name] for name in _USER_LISTS if type(output.get(name)) is list), None)


def _without_listed(line: bytes, document: dict[str, Any], users: Users) -> bytes:
    output = document["output"]
    name = next(name for name in _USER_LISTS if name in output)
    listed, scores = output[name], output.get("scores")
    kept = [place for place, user in enumerate(listed) if user not in users.ids]
    left = [listed[place] for place in kept]
    before, after = orjson.dumps(listed), orjson.dumps(left)
    if line.count(before) == 1 and not scores:
        return line.replace(before, after)
    output[name] = left
    if type(scores) is list and len(scores) == len(listed):
        output["scores"] = [scores[place] for place in kept]
    return orjson.dumps(document) + b"\n"
