"""Damaged CSV files and schemas, by the thousand: no traceback, no hang, no lost row.

    python tests/fuzz/fuzz_validate.py --inputs 111000 --seed 0
    python tests/fuzz/fuzz_validate.py --seed 0 --only 4711      # one input again

Every input follows from the seed and its number alone; ten in eleven are CSV. A CSV file goes through headers, splits, blocks
and rows as in Spark's tasks, and is compared with what a slow, plain reader finds in it (tests/support/plain_csv.py), quoting
faults included; its line ends, counted byte by byte, must be accounted for, in every 32nd file also by a whole import with its
duplicates. A schema goes through `parse_schema`.
"""

from __future__ import annotations

import argparse
import base64
import faulthandler
import gzip
import json
import shutil
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
import plain_csv
from check_files import splits_of
from fuzz_inputs import CsvInput
from plain_csv import Record, read_records
from plain_exchange import plain_exchange

from jobs.platform.storage import list_input
from jobs.validate import inputs, outcome, reading
from jobs.validate.inputs import InputFile, Split, open_inputs
from jobs.validate.plan import ImportPlan, gather
from jobs.validate.quotes import Quoting
from jobs.validate.reading import record_blocks
from jobs.validate.rows import check_block, typed_schema
from jobs.validate.splits import plan_splits, scan
from schemas.columns import INPUT_ORDER, ITEM_ID
from schemas.datasets import parse_schema, parse_schema_document
from schemas.errors import DataError, SchemaError

MOST_FAILURES = 10  # told before the run ends
CSV_SHARE = 10 / 11  # of the inputs
DEADLINE_SECONDS = 20.0  # of one input; most take a few thousandths

_BOM = b"\xef\xbb\xbf"
_LINE_BITS = (1 << 40) - 1


class Failed(Exception):
    """An input that was treated wrongly, with all that is needed to see it again."""


@dataclass
class _Sight:
    """What the code under test made of the rows of one file; rejected ones by line, with the reason if wrong as a whole."""

    accepted_lines: list[int]
    accepted_items: list[str]
    rejected: dict[int, str]
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
        `inputs`, `csv`, `schemas`, `csv_refused`, `schemas_refused`, `doubled` (files read with backslashes as characters),
        `faulty` (rows whose quotes are wrong), `imported` (whole imports), `duplicates` found there; and `lines`, which are
        those of `accepted`, `rejected`, `blank` and `header`.

    Raises:
        Failed: An input that was treated wrongly.
    """
    figures: Counter[str] = Counter()
    for number in range(first, first + num_inputs):
        figures += _one(number, seed, folder, deadline_seconds)
    return figures


def _one(number: int, seed: int, folder: Path, deadline_seconds: float) -> Counter[str]:
    random = Random(f"{seed} {number}")
    made = fuzz_inputs.csv_input(random) if random.random() < CSV_SHARE else fuzz_inputs.schema_text(random)

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
    reading.PIECE_BYTES, reading.EDGE_BYTES = made.piece_bytes, made.piece_bytes
    reading.LONGEST_RECORD, inputs.HEAD_BYTES = made.longest_record, made.head_bytes
    figures = Counter(inputs=1, csv=1)
    file: InputFile | None = None
    try:
        [file] = open_inputs(list_input(str(path)), str(path), made.schema)
        splits = splits_of([file], made.split_bytes)
        sight = _sight(file, splits, made)
    except DataError as error:
        _check_message(str(error))
        if file is not None:
            _check_refusal(made, file, str(error))
        return figures + Counter(csv_refused=1)
    text = _unpacked(made.data)
    _check_lines(text, file, sight.counts)
    figures += _check_rows(text, file, made, sight, {split.quoting for split in splits})
    if file.header and sight.counts["rows"] and made.is_imported:
        figures += _import(file, made, folder / "import", sight.counts)
    return figures + sight.counts


def _sight(file: InputFile, splits: list[Split], made: CsvInput) -> _Sight:
    sight = _Sight([], [], {}, Counter())
    for split in splits:
        for block in record_blocks(split):
            checked = check_block(block, file, made.schema)
            sight.accepted_lines += [order & _LINE_BITS for order in checked.accepted.column(INPUT_ORDER).to_pylist()]
            sight.accepted_items += checked.accepted.column(ITEM_ID).to_pylist()
            for row in checked.rejected.to_pylist():
                sight.rejected[row["line"]] = "" if row["column"] else row["reason"]
            sight.counts += Counter(
                rows=checked.rows_read,
                accepted=checked.accepted.num_rows + checked.lines_within_rows,
                rejected=checked.rows_rejected,
                blank=checked.blank_lines,
            )
    return sight


def _check_lines(text: bytes, file: InputFile, counts: Counter[str]) -> None:
    """Every line end of a file must be accounted for."""
    counts["lines"] = plain_csv.count_lines(text)
    counts["header"] = plain_csv.count_lines(text[: file.body_start])
    told = {name: counts[name] for name in ("header", "accepted", "rejected", "blank")}
    assert counts["lines"] == sum(told.values()), (counts["lines"], told)


def _check_rows(text: bytes, file: InputFile, made: CsvInput, sight: _Sight, quotings: set[Quoting | None]) -> Counter[str]:
    """Every record of a file that was read must be where it belongs."""
    if not file.header:
        assert not text.removeprefix(_BOM).strip()
        return Counter()
    _check_header(text, file)
    body = text[file.body_start :]
    is_doubled, records = _plainly(body, len(file.header), made.longest_record)
    assert quotings <= {Quoting.DOUBLED if is_doubled else Quoting.BACKSLASH}
    rows = {record.line + file.body_line - 1: record for record in records if body[record.start : record.stop].strip(b"\r\n")}
    accepted = [line for line in rows if line not in sight.rejected]
    assert sight.accepted_lines == accepted
    assert sight.rejected.keys() <= rows.keys()
    item = file.header.index(ITEM_ID)
    assert sight.accepted_items == [rows[line].fields[item].decode() for line in accepted]
    assert sight.counts["accepted"] == sum(rows[line].lines for line in accepted)
    for line, record in rows.items():
        reason = sight.rejected.get(line, "")
        assert (" quote " in reason and "fields" not in reason) == record.is_faulty
        assert ("the row has" in reason) == (not record.is_faulty and len(record.fields) != len(file.header))
    return Counter(doubled=is_doubled, faulty=sum(record.is_faulty for record in records))


def _plainly(body: bytes, num_columns: int, longest: int) -> tuple[bool, list[Record]]:
    """Whether a backslash is a character like any other, and the records then."""
    read = [read_records(body, escapes, longest) for escapes in (True, False)]
    wrong = [sum(_is_wrong(record, body, num_columns) for record in records) for records in read]
    is_doubled = wrong[1] < wrong[0]
    return is_doubled, read[is_doubled]


def _is_wrong(record: Record, body: bytes, num_columns: int) -> bool:
    """Whether a record speaks against the way in which it was read."""
    is_right = not record.is_faulty and len(record.fields) == num_columns
    return b'\\"' in body[record.start : record.stop] and not is_right


def _check_header(text: bytes, file: InputFile) -> None:
    """The header must be where the file says."""
    skipped = len(text) - len(text.removeprefix(_BOM))
    records = read_records(text[skipped:])
    header = next(record for record in records if text[skipped + record.start : skipped + record.stop].strip())
    assert file.body_start == skipped + header.stop
    assert file.body_line == header.line + header.lines


def _import(file: InputFile, made: CsvInput, output: Path, counts: Counter[str]) -> Counter[str]:
    """A whole import, but for Spark; its counts must be the same, duplicates aside."""
    outcome.exchange = plain_exchange
    splits = plan_splits([file], made.split_bytes, lambda byte_ranges: [scan(byte_range) for byte_range in byte_ranges])
    plan = ImportPlan(
        schema=made.schema,
        output_uri=str(output),
        parts=tuple(gather(splits, made.split_bytes)),
        references=(),
        file_names=(file.name,),
        gap_seconds=1800,
    )
    [found] = outcome.run_import(None, plan, [file], {}).counts  # type: ignore[arg-type]  # no Spark
    shutil.rmtree(output)
    assert found.rows_read == counts["rows"]
    told = (found.rows_accepted, found.rows_duplicate, found.lines_within_rows, found.rows_rejected, found.blank_lines)
    assert counts["lines"] == counts["header"] + sum(told), (counts, told)
    return Counter(imported=1, duplicates=found.rows_duplicate)


def _check_refusal(made: CsvInput, file: InputFile, message: str) -> None:
    """A file whose header was read is refused for one of two reasons only."""
    if not (file.gzipped and "gzip data" in message):
        assert "a line is longer than" in message, message
        assert made.longest_record < fuzz_inputs.UNLIMITED


def _unpacked(data: bytes) -> bytes:
    return gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data


def main() -> int:
    """Fuzz; the last line tells the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=111_000, help="how many inputs")
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
            if number % 10_000 == 0 and number:
                print(told(figures, failures, options.seed, *_spent(began)), file=sys.stderr, flush=True)
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
    print(told(figures, failures, options.seed, *_spent(began)))
    return 1 if failures else 0


def _spent(began: tuple[float, float]) -> tuple[float, float]:
    """Seconds, and those of one core, since then."""
    return time.monotonic() - began[0], time.process_time() - began[1]


def told(figures: Counter[str], failures: int, seed: int, seconds: float, core_seconds: float) -> str:
    """The figures as one line."""
    return (
        f"fuzz: {figures['inputs']:,} inputs right, {failures} wrong; {figures['csv']:,} CSV files ({figures['csv_refused']:,} "
        f"refused, {figures['doubled']:,} read with backslashes as characters) with {figures['lines']:,} lines = "
        f"{figures['accepted']:,} accepted + {figures['rejected']:,} rejected ({figures['faulty']:,} for their quotes) + "
        f"{figures['header']:,} header + {figures['blank']:,} blank; {figures['imported']:,} whole imports with "
        f"{figures['duplicates']:,} duplicates; {figures['schemas']:,} schemas ({figures['schemas_refused']:,} refused); "
        f"{seconds:.0f} s ({core_seconds:.0f} s of one core), seed {seed}"
    )


if __name__ == "__main__":
    sys.exit(main())
