"""Errors of Spark's workers, raised again on the driver with one clear message."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import schemas.errors
from jobs.platform.process.scratch import run_folder, space_error
from schemas.errors import HrnnError, MachineError, error_of

_HRNN_ERROR = re.compile(r"schemas\.errors\.(\w+): (.+)")
_PYTHON_ERROR = re.compile(r"^([A-Za-z_][\w.]*(?:Error|Exception|Interrupt|Exit|Warning)\b.*)$", re.MULTILINE)
_JAVA_ERROR = re.compile(r"^(?:Caused by: )?((?:[a-z]\w*\.)+[A-Z]\w*(?:Error|Exception)\b.*)$", re.MULTILINE)
_NO_PYTHON = re.compile(r"Cannot run program \"([^\"]+)\".*|.*No module named '?(?:pyspark|jobs|hrnn|schemas)\b.*")
_MOST_CHARACTERS = 300


class WorkerFault(Exception):
    """A worker of Spark failed in a way that nobody foresaw."""


@contextmanager
def spark_errors() -> Iterator[None]:
    """Raise a worker's HrnnError again on the driver; turn Spark's own errors into one clear message.

    Raises:
        HrnnError: What a worker raised.
        StorageError: A disk is full.
        MachineError: No worker could be started, or one died.
        WorkerFault: Anything else; the last line of the worker's traceback.
    """
    from py4j.protocol import Py4JJavaError
    from pyspark.errors import PySparkException

    try:
        yield
    except (PySparkException, Py4JJavaError) as error:
        raise _clear_error(str(error)) from (error if os.environ.get("HRNN_DEBUG") else None)


def _clear_error(text: str) -> Exception:
    """The error behind a long traceback of Spark's."""
    match = _HRNN_ERROR.search(text)
    if match and issubclass(kind := getattr(schemas.errors, match[1], Exception), HrnnError):
        return error_of(cast(type[HrnnError], kind), match[2].strip())
    if (full := space_error(OSError(text), where=str(run_folder()))) is not None:
        return full
    if (no_python := _NO_PYTHON.search(text)) is not None:
        return MachineError(
            f"Spark's workers can't run this program: {no_python[0].strip()[:_MOST_CHARACTERS]}",
            where=f"PYSPARK_PYTHON={os.environ['PYSPARK_PYTHON']}" if "PYSPARK_PYTHON" in os.environ else None,
            remedy="Executors need this package's Python at the driver's path, or where PYSPARK_PYTHON says.",
        )
    if "Python worker exited unexpectedly" in text:
        return MachineError(
            "a worker of Spark died, most likely for want of memory",
            remedy="Give the machine or the executors more memory, or Spark fewer cores (--master 'local[2]'), then run again.",
        )
    return WorkerFault(f"a worker of Spark failed: {last_line(text)}")


def last_line(text: str) -> str:
    """The last error of a traceback: Python's where there is one, else Java's innermost."""
    errors = _PYTHON_ERROR.findall(text) or _JAVA_ERROR.findall(text) or text.strip().splitlines() or ["no message"]
    return str(errors[-1]).strip()[:_MOST_CHARACTERS]
