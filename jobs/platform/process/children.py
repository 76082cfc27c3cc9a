"""What the processes that a run starts are told by their environment: whose modules to take, where temporary files go."""

from __future__ import annotations

import os
import sys

from jobs.platform.process.scratch import RUN_FOLDER, run_folder


def same_modules() -> dict[str, str]:
    """Variables that have a Python find this process's modules, in its order, whatever folder it stands in."""
    return {"PYTHONSAFEPATH": "1", "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def same_run() -> dict[str, str]:
    """Variables that have a process share this run's temporary files."""
    return {"TMPDIR": str(run_folder()), RUN_FOLDER: str(run_folder())}
