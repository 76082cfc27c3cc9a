r"""Where CSV records end: quoted line ends do not count, and a quote that goes wrong costs its own line only.

A quote opens a quoted value only at the start of a field; elsewhere it is an ordinary character, as in `5" nails`. After the
closing quote only a comma or a line end may follow. A record that breaks this, or whose quote no later line closes properly,
is faulty: it is its first line alone, and reading goes on with the next one. Lines end in `\n`, `\r\n` or a `\r` of its own.

    "a",b          a record
    "a             a record of two lines,
    c",b           since the second one closes the quote and goes on with a comma
    "TV 42"",b     faulty, if the next quote stands in "x",y: what opens here would be closed before an x
    "a"b,c         faulty

So each line is run through alone twice, as if it began outside and inside of quotes; what records there are follows from that.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hrnn.data.arrays import Rows

_LF, _CR, _QUOTE, _COMMA, _BACKSLASH = b'\n\r",\\'


class Quoting(StrEnum):
    r"""How a quote is written within a quoted value."""

    BACKSLASH = "backslash"  # `""` or `\"`, and a backslash as `\\` (Personalize)
    DOUBLED = "doubled"  # `""` only; a backslash is a character like any other (RFC 4180)


# Faults of a record.
RIGHT, TEXT_AFTER_QUOTE, NOT_CLOSED = 0, 1, 2

# State after a quote: outside quotes; inside; after the first of two that stand for one; after a closing one that text follows.
_OUTSIDE, _INSIDE, _DOUBLING, _BROKEN = range(4)
# What follows a quote, and what is added to it where the quote is at the start of a field.
_END, _ANOTHER, _TEXT, _AT_START = 0, 1, 2, 3
_STEP = [
    [[_INSIDE if at_start else _OUTSIDE, inside, _INSIDE, _BROKEN] for inside in (_OUTSIDE, _DOUBLING, _BROKEN)]
    for at_start in (False, True)
]
_PLAIN_STEPS = [*_STEP[0], *_STEP[1]]
_KINDS = len(_PLAIN_STEPS)
# A quote's kind, from each state; then the same for the first quote of a line that is taken to begin outside, or inside.
_STEPS = np.array(
    [*_PLAIN_STEPS, *([step[_OUTSIDE]] * 4 for step in _PLAIN_STEPS), *([step[_INSIDE]] * 4 for step in _PLAIN_STEPS)], np.uint8
)
_FIRST_FROM = {_OUTSIDE: _KINDS, _INSIDE: 2 * _KINDS}
# A line's kind, from outside and inside of a record: 2 where it opens one that is closed later, 1 where it does not end one.
_LINE_STEPS = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.uint8)


@dataclass(frozen=True, eq=False)
class RecordIndex:
    """The lines and records of a block of whole lines that starts with a record.

    Attributes:
        block: Its bytes.
        ends_record: bool, of each line; None where every line does.
        faults: uint8, of each line: of the record that is this line alone; None where there are none.
        settled: So many lines make whole records; None: all. Those after them depend on what comes after the block.
    """

    block: bytes
    ends_record: NDArray[np.bool_] | None = None
    faults: NDArray[np.uint8] | None = None
    settled: int | None = None

    @cached_property
    def line_stops(self) -> Rows:
        """Position after each line end; a last line without one counts too."""
        return line_stops(self.block)

    @cached_property
    def num_lines(self) -> int:
        """How many lines there are."""
        return count_lines(self.block) if "line_stops" not in vars(self) else len(self.line_stops)

    @cached_property
    def record_stops(self) -> Rows:
        """Position after each record."""
        return self.line_stops if self.ends_record is None else self.line_stops[self.ends_record]

    @cached_property
    def record_starts(self) -> Rows:
        """Position of each record's first byte."""
        return _shifted(self.record_stops)

    @cached_property
    def record_lines(self) -> Rows:
        """Line of each record's first byte, counted from 0."""
        return np.arange(self.num_lines) if self.ends_record is None else _shifted(np.flatnonzero(self.ends_record) + 1)

    @cached_property
    def record_spans(self) -> Rows:
        """Lines of each record."""
        return np.diff(self.record_lines, append=self.num_lines)

    @cached_property
    def record_faults(self) -> NDArray[np.uint8]:
        """What is wrong with the quotes of each record."""
        if self.faults is None:
            return np.zeros(len(self.record_stops), np.uint8)
        return self.faults if self.ends_record is None else self.faults[self.ends_record]

    def first(self, num_lines: int) -> RecordIndex:
        """The first lines alone, the last of which ends a record."""
        stop = int(self.line_stops[num_lines - 1]) if num_lines else 0
        ends_record = None if self.ends_record is None else self.ends_record[:num_lines]
        return RecordIndex(self.block[:stop], ends_record, None if self.faults is None else self.faults[:num_lines])


def index(
    block: bytes,
    quoting: Quoting = Quoting.BACKSLASH,
    *,
    at_end: bool = True,
    longest: int = 1 << 40,
    most_lines: int = 1 << 40,
) -> RecordIndex:
    """Lines and records of a block that starts with a record.

    Args:
        block: Whole lines; the last one may lack its line end.
        quoting: How quotes are written within values.
        at_end: Nothing comes after the block.
        longest: Bytes of a record of several lines, at most; in one that is longer a quote was left open.
        most_lines: Lines of a record, at most; likewise.
    """
    if b'"' not in block:
        return RecordIndex(block)
    # The quotes of each line: lines without quotes change no state, so only the others are run through.
    stops = line_stops(block)
    quotes, kinds = _quotes(block, quoting)
    last = np.searchsorted(quotes, stops)  # of the quotes of each line, and one more
    first = _shifted(last)
    filled = np.flatnonzero(last > first)
    first, last = first[filled], last[filled] - 1

    def after_lines(state: int) -> NDArray[np.uint8]:
        """State after each line that begins in this one."""
        steps = kinds.copy()
        steps[first] += _FIRST_FROM[state]
        after = np.full(len(stops), state, np.uint8)
        after[filled] = _run(steps, _STEPS)[last]
        return after

    # Each line as if a record began with it: most end outside of quotes, and are records of their own.
    alone = after_lines(_OUTSIDE)
    opening = np.flatnonzero(alone == _INSIDE)
    faults = np.where(alone == _BROKEN, np.uint8(TEXT_AFTER_QUOTE), np.uint8(RIGHT))
    if not len(opening):
        return _with_lines(RecordIndex(block, None, faults if faults.any() else None), stops)
    # Where lines open a quote, each line again as if within one: the first that leaves it decides about the opening line.
    within = after_lines(_INSIDE)
    starts = _shifted(stops)[opening]
    closing = np.append(np.flatnonzero(within != _INSIDE), len(stops))
    closer = closing[np.searchsorted(closing, opening + 1)]  # the line that decides whether each opening line is right
    # Right: closed properly, soon enough. Open: not decided within this block, and still short enough to be.
    is_known = closer < len(stops)
    known = np.minimum(closer, len(stops) - 1)
    is_right = is_known & (within[known] == _OUTSIDE) & (stops[known] - starts <= longest) & (known - opening < most_lines)
    is_open = ~is_known & (len(block) - starts < longest) & (len(stops) - opening < most_lines) & (not at_end)
    # An opening line within another record opens nothing, so one run over whole lines finds where records end.
    line_kinds = (within == _INSIDE).astype(np.uint8)
    line_kinds[opening[is_right | is_open]] += 2
    after = _run(line_kinds, _LINE_STEPS).view(np.bool_)
    begins_record = np.concatenate([[True], ~after[:-1]])
    # A line within a record has no fault of its own; the block is settled up to the first record that is still open.
    faults[opening[~is_right & ~is_open]] = NOT_CLOSED
    faults[~begins_record] = RIGHT
    waiting = opening[is_open & begins_record[opening]]
    records = RecordIndex(block, ~after, faults, int(waiting[0]) if len(waiting) else None)
    return _with_lines(records, stops)


def line_stops(block: bytes) -> Rows:
    """Position after each line end; the end of the block ends a line too, unless the block is empty."""
    data = np.frombuffer(block, np.uint8)
    ends = data == _LF
    if b"\r" in block:
        lone = data == _CR
        lone[:-1] &= data[1:] != _LF
        ends |= lone
    stops = np.flatnonzero(ends) + 1
    return stops if not block or (len(stops) and stops[-1] == len(block)) else np.append(stops, len(block))


def count_lines(block: bytes) -> int:
    """How many line ends `line_stops` would find, several times faster."""
    lone_returns = block.count(b"\r") - block.count(b"\r\n") if b"\r" in block else 0
    newlines = int(np.count_nonzero(np.frombuffer(block, np.uint8) == _LF))
    return newlines + lone_returns + bool(block and not block.endswith((b"\n", b"\r")))


def first_line_stop(buffer: bytes, at_end: bool) -> int:
    """Position after the first line end of a buffer; 0 where it holds none, its length where the file ends there."""
    newline = buffer.find(b"\n")
    lone = buffer.find(b"\r", 0, newline if newline >= 0 else len(buffer))
    if 0 <= lone < newline - 1 or (newline < 0 and 0 <= lone < len(buffer) - 1):
        return lone + 1
    return newline + 1 if newline >= 0 else len(buffer) if at_end else 0


def last_line_stop(buffer: bytes) -> int:
    """Position after the last line end of a buffer that goes on; 0 where it holds none."""
    newline = buffer.rfind(b"\n")
    return max(newline, buffer.rfind(b"\r", newline + 1, max(newline + 1, len(buffer) - 1))) + 1


def field_counts(block: bytes, record_stops: Rows, quoting: Quoting) -> Rows:
    """Fields of each record of a block without faulty ones."""
    commas = np.flatnonzero(np.frombuffer(block, np.uint8) == _COMMA)
    if b'"' in block:
        commas = commas[~_is_inside(commas, *_quotes(block, quoting))]
    return np.diff(np.searchsorted(commas, record_stops), prepend=0) + 1


def to_doubled_quotes(block: bytes) -> bytes:
    r"""Whole records without faults, `\"` and `\\` inside quotes written as `""` and `\`: what an RFC 4180 parser reads."""
    if b"\\" not in block or b'"' not in block:
        return block
    # Outside of quotes a backslash is a character like any other.
    data = np.frombuffer(block, np.uint8).copy()
    slashes = np.flatnonzero(data == _BACKSLASH)
    slashes = slashes[_is_inside(slashes, *_quotes(block, Quoting.BACKSLASH))]
    # Backslashes escape in pairs from a run's first: the second of a pair goes, a single one before a quote becomes a quote.
    place, is_last = _place_in_run(slashes)
    second = place % 2 == 1
    single = slashes[is_last & ~second & (slashes + 1 < len(data))]
    data[single[data[single + 1] == _QUOTE]] = _QUOTE
    keep = np.ones(len(data), np.bool_)
    keep[slashes[second]] = False
    return data[keep].tobytes()


def _with_lines(records: RecordIndex, stops: Rows) -> RecordIndex:
    vars(records)["line_stops"] = stops  # so that they are not sought again
    return records


def _shifted(ends: Rows) -> Rows:
    """Where each range begins, from where each one ends."""
    return np.append(0, ends[:-1]) if len(ends) else ends


def _quotes(block: bytes, quoting: Quoting) -> tuple[Rows, NDArray[np.uint8]]:
    """Positions of the quotes that are not escaped, and the kind of each."""
    data = np.frombuffer(block, np.uint8)
    quotes = np.flatnonzero(data == _QUOTE)
    if quoting is Quoting.BACKSLASH and b"\\" in block:
        quotes = quotes[~_is_escaped(data, quotes)]
    # The bytes beside a quote say what it may be; the block's edges count as line ends.
    before = np.where(quotes > 0, data[quotes - 1], _LF)
    after = np.where(quotes < len(data) - 1, data[np.minimum(quotes + 1, len(data) - 1)], _LF)
    kinds = np.full(len(quotes), _TEXT, np.uint8)
    kinds[(after == _COMMA) | (after == _LF) | (after == _CR)] = _END
    kinds[after == _QUOTE] = _ANOTHER
    kinds[(before == _COMMA) | (before == _LF) | (before == _CR)] += _AT_START
    return quotes, kinds


def _is_inside(positions: Rows, quotes: Rows, kinds: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Whether each position of a block without faulty records lies within quotes."""
    inside: NDArray[np.bool_] = np.concatenate([[False], _run(kinds, _STEPS) == _INSIDE])
    return inside[np.searchsorted(quotes, positions)]


def _run(kinds: NDArray[np.uint8], steps: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The state after each of n steps, from state 0: about √n vector operations instead of n scalar ones.

    The steps are cut into rows; all rows run at once from each state, then the rows are joined.

    Args:
        kinds: Of each step.
        steps: kind, state -> next state.
    """
    # √n rows of √n steps, padded to a rectangle.
    num_states = steps.shape[1]
    steps = np.vstack([steps, np.arange(num_states, dtype=np.uint8)])  # the last kind changes nothing: padding
    length = max(1, int(np.ceil(np.sqrt(len(kinds)))))
    rows = -(-len(kinds) // length)
    padded = np.full(rows * length, len(steps) - 1, np.uint8)
    padded[: len(kinds)] = kinds
    # Column by column: one vector operation moves all rows a step on, from every state they may begin in.
    places = padded.reshape(rows, length)
    after = np.empty((length, rows, num_states), np.uint8)
    current = np.tile(np.arange(num_states, dtype=np.uint8), (rows, 1))
    for place in range(length):
        current = steps[places[:, place, None], current]
        after[place] = current
    # Only now is known in which state each row begins: where the one before it ended.
    starts, state = np.empty(rows, np.intp), 0
    for row in range(rows):
        starts[row] = state
        state = int(current[row, state])
    return after[:, np.arange(rows), starts].T.reshape(-1)[: len(kinds)]


def _is_escaped(data: NDArray[np.uint8], quotes: Rows) -> NDArray[np.bool_]:
    """Whether an odd number of backslashes stands before each quote."""
    slashes = np.flatnonzero(data == _BACKSLASH)
    place, _ = _place_in_run(slashes)
    # Only the backslash right before a quote counts; at an even place (from 0) in its run it is not itself escaped.
    place_among = np.searchsorted(slashes, quotes - 1)
    nearest = np.minimum(place_among, len(slashes) - 1)
    escaped: NDArray[np.bool_] = (slashes[nearest] == quotes - 1) & (place[nearest] % 2 == 0)
    return escaped


def _place_in_run(positions: Rows) -> tuple[Rows, NDArray[np.bool_]]:
    """Of rising positions: each one's place (from 0) in its run of neighbours, and whether it is the run's last."""
    breaks = np.diff(positions) != 1
    starts = np.concatenate([[True], breaks])[: len(positions)]
    number = np.arange(len(positions))
    place = number - np.maximum.accumulate(np.where(starts, number, 0)) if len(positions) else number
    return place, np.concatenate([breaks, [True]])[: len(positions)]
