"""The frame of a batch job: find the input, skip what was answered before, publish the answers, keep a record."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from jobs.batch.inputs import check_places, input_files
from jobs.batch.parts import Part
from jobs.batch.plain import plain_lines
from jobs.batch.publication import Answered, BatchJob, Publication, batch_identity
from jobs.batch.tally import Tally, total
from jobs.platform.storage import StoredFile, normalise
from jobs.platform.storage.folders import StepFolder, check_unchanged
from schemas.manifest import InputRef, Kind, Manifest
from schemas.recipes import RECIPES
from schemas.version import VERSION

_KINDS: dict[BatchJob, Kind] = {"recommend": "batch_inference", "segment": "batch_segment"}
_NOT_COUNTED: dict[BatchJob, frozenset[str]] = {"recommend": frozenset(), "segment": frozenset({"unknown_users"})}
_LOG = logging.getLogger(__name__)


def run_batch(
    job: BatchJob,
    solution: StepFolder,
    manifest: Manifest,
    config: dict[str, Any],
    input_uri: str,
    output_uri: str,
    answered: Callable[[list[StoredFile], str, str], list[list[Part]]],
    before_publication: Callable[[], None] | None,
    *,
    max_error_fraction: float = 1.0,
    anew: bool = False,
) -> dict[str, Any]:
    """Answer the files of an input, and publish `<output>/<input file name>.out` for each, and `_CHECK` when all are there.

    Args:
        job: The kind of batch job.
        solution, manifest: The solution version that answers.
        config: Settings that the answers depend on, beside the solution version and the lines.
        input_uri, output_uri: The job's arguments.
        answered: (input files, folder for parts, the run's token) -> the stored parts of each file's answers, in order.
        before_publication: Called when all answers are ready and none is visible; what it raises keeps them so.
        max_error_fraction: Error lines that are still acceptable, as a fraction of all lines, from 0 to 1.
        anew: Answer also where the same was answered already.

    Returns:
        The job's summary.

    Raises:
        ConfigError: The output lies where the input is.
        StorageError: Something is missing, or changed while it was read.
        CommitLost: Another run has published there since this one began.
        DataError: Two input files have the same name, a file holds no JSON lines, too many lines can't be answered, or none.
    """
    began = time.monotonic()
    files = input_files(input_uri)
    output = normalise(output_uri).rstrip("/")
    check_places(files, input_uri, output)
    identity = batch_identity(job, config, manifest.fingerprint, files)
    reference = solution.reference(manifest)
    publication = Publication(output, _KINDS[job], identity)

    tallies: list[Tally] = []

    def ready() -> list[Answered]:
        plain = plain_lines(files, RECIPES[manifest.metadata["recipe"]].line_kind, publication.parts_uri, publication.token)
        with solution.made_of(reference):
            parts = answered(plain, publication.parts_uri, publication.token)
        tallies.extend(part for file_parts in parts for part in file_parts)
        total(tallies).check(max_error_fraction, input_uri)
        check_unchanged([reference])
        return [Answered(file=file, parts=file_parts) for file, file_parts in zip(files, parts, strict=True)]

    def record(outputs: list[dict[str, Any]]) -> Manifest:
        check_unchanged([reference])
        tally = total(tallies)
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
            counts={"files": len(files), **_without(tally.counts(), _NOT_COUNTED[job])},
            metadata={"outputs": outputs, "told": tally.details()},
        )

    published = None if anew else publication.done()
    skipped = published is not None
    if published is None:
        published = publication.publish(ready, record, before_publication)
    tally = Tally.of_record(published)
    if skipped:
        tally.check(max_error_fraction, input_uri)
    for warning in tally.warnings():
        _LOG.warning("%s: %s", output, warning)
    seconds = round(time.monotonic() - began, 1)
    return {"job": job, "output": output, "skipped": skipped, **published.counts, "seconds": seconds}


def _without(counts: dict[str, int], names: frozenset[str]) -> dict[str, int]:
    return {name: count for name, count in counts.items() if name not in names}
