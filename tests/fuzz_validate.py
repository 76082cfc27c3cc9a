"""Damaged CSV files and schemas, by the thousand: no traceback, no hang, no lost row.

    python tests/fuzz_validate.py --inputs 100000 --seed 0
    python tests/fuzz_validate.py --seed 0 --only 4711      # one input again

Every input follows from the seed and its number alone. A CSV file goes through headers, splits, blocks and rows as in Spark's
tasks, and is compared with what a slow, plain reader finds in it (tests/plain_csv.py); a schema through `parse_schema`.
"""

from __future__ import annotations

import argparse
import base64
import faulthandler
import gzip
import json
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import fuzz_inputs
from check_files import blocks_of
from fuzz_inputs import CsvInput
from plain_csv import Record, read_records

from jobs.storage import list_input
from jobs.validation import inputs, reading
from jobs.validation.inputs import InputFile, open_inputs
from jobs.validation.rows import typed_schema
from schemas.columns import INPUT_ORDER, ITEM_ID
from schemas.datasets import parse_schema, parse_schema_document
from schemas.errors import DataError, SchemaError

MOST_FAILURES = 10  # told before the run ends
DEADLINE_SECONDS = 20.0  # of one input; most take a few thousandths

_BOM = b"\xef\xbb\xbf"
_LINE_BITS = (1 << 40) - 1


class Failed(Exception):
    """An input that was treated wrongly, with all that is needed to see it again."""


@dataclass
class _Sight:
    """What the code under test made of the rows of one file."""

    accepted_lines: list[int]
    accepted_items: list[str]
    rejected_lines: set[int]
    misfit_lines: list[int]
    counts: Counter[str]


def fuzz(num_inputs: int, seed: int, folder: Path, first: int = 0, deadline_seconds: float = 0.0) -> Counter[str]:
    """Try inputs, and count them.

    Args:
        num_inputs: How many.
        seed: Of all randomness.
        folder: For the files; best in memory.
        first: Number of the first input.
        deadline_seconds: Longest time for one input; 0 for no limit.

    Returns:
        `inputs`, `csv`, `schemas`, `csv_refused`, `schemas_refused`, `rows`, `accepted`, `rejected`, `blank`.

    Raises:
        Failed: An input that was treated wrongly.
    """
    figures: Counter[str] = Counter()
    for number in range(first, first + num_inputs):
        figures += _one(number, seed, folder, deadline_seconds)
    return figures


def _one(number: int, seed: int, folder: Path, deadline_seconds: float) -> Counter[str]:
    random = Random(f"{seed} {number}")
    made = fuzz_inputs.csv_input(random) if random.random() < 0.5 else fuzz_inputs.schema_text(random)

    def hang(*_: Any) -> None:
        raise TimeoutError(f"no end after {deadline_seconds:g} s")

    if deadline_seconds:
        signal.signal(signal.SIGALRM, hang)
        signal.setitimer(signal.ITIMER_REAL, deadline_seconds)
    try:
        return _try_csv(made, folder) if isinstance(made, CsvInput) else _try_schema(made)
    except Exception as error:
        data = made.data if isinstance(made, CsvInput) else made.encode("utf-8", "surrogatepass")
        told = "".join(traceback.format_exception(error))
        raise Failed(f"{told}\nseed {seed}, input {number}: {made!r}\nbase64: {base64.b64encode(data).decode()}") from None
    finally:
        if deadline_seconds:
            signal.setitimer(signal.ITIMER_REAL, 0)


def _try_schema(text: str) -> Counter[str]:
    figures = Counter(inputs=1, schemas=1)
    try:
        schema = parse_schema(text)
    except SchemaError as error:
        _check_message(str(error))
        return figures + Counter(schemas_refused=1)
    assert parse_schema_document(json.loads(text)).fields == schema.fields
    assert len(set(schema.names)) == len(schema.names) == len(typed_schema(schema)) - 1
    return figures


def _check_message(message: str) -> None:
    assert message.isprintable(), "a message of several lines, or with odd characters"
    assert len(message) < 5000, "a message of too many characters"


def _try_csv(made: CsvInput, folder: Path) -> Counter[str]:
    path = folder / "fuzz.csv"
    path.write_bytes(made.data)
    reading.PIECE_BYTES, reading._EDGE_BYTES = made.piece_bytes, made.piece_bytes
    reading.LONGEST_RECORD, inputs.HEAD_BYTES = made.longest_record, made.head_bytes
    figures = Counter(inputs=1, csv=1)
    file: InputFile | None = None
    try:
        [file] = open_inputs(list_input(str(path)), str(path), made.schema)
        sight = _sight(file, made)
    except DataError as error:
        _check_message(str(error))
        if file is not None:
            _check_refusal(made, file, str(error))
        return figures + Counter(csv_refused=1)
    _check_rows(_unpacked(made.data), file, sight)
    return figures + sight.counts


def _sight(file: InputFile, made: CsvInput) -> _Sight:
    sight = _Sight([], [], set(), [], Counter())
    for _, checked in blocks_of([file], made.schema, made.split_bytes):
        sight.accepted_lines += [order & _LINE_BITS for order in checked.accepted.column(INPUT_ORDER).to_pylist()]
        sight.accepted_items += checked.accepted.column(ITEM_ID).to_pylist()
        lines, columns = (checked.rejected.column(name).to_pylist() for name in ("line", "column"))
        sight.rejected_lines |= set(lines)
        sight.misfit_lines += [line for line, column in zip(lines, columns, strict=True) if not column]
        assert checked.rows_read == checked.accepted.num_rows + checked.rows_rejected
        assert checked.rows_rejected == len(set(lines))
        sight.counts += Counter(
            rows=checked.rows_read,
            accepted=checked.accepted.num_rows,
            rejected=checked.rows_rejected,
            blank=checked.blank_lines,
        )
    return sight


def _check_rows(text: bytes, file: InputFile, sight: _Sight) -> None:
    """Every record of a file that was read must be where it belongs."""
    records, is_open = read_records(text.removeprefix(_BOM))
    assert not is_open, "a quote is never closed, but the file was read"
    if not file.header:
        assert not any(record.fields for record in records)
        return
    body = _body(records, text, file)
    blank = [record for record in body if not record.fields]
    rows = {record.line: record.fields for record in body if record.fields}
    assert len(blank) == sight.counts["blank"], (len(blank), sight.counts)
    assert len(rows) == sight.counts["rows"], (len(rows), sight.counts)
    assert sight.misfit_lines == [line for line, fields in rows.items() if len(fields) != len(file.header)]
    assert sorted(sight.rejected_lines) + sight.accepted_lines == sorted(rows.keys() & sight.rejected_lines) + [
        line for line in rows if line not in sight.rejected_lines
    ]
    item = file.header.index(ITEM_ID)
    assert sight.accepted_items == [rows[line][item].decode() for line in sight.accepted_lines]


def _body(records: list[Record], text: bytes, file: InputFile) -> list[Record]:
    """The records after the header; the header must be where the file says."""
    skipped = len(text) - len(text.removeprefix(_BOM))
    header = next(place for place, record in enumerate(records) if text[skipped + record.start : skipped + record.stop].strip())
    assert file.body_start == skipped + records[header].stop
    assert file.body_line == (records[header + 1].line if header + 1 < len(records) else file.body_line)
    return records[header + 1 :]


def _check_refusal(made: CsvInput, file: InputFile, message: str) -> None:
    """A file whose header was read is refused for one of three reasons only."""
    if file.gzipped and "gzip data" in message:
        return
    if "longer than" in message:
        assert made.longest_record < fuzz_inputs.UNLIMITED
        return
    assert "is never closed" in message, message
    assert read_records(_unpacked(made.data).removeprefix(_BOM))[1], "all quotes are closed, but the file was refused"


def _unpacked(data: bytes) -> bytes:
    return gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data


def main() -> int:
    """Fuzz; the last line tells the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=100_000, help="how many inputs")
    parser.add_argument("--seed", type=int, default=0, help="of all randomness")
    parser.add_argument("--only", type=int, default=None, help="number of the one input to try")
    options = parser.parse_args()
    numbers = range(options.inputs) if options.only is None else range(options.only, options.only + 1)
    figures: Counter[str] = Counter()
    failures = 0
    began = time.monotonic(), time.process_time()
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        for number in numbers:
            if number % 1000 == 0:
                faulthandler.dump_traceback_later(1000 * DEADLINE_SECONDS, exit=True)
            try:
                figures += fuzz(1, options.seed, Path(folder), number, DEADLINE_SECONDS)
            except Failed as failed:
                print(failed, file=sys.stderr)
                failures += 1
                if failures == MOST_FAILURES:
                    break
    faulthandler.cancel_dump_traceback_later()
    print(told(figures, failures, options.seed, time.monotonic() - began[0], time.process_time() - began[1]))
    return 1 if failures else 0


def told(figures: Counter[str], failures: int, seed: int, seconds: float, core_seconds: float) -> str:
    """The figures as one line."""
    return (
        f"fuzz: {figures['inputs']:,} inputs right, {failures} wrong; {figures['csv']:,} CSV files ({figures['csv_refused']:,} "
        f"refused) with {figures['rows']:,} rows = {figures['accepted']:,} accepted + {figures['rejected']:,} rejected, and "
        f"{figures['blank']:,} blank lines; {figures['schemas']:,} schemas ({figures['schemas_refused']:,} refused); "
        f"{seconds:.0f} s ({core_seconds:.0f} s of one core), seed {seed}"
    )


if __name__ == "__main__":
    sys.exit(main())
