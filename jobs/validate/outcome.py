"""One import on Spark: parts checked and written, duplicates found and left out, statistics of the rows that remain."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq

from jobs.platform.process.scratch import scratch_folder
from jobs.platform.spark.exchange import exchange
from jobs.platform.storage.folders import StepFolder
from jobs.validate.clocks import gathered
from jobs.validate.duplicates import send_dropped
from jobs.validate.gathering import statistics_document
from jobs.validate.inputs import InputFile
from jobs.validate.parts import FileCounts, rewrite_part, send_part
from jobs.validate.plan import ImportPlan, OldPart
from jobs.validate.receiving import receive, relay
from jobs.validate.statistics import Statistics
from schemas.columns import INPUT_ORDER, USER_ID
from schemas.errors import IntegrityError
from schemas.manifest import FileEntry

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Result of an import, not yet published.

    Attributes:
        data: File of each part that has rows, by the part's number.
        written: Files of rows that this import wrote, also those that were written again without duplicates.
        rejected: Files of rejected rows.
        duplicates: Files that say which rows were left out.
        counts: Of each new file.
        answers: Of the parts: reasons of rejection, with examples.
        rows_replaced: Rows of earlier imports that new ones took the place of.
        statistics: All of statistics.json.
        added: Figures of the columns of new rows alone, as in statistics.json; None where there are no others.
    """

    data: dict[int, FileEntry]
    written: list[FileEntry]
    rejected: list[FileEntry]
    duplicates: list[FileEntry]
    counts: list[FileCounts]
    answers: list[dict[str, Any]]
    rows_replaced: int
    statistics: dict[str, Any]
    added: dict[str, Any] | None


def run_import(spark: SparkSession, plan: ImportPlan, files: Sequence[InputFile], references: dict[str, str]) -> Outcome:
    """Run an import on Spark, all but its publication.

    Args:
        spark: The session to run in.
        plan: What to do.
        files: The new CSV files, in the order of their numbers.
        references: "items" and "users" -> URI of the dataset that describes them.

    Raises:
        DataError: A file cannot be read as CSV.
        IntegrityError: Rows were lost or doubled on the way, or a stored file is damaged.
    """
    num_receivers = plan.num_receivers
    *item_bodies, answered = exchange(
        spark,
        len(plan.parts) + len(plan.references),
        num_receivers + 1,
        partial(send_part, plan),
        partial(receive, plan, "items" in references),
        "check rows",
        relays=[(num_receivers + 1, partial(relay, plan))],
    )
    answers = [json.loads(line) for line in answered.splitlines()]
    parts = sorted((answer for answer in answers if "part" in answer), key=lambda answer: int(answer["part"]))
    owners = [answer for answer in answers if "part" not in answer]
    duplicates, wrong_times = (
        [FileEntry.model_validate(owner[kind]) for owner in owners if owner.get(kind)] for kind in ("entry", "rejected")
    )
    current = {answer["part"]: entry for answer in parts for entry in _entries(answer, "data/")}
    counts = count_files(files, parts, owners)
    if dropped := (*duplicates, *wrong_times):
        send, rewrite = partial(send_dropped, plan, dropped), partial(rewrite_part, plan, current)
        bodies = exchange(spark, len(dropped), len(plan.parts), send, rewrite, "leave rows out")
        for answer in (json.loads(body) for body in bodies if body):
            parts[answer["part"]]["statistics"] = answer["statistics"]
            del current[answer["part"]]
            current.update((answer["part"], entry) for entry in _entries(answer, "data/"))
    old = [answer for answer in parts if isinstance(plan.parts[answer["part"]], OldPart)]
    new = [answer for answer in parts if not isinstance(plan.parts[answer["part"]], OldPart)]
    added, columns = _summed(new), _summed(old)
    columns.add(added)
    reconcile(columns.rows, current, files, counts)
    statistics = statistics_document(
        plan.schema,
        columns,
        _changed(new),
        [owner["figures"] for owner in owners],
        [json.loads(body) for body in item_bodies],
        plan.gap_seconds,
        references,
        partial(_users, plan, current),
    )
    wrong_time_reasons = gathered(plan, owners)
    statistics["wrong_times"] = {"kept": not plan.rejects_wrong_times, "reasons": wrong_time_reasons}
    rejects = [{"reasons": wrong_time_reasons, "changed": {}}] if plan.rejects_wrong_times else []
    first_new = files[0].number
    return Outcome(
        data=current,
        written=[entry for answer in new for entry in _entries(answer, "data/")],
        rejected=[*(entry for answer in new for entry in _entries(answer, "rejected/")), *wrong_times],
        duplicates=duplicates,
        counts=counts,
        answers=[*new, *rejects],
        rows_replaced=sum(rows for owner in owners for number, rows in owner.get("duplicates", ()) if number < first_new),
        statistics=statistics,
        added=added.document() if old else None,
    )


def count_files(
    files: Sequence[InputFile], parts: Iterable[dict[str, Any]], owners: Sequence[dict[str, Any]]
) -> list[FileCounts]:
    """The counts of every new file, summed over the tasks that read it and the receivers that left rows out."""
    counts = {file.number: FileCounts(file.number) for file in files}
    for count in (count for part in parts for count in part.get("files", ())):
        counts[count["number"]].add(FileCounts(**count))
    for number, rows in (pair for owner in owners for pair in owner.get("duplicates", ())):
        if number in counts:
            counts[number].rows_accepted -= rows
            counts[number].rows_duplicate += rows
    for reason in (reason for owner in owners if owner.get("rejected") for reason in owner["wrong_times"]):
        for number, rows in reason["files"]:
            counts[number].rows_accepted -= rows
            counts[number].rows_rejected += rows
    return list(counts.values())


def reconcile(rows: int, data: dict[int, FileEntry], files: Sequence[InputFile], counts: Sequence[FileCounts]) -> None:
    """Check that every row that was read is accounted for.

    Raises:
        IntegrityError: Rows read are not those accepted, rejected and left out; or not those written.
    """
    for file, count in zip(files, counts, strict=True):
        accepted, rejected, duplicate = outcomes = (count.rows_accepted, count.rows_rejected, count.rows_duplicate)
        if count.rows_read != sum(outcomes) or min(outcomes) < 0:
            raise IntegrityError(
                f"{file.uri}: {count.rows_read} rows were read, {accepted} accepted, {rejected} rejected, "
                f"{duplicate} duplicates."
            )
        if count.lines != count.rows_read + count.blank_lines + count.lines_within_rows:
            raise IntegrityError(
                f"{file.uri}: {count.lines} lines were read, but {count.rows_read} of rows, {count.lines_within_rows} further "
                f"ones within quotes, {count.blank_lines} blank ones."
            )
    written = sum(entry.rows or 0 for entry in data.values())
    if written != rows:
        raise IntegrityError(f"{written} rows were written, but {rows} counted.")


def _entries(answer: dict[str, Any], place: str) -> list[FileEntry]:
    return [FileEntry.model_validate(entry) for entry in answer["entries"] if entry["path"].startswith(place)]


def _summed(parts: Iterable[dict[str, Any]]) -> Statistics:
    total = Statistics()
    for part in parts:
        total.add(Statistics.from_json(part["statistics"]))
    return total


def _changed(parts: Iterable[dict[str, Any]]) -> dict[str, tuple[int, int]]:
    sums: dict[str, tuple[int, int]] = {}
    for name, (cleaned, cut) in (pair for part in parts for pair in part["changed"].items()):
        before = sums.get(name, (0, 0))
        sums[name] = (before[0] + cleaned, before[1] + cut)
    return sums


def _users(plan: ImportPlan, data: dict[int, FileEntry], input_orders: Sequence[int]) -> list[str]:
    """The user of each row, from the part that holds it."""
    orders = np.array(input_orders, np.int64)
    users: dict[int, str] = {}
    with scratch_folder("validate") as scratch:
        for part in np.unique(plan.parts_of(orders)).tolist():
            local = StepFolder(plan.output_uri).fetch(data[part], Path(scratch))
            table = pq.read_table(local, columns=[USER_ID, INPUT_ORDER], filters=[(INPUT_ORDER, "in", list(input_orders))])
            users |= dict(zip(table.column(INPUT_ORDER).to_pylist(), table.column(USER_ID).to_pylist(), strict=True))
    return [users[order] for order in input_orders]
