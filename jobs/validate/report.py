"""Reports of an import: report.json and rejected.csv."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from jobs.platform.process.scratch import scratch_folder
from jobs.platform.storage.folders import StepFolder
from jobs.validate.inputs import InputFile, extra_columns
from jobs.validate.parts import COUNTS, EXAMPLES, FileCounts
from jobs.validate.quotes import Quoting
from jobs.validate.rows import REJECTED
from schemas.datasets import DatasetSchema
from schemas.manifest import FileEntry

MOST_CSV_ROWS = 10_000_000  # of rejected.csv; the Parquet files hold all
SHOWN_REASONS = 100  # of report.json

_BATCH_ROWS = 64_000
_FORMULA = r"\A([=+\-@\t\r\n＝＋－＠])"


def common_reasons(answers: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Reasons of rejection with rows and first examples, merged over all parts, the commonest first."""
    merged: dict[tuple[str, str], dict[str, Any]] = {}
    for tally in (reason for answer in answers for reason in answer["reasons"]):
        key = (tally["column"], tally["reason"])
        entry = merged.setdefault(key, {"column": tally["column"], "reason": tally["reason"], "rows": 0, "examples": []})
        entry["rows"] += tally["rows"]
        entry["examples"] = (entry["examples"] + tally["examples"])[:EXAMPLES]
    return sorted(merged.values(), key=lambda entry: (-entry["rows"], entry["column"], entry["reason"]))


def build_report(
    schema: DatasetSchema,
    data_uri: str,
    files: Sequence[InputFile],
    counts: Sequence[FileCounts],
    reasons: Sequence[dict[str, Any]],
    max_rejected_fraction: float,
) -> dict[str, Any]:
    """The whole report as plain JSON; `expectations` is added when they have been checked."""
    totals = {name: sum(getattr(count, name) for count in counts) for name in COUNTS}
    fraction = totals["rows_rejected"] / totals["rows_read"] if totals["rows_read"] else 0.0
    return {
        "dataset_type": schema.dataset_type,
        "data": data_uri,
        **totals,
        "rejected_fraction": fraction,
        "max_rejected_fraction": max_rejected_fraction,
        "accepted": fraction <= max_rejected_fraction and totals["rows_accepted"] > 0,
        "warnings": list(schema.warnings),
        "reasons": list(reasons[:SHOWN_REASONS]),
        "num_reasons": len(reasons),
        "files": [_file_report(file, count, schema) for file, count in zip(files, counts, strict=True)],
    }


def to_json(report: dict[str, Any]) -> bytes:
    """The report's bytes."""
    return (json.dumps(report, indent=1, ensure_ascii=False) + "\n").encode()


def put_rejected(folder: StepFolder, entries: Iterable[FileEntry], put: Callable[[Path, int], FileEntry]) -> FileEntry:
    """Write the rejected rows of all parts as one CSV file with a header; of more than MOST_CSV_ROWS the first.

    Args:
        folder: Where the parts lie.
        entries: They, in order.
        put: Stores the file, of which it gets the rows too.
    """
    left = MOST_CSV_ROWS
    with scratch_folder("report") as scratch:
        local = Path(scratch) / "rejected.csv"
        with pa.csv.CSVWriter(local, REJECTED) as writer:
            for entry in entries:
                if left <= 0:
                    break
                with pq.ParquetFile(folder.fetch(entry, Path(scratch))) as file:
                    for batch in file.iter_batches(batch_size=min(left, _BATCH_ROWS)):
                        writer.write_batch(_without_formulas(batch.slice(0, left)))
                        left -= min(left, batch.num_rows)
        return put(local, MOST_CSV_ROWS - left)


def _without_formulas(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Rows of REJECTED, safe to open in a spreadsheet: an apostrophe before text that could be a formula.

    Source: OWASP, CSV Injection.
    """
    cells = [
        pc.replace_substring_regex(column, _FORMULA, r"'\1") if pa.types.is_string(column.type) else column
        for column in batch.cast(REJECTED).columns
    ]
    return pa.RecordBatch.from_arrays(cells, schema=REJECTED)


def _file_report(file: InputFile, count: FileCounts, schema: DatasetSchema) -> dict[str, Any]:
    warnings = []
    if not file.header:
        warnings.append("The file is empty.")
    elif not count.rows_read:
        warnings.append("The file holds a header but no rows.")
    if extra := extra_columns(file, schema):
        warnings.append(f"Columns that the schema does not name are ignored: {', '.join(extra)[:1000]}.")
    if count.quoting == Quoting.DOUBLED:
        warnings.append(
            'A backslash is read as a character like any other, a quote within a value as "" only (RFC 4180): '
            "as escapes, backslashes would leave more rows wrong."
        )
    if count.lines_within_rows:
        warnings.append(f"{count.lines_within_rows:,} line ends lie within quoted values of accepted rows.")
    shown = {name: getattr(count, name) for name in COUNTS} | {"quoting": count.quoting}
    return {"file": file.name, "uri": file.uri, "size": file.size, "version": file.version, **shown, "warnings": warnings}
