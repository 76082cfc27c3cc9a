"""`hrnn export`: a validated dataset in, CSV files that can be imported again out (Personalize's dataset export job)."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

from jobs.export.rows import csv_blocks, header
from jobs.platform.process.scratch import scratch_folder
from jobs.platform.storage.folders import StepFolder
from schemas.datasets import DatasetSchema, parse_schema_document
from schemas.errors import ConfigError
from schemas.manifest import FileEntry, Manifest, fingerprint
from schemas.uris import lies_in

IngestionMode = Literal["BULK", "PUT", "ALL"]

_VERSION = 1  # of the bytes that are made of the same dataset
_HERE_BYTES = 64 << 20  # of Parquet that is exported in this process; more is spread by Spark


@dataclass(frozen=True, kw_only=True)
class Work:
    """Arguments of every task; the run's token is part of the files' names."""

    dataset_uri: str
    output_uri: str
    schema: DatasetSchema
    token: str


def export(*, dataset_uri: str, output_uri: str, ingestion_mode: str = "BULK", master: str | None = None) -> dict[str, Any]:
    """Write a validated dataset as CSV: one file a part of it, below `data/`.

    Rows that are equal in all fields, and older rows of one user, item or action, have left the dataset when it was imported:
    of Interactions the first of equal rows stays, over all imports; of the other types the newest row of an id. So what is
    exported holds no duplicates.

    Args:
        dataset_uri: Folder that `validate` wrote.
        output_uri: Folder for `data/*.csv` and `manifest.json`.
        ingestion_mode: BULK: what was imported from files. PUT: what was put event by event; there is none here, so a header
            alone. ALL: both.
        master: Spark master URL; None takes what is configured, else this machine.

    Returns:
        `rows`, `files`, `data` (the URI to import from), `note` and what every job returns.

    Raises:
        ConfigError: The ingestion mode is unknown, or the output is the dataset itself.
        StorageError: There is no validated dataset, or something cannot be read or written.
    """
    began = time.monotonic()
    mode = _check_mode(ingestion_mode)
    source, folder = StepFolder(dataset_uri), StepFolder(output_uri)
    if lies_in(folder.uri, source.uri) or lies_in(source.uri, folder.uri):
        raise ConfigError(
            "dataset and output lie within each other", where="output", value=folder.uri, allowed="a folder apart"
        )
    dataset = source.require("dataset")
    bulk = mode != "PUT"
    config = {"version": _VERSION, "bulk": bulk}
    identity = fingerprint("export", config, [dataset.fingerprint])
    manifest = folder.published("export")
    skipped = manifest is not None and manifest.fingerprint == identity and folder.is_whole(manifest)
    if manifest is None or not skipped:
        schema = parse_schema_document(dataset.metadata["schema"], f"{source.uri}/manifest.json")
        work = Work(dataset_uri=source.uri, output_uri=folder.uri, schema=schema, token=folder.token)
        used = source.reference(dataset)
        with folder.made_of(used):
            files = _written(work, _parts(dataset) if bulk else [], master)
            rows = sum(file.rows or 0 for file in files)
            manifest = folder.publish("export", identity, config, [used], files, {"rows": rows, "files": len(files)})
    return {
        "job": "export",
        "output": folder.uri,
        "skipped": skipped,
        "seconds": round(time.monotonic() - began, 1),
        "dataset_type": dataset.metadata["dataset_type"],
        "ingestion_mode": mode,
        **manifest.counts,
        "data": folder.uri_of("data") + "/",
        "note": None if bulk else "No data were put event by event; the file has a header and no rows.",
    }


def _check_mode(mode: str) -> IngestionMode:
    for known in get_args(IngestionMode):
        if mode.upper() == known:
            return known  # type: ignore[no-any-return]
    raise ConfigError(
        "this ingestion mode is not known",
        where="ingestion_mode",
        value=mode,
        allowed=", ".join(get_args(IngestionMode)),
    )


def _parts(dataset: Manifest) -> list[FileEntry]:
    """The part files of a dataset, in the order of its imports and of the files that they read."""
    firsts = dict(dataset.metadata.get("parts", []))
    return sorted(dataset.files_below("data"), key=lambda entry: (firsts.get(entry.path, 0), entry.path))


def _written(work: Work, parts: list[FileEntry], master: str | None) -> list[FileEntry]:
    if not parts:
        folder = StepFolder(work.output_uri)
        return [folder.put(_path(work, 0), header(work.schema), rows=0)]
    numbered = list(enumerate(parts))
    if sum(entry.size for entry in parts) <= _HERE_BYTES:
        return [FileEntry(**_export_part(work, part)) for part in numbered]
    from jobs.platform.spark.session import spark_session
    from jobs.platform.spark.tasks import run_tasks

    entries = run_tasks(spark_session(master), partial(_export_part, work), numbered, "export")
    return [FileEntry(**entry) for entry in entries]


def _export_part(work: Work, part: tuple[int, FileEntry]) -> dict[str, Any]:
    """Write one part as CSV; may run on a worker, and twice, since the same name gets the same bytes."""
    number, entry = part
    with scratch_folder("export") as scratch:
        local = StepFolder(work.dataset_uri).fetch(entry, Path(scratch))
        path = Path(scratch) / "part.csv"
        with open(path, "wb") as file:
            file.write(header(work.schema))
            file.writelines(csv_blocks(local, work.schema))
        return StepFolder(work.output_uri).put_file(path, _path(work, number), rows=entry.rows).model_dump()


def _path(work: Work, number: int) -> str:
    """`data/part-00000-<token>.csv`: a name of this run, so that no other run, late as it may be, takes it for a leftover."""
    return f"data/part-{number:05}-{work.token}.csv"
