"""Input lines to requests, and answers to output lines, at the speed of orjson; the rules are those of schemas/batch.py."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

import numpy as np
import numpy.typing as npt
import orjson

from hrnn.explain.families import FAMILIES
from jobs.batch.tally import filter_value_counts
from jobs.recommend.answers import LOG_ODDS_UNITS, OF_FAMILIES, PAST_ITEMS, POPULAR, REASON_UNITS, SHARES, Answers
from schemas.batch import (
    MOST_ID_CHARACTERS,
    MOST_LINE_BYTES,
    MOST_LISTED_ITEMS,
    SCORE_UNITS,
    BadLine,
    LineKind,
    Request,
    error_line,
    parse_line,
    score_text,
)

FilterFault = Callable[[Mapping[str, str]], str | None]  # why a line with such filterValues can't be answered

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
        subjects: The user, or the item, of each good one.
        item_lists: The list to be ranked of each good one; none where lines hold no lists.
        filter_values: The distinct filterValues of the good ones, where a filter needs them.
        values_of: int64 [n], which of them are each good one's.
        inputs: The `input` of the good ones' output lines, as compact JSON.
        errors: Position -> complete output line of each bad one.
        ignored: filterValues of the good ones where there is no filter, and how many lines have them.
    """

    num_lines: int
    positions: npt.NDArray[np.int64]
    subjects: list[str]
    item_lists: list[Sequence[str]]
    filter_values: list[Mapping[str, str]]
    values_of: npt.NDArray[np.int64]
    inputs: list[bytes]
    errors: dict[int, bytes]
    ignored: Sequence[tuple[Mapping[str, str], int]] = ()

    def filter_value_counts(self, placeholders: Sequence[str]) -> dict[str, Any]:
        """The fields of a Tally that count filterValues, by the placeholders of the filter."""
        counts = np.bincount(self.values_of, minlength=len(self.filter_values)).tolist()
        return filter_value_counts([*self.ignored, *zip(self.filter_values, counts, strict=False)], placeholders)


def first_error(errors: Mapping[int, bytes]) -> str:
    """Message of the first of some error lines."""
    return str(orjson.loads(errors[min(errors)])["error"]) if errors else ""


def read_requests(lines: Iterable[bytes], kind: LineKind = "user", fault: FilterFault | None = None) -> Requests:
    """Read lines; bad ones become error lines.

    Args:
        lines: Without their line feeds.
        kind: What they hold: `user`, `ranking` or `item`.
        fault: Where answers are filtered, what is wrong with filterValues; called once for equal ones.
    """
    quickly, subject_of = _QUICKLY[kind], _SUBJECT[kind]
    subjects: list[str] = []
    item_lists: list[Sequence[str]] = []
    inputs: list[bytes] = []
    positions: list[int] = []
    errors: dict[int, bytes] = {}
    values = _ValueSets(fault)
    position = -1
    for position, line in enumerate(lines):
        quick = quickly(line) if fault is None else None
        if quick is not None:
            subject, listed, echoed = quick
        else:
            request = parse_line(line, kind)
            if isinstance(request, Request) and (error := values.add(request.filter_values)) is not None:
                request = BadLine(request.given, error)
            if isinstance(request, BadLine):
                errors[position] = error_line(request, kind)
                continue
            subject, listed, echoed = subject_of(request), request.item_list, request.given.encode()
        positions.append(position)
        subjects.append(subject)
        inputs.append(echoed)
        if kind == "ranking":
            item_lists.append(listed)
    return Requests(
        position + 1,
        np.array(positions, dtype=np.int64),
        subjects,
        item_lists,
        values.sets,
        np.array(values.of_lines if fault else [0] * len(subjects), dtype=np.int64),
        inputs,
        errors,
        values.ignored,
    )


class _ValueSets:
    """The distinct filterValues of lines, and what is wrong with each."""

    def __init__(self, fault: FilterFault | None) -> None:
        self.sets: list[Mapping[str, str]] = []
        self.of_lines: list[int] = []
        self._fault = fault
        self.ignored: list[tuple[Mapping[str, str], int]] = []
        self._codes: dict[tuple[tuple[str, str], ...], int | str] = {}

    def add(self, values: Mapping[str, str]) -> str | None:
        """Note the values of the next good line; returns what is wrong with them, if anything."""
        if self._fault is None:
            if values:
                self.ignored.append((dict.fromkeys(values, ""), 1))  # only their names are counted
            return None
        key = tuple(sorted(values.items()))
        code = self._codes.get(key)
        if code is None:
            code = self._fault(values)
            if code is None:
                code = len(self.sets)
                self.sets.append(values)
            self._codes[key] = code
        if isinstance(code, str):
            return code
        self.of_lines.append(code)
        return None


class LineWriter:
    """Writes the output lines of one solution version.

    Args:
        item_ids: Ids of the items that may be recommended, by item row.
        has_scores: Whether the recipe writes scores.
        explained: Whether lines have explanations; answers without reasons are popular items.
    """

    def __init__(self, item_ids: Sequence[str], has_scores: bool, explained: bool = False) -> None:
        self._ids = [orjson.dumps(item_id) for item_id in item_ids]
        self._has_scores, self._explained = has_scores, explained

    def output_lines(self, requests: Requests, answers: Answers) -> Iterator[bytes]:
        """One output line for each line of `requests`, in order, each with its line feed.

        Args:
            requests: n of them good.
            answers: To the good ones; entries are item rows, or places in the request's list where it has one.
        """
        outputs = zip(requests.inputs, self._outputs(requests, answers), strict=True)
        for position in range(requests.num_lines):
            if (error := requests.errors.get(position)) is not None:
                yield error
            else:
                yield b'{"input":%b,"output":{%b},"error":null}\n' % next(outputs)

    def _outputs(self, requests: Requests, answers: Answers) -> Iterator[bytes]:
        """The members of each request's `output`, some lines at a time: as Python's lists, numbers take much memory."""
        for start in range(0, len(answers), _LINES_AT_ONCE):
            part = answers.part(start, start + _LINES_AT_ONCE)
            entries, units, values, plain = part.as_lists(_PLAIN_SCORE, SCORE_UNITS)
            if requests.item_lists:
                lists = requests.item_lists[start : start + _LINES_AT_ONCE]
                items = (
                    b'"recommendedItems":[%b]' % b",".join([orjson.dumps(listed[place]) for place in places])
                    for listed, places in zip(lists, entries, strict=True)
                )
            else:
                items = (b'"recommendedItems":[%b]' % b",".join(map(self._ids.__getitem__, row)) for row in entries)
            if self._has_scores:
                texts = map(_scores_text, units, values, plain)
                items = (b'%b,"scores":[%b]' % pair for pair in zip(items, texts, strict=True))
            if self._explained:
                explanations = self._explanations(part, [len(row) for row in entries])
                items = (b'%b,"explanations":[%b]' % pair for pair in zip(items, explanations, strict=True))
            yield from items

    def _explanations(self, answers: Answers, lengths: list[int]) -> Iterator[bytes]:
        """The explanations of each line's places, with commas between."""
        popular = POPULAR.tolist()
        for start, length in zip(answers.offsets.tolist(), lengths, strict=False):  # offsets have one more
            reasons = None if answers.reasons is None else answers.reasons[start : start + length].tolist()
            yield b",".join(map(self._explanation, reasons or [popular] * length))

    def _explanation(self, reason: list[int]) -> bytes:
        popularity, explored, rows, shares = reason[0], reason[1], reason[PAST_ITEMS], reason[SHARES]
        because = b",".join(
            b'{"itemId":%b,"share":%b}' % (self._ids[row], orjson.dumps(share / REASON_UNITS))
            for row, share in zip(rows, shares, strict=True)
            if row >= 0
        )
        flag = b"true" if explored else b"false"
        share = orjson.dumps(popularity / REASON_UNITS)
        told = _families_text(reason[OF_FAMILIES])
        return b'{"popularityShare":%b,"explored":%b,"because":[%b]%b}' % (share, flag, because, told)


def _families_text(units: list[int]) -> bytes:
    """What families add to the log-odds of a ranked item, and their sum, the greatest first; nothing of other items."""
    told = sorted(((name, each) for name, each in zip(FAMILIES, units, strict=True) if each), key=lambda pair: -pair[1])
    if not told:
        return b""
    families = {name: each / LOG_ODDS_UNITS for name, each in told}
    return b',"logOdds":%b,"families":%b' % (orjson.dumps(sum(units) / LOG_ODDS_UNITS), orjson.dumps(families))


def _scores_text(units: list[int], values: list[float], plain: int) -> bytes:
    """Falling scores with commas between: the first `plain` of them are at least a thousandth."""
    small = b",".join(map(_SMALL_SCORES.__getitem__, units[plain:]))
    if not plain:
        return small
    large = orjson.dumps(values[:plain])[1:-1]
    return b"%b,%b" % (large, small) if small else large


_QuickRequest = tuple[str, Sequence[str], bytes]  # subject, list, `input`


def _one_id(line: bytes, name: str) -> _QuickRequest | None:
    """A line of the usual form, `{"userId": "…"}`; None where it needs a closer look, as where a key may stand twice."""
    if len(line) > MOST_LINE_BYTES or line.count(b'"') != 4:
        return None
    try:
        document = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    if type(document) is not dict or len(document) != 1 or not _is_id(subject := document.get(name)):
        return None
    return subject, (), orjson.dumps(document)


def _plain_user(line: bytes) -> _QuickRequest | None:
    return _one_id(line, "userId")


def _plain_item(line: bytes) -> _QuickRequest | None:
    return _one_id(line, "itemId")


def _plain_ranking(line: bytes) -> _QuickRequest | None:
    """A line of the usual form, `{"userId": "…", "itemList": ["…", …]}`; None where it needs a closer look."""
    if len(line) > MOST_LINE_BYTES:
        return None
    try:
        document = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    if type(document) is not dict or len(document) != 2 or not _is_id(user_id := document.get("userId")):
        return None
    listed = document.get("itemList")
    if type(listed) is not list or not 0 < len(listed) <= MOST_LISTED_ITEMS or not all(map(_is_id, listed)):
        return None
    if line.count(b'"') != 2 * (len(listed) + 3):  # a key may stand twice
        return None
    return user_id, listed, orjson.dumps(document)


def _is_id(value: object) -> TypeGuard[str]:
    return type(value) is str and 0 < len(value) <= MOST_ID_CHARACTERS


_QUICKLY: dict[LineKind, Callable[[bytes], _QuickRequest | None]] = {
    "user": _plain_user,
    "ranking": _plain_ranking,
    "item": _plain_item,
}
_SUBJECT: dict[LineKind, Callable[[Request], str]] = {
    "user": lambda request: request.user_id,
    "ranking": lambda request: request.user_id,
    "item": lambda request: request.item_id,
}
