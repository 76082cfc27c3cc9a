"""Where Spark's Python workers begin: PySpark's own daemon, without what it would do anew before and after each task.

Java puts pyspark.zip, py4j's zip and a jar before all else on the path of modules. PySpark compiles itself out of the zip at
each start, and before each task has Python read the lists of all three: 0.2 CPU seconds. The package has the same modules.
After each task it looks through all objects for garbage: 0.1 CPU seconds where pandas or torch are loaded.

Source: org.apache.spark.api.python.PythonUtils.sparkPythonPath; setup_spark_files in pyspark/worker_util.py; pyspark/daemon.py.
"""

from __future__ import annotations

import gc
import os
import sys
from importlib.machinery import PathFinder
from typing import Any


def without_own_archives(path: list[str]) -> list[str]:
    """A path of modules without the archives that lie within the package pyspark which is found on the rest of it."""
    archives = [place for place in path if place.endswith((".zip", ".jar"))]
    found = PathFinder.find_spec("pyspark", [place for place in path if place not in archives])
    if found is None or found.origin is None:
        return path  # a Spark without the package: the archives are all that there is
    home = os.path.dirname(os.path.realpath(found.origin)) + os.sep
    return [place for place in path if place not in archives or not os.path.realpath(place).startswith(home)]


class Collector:
    """The module `gc` as PySpark's daemon uses it between two tasks, when hardly more is left than what was imported."""

    def __init__(self) -> None:
        self._modules = 0

    def collect(self) -> None:
        """Collect garbage; after further imports, look at what is left for the last time."""
        gc.collect()
        if len(sys.modules) > self._modules:
            gc.freeze()
            self._modules = len(sys.modules)


def main() -> None:
    """Start workers until Java ends."""
    kept = without_own_archives(sys.path)
    for place in set(sys.path) - set(kept):
        sys.path_importer_cache.pop(place, None)
    sys.path[:] = kept
    from pyspark import daemon

    spark_daemon: Any = daemon
    spark_daemon.gc = Collector()
    spark_daemon.manager()


if __name__ == "__main__":
    main()
