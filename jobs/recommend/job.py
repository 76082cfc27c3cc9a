"""Answer batch input lines with a solution version, in Amazon Personalize's format."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jobs.batch.inputs import bundle, cut
from jobs.batch.options import Options, read_options
from jobs.batch.parts import Part
from jobs.batch.run import run_batch
from jobs.platform.spark.session import spark_session
from jobs.platform.storage import StoredFile
from jobs.platform.storage.folders import StepFolder
from jobs.recommend.explanations import Sources
from jobs.recommend.pipeline import Work, answer
from jobs.solutions.solution import Solution
from schemas.batch_jobs import RecommendSettings


def recommend(
    *,
    solution_uri: str,
    input_uri: str,
    output_uri: str,
    settings: RecommendSettings,
    master: str | None = None,
    before_publication: Callable[[], None] | None = None,
    anew: bool = False,
) -> dict[str, Any]:
    """Write `<output>/<input file name>.out` for every input file, and `_CHECK` when all are there.

    The recipe decides what lines hold: users, users with lists to be ranked, or items. Line n of an `.out` answers line
    n of its input; a line that can't be answered becomes an error line, and an unknown user or item gets popular items.
    A line's `context` is given back, and means nothing to these models. The same inputs and solution version give the same
    bytes; where they were answered already, nothing is done.

    Args:
        solution_uri: Folder that `train` wrote.
        input_uri: A file of lines, a folder of such files, or, on S3, a prefix as Personalize takes it.
        output_uri: Folder for the answers; not the input's.
        settings: What every line is answered with. Where the catalogue has fewer items than `num_results`, all are listed, and
            so are all of a list to be ranked. An exploration's numbers may be texts, as Personalize has them.
        master: Spark master; None: what spark-submit set, else this machine's cores.
        before_publication: Called when all answers are ready and none is visible; what it raises keeps them so.
        anew: Answer also where the same was answered already.

    Returns:
        The summary: files, seconds, whether it was skipped, and the counts of jobs/batch/tally.py.

    Raises:
        ConfigError: A setting does not go with the recipe, or the output lies where the input is.
        FilterError: The filter is wrong.
        StorageError: Something is missing, or changed while it was read.
        DataError: Two input files have the same name, a file holds no JSON lines, too many lines can't be answered, or none.
    """
    RecommendSettings.require(settings)
    folder = StepFolder(solution_uri)
    manifest = folder.require("solution_version")
    options = read_options(manifest, settings)

    def answered(files: list[StoredFile], parts_uri: str, token: str) -> list[list[Part]]:
        sources = Sources.of(manifest) if options.explain and manifest.metadata["dimension"] else None
        return _answered(files, Solution.of(folder, manifest), options, sources, parts_uri, token, master)

    return run_batch(
        "recommend",
        folder,
        manifest,
        options.config(),
        input_uri,
        output_uri,
        answered,
        before_publication,
        max_error_fraction=settings.max_error_fraction,
        anew=anew,
    )


def _answered(
    files: list[StoredFile],
    solution: Solution,
    options: Options,
    sources: Sources | None,
    parts_uri: str,
    token: str,
    master: str | None,
) -> list[list[Part]]:
    """The parts of every file, in order; Spark is not started for files that are all empty."""
    parts: list[list[Part]] = [[] for _ in files]
    if any(file.size for file in files):
        spark = spark_session(master)
        cores, smallest = spark.sparkContext.defaultParallelism, sources is not None
        splits = cut(files, cores, smallest=smallest)
        work = Work(
            solution=solution,
            options=options,
            sources=sources,
            parts_uri=parts_uri,
            token=token,
        )
        for part in answer(spark, work, bundle(splits, cores, smallest=smallest)):
            parts[splits[part.split].file_number].append(part)
    return parts
