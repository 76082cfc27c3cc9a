"""Lines of batch inference and of segments: what Personalize takes and what it gives, byte for byte.

    in   {"userId": "4638"}
    out  {"input":{"userId":"4638"},"output":{"recommendedItems":["63992","115149"],"scores":[0.0152238,7.17E-5]},"error":null}
    bad  {"input":"{userId: 4638}","output":null,"error":"the line is not JSON …"}

    in   {"itemId": "105"}
    out  {"input": {"itemId": "105"}, "output": {"usersList": ["106","107","49"]}, "error": null}

Every input line, a blank or broken one too, has its output line in its place. Personalize writes compact JSON and its scores as
Java does: at most seven decimals, without trailing zeros, `3.1E-5` below a thousandth; lines of segments have blanks, but for
the list of users. Other keys of an input line are given back. Personalize documents that failed records have output lines, not
what stands in them; ours have `output` null and the reason.

This module is the plain statement of the rules; jobs/recommend/lines.py does the same faster.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from schemas.documents import read_json

LineKind = Literal["user", "ranking", "item", "item_users", "attribute_users"]

MOST_LINE_BYTES = 256 << 10
MOST_ID_CHARACTERS = 256  # Personalize's limit of USER_ID and ITEM_ID
MOST_LISTED_ITEMS = 5000  # of an itemList; ten times as many as Personalize ranks at once
MOST_ATTRIBUTES_CHARACTERS = 2500  # of itemAttributes; as many as a filter expression may have
MOST_FILTER_VALUES = 25
MOST_FILTER_NAME_CHARACTERS = 50
MOST_CONTEXT_FIELDS = 150
MOST_CONTEXT_NAME_CHARACTERS = 150
MOST_VALUE_CHARACTERS = 1000  # of a filter value and of a context value
SCORE_UNITS = 10_000_000  # scores are whole numbers of ten-millionths: seven decimals
_SMALLEST_PLAIN_SCORE = SCORE_UNITS // 1000  # Java writes smaller numbers with an exponent
_SHOWN_CHARACTERS = 1000  # of an input line that can't be given back as JSON
_SHOWN_NAME = 60  # characters of a name that is not allowed

SEGMENTS: frozenset[LineKind] = frozenset({"item_users", "attribute_users"})
EXPLAINED: frozenset[LineKind] = frozenset({"user", "ranking"})  # lines whose answers can have explanations
EXAMPLES: dict[LineKind, str] = {
    "user": '{"userId": "…"}',
    "ranking": '{"userId": "…", "itemList": ["…", "…"]}',
    "item": '{"itemId": "…"}',
    "item_users": '{"itemId": "…"}',
    "attribute_users": r'{"itemAttributes": "ITEMS.GENRE = \"Comedy\""}',
}


@dataclass(frozen=True, kw_only=True)
class Request:
    """One good input line; what its kind doesn't ask for is empty.

    Attributes:
        given: The input object as JSON, given back as `input`.
        user_id: Whose items are asked for.
        item_id: The item whose related items, or whose users, are asked for.
        item_list: Items to be ranked, as given: an item may occur again.
        item_attributes: Attributes of the items whose users are asked for, as text.
        filter_values: Name of a filter's placeholder, without `$` -> its text.
        context: Name of a column -> its text: the situation in which the user asks.
    """

    given: str
    user_id: str = ""
    item_id: str = ""
    item_list: tuple[str, ...] = ()
    item_attributes: str = ""
    filter_values: Mapping[str, str] = field(default_factory=dict)
    context: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class BadLine:
    """One input line that cannot be answered.

    Attributes:
        given: Its JSON value as JSON, or its text as a JSON string where it holds none.
        error: Why, in one sentence.
    """

    given: str
    error: str


class _Fault(Exception):
    """What keeps a JSON value from being a request."""


def parse_line(line: bytes, kind: LineKind = "user") -> Request | BadLine:
    """Read one input line, without its line break; never raises.

    An id that is a whole number is taken as its digits: ids are texts, but they are often written without quotes. A `null`
    stands for filterValues and context that were left out.

    Args:
        line: The line.
        kind: What the recipe's lines hold; `filterValues` and `context` may stand in all of them.
    """
    example = EXAMPLES[kind]
    if len(line) > MOST_LINE_BYTES:
        return BadLine(_shown(line), f"the line is longer than {MOST_LINE_BYTES:,} bytes")
    if not line.strip():
        return BadLine(_shown(line), f"the line is blank; allowed: {example}")
    try:
        document = read_json(line.decode())
        input_json = _spaced_json(document) if kind in SEGMENTS else compact_json(document)
        input_json.encode()
    except UnicodeDecodeError as error:
        return BadLine(_shown(line), f"the line is not UTF-8 text (byte {error.start})")
    except UnicodeEncodeError:
        return BadLine(_shown(line), "the line holds half of a surrogate pair, which is no character")
    except (ValueError, RecursionError) as error:
        reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
        return BadLine(_shown(line), f"the line is not JSON ({reason}); allowed: {example}")
    try:
        return _request(document, input_json, kind)
    except _Fault as fault:
        return BadLine(input_json, str(fault))


def segment_line(request: Request, user_ids: Sequence[str]) -> bytes:
    """The output line of a good input line of a segment, with its line break.

    Args:
        request: The input line, of kind `item_users` or `attribute_users`.
        user_ids: The segment, best users first.
    """
    return f'{{"input": {request.given}, "output": {{"usersList": {compact_json(list(user_ids))}}}, "error": null}}\n'.encode()


def error_line(bad: BadLine, kind: LineKind = "user") -> bytes:
    """The output line of a bad input line, with its line break."""
    if kind in SEGMENTS:
        return f'{{"input": {bad.given}, "output": null, "error": {compact_json(bad.error)}}}\n'.encode()
    return f'{{"input":{bad.given},"output":null,"error":{compact_json(bad.error)}}}\n'.encode()


def score_text(units: int) -> str:
    """A score as Java's Double.toString writes it: 152238 units are 0.0152238, 717 are 7.17E-5.

    Args:
        units: Ten-millionths, from 0 to 10,000,000.
    """
    if units == 0 or units >= _SMALLEST_PLAIN_SCORE:
        return repr(units / SCORE_UNITS)
    digits = str(units)
    exponent = len(digits) - len(str(SCORE_UNITS))
    return f"{digits[0]}.{digits[1:].rstrip('0') or '0'}E{exponent}"


def compact_json(value: Any) -> str:
    """JSON without blanks; characters beyond ASCII stay as they are."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _spaced_json(value: Any) -> str:
    """JSON with a blank behind each colon and comma."""
    return json.dumps(value, ensure_ascii=False)


def _request(document: Any, input_json: str, kind: LineKind) -> Request:
    """The request of a JSON value, or _Fault."""
    if not isinstance(document, dict):
        raise _Fault(f"the line is not a JSON object; allowed: {EXAMPLES[kind]}")
    fields: dict[str, Any] = {}
    if kind in ("user", "ranking"):
        fields["user_id"] = _id(_member(document, "userId", kind), "userId", kind)
    if kind == "ranking":
        fields["item_list"] = _item_list(_member(document, "itemList", kind), kind)
    if kind in ("item", "item_users"):
        fields["item_id"] = _id(_member(document, "itemId", kind), "itemId", kind)
    if kind == "attribute_users":
        fields["item_attributes"] = _attributes(_member(document, "itemAttributes", kind), kind)
    return Request(
        given=input_json,
        **fields,
        filter_values=_texts(document, "filterValues", MOST_FILTER_VALUES, MOST_FILTER_NAME_CHARACTERS),
        context=_texts(document, "context", MOST_CONTEXT_FIELDS, MOST_CONTEXT_NAME_CHARACTERS),
    )


def _member(document: dict[str, Any], name: str, kind: LineKind) -> Any:
    if name not in document:
        raise _Fault(f"{name} is missing; allowed: {EXAMPLES[kind]}")
    return document[name]


def _id(value: Any, name: str, kind: LineKind) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise _Fault(f"{name} is not a text; allowed: {EXAMPLES[kind]}")
    text = str(value)
    if not text:
        raise _Fault(f"{name} is empty; allowed: {EXAMPLES[kind]}")
    if len(text) > MOST_ID_CHARACTERS:
        raise _Fault(f"{name} is longer than {MOST_ID_CHARACTERS} characters")
    return text


def _item_list(value: Any, kind: LineKind) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise _Fault(f"itemList is not a list; allowed: {EXAMPLES[kind]}")
    if not value:
        raise _Fault(f"itemList is empty; allowed: {EXAMPLES[kind]}")
    if len(value) > MOST_LISTED_ITEMS:
        raise _Fault(f"itemList holds {len(value):,} items; allowed: {MOST_LISTED_ITEMS:,}")
    return tuple(_id(item, f"itemList[{place}]", kind) for place, item in enumerate(value))


def _attributes(value: Any, kind: LineKind) -> str:
    if not isinstance(value, str):
        raise _Fault(f"itemAttributes is not a text; allowed: {EXAMPLES[kind]}")
    if not value.strip():
        raise _Fault(f"itemAttributes is empty; allowed: {EXAMPLES[kind]}")
    if len(value) > MOST_ATTRIBUTES_CHARACTERS:
        raise _Fault(f"itemAttributes is longer than {MOST_ATTRIBUTES_CHARACTERS:,} characters")
    return value


def _texts(document: dict[str, Any], name: str, most: int, most_characters: int) -> dict[str, str]:
    """An object of texts that may be left out."""
    value = document.get(name)
    if value is None:
        return {}
    example = f'{{"{name}": {{"NAME": "…"}}}}'
    if not isinstance(value, dict):
        raise _Fault(f"{name} is not a JSON object; allowed: {example}")
    if len(value) > most:
        raise _Fault(f"{name} holds {len(value):,} values; allowed: {most}")
    for key, text in value.items():
        if not re.fullmatch(rf"[A-Za-z0-9_]{{1,{most_characters}}}", key):
            shown = compact_json(key[:_SHOWN_NAME])
            raise _Fault(f"{name} holds the name {shown}; allowed: 1 to {most_characters} of A-Z, a-z, 0-9 and _")
        if not isinstance(text, str):
            raise _Fault(f"{name}.{key} is not a text; allowed: {example}")
        if len(text) > MOST_VALUE_CHARACTERS:
            raise _Fault(f"{name}.{key} is longer than {MOST_VALUE_CHARACTERS:,} characters")
    return value


def _shown(line: bytes) -> str:
    """A line as a JSON string, which is surely UTF-8 and not too long."""
    return compact_json(line[: 4 * _SHOWN_CHARACTERS].decode(errors="replace")[:_SHOWN_CHARACTERS])
