"""Lines of batch inference: what Personalize takes and what it gives, byte for byte.

    in   {"userId": "4638"}
    out  {"input":{"userId":"4638"},"output":{"recommendedItems":["63992","115149"],"scores":[0.0152238,7.17E-5]},"error":null}
    bad  {"input":"{userId: 4638}","output":null,"error":"the line is not JSON …"}

Every input line, a blank or broken one too, has its output line in its place. Personalize writes compact JSON and its scores as
Java does: at most seven decimals, without trailing zeros, `3.1E-5` below a thousandth.
Other keys of an input line are given back. Personalize documents that failed records have output lines, not what
stands in them; ours have `output` null and the reason.

This module is the plain statement of the rules; jobs/recommendation/lines.py does the same faster.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

MOST_LINE_BYTES = 256 << 10
MOST_ID_CHARACTERS = 256  # Personalize's limit of USER_ID
SCORE_UNITS = 10_000_000  # scores are whole numbers of ten-millionths: seven decimals
_SMALLEST_PLAIN_SCORE = SCORE_UNITS // 1000  # Java writes smaller numbers with an exponent
_SHOWN_CHARACTERS = 1000  # of an input line that can't be given back as JSON

_EXAMPLE = '{"userId": "…"}'


@dataclass(frozen=True)
class Request:
    """One good input line.

    Attributes:
        given: The input object as compact JSON, given back as `input`.
        user_id: Whose items are asked for.
    """

    given: str
    user_id: str


@dataclass(frozen=True)
class BadLine:
    """One input line that cannot be answered.

    Attributes:
        given: Its JSON value as compact JSON, or its text as a JSON string where it holds none.
        error: Why, in one sentence.
    """

    given: str
    error: str


def parse_line(line: bytes) -> Request | BadLine:
    """Read one input line, without its line break; never raises.

    A user id that is a whole number is taken as its digits: ids are texts, but they are often written without quotes.
    """
    if len(line) > MOST_LINE_BYTES:
        return BadLine(_shown(line), f"the line is longer than {MOST_LINE_BYTES:,} bytes")
    if not line.strip():
        return BadLine(_shown(line), f"the line is blank; allowed: {_EXAMPLE}")
    try:
        document = json.loads(line.decode(), parse_constant=_refuse, parse_float=_finite)
        given = compact_json(document)
        given.encode()
    except UnicodeDecodeError as error:
        return BadLine(_shown(line), f"the line is not UTF-8 text (byte {error.start})")
    except UnicodeEncodeError:
        return BadLine(_shown(line), "the line holds half of a surrogate pair, which is no character")
    except (ValueError, RecursionError) as error:
        reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
        return BadLine(_shown(line), f"the line is not JSON ({reason}); allowed: {_EXAMPLE}")
    fault = _fault(document)
    return Request(given, str(document["userId"])) if fault is None else BadLine(given, fault)


def result_line(request: Request, items: Sequence[str], scores: Sequence[int] | None) -> bytes:
    """The output line of a good input line, with its line break.

    Args:
        request: The input line.
        items: Recommended item ids, best first.
        scores: Theirs, in ten-millionths; None for recipes that write none.
    """
    scored = "" if scores is None else f',"scores":[{",".join(map(score_text, scores))}]'
    output = f'{{"recommendedItems":{compact_json(list(items))}{scored}}}'
    return f'{{"input":{request.given},"output":{output},"error":null}}\n'.encode()


def error_line(bad: BadLine) -> bytes:
    """The output line of a bad input line, with its line break."""
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


def _fault(document: Any) -> str | None:
    """What keeps a JSON value from being a request."""
    if not isinstance(document, dict):
        return f"the line is not a JSON object; allowed: {_EXAMPLE}"
    if "userId" not in document:
        return f"userId is missing; allowed: {_EXAMPLE}"
    user_id = document["userId"]
    if isinstance(user_id, bool) or not isinstance(user_id, str | int):
        return f"userId is not a text; allowed: {_EXAMPLE}"
    if user_id == "":
        return f"userId is empty; allowed: {_EXAMPLE}"
    if len(str(user_id)) > MOST_ID_CHARACTERS:
        return f"userId is longer than {MOST_ID_CHARACTERS} characters"
    return None


def _shown(line: bytes) -> str:
    """A line as a JSON string, which is surely UTF-8 and not too long."""
    return compact_json(line[: 4 * _SHOWN_CHARACTERS].decode(errors="replace")[:_SHOWN_CHARACTERS])


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is no number of JSON")


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError(f"the number {text[:20]} is too large")
    return number
