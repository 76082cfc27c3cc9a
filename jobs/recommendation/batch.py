"""What all batch jobs do around their answers: find the input, see whether anything is left to do, publish, keep a record."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Literal

from jobs.recommendation.inputs import check_places, input_files
from jobs.recommendation.parts import Part
from jobs.recommendation.publication import Answered, Publication
from jobs.storage import StoredFile, normalise
from jobs.storage.folders import StepFolder, see_unchanged
from schemas.manifest import InputRef, Kind, Manifest, fingerprint
from schemas.version import VERSION

BatchJob = Literal["recommend", "segment"]
_KINDS: dict[BatchJob, Kind] = {"recommend": "batch_inference", "segment": "batch_segment"}
_TOTALS: dict[BatchJob, tuple[str, ...]] = {"recommend": ("lines", "errors", "unknown_users"), "segment": ("lines", "errors")}


def run_batch(
    job: BatchJob,
    solution: StepFolder,
    manifest: Manifest,
    config: dict[str, Any],
    input_uri: str,
    output_uri: str,
    answered: Callable[[list[StoredFile], str, str], list[list[Part]]],
    before_publication: Callable[[], None] | None,
    anew: bool = False,
) -> dict[str, Any]:
    """Answer the files of an input, and publish `<output>/<input file name>.out` for each, and `_CHECK` when all are there.

    Args:
        job: Which.
        solution, manifest: The solution version that answers.
        config: What decides about the answers, beside the solution version and the lines.
        input_uri, output_uri: As the job was given them.
        answered: (input files, folder for parts, the run's token) -> the stored parts of each file's answers, in order.
        before_publication: Called when all answers are ready and none is visible; what it raises keeps them so.
        anew: Answer also where the same was answered already.

    Returns:
        The job's summary.

    Raises:
        ConfigError: The output lies where the input is.
        StorageError: Something is missing, or changed while it was read.
        CommitLost: Another run has published there since this one began.
        DataError: Two input files have the same name.
    """
    began = time.monotonic()
    files = input_files(input_uri)
    output = normalise(output_uri).rstrip("/")
    check_places(files, input_uri, output)
    identity = batch_identity(job, config, manifest.fingerprint, files)
    reference = solution.reference(manifest)
    publication = Publication(output, _KINDS[job], identity)

    def ready() -> list[Answered]:
        parts = answered(files, publication.parts_uri, publication.token)
        see_unchanged([reference])
        return [Answered(file=file, parts=of_file) for file, of_file in zip(files, parts, strict=True)]

    def record(outputs: list[dict[str, Any]]) -> Manifest:
        see_unchanged([reference])
        return Manifest(
            kind=_KINDS[job],
            fingerprint=identity,
            software=VERSION,
            config=config,
            inputs=(
                InputRef(uri=reference.uri, version=reference.version),
                *(InputRef(uri=file.uri, version=file.version) for file in files),
            ),
            files=(),
            counts={"files": len(files), **{name: sum(row[name] for row in outputs) for name in _TOTALS[job]}},
            facts={"outputs": outputs},
        )

    done = None if anew else publication.done()
    skipped = done is not None
    if done is None:
        done = publication.publish(ready, record, before_publication)
    seconds = round(time.monotonic() - began, 1)
    return {"job": job, "output": output, "skipped": skipped, **done.counts, "seconds": seconds}


def batch_identity(job: BatchJob, config: dict[str, Any], solution: str, files: Sequence[StoredFile]) -> str:
    """What tells answers from others.

    Args:
        job, config: As `run_batch` takes them.
        solution: Fingerprint of the solution version.
        files: Of the input.
    """
    return fingerprint(job, config, [solution, *(f"{file.name}:{file.size}:{file.version}" for file in files)])
