"""Answer batch input lines with a solution version, in Amazon Personalize's format."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from jobs.cli import job_main
from jobs.recommendation.inputs import check_places, cut, input_files
from jobs.recommendation.parts import Part
from jobs.recommendation.pipeline import Work, answer
from jobs.recommendation.publication import RECORD_FOLDER, assemble, drop_leftovers, finish, still_there
from jobs.recommendation.served import Solution
from jobs.spark.session import spark_session
from jobs.storage import StoredFile, join, normalise
from jobs.storage.folders import StepFolder
from schemas.errors import ConfigError
from schemas.manifest import InputRef, Manifest, fingerprint


def recommend(
    *,
    solution_uri: str,
    input_uri: str,
    output_uri: str,
    num_results: int = 25,
    master: str | None = None,
    before_publication: Callable[[], None] | None = None,
) -> dict[str, Any]:
    """Write `<output>/<input file name>.out` for every input file, and `_CHECK` when all are there.

    Line n of an `.out` answers line n of its input; a line that can't be answered becomes an error line, and a user nobody
    knows gets popular items. The same inputs and solution version give the same bytes; where they were answered already,
    nothing is done.

    Args:
        solution_uri: Folder that `train` wrote.
        input_uri: A file of lines, a folder of such files, or, on S3, a prefix as Personalize takes it.
        output_uri: Folder for the answers; not the input's.
        num_results: Items a user; all there are where the catalogue has fewer.
        master: Spark master; None: what spark-submit set, else this machine's cores.
        before_publication: Called when all answers are ready and none is visible; what it raises keeps them so.

    Returns:
        The summary: files, lines, errors, unknown_users, seconds, whether it was skipped.

    Raises:
        ConfigError: `num_results` is below 1, or the output lies where the input is.
        StorageError: Something is missing, or changed while it was read.
        DataError: Two input files have the same name.
    """
    began, now = time.monotonic(), datetime.now(UTC)
    if num_results < 1:
        raise ConfigError("at least one item must be asked for", where="num_results", value=num_results, allowed="1 or more")
    solution_folder = StepFolder(solution_uri)
    manifest = solution_folder.require("solution_version")
    files = input_files(input_uri)
    output = normalise(output_uri).rstrip("/")
    check_places(files, input_uri, output)
    record = StepFolder(join(output, RECORD_FOLDER))
    versions = [f"{file.name}:{file.size}:{file.version}" for file in files]
    identity = fingerprint("recommend", {"num_results": num_results}, [manifest.fingerprint, *versions])
    done = record.manifest()
    if done is not None and done.fingerprint == identity and still_there(output, done):
        return _summary(output, done, began, skipped=True)
    parts = _answered(files, Solution.of(solution_folder, manifest), num_results, record, master)
    if before_publication is not None:
        before_publication()
    drop_leftovers(output, files, now)
    outputs = [assemble(output, file, of_file) for file, of_file in zip(files, parts, strict=True)]
    finish(output, (part for of_file in parts for part in of_file))
    totals = {name: sum(row[name] for row in outputs) for name in ("lines", "errors", "unknown_users")}
    published = record.publish(
        "batch_inference",
        identity,
        {"num_results": num_results},
        [solution_folder.reference(manifest), *(InputRef(uri=file.uri, version=file.version) for file in files)],
        [],
        counts={"files": len(files), **totals},
        facts={"outputs": outputs},
    )
    return _summary(output, published, began, skipped=False)


def _answered(
    files: list[StoredFile], solution: Solution, num_results: int, record: StepFolder, master: str | None
) -> list[list[Part]]:
    """The parts of every file, in order; Spark is not started for files that are all empty."""
    answered: list[list[Part]] = [[] for _ in files]
    if any(file.size for file in files):
        spark = spark_session(master)
        splits = tuple(cut(files, spark.sparkContext.defaultParallelism))
        work = Work(
            solution=solution, num_results=num_results, splits=splits, parts_uri=join(record.uri, "parts"), token=record.token
        )
        for part in answer(spark, work):
            answered[splits[part.split].file_number].append(part)
    return answered


def _summary(output: str, manifest: Manifest, began: float, *, skipped: bool) -> dict[str, Any]:
    return {
        "job": "recommend",
        "output": output,
        "skipped": skipped,
        **manifest.counts,
        "seconds": round(time.monotonic() - began, 1),
    }


def run(
    solution: Annotated[str, typer.Option(help="Folder that `hrnn train` wrote: s3://…, file://… or a path.")],
    input: Annotated[str, typer.Option(help='File of lines {"userId": "…"}, or a folder of them; on S3 any prefix.')],
    output: Annotated[str, typer.Option(help="Folder for <input file name>.out and _CHECK; not the input's.")],
    num_results: Annotated[int, typer.Option(min=1, help="Items a user.")] = 25,
    master: Annotated[str | None, typer.Option(help="Spark master, such as spark://host:7077, yarn or local[4].")] = None,
) -> dict[str, Any]:
    """Answer batch input lines in Personalize's format: <input file name>.out for each input file, and _CHECK."""
    return recommend(solution_uri=solution, input_uri=input, output_uri=output, num_results=num_results, master=master)


if __name__ == "__main__":
    job_main("recommend", run)
