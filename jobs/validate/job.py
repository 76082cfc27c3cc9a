"""`hrnn validate`: CSV files and a schema in, typed Parquet, rejected rows, a report and Data Docs out."""

from __future__ import annotations

import json
import time
from typing import Any

from jobs.platform.spark.session import spark_session
from jobs.platform.storage import StoredFile, folders_read, is_object, list_input, normalise, read_given, read_text
from jobs.platform.storage.folders import StepFolder
from jobs.validate.imports import base_of, references_of
from jobs.validate.inputs import open_inputs
from jobs.validate.running import Import
from schemas.data_settings import ValidateSettings
from schemas.datasets import parse_schema, require_complete
from schemas.errors import ConfigError
from schemas.manifest import Manifest, fingerprint
from schemas.uris import canonical, lies_in


def validate(
    *,
    schema_uri: str,
    data_uri: str,
    output_uri: str,
    settings: ValidateSettings,
    master: str | None = None,
    items_uri: str | None = None,
    users_uri: str | None = None,
    previous_uri: str | None = None,
    expectations_uri: str | None = None,
    suite: bool = True,
) -> dict[str, Any]:
    """Check a dataset import and write what is right as typed Parquet.

    Args:
        schema_uri: Avro JSON of the dataset, or what DescribeSchema answers: where it lies, or the text itself.
        data_uri: A CSV file, plain or gzipped, or a folder of them.
        output_uri: Folder for the typed dataset: `data/`, `rejected/`, `duplicates/`, `report.html`, `report.json`,
            `statistics-*.json`, `data_docs/`, `manifest.json`.
        settings: How strictly the data are judged, and what is done about what is wrong.
        master: Spark master URL; None takes what is configured, else this machine.
        items_uri: Validated Items that events are compared with.
        users_uri: Validated Users that events are compared with.
        previous_uri: Folder of the last import, to see what changed since; None: what the output holds.
        expectations_uri: JSON file of the user's own expectations.
        suite: Check what was written with Great Expectations.

    Returns:
        `rows_read`, `rows_accepted`, `rows_rejected`, `rows_duplicate`, `rows` of the dataset, `verdict`, `report` (the URI of
        its page) and what every job returns.

    Raises:
        ConfigError: A setting or a place does not go with the dataset.
        SchemaError: The schema breaks a rule.
        DataError: A file cannot be read as CSV, a column is missing, no row or too few rows are right, or an expectation fails.
        StorageError: Something cannot be read or written.
    """
    ValidateSettings.require(settings)
    began = time.monotonic()
    text, name = read_given(schema_uri, "--schema")
    schema = parse_schema(text, name, settings.quotas, settings.strict)
    require_complete(schema, name)
    if schema.rules.target is None and "gap_seconds" in settings.model_fields_set:
        problem = f"this has no effect: {schema.dataset_type} have no events, and so no sessions"
        raise ConfigError(problem, where="gap_seconds", value=settings.gap_seconds, remedy="Leave it out.")
    data_uri, output_uri = normalise(data_uri), normalise(output_uri).rstrip("/")
    stored = list_input(data_uri)
    _keep_apart(stored, data_uri, output_uri)
    references = references_of(schema, {"items": items_uri, "users": users_uri})
    own = None if expectations_uri is None else (read_text(expectations_uri), normalise(expectations_uri))
    config = {
        "schema": schema.document,
        "expectations": None if own is None else own[0],
        "suite": suite,
        **settings.model_dump(),
    }
    folder = StepFolder(output_uri)
    if canonical(folder.uri) in map(canonical, references.uris.values()):
        problem = "the output would replace a dataset that the events are compared with"
        raise ConfigError(problem, where="output", value=folder.uri, remedy="Name another folder.")
    identity = fingerprint("validate", config, [*references.versions, *(f"{file.size} {file.version}" for file in stored)])
    manifest = folder.published("dataset")
    skipped = manifest is not None and _last_import(manifest) == identity and folder.is_whole(manifest)
    if skipped:
        folder.show()
    if manifest is None or not skipped:
        base = base_of(manifest, settings.import_mode, schema, folder.uri)
        manifest = Import(
            folder=folder,
            schema=schema,
            data_uri=data_uri,
            files=base.numbered(open_inputs(stored, data_uri, schema)),
            base=base,
            references=references,
            previous=_previous(previous_uri, folder, manifest),
            settings=settings,
            suite=suite,
            own=own,
        ).run(lambda: spark_session(master), identity, config)
    return {
        "job": "validate",
        "output": folder.uri,
        "skipped": skipped,
        "seconds": round(time.monotonic() - began, 3),
        "dataset_type": schema.dataset_type,
        **manifest.counts,
        "verdict": manifest.metadata["verdict"],
        "report": folder.uri_of("report.html"),
    }


def _last_import(manifest: Manifest) -> str | None:
    """Identity of the newest import that a dataset's manifest speaks of; None where it speaks of none."""
    imports = manifest.metadata.get("imports")
    return imports[-1]["identity"] if imports else None


def _previous(uri: str | None, output: StepFolder, manifest: Manifest | None) -> dict[str, Any] | None:
    """The statistics of the last import, or None where there is none."""
    folder = output
    if uri is not None:
        folder = StepFolder(uri)
        manifest = folder.require("dataset")
    if manifest is None or "statistics" not in manifest.metadata:
        return None
    document: dict[str, Any] = json.loads(folder.read(manifest.file(manifest.metadata["statistics"])))
    return document


def _keep_apart(stored: list[StoredFile], data_uri: str, output_uri: str) -> None:
    """Input below the output could be swept away; output below the input would be read next time.

    Raises:
        ConfigError: One lies within the other.
    """
    read = [data_uri] if is_object(data_uri) else folders_read(data_uri)
    if any(lies_in(file.uri, output_uri) for file in stored) or any(lies_in(output_uri, each) for each in read):
        raise ConfigError(
            "data and output lie within each other",
            where="output",
            value=output_uri,
            remedy="Name a folder apart from the data.",
        )
