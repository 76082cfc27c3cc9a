"""One import on its way: check and write the rows, judge them, write reports, publish."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.platform.spark.tasks import run_tasks
from jobs.platform.storage import store_for
from jobs.platform.storage.folders import StepFolder
from jobs.reports.dataset import dataset_page
from jobs.validate.expectations import accepted_rows, check_expectations
from jobs.validate.imports import Base, References, new_entries
from jobs.validate.inputs import OPEN_BYTES, SPLIT_BYTES, InputFile
from jobs.validate.insights import Insight, InsightContext, insights, tie_order, verdict
from jobs.validate.measures import measure_parts
from jobs.validate.outcome import Outcome, run_import
from jobs.validate.own_expectations import OwnSuite, check_own_expectations, parse_own_expectations
from jobs.validate.parts import COUNTS
from jobs.validate.plan import ImportPlan, gather
from jobs.validate.problems import broken, refused, too_few, too_long
from jobs.validate.report import build_report, common_reasons, put_rejected, to_json
from jobs.validate.splits import ByteRange, plan_splits, scan
from jobs.validate.suites import preload
from schemas.data_settings import ValidateSettings
from schemas.datasets import DatasetSchema
from schemas.errors import DataError, UserError
from schemas.manifest import FileEntry, InputRef, Manifest, fingerprint

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

FAILED = "failed/"  # below the dataset's folder: what a failed import tells must not harm a published one
HERE_BYTES = 512 << 20  # of large files whose line ends the driver finds itself
_THREADS = 8  # for which the time goes into waiting, as on S3

_NO_ROWS = "Give CSV with a header and rows."


@dataclass(frozen=True, kw_only=True)
class Import:
    """One import.

    Attributes:
        folder: Of the dataset.
        schema: Of the dataset.
        data_uri: Where the CSV files lie.
        files: They, in order.
        base: What is added to.
        references: Datasets that events are compared with.
        previous: statistics.json of the last import.
        settings: How strictly they are judged.
        suite: What was written is checked with Great Expectations.
        own: Text of the user's own expectations, and where it lies.
    """

    folder: StepFolder
    schema: DatasetSchema
    data_uri: str
    files: Sequence[InputFile]
    base: Base
    references: References
    previous: dict[str, Any] | None
    settings: ValidateSettings
    suite: bool
    own: tuple[str, str] | None

    def run(self, start_spark: Callable[[], SparkSession], identity: str, config: dict[str, Any]) -> Manifest:
        """Run the import and publish it; returns its manifest.

        Raises:
            DataError: Too few rows are right, or they break an expectation; the report is written all the same.
        """
        own = None if self.own is None else parse_own_expectations(*self.own, self.schema)
        if not any(file.header for file in self.files):
            raise DataError("every file is empty", where=self.data_uri, remedy=_NO_ROWS)
        splits = plan_splits(self.files, SPLIT_BYTES, partial(_scan_all, start_spark))
        if not splits:
            raise DataError("there is a header but no rows", where=self.data_uri, remedy=_NO_ROWS)
        spark = start_spark()
        if self.suite or own:
            preload()
        plan = ImportPlan(
            schema=self.schema,
            output_uri=self.folder.uri,
            parts=(*self.base.parts, *gather(splits, SPLIT_BYTES, len(self.base.parts), OPEN_BYTES)),
            references=self.references.parts,
            file_names=(*(file["name"] for file in self.base.input_files), *(file.name for file in self.files)),
            gap_seconds=self.settings.gap_seconds,
            now=int(time.time()),
            rejects_wrong_times=self.settings.future == "reject",
        )
        outcome = run_import(spark, plan, self.files, self.references.uris)
        report, drawn = self._judged(outcome)
        if not report["rows_read"]:
            self._drop(outcome)
            raise DataError("there is a header but no rows", where=self.data_uri, remedy=_NO_ROWS)
        pages: dict[str, bytes] = {}
        page = self._failed("report.html")
        problems = [
            too_few(report, page),
            too_long(common_reasons(outcome.answers), self.data_uri, page) if self.settings.long_categories == "fail" else None,
            *self._unmet(spark, outcome, own, report, pages),
            refused(drawn, self.data_uri, page) if self.settings.strict else None,
        ]
        problem = next((problem for problem in problems if problem is not None), None)
        report["problem"] = None if problem is None else str(problem)
        entries = self._tell(outcome, report, pages, "" if problem is None else FAILED)
        if problem is not None:
            self._drop(outcome)
            raise problem
        return self._publish(identity, config, plan, outcome, entries, report)

    def _unmet(
        self,
        spark: SparkSession,
        outcome: Outcome,
        own: OwnSuite | None,
        report: dict[str, Any],
        pages: dict[str, bytes],
    ) -> Iterator[UserError]:
        """Check the schema's suite and the user's, add the results to report and pages; an error for each that is not met."""
        data = [outcome.data[number] for number in sorted(outcome.data)]
        if not data:
            return
        summary: dict[str, Any] = {"checked": 0, "failed": [], "own": None}
        if self.suite:
            measured = measure_parts(spark, self.folder, data, self.schema)
            checked = check_expectations(spark, measured, self.schema, report["rows"], "own.html" if own else None)
            summary |= {"checked": checked.num_checked, "failed": list(checked.failed)}
            pages["data_docs/index.html"] = checked.page
            if checked.failed:
                yield broken(checked.failed, self.data_uri, self._failed("data_docs/index.html"))
        if own:
            verdict_of_own = check_own_expectations(accepted_rows(spark, self.folder, data, self.schema), own)
            summary["own"] = verdict_of_own.summary
            pages["data_docs/own.html"] = verdict_of_own.page
            if verdict_of_own.failed:
                yield broken(verdict_of_own.failed, self.data_uri, self._failed("data_docs/own.html"))
        report["expectations"] = summary

    def _judged(self, outcome: Outcome) -> tuple[dict[str, Any], list[Insight]]:
        """The report, and the insights that it holds."""
        reasons = common_reasons(outcome.answers)
        report = build_report(
            self.schema, self.data_uri, self.files, outcome.counts, reasons, self.settings.max_rejected_fraction
        )
        drawn = insights(
            InsightContext(
                schema=self.schema,
                statistics=outcome.statistics,
                previous=self.previous,
                quotas=self.settings.quotas,
                counts={name: report[name] for name in COUNTS},
                bytes_read=sum(file.size for file in self.files),
                import_mode=self.settings.import_mode,
                added=outcome.added,
            )
        )
        report |= {
            "import_mode": self.settings.import_mode,
            "rows": outcome.statistics["rows"],
            "rows_replaced": outcome.rows_replaced,
            "verdict": verdict(drawn),
            "tie_order": tie_order(outcome.statistics),
            "insights": [asdict(insight) for insight in drawn],
            "statistics": outcome.statistics,
            "data_docs": "data_docs/index.html",
        }
        return report, drawn

    def _failed(self, path: str) -> str:
        return self.folder.uri_of(FAILED + path)

    def _tell(self, outcome: Outcome, report: dict[str, Any], pages: dict[str, bytes], place: str) -> list[FileEntry]:
        """Write reports and pages: of what is about to be published or, below another folder, of what failed."""
        put = self.folder.put_page if not place else partial(_put_apart, self.folder, place)
        return [
            *(put(path, page) for path, page in pages.items()),
            put_rejected(self.folder, outcome.rejected, partial(put, "rejected/rejected.csv")),
            self.folder.put(place + self.folder.attempt_path("statistics.json"), to_json(outcome.statistics)),
            put("report.json", to_json(report)),
            put("report.html", dataset_page(report)),
        ]

    def _drop(self, outcome: Outcome) -> None:
        """Remove the rows of a failed import."""
        written = {entry.path for entry in [*outcome.written, *new_entries(outcome.data, self.base)]}
        store_for(self.folder.uri).delete([self.folder.uri_of(path) for path in sorted(written)])

    def _publish(
        self,
        identity: str,
        config: dict[str, Any],
        plan: ImportPlan,
        outcome: Outcome,
        documents: list[FileEntry],
        report: dict[str, Any],
    ) -> Manifest:
        read = [
            {"uri": file.uri, "name": file.name, "size": file.size, "rows_read": count.rows_read}
            for file, count in zip(self.files, outcome.counts, strict=True)
        ]
        counts = ("rows_read", "rows_accepted", "rows_rejected", "rows_duplicate", "rows_replaced", "rows")
        made = {
            "identity": identity,
            "mode": self.settings.import_mode,
            "files": len(read),
            "rows_accepted": report["rows_accepted"],
        }
        manifest = self.folder.publish(
            "dataset",
            fingerprint("dataset", {"import": identity}, [self.base.fingerprint]) if self.base.parts else identity,
            config,
            [
                *self.base.inputs,
                *(InputRef(uri=file.uri, version=file.version) for file in self.files),
                *self.references.inputs,
            ],
            [*outcome.data.values(), *outcome.rejected, *outcome.duplicates, *documents],
            {name: report[name] for name in counts},
            {
                "dataset_type": self.schema.dataset_type,
                "schema": self.schema.document,
                "input_files": [*self.base.input_files, *read],
                "parts": [[entry.path, plan.parts[number].first_order] for number, entry in sorted(outcome.data.items())],
                "imports": [*self.base.imports, made],
                # Under a name of its own: the next import reads it, also after a run that was killed amid its reports.
                "statistics": next(entry.path for entry in documents if entry.path.startswith("statistics-")),
                "tie_order": report["tie_order"],
                "verdict": report["verdict"],
            },
        )
        store = store_for(self.folder.uri)
        store.delete([file.uri for file in store.list(self.folder.uri_of(FAILED))])
        return manifest


def _put_apart(folder: StepFolder, place: str, path: str, page: bytes | Path, rows: int | None = None) -> FileEntry:
    """Write a page of a failed import, which no manifest will list."""
    return folder.put(place + path, page, rows) if isinstance(page, bytes) else folder.put_file(page, place + path, rows)


def _scan_all(start_spark: Callable[[], SparkSession], byte_ranges: Sequence[ByteRange]) -> list[dict[str, Any]]:
    """Scan byte ranges: in threads where that is faster than to start Spark workers, else on Spark."""
    if sum(byte_range.end - byte_range.start for byte_range in byte_ranges) > HERE_BYTES:
        return run_tasks(start_spark(), scan, byte_ranges, "find lines")
    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(scan, byte_ranges))
