"""Input lines to requests, and answers to output lines, at the speed of orjson; the rules are those of schemas/batch.py."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import orjson

from schemas.batch import MOST_ID_CHARACTERS, MOST_LINE_BYTES, SCORE_UNITS, BadLine, error_line, parse_line, score_text

Items = npt.NDArray[np.int32]

# Scores below a thousandth need Java's exponent, which orjson doesn't write; there are few enough of them to hold.
_PLAIN_SCORE = SCORE_UNITS // 1000
_LINES_AT_ONCE = 2048
_SMALL_SCORES = [score_text(units).encode() for units in range(_PLAIN_SCORE)]


@dataclass(frozen=True)
class Requests:
    """The lines of a split, read.

    Attributes:
        num_lines: How many lines there are, bad ones included.
        positions: int64 [n], which of them are good.
        user_ids: Whose items the good ones ask for.
        given: What the good ones give back as `input`, as compact JSON.
        errors: Position -> complete output line of each bad one.
    """

    num_lines: int
    positions: npt.NDArray[np.int64]
    user_ids: list[str]
    given: list[bytes]
    errors: dict[int, bytes]


def read_requests(lines: Iterable[bytes]) -> Requests:
    """Read lines; bad ones become error lines."""
    user_ids: list[str] = []
    given: list[bytes] = []
    positions: list[int] = []
    errors: dict[int, bytes] = {}
    position = -1
    for position, line in enumerate(lines):
        request = _plain_request(line) or _any_request(line)
        if isinstance(request, BadLine):
            errors[position] = error_line(request)
        else:
            positions.append(position)
            user_ids.append(request[0])
            given.append(request[1])
    return Requests(position + 1, np.array(positions, dtype=np.int64), user_ids, given, errors)


class LineWriter:
    """Writes the output lines of one solution version.

    Args:
        item_ids: Ids of the items that may be recommended, by item row.
        has_scores: Whether the recipe writes scores.
    """

    def __init__(self, item_ids: Sequence[str], has_scores: bool) -> None:
        self._ids = [orjson.dumps(item_id) for item_id in item_ids]
        self._has_scores = has_scores

    def output_lines(self, requests: Requests, item_rows: Items, scores: Items) -> Iterator[bytes]:
        """One output line for each line of `requests`, in order, each with its line feed.

        Args:
            requests: n of them good.
            item_rows: int32 [n, K], best first.
            scores: int32 [n, K], ten-millionths, falling.
        """
        answers = zip(requests.given, self._outputs(item_rows, scores), strict=True)
        for position in range(requests.num_lines):
            if (error := requests.errors.get(position)) is not None:
                yield error
            else:
                yield b'{"input":%b,"output":{%b},"error":null}\n' % next(answers)

    def _outputs(self, item_rows: Items, scores: Items) -> Iterator[bytes]:
        """The members of each request's `output`, some lines at a time: as Python's lists, numbers take much memory."""
        for start in range(0, len(item_rows), _LINES_AT_ONCE):
            rows, units = item_rows[start : start + _LINES_AT_ONCE], scores[start : start + _LINES_AT_ONCE]
            items = (b'"recommendedItems":[%b]' % b",".join(map(self._ids.__getitem__, row)) for row in rows.tolist())
            if not self._has_scores:
                yield from items
                continue
            plain = (units >= _PLAIN_SCORE).sum(axis=1).tolist()
            texts = map(_scores_text, units.tolist(), (units / SCORE_UNITS).tolist(), plain)
            yield from (b'%b,"scores":[%b]' % pair for pair in zip(items, texts, strict=True))


def _scores_text(units: list[int], values: list[float], plain: int) -> bytes:
    """Falling scores with commas between: the first `plain` of them are at least a thousandth."""
    small = b",".join(map(_SMALL_SCORES.__getitem__, units[plain:]))
    if not plain:
        return small
    large = orjson.dumps(values[:plain])[1:-1]
    return b"%b,%b" % (large, small) if small else large


def _plain_request(line: bytes) -> tuple[str, bytes] | None:
    """User id and `input` of a line of the usual form, `{"userId": "…"}`; None where it needs a closer look."""
    if len(line) > MOST_LINE_BYTES:
        return None
    try:
        document = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    if type(document) is not dict or len(document) != 1:
        return None
    user_id = document.get("userId")
    if type(user_id) is not str or not 0 < len(user_id) <= MOST_ID_CHARACTERS:
        return None
    return user_id, orjson.dumps(document)


def _any_request(line: bytes) -> tuple[str, bytes] | BadLine:
    request = parse_line(line)
    return request if isinstance(request, BadLine) else (request.user_id, request.given.encode())
