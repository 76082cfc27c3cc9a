r"""A second reader of CSV, slow and plain, byte by byte: what the fast one is compared with.

Records end in \n, \r\n or \r outside of quotes. A quote opens at the start of a field only; inside, "" and \" are a quote and
\\ is a backslash, any other backslash is itself; where backslashes are no escapes, only "" is a quote. After the closing quote
a comma or the end of the record must follow. A record that breaks this, or whose quote is never closed, is its first line only.
"""

from __future__ import annotations

from typing import NamedTuple


class Record(NamedTuple):
    """One record: the line it begins in (from 1), the bytes it takes, its fields, its lines; a blank one has no field.

    Of a faulty one, whose quotes are wrong, the fields say nothing.
    """

    line: int
    start: int
    stop: int
    fields: list[bytes]
    lines: int = 1
    is_faulty: bool = False


def read_records(data: bytes, escapes: bool = True, longest: int = 1 << 60) -> list[Record]:
    """All records of a text.

    Args:
        data: The text.
        escapes: A backslash within quotes escapes a quote or a backslash.
        longest: Bytes of a record of several lines.
    """
    found: list[Record] = []
    place, line = 0, 1
    while place < len(data):
        fields, stop, lines = _record(data, place, escapes)
        first_stop = _line_stop(data, place)
        is_faulty = fields is None or (lines > 1 and stop - place > longest)
        if is_faulty:
            stop, lines = first_stop, 1
        is_blank = not data[place:stop].strip(b"\r\n")
        found.append(Record(line, place, stop, [] if is_blank or is_faulty or not fields else fields, lines, is_faulty))
        place, line = stop, line + lines
    return found


def _record(data: bytes, place: int, escapes: bool) -> tuple[list[bytes] | None, int, int]:
    """Fields of the record that starts here, or None where its quotes are wrong; its end; its lines."""
    fields, value, state, lines = [], bytearray(), "start of field", 1
    while place < len(data):
        byte, after = data[place : place + 1], data[place + 1 : place + 2]
        is_end = byte in (b"\n", b"\r")
        place += 2 if byte == b"\r" and after == b"\n" else 1
        if state == "inside":
            if escapes and byte == b"\\" and after and after in b'\\"':
                value += after
                place += 1
            elif byte == b'"':
                state = "closed"
            else:
                value += b"\r\n" if byte == b"\r" and after == b"\n" else byte
                lines += is_end
        elif is_end:
            return [*fields, bytes(value)], place, lines
        elif byte == b",":
            fields.append(bytes(value))
            value, state = bytearray(), "start of field"
        elif state == "closed" and byte != b'"':
            return None, place, lines
        elif byte == b'"' and state in ("start of field", "closed"):
            value += byte if state == "closed" else b""
            state = "inside"
        else:
            value += byte
            state = "midst"
    return None if state == "inside" else [*fields, bytes(value)], place, lines


def _line_stop(data: bytes, place: int) -> int:
    """Position after the end of the line."""
    while place < len(data):
        place += 1
        if data[place - 1 : place] == b"\n" or (data[place - 1 : place] == b"\r" and data[place : place + 1] != b"\n"):
            break
    return place


def count_lines(data: bytes) -> int:
    """Line ends of a text, one byte after the other; a last line without one counts too."""
    lines, before = 0, 0x0A
    for byte in data:
        lines += byte == 0x0D or (byte == 0x0A and before != 0x0D)
        before = byte
    return lines + (before not in (0x0A, 0x0D))
