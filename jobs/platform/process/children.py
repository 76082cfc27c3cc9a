"""Environment variables of the processes that a run starts: where modules are found, where temporary files go."""

from __future__ import annotations

import os
import sys

from jobs.platform.process.scratch import RUN_FOLDER, run_folder


def same_modules() -> dict[str, str]:
    """Variables by which a Python finds this process's modules, in its order, whatever its working directory."""
    return {"PYTHONSAFEPATH": "1", "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def same_run() -> dict[str, str]:
    """Variables by which a process shares this run's temporary files."""
    return {"TMPDIR": str(run_folder()), RUN_FOLDER: str(run_folder())}
