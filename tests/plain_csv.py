r"""A second reader of CSV, slow and plain, byte by byte: what the fast one is compared with.

Records end in \n, \r\n or \r outside of quotes. A quote opens at the start of a field only; inside, "" and \" are a quote and
\\ is a backslash, any other backslash is itself; what follows the closing quote is part of the value.
"""

from __future__ import annotations

from typing import NamedTuple


class Record(NamedTuple):
    """One record: the line it begins in (from 1), the bytes it takes, its fields; a blank one has no field."""

    line: int
    start: int
    stop: int
    fields: list[bytes]


def read_records(data: bytes) -> tuple[list[Record], bool]:
    """All records of a text, and whether its last quote is never closed (then what follows it is not among them)."""
    found: list[Record] = []
    place, line = 0, 1
    while place < len(data):
        start, first_line = place, line
        fields, value, state = [], bytearray(), "start of field"
        while True:
            byte = data[place : place + 1]
            after = data[place + 1 : place + 2]
            is_end = byte in (b"\n", b"\r")
            place += 2 if byte == b"\r" and after == b"\n" else 1
            line += is_end
            if state == "inside":
                if not byte:
                    return found, True
                if byte == b"\\" and after in (b"\\", b'"') and after:
                    value += after
                    place += 1
                elif byte == b'"':
                    state = "closed"
                else:
                    value += data[place - 2 : place] if byte == b"\r" and after == b"\n" else byte
            elif is_end or not byte:
                break
            elif byte == b",":
                fields.append(bytes(value))
                value, state = bytearray(), "start of field"
            elif byte == b'"' and state in ("start of field", "closed"):
                value += byte if state == "closed" else b""
                state = "inside"
            else:
                value += byte
                state = "midst"
        place = min(place, len(data))
        is_blank = not data[start:place].rstrip(b"\r\n")
        found.append(Record(first_line, start, place, [] if is_blank else [*fields, bytes(value)]))
    return found, False
