"""The one place that starts Spark."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.platform.process.scratch import at_end_of_run, run_folder, space_error
from jobs.platform.spark.java import java_home
from jobs.platform.spark.master import check_master
from jobs.platform.spark.surroundings import NOBODY, java_surroundings, own_spark_home, user_without_name
from schemas.errors import HrnnError, MachineError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_QUIET = Path(__file__).with_name("log4j2.properties")
_SETTINGS = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    "spark.sql.execution.arrow.maxRecordsPerBatch": "65536",
    "spark.sql.execution.arrow.localRelationThreshold": "0",  # a table of ours becomes a partition a batch
    "spark.sql.adaptive.enabled": "true",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.speculation": "false",
    "spark.python.daemon.module": "jobs.platform.spark.daemon",
    "spark.executorEnv.PYTHONSAFEPATH": "1",  # a task takes no module from the folder that it stands in
}
_END_SECONDS = 10.0  # in which Java ends by itself
_FRAME = re.compile(r"\s*(?:at \S+\(.*\)|\.\.\. \d+ (?:more|common frames omitted))\s*")  # of a stack of Java's
# A line of Java's Properties, which goes on behind a backslash; a comment does not.
_SETTING = re.compile(r"[ \t\f]*(?:[#!][^\r\n]*|((?:\\(?:\r\n|[\s\S])|[^\\\r\n])*+)\\?)(?:\r\n|[\r\n]|\Z)")
_MASTER = re.compile(r"spark\.master(?:[ \t\f]*[=:][ \t\f]*|[ \t\f]+|\Z)(.*)", re.DOTALL)


def spark_session(master: str | None = None) -> SparkSession:
    """The running session, or a new one.

    Args:
        master: Spark master URL; None takes what spark-submit or spark-defaults.conf set, else `local[*]`.

    Raises:
        ConfigError: The master is none.
        MachineError: There is no Java for it, or the master can't be reached.
        StorageError: There is no place for temporary files.
    """
    from pyspark.sql import SparkSession

    builder = SparkSession.Builder().appName("hrnn")
    if master is not None:
        check_master(master)
    elif not _configured():
        master = "local[*]"
    local = master is not None and master.startswith("local")
    settings = _SETTINGS | (_local_settings() if local else {}) | ({} if master is None else {"spark.master": master})
    for key, value in settings.items():
        builder = builder.config(key, value)
    try:
        with _surroundings(local):
            _start_java(settings)
            spark = builder.getOrCreate()
    except HrnnError:
        raise
    except Exception as error:
        raise space_error(error, str(run_folder())) or MachineError(
            f"Spark did not start: {_reason(error)}", remedy="Check --master, and Java and this host's name with `hrnn doctor`."
        ) from None
    spark.sparkContext.setLogLevel("ERROR")
    return spark


def _reason(error: Exception) -> str:
    """The last line of an error that is no frame of Java's stack: the cause of all above it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip() and not _FRAME.fullmatch(line)]
    last = lines[-1].removeprefix("Caused by: ").removeprefix(": ") if lines else type(error).__name__
    return last[:300].rstrip(".")


def _local_settings() -> dict[str, str]:
    """Settings of Spark on this machine alone."""
    return {
        "spark.driver.memory": os.environ.get("HRNN_DRIVER_MEMORY", "4g"),
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.extraJavaOptions": f"-Dlog4j2.configurationFile={_QUIET.as_uri()}",
        "spark.local.dir": str(run_folder()),
        # Tasks run in the process that would miss their heartbeats; all that it can miss is an hour by which the clock was set.
        "spark.storage.blockManagerHeartbeatTimeoutMs": "36500d",
    }


def _surroundings(local: bool) -> AbstractContextManager[None]:
    """The environment that Spark is started in; nothing to set up where it runs already."""
    from pyspark import SparkContext

    if _submitted() or SparkContext._active_spark_context is not None:
        return nullcontext()
    return java_surroundings(java_home(), local)


def _start_java(settings: dict[str, str]) -> None:
    """Start the Java that Spark lives in, unless it runs; it ends with the run."""
    from pyspark import SparkConf, SparkContext

    if _submitted() or SparkContext._gateway is not None:
        return
    with _ending_with_us():
        SparkContext._ensure_initialized(conf=SparkConf(loadDefaults=False).setAll(list(settings.items())))
    gateway: Any = SparkContext._gateway
    at_end_of_run(partial(_end_java, gateway, signal.getsignal(signal.SIGINT)))
    if user_without_name():
        hadoop = gateway.jvm.org.apache.hadoop.security.UserGroupInformation
        hadoop.setLoginUser(hadoop.createRemoteUser(NOBODY))  # else Hadoop has Java look the user up in passwd, which fails


@contextmanager
def _ending_with_us() -> Iterator[None]:
    """End Java where Ctrl-C or SIGTERM comes while it starts: it hears neither, and would wait for us for ever."""
    from pyspark import java_gateway

    module: Any = java_gateway
    started: list[subprocess.Popen[Any]] = []

    def start(*arguments: Any, **named: Any) -> subprocess.Popen[Any]:
        started.append(subprocess.Popen(*arguments, **named))
        return started[-1]

    before, module.Popen = module.Popen, start
    try:
        yield
    except BaseException:
        for process in started:
            process.kill()
            process.wait()
        raise
    finally:
        module.Popen = before


def _end_java(gateway: Any, interrupt: Any) -> None:
    """End Spark and its Java, wait until it has cleared its files, and hear Ctrl-C as before."""
    from pyspark import SparkContext

    with suppress(Exception):  # a signal to all our processes may have ended Java already
        if SparkContext._active_spark_context is not None:
            SparkContext._active_spark_context.stop()
    with suppress(Exception):
        gateway.shutdown()
    SparkContext._gateway = SparkContext._jvm = None
    with suppress(OSError):
        gateway.proc.stdin.close()
    try:
        gateway.proc.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        gateway.proc.kill()
        gateway.proc.wait()
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, interrupt)  # Spark's own handler fails once Spark has ended


def _submitted() -> bool:
    """Whether spark-submit runs this process: Java is up already, and knows its master."""
    return "PYSPARK_GATEWAY_PORT" in os.environ


def _configured() -> bool:
    """Whether spark-submit, spark-defaults.conf or MASTER says where Spark runs.

    Raises:
        ConfigError: What counts of them is no master.
    """
    if _submitted():
        return True
    # Spark takes the file before the variable. Source: org.apache.spark.deploy.SparkSubmitArguments.
    for where, master in (_of_defaults(), ("MASTER", os.environ.get("MASTER") or None)):
        if master is not None:
            check_master(master, where)
            return True
    return False


def _of_defaults() -> tuple[str, str | None]:
    """The path of spark-defaults.conf, and the master that it names."""
    import pyspark

    home = own_spark_home() or Path(pyspark.__file__).parent
    defaults = Path(os.environ.get("SPARK_CONF_DIR") or Path(home, "conf"), "spark-defaults.conf")
    # As Spark reads it. Source: org.apache.spark.util.Utils.getPropertiesFromFile.
    text = defaults.read_bytes().decode("utf-8", "replace") if defaults.is_file() else ""
    master = None
    for line in _SETTING.findall(text):
        if said := _MASTER.fullmatch(re.sub(r"\\(?:\r\n|[\r\n])[ \t\f]*", "", line)):
            master = re.sub(r"\\(.)", r"\1", said[1]).strip()  # the last one counts
    return str(defaults), master
