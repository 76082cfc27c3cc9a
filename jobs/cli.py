"""The console script `hrnn`: one subcommand a job, with the options of `run` in jobs/<job>/__main__.py.

jobs/platform/process/ending.py has the exit statuses. A job's code is imported when the job runs, so that help, completion
and usage errors need neither torch nor Spark.
"""

from __future__ import annotations

import functools
import importlib
import logging
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated, Any, NoReturn

import typer

from jobs.platform.process.ending import USAGE, print_result, run_to_end
from jobs.platform.process.scratch import sweep
from jobs.usage import completing, forget_odd_widths, of_option, usage_error
from schemas.errors import ConfigError, StorageError
from schemas.version import VERSION

JOBS = {
    "nightly": "Run the whole night from one config file; a rerun goes on where it stopped.",
    "validate": "Check CSV files against their schema; write typed Parquet, rejected rows and a report.",
    "sessionize": "Cut validated interactions into sessions; write sequences and the catalogue.",
    "train": "Fit a recipe to sequences; write a solution version.",
    "evaluate": "Measure a solution version beside its baselines.",
    "recommend": "Answer batch input lines in Personalize's format.",
    "segment": "Find the users who are most likely to take an item, or items with attributes.",
    "filter": "Say what a filter expression means, or where it is wrong; try it on a solution version.",
    "export": "Write a validated dataset as CSV files that can be imported again.",
    "delete-users": "Take users out of all that the platform wrote.",
    "gc": "Remove what killed runs left and nobody reads.",
    "compare": "Say how alike two batch outputs are, Personalize's or ours.",
    "recipes": "List every recipe with its hyperparameters, defaults and ranges.",
    "demo": "Run a night on real grocery purchases, on this machine, and show what came out.",
    "doctor": "Say what this machine has, what it lacks, and the remedy.",
}

Summary = dict[str, Any]

_OF_INFRA = ("demo", "doctor")
_READ_ONLY = ("dry_run", "plan")  # options with which a command changes nothing
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run `hrnn ARGUMENTS…` and exit with its status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    first = next((word for word in arguments if not word.startswith("-")), None)
    job = first if first in JOBS else None

    def work() -> None:
        level = os.environ.get("HRNN_LOG_LEVEL", "").upper() or "WARNING"
        if level not in _LEVELS:
            raise ConfigError("this is no log level", where="HRNN_LOG_LEVEL", value=level, allowed=", ".join(_LEVELS))
        log = logging.StreamHandler(sys.stderr)
        log.addFilter(_is_logged)
        logging.basicConfig(handlers=[log], level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
        forget_odd_widths()
        all_jobs = completing()
        app = typer.Typer(name="hrnn", pretty_exceptions_enable=False)
        app.callback()(_about)
        for name, help_line in JOBS.items():
            needed = all_jobs or name == job
            command = _printing(importlib.import_module(_module(name)).run) if needed else _stub
            app.command(name, short_help=help_line)(command)
        _run(app, arguments, job)

    run_to_end(job, work)


def _module(name: str) -> str:
    """Name of the module with a command's options: text, so that infra's commands run without an import of infra here."""
    return f"{'infra' if name in _OF_INFRA else 'jobs'}.{name.replace('-', '_')}.__main__"


def _is_logged(record: logging.LogRecord) -> bool:
    """Whether a record goes to the log: py4j logs what it raises, with a traceback, and the command reports that itself."""
    return "HRNN_DEBUG" in os.environ or "/py4j/" not in record.pathname


def _run(app: typer.Typer, arguments: list[str], job: str | None) -> None:
    """Let typer parse the arguments and run the command; without any it shows the help, which is no success.

    Raises:
        UsageError: They are wrong.
        SystemExit: The status is not 0.
        BrokenPipeError: A connection of the job broke; typer would end with 1, without a word.
    """
    streams = sys.stdout, sys.stderr
    try:
        status = app(arguments or ["--help"], prog_name="hrnn", standalone_mode=False)
    except typer.TyperException as error:
        raise usage_error(error, job) from None
    except SystemExit as ended:
        if isinstance(ended.__context__, BrokenPipeError):
            sys.stdout, sys.stderr = streams
            raise ended.__context__ from None
        raise
    if status or not arguments:
        raise SystemExit(status or USAGE)


def job_main(name: str) -> NoReturn:
    """Run one job's module by itself: `python -m jobs.NAME`, or under spark-submit."""
    main([name, *sys.argv[1:]])


def _print_version(requested: bool) -> None:
    if requested:
        print(f"hrnn-platform {VERSION}")
        raise typer.Exit


def _about(
    version: Annotated[
        bool, typer.Option("--version", "-V", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Nightly recommendations that you run yourself, in Amazon Personalize's formats.

    Each command takes s3://, file:// and plain paths, and prints one line of JSON about what it made.
    """


def _stub() -> None:
    """Stands in the list of commands for a job that is not run, so that its module is not imported."""


def _printing(run: Callable[..., Summary | None]) -> Callable[..., None]:
    """The command, with its summary printed as the last line of stdout, as JSON; None: it has printed for people already."""

    @functools.wraps(run)
    def command(*args: Any, **kwargs: Any) -> None:
        try:
            summary = run(*args, **kwargs)
        except (ConfigError, StorageError) as error:
            raise of_option(error, run, kwargs) from None
        finally:
            if not any(kwargs.get(name) for name in _READ_ONLY):
                with suppress(StorageError):  # of a place that this command did not need
                    sweep()  # here too: a rerun that finds nothing to do has no temporary files, and killed runs left theirs
        if summary is not None:
            print_result(summary)

    return command
