"""The one place that starts Spark."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import schemas.errors
from jobs.spark.java import java_home
from schemas.errors import HrnnError, MachineError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_QUIET = Path(__file__).with_name("log4j2.properties")
_SETTINGS = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    "spark.sql.execution.arrow.maxRecordsPerBatch": "65536",
    "spark.sql.adaptive.enabled": "true",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.speculation": "false",
}


def spark_session(master: str | None = None) -> SparkSession:
    """The running session, or a new one.

    Args:
        master: Spark master URL; None takes what spark-submit or spark-defaults.conf set, else `local[*]`.

    Raises:
        MachineError: There is no Java for it, or the master can't be reached.
    """
    # Workers must be this Python, also where the environment is not activated.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    os.environ.setdefault("PYSPARK_DRIVER_PYTHON", sys.executable)
    if not _submitted():
        os.environ["JAVA_HOME"] = str(java_home())

    from pyspark.sql import SparkSession

    builder = SparkSession.Builder().appName("hrnn")
    for key, value in _SETTINGS.items():
        builder = builder.config(key, value)
    if master is None and not _configured():
        master = "local[*]"
    if master is not None:
        builder = builder.master(master)
    if master is not None and master.startswith("local"):
        builder = (
            builder.config("spark.driver.memory", os.environ.get("HRNN_DRIVER_MEMORY", "4g"))
            .config("spark.driver.host", "127.0.0.1")
            .config("spark.driver.bindAddress", "127.0.0.1")
            .config("spark.driver.extraJavaOptions", f"-Dlog4j2.configurationFile={_QUIET.as_uri()}")
            .config("spark.local.dir", os.environ.get("HRNN_SCRATCH") or tempfile.gettempdir())
        )
    try:
        spark = builder.getOrCreate()
    except Exception as error:
        reason = str(error).strip().splitlines()[-1][:300] if str(error).strip() else type(error).__name__
        raise MachineError(f"Spark did not start: {reason}", remedy="Check --master, and Java with `hrnn doctor`.") from None
    spark.sparkContext.setLogLevel("ERROR")
    return spark


def _submitted() -> bool:
    """Whether spark-submit runs this process: Java is up already, and knows its master."""
    return "PYSPARK_GATEWAY_PORT" in os.environ


def _configured() -> bool:
    """Whether spark-submit, MASTER or spark-defaults.conf says where Spark runs."""
    if _submitted() or os.environ.get("MASTER"):
        return True
    home = os.environ.get("SPARK_HOME", "")
    defaults = Path(os.environ.get("SPARK_CONF_DIR") or Path(home, "conf"), "spark-defaults.conf")
    return defaults.is_file() and re.search(r"(?m)^\s*spark\.master[\s=]", defaults.read_text()) is not None


@contextmanager
def spark_errors() -> Iterator[None]:
    """Raise a worker's HrnnError again on the driver; turn what Spark itself says into one clear message."""
    from py4j.protocol import Py4JJavaError
    from pyspark.errors import PySparkException

    try:
        yield
    except (PySparkException, Py4JJavaError) as error:
        text = str(error)
        match = re.search(r"schemas\.errors\.(\w+): (.+)", text)
        if match and issubclass(kind := getattr(schemas.errors, match[1], Exception), HrnnError):
            raised = kind.__new__(kind)
            Exception.__init__(raised, match[2].strip())
            raise raised from None
        if "No space left on device" in text:
            raise schemas.errors.StorageError(
                "no space is left on the disk", where="Spark", remedy="Free some space or set HRNN_SCRATCH, then run again."
            ) from None
        raise
