r"""Where CSV records end: quoted line ends do not count, `""` and `\"` inside quotes are quotes of the value.

A quote opens a quoted field only at the start of a field; elsewhere it is an ordinary character, as in `5" nails`. A
backslash means something inside quotes only. Lines end in `\n`, `\r\n` or a `\r` of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_LF, _CR, _QUOTE, _COMMA, _BACKSLASH = b'\n\r",\\'

# State after a quote: outside quotes, inside, or just closed (a quote right after it would be a doubled one).
_OUTSIDE, _INSIDE, _CLOSED = 0, 1, 2
# What a quote is: in the midst of a field, at the start of a field, right after another quote; or padding.
_MIDST, _START, _ADJACENT, _PADDING = 0, 1, 2, 3
_NEXT = np.array(
    [
        # from   outside    inside   closed
        [_OUTSIDE, _CLOSED, _OUTSIDE],  # a quote in the midst of a field
        [_INSIDE, _CLOSED, _INSIDE],  # at the start of a field
        [_OUTSIDE, _CLOSED, _INSIDE],  # right after another quote
        [_OUTSIDE, _INSIDE, _CLOSED],  # padding: nothing changes
    ],
    dtype=np.uint8,
)


@dataclass(frozen=True)
class Structure:
    """The lines and records of a block of whole lines.

    Attributes:
        num_lines: Line ends; a last line without one counts too.
        line_stops: int64, position after each line end.
        ends_record: bool, parallel to line_stops: the line end is not quoted.
        inside_after: The block ends within quotes.
    """

    num_lines: int
    line_stops: NDArray[np.int64]
    ends_record: NDArray[np.bool_]
    inside_after: bool

    def record_starts(self) -> NDArray[np.int64]:
        """Position of each record's first byte, in a block that starts with a record."""
        stops = self.line_stops[self.ends_record]
        return np.concatenate([np.zeros(1, np.int64), stops[:-1]]) if len(stops) else stops

    def record_lines(self) -> NDArray[np.int64]:
        """Line of each record's first byte, counted from 0, in a block that starts with a record."""
        ends = np.flatnonzero(self.ends_record)
        return np.concatenate([np.zeros(1, np.int64), ends[:-1] + 1]) if len(ends) else ends


def structure(block: bytes, inside: bool = False) -> Structure:
    """Lines and records of a block that starts at the start of a line.

    Args:
        block: Bytes; the last line may lack its line end.
        inside: The block starts within quotes.
    """
    stops = line_stops(block)
    if b'"' not in block:
        return Structure(len(stops), stops, np.full(len(stops), not inside), inside)
    data = np.frombuffer(block, np.uint8)
    quotes, states = _quote_states(block, data, inside)
    before = np.searchsorted(quotes, stops)
    ends_record = ~_inside_after(states, before, inside)
    return Structure(len(stops), stops, ends_record, bool(states[-1] == _INSIDE) if len(states) else inside)


def line_stops(block: bytes) -> NDArray[np.int64]:
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
    lone_returns = block.count(b"\r") - block.count(b"\r\n")
    return block.count(b"\n") + lone_returns + bool(block and not block.endswith((b"\n", b"\r")))


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


def to_doubled_quotes(block: bytes) -> bytes:
    r"""A block of whole records with `\"` and `\\` inside quotes written as `""` and `\`: what an RFC 4180 parser reads."""
    if b"\\" not in block or b'"' not in block:
        return block
    data = np.frombuffer(block, np.uint8).copy()
    quotes, states = _quote_states(block, data, False)
    slashes = np.flatnonzero(data == _BACKSLASH)
    slashes = slashes[_inside_after(states, np.searchsorted(quotes, slashes), False)]
    place, is_last = _place_in_run(slashes)
    second = place % 2 == 1
    single = slashes[is_last & ~second & (slashes + 1 < len(data))]
    data[single[data[single + 1] == _QUOTE]] = _QUOTE
    keep = np.ones(len(data), np.bool_)
    keep[slashes[second]] = False
    return data[keep].tobytes()


def _quote_states(block: bytes, data: NDArray[np.uint8], inside: bool) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Positions of the quotes that are not escaped, and the state after each."""
    quotes = np.flatnonzero(data == _QUOTE)
    if b"\\" in block:
        quotes = quotes[~_is_escaped(data, quotes)]
    if not len(quotes):
        return quotes, np.empty(0, np.uint8)
    before = np.where(quotes > 0, data[quotes - 1], _LF)
    kinds = np.full(len(quotes), _MIDST, np.uint8)
    kinds[(before == _COMMA) | (before == _LF) | (before == _CR)] = _START
    kinds[1:][quotes[1:] - 1 == quotes[:-1]] = _ADJACENT
    return quotes, _run(kinds, _INSIDE if inside else _OUTSIDE)


def _run(kinds: NDArray[np.uint8], state: int) -> NDArray[np.uint8]:
    """The state after each quote: about √n vector steps instead of n scalar ones.

    The quotes are cut into rows; all rows run at once from each of the three states, then the rows are joined.
    """
    length = int(np.ceil(np.sqrt(len(kinds))))
    rows = -(-len(kinds) // length)
    padded = np.full(rows * length, _PADDING, np.uint8)
    padded[: len(kinds)] = kinds
    steps = padded.reshape(rows, length)
    after = np.empty((length, rows, 3), np.uint8)
    current = np.tile(np.arange(3, dtype=np.uint8), (rows, 1))
    for step in range(length):
        current = _NEXT[steps[:, step, None], current]
        after[step] = current
    starts = np.empty(rows, np.intp)
    for row in range(rows):
        starts[row] = state
        state = int(current[row, state])
    return after[:, np.arange(rows), starts].T.reshape(-1)[: len(kinds)]


def _inside_after(states: NDArray[np.uint8], num_quotes: NDArray[np.intp], inside: bool) -> NDArray[np.bool_]:
    """Whether one is within quotes after so many of them."""
    return np.concatenate([[inside], states == _INSIDE])[num_quotes]


def _is_escaped(data: NDArray[np.uint8], quotes: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Whether an odd number of backslashes stands before each quote."""
    slashes = np.flatnonzero(data == _BACKSLASH)
    place, _ = _place_in_run(slashes)
    found = np.searchsorted(slashes, quotes - 1)
    found_slash = np.minimum(found, len(slashes) - 1)
    escaped: NDArray[np.bool_] = (slashes[found_slash] == quotes - 1) & (place[found_slash] % 2 == 0)
    return escaped


def _place_in_run(positions: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Of rising positions: each one's place (from 0) in its run of neighbours, and whether it is the run's last."""
    breaks = np.diff(positions) != 1
    starts = np.concatenate([[True], breaks])[: len(positions)]
    number = np.arange(len(positions))
    place = number - np.maximum.accumulate(np.where(starts, number, 0)) if len(positions) else number
    return place, np.concatenate([breaks, [True]])[: len(positions)]
