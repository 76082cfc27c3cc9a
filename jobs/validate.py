"""`hrnn validate`: CSV files and a schema in, typed Parquet, rejected rows, a report and Data Docs out."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, NoReturn

import typer

from jobs.cli import job_main
from jobs.spark.session import spark_session
from jobs.storage import StoredFile, list_input, normalise, read_text, store_for
from jobs.storage.folders import StepFolder
from jobs.validation.expectations import accepted_rows, check_expectations
from jobs.validation.inputs import SPLIT_BYTES, InputFile, open_inputs
from jobs.validation.parts import FileCounts, gather, write_part
from jobs.validation.report import build_report, common_reasons, first_rejected, reconcile, to_json
from jobs.validation.splits import plan_splits, scan
from jobs.validation.tasks import run_tasks
from schemas.datasets import DatasetSchema, parse_schema
from schemas.errors import ConfigError, DataError
from schemas.manifest import FileEntry, InputRef, Manifest, fingerprint

_NO_ROWS = "Give CSV with a header and rows."


def validate(
    *,
    schema_uri: str,
    data_uri: str,
    output_uri: str,
    master: str | None = None,
    max_rejected_fraction: float = 0.01,
) -> dict[str, Any]:
    """Check a dataset import and write what is right as typed Parquet.

    Args:
        schema_uri: Avro JSON of the dataset.
        data_uri: A CSV file, plain or gzipped, or a folder of them.
        output_uri: Folder for the typed dataset: `data/`, `rejected/`, `report.json`, `data_docs/`, `manifest.json`.
        master: Spark master URL; None takes what is configured, else this machine.
        max_rejected_fraction: Rejected rows that are still acceptable, as a fraction of the rows read, from 0 to 1.

    Returns:
        `rows_read`, `rows_accepted`, `rows_rejected`, `report` (its URI) and what every job returns.

    Raises:
        SchemaError: The schema breaks a rule.
        DataError: A file cannot be read as CSV, a column is missing, no row or too few rows are right, or an expectation fails.
        StorageError: Something cannot be read or written.
    """
    began = time.monotonic()
    if not 0 <= max_rejected_fraction <= 1:
        raise ConfigError("this is no fraction", where="--max-rejected-fraction", value=max_rejected_fraction, allowed="0 to 1")
    schema = parse_schema(read_text(schema_uri), where=normalise(schema_uri))
    data_uri, output_uri = normalise(data_uri), normalise(output_uri).rstrip("/")
    stored = list_input(data_uri)
    _keep_apart(stored, data_uri, output_uri)
    folder = StepFolder(output_uri)
    config = {"schema": schema.document, "max_rejected_fraction": max_rejected_fraction}
    identity = fingerprint("validate", config, [f"{file.size} {file.version}" for file in stored])
    manifest = folder.manifest()
    skipped = manifest is not None and manifest.fingerprint == identity
    if manifest is None or not skipped:
        files = open_inputs(stored, data_uri, schema)
        failed_place = "" if manifest is None else "failed/"  # what a failed import tells must not harm a published one
        manifest = _Import(folder, schema, data_uri, files, config, failed_place).run(identity, master)
    return {
        "job": "validate",
        "output": folder.uri,
        "skipped": skipped,
        "seconds": round(time.monotonic() - began, 3),
        "dataset_type": schema.dataset_type,
        **manifest.counts,
        "report": folder.uri_of("report.json"),
    }


@dataclass(frozen=True)
class _Import:
    """One import on its way: check and write the rows, tell about them, publish."""

    folder: StepFolder
    schema: DatasetSchema
    data_uri: str
    files: list[InputFile]
    config: dict[str, Any]
    failed_place: str

    def run(self, identity: str, master: str | None) -> Manifest:
        """Do all of it; the manifest, when all is well."""
        if not any(file.header for file in self.files):
            raise DataError("every file is empty", where=self.data_uri, remedy=_NO_ROWS)
        splits = plan_splits(
            self.files, SPLIT_BYTES, lambda stretches: run_tasks(spark_session(master), scan, stretches, "find lines")
        )
        if not splits:
            raise DataError("there is a header but no rows", where=self.data_uri, remedy=_NO_ROWS)
        spark = spark_session(master)
        check = partial(write_part, schema=self.schema, output_uri=self.folder.uri)
        answers = run_tasks(spark, check, gather(splits, SPLIT_BYTES), "check rows")
        counts = reconcile(self.files, answers)
        reasons = common_reasons(answers)
        report = build_report(self.schema, self.data_uri, self.files, counts, reasons, self.config["max_rejected_fraction"])
        written = [FileEntry.model_validate(entry) for answer in answers for entry in answer["entries"]]
        data = [entry for entry in written if entry.path.startswith("data/")]
        rejected = [entry for entry in written if entry.path.startswith("rejected/")]
        if not report["accepted"]:
            self._tell(report, rejected, self.failed_place)
            self._refuse(report, data)
        frame = accepted_rows(spark, self.folder, data, self.schema)
        verdict = check_expectations(frame, self.schema, report["rows_accepted"])
        report["expectations"] = {"checked": verdict.num_checked, "failed": list(verdict.failed)}
        place = self.failed_place if verdict.failed else ""
        told = [self.folder.put(f"{place}data_docs/index.html", verdict.page), *self._tell(report, rejected, place)]
        if verdict.failed:
            self._break(verdict.failed, data, told[0])
        return self._publish(identity, [*written, *told], report, counts)

    def _tell(self, report: dict[str, Any], rejected: list[FileEntry], place: str) -> list[FileEntry]:
        """Write what people read."""
        text, shown = first_rejected(self.folder, rejected)
        return [
            self.folder.put(f"{place}rejected/rejected.csv", text, rows=shown),
            self.folder.put(f"{place}report.json", to_json(report)),
        ]

    def _refuse(self, report: dict[str, Any], data: list[FileEntry]) -> NoReturn:
        """Raise what is wrong with an import of which too little is right; its rows go."""
        self._drop(data)
        shown = self.folder.uri_of(self.failed_place + "report.json")
        read, rejected = report["rows_read"], report["rows_rejected"]
        if not read:
            raise DataError("there is a header but no rows", where=self.data_uri, remedy=_NO_ROWS)
        raise DataError(
            f"{rejected:,} of {read:,} rows were rejected: {'; '.join(map(_told, report['reasons'][:3]))}",
            where=self.data_uri,
            allowed=f"a fraction of {report['max_rejected_fraction']:g}, and at least one right row",
            remedy=f"See {shown}; mend the rows, or raise --max-rejected-fraction.",
        )

    def _break(self, failed: tuple[str, ...], data: list[FileEntry], page: FileEntry) -> NoReturn:
        self._drop(data)
        raise DataError(
            f"the accepted rows break an expectation: {'; '.join(failed)}",
            where=self.data_uri,
            remedy=f"See {self.folder.uri_of(page.path)}.",
        )

    def _drop(self, data: list[FileEntry]) -> None:
        store_for(self.folder.uri).delete([self.folder.uri_of(entry.path) for entry in data])

    def _publish(self, identity: str, entries: list[FileEntry], report: dict[str, Any], counts: list[FileCounts]) -> Manifest:
        store = store_for(self.folder.uri)
        manifest = self.folder.publish(
            "dataset",
            identity,
            self.config,
            [InputRef(uri=file.uri, version=file.version) for file in self.files],
            entries,
            {name: report[name] for name in ("rows_read", "rows_accepted", "rows_rejected")},
            {
                "dataset_type": self.schema.dataset_type,
                "schema": self.schema.document,
                "input_files": [
                    {"uri": file.uri, "size": file.size, "rows_read": count.rows_read}
                    for file, count in zip(self.files, counts, strict=True)
                ],
            },
        )
        store.delete([file.uri for file in store.list(self.folder.uri_of("failed") + "/")])
        return manifest


def _told(reason: dict[str, Any]) -> str:
    """`TIMESTAMP: not a whole number (12 rows, as in events.csv line 3: 'yesterday')`."""
    column = f"{reason['column']}: " if reason["column"] else ""
    example = "".join(
        f", as in {found['file']} line {found['line']}: {found['value'][:40]!r}" for found in reason["examples"][:1]
    )
    return f"{column}{reason['reason']} ({reason['rows']:,} rows{example})"


def _keep_apart(stored: list[StoredFile], data_uri: str, output_uri: str) -> None:
    """Input below the output could be swept away; output below the input would be read next time.

    Raises:
        ConfigError: One lies within the other.
    """
    if any(file.uri.startswith(output_uri + "/") for file in stored) or (output_uri + "/").startswith(
        data_uri.rstrip("/") + "/"
    ):
        raise ConfigError(
            "data and output lie within each other",
            where="--output",
            value=output_uri,
            remedy="Name a folder apart from the data.",
        )


def run(
    schema: Annotated[str, typer.Option(help="Avro JSON schema of the dataset: s3://…, file://… or a path.")],
    data: Annotated[str, typer.Option(help="A CSV file, plain or gzipped, or a folder of them.")],
    output: Annotated[str, typer.Option(help="Folder for the typed dataset, the rejected rows, report.json and Data Docs.")],
    master: Annotated[str | None, typer.Option(help="Spark master URL; default: as configured, else this machine.")] = None,
    max_rejected_fraction: Annotated[
        float, typer.Option(help="Share of rejected rows, 0 to 1, above which the import fails once its report is written.")
    ] = 0.01,
) -> dict[str, Any]:
    """Check CSV files against their schema; write typed Parquet, rejected rows and a report.

    Columns are matched by header name. Every wrong row is told with file, line, column, value and reason; the right rows go on.
    A rerun with the same schema and the same files does nothing.
    """
    return validate(
        schema_uri=schema, data_uri=data, output_uri=output, master=master, max_rejected_fraction=max_rejected_fraction
    )


if __name__ == "__main__":
    job_main("validate", run)
