"""Where the command `hrnn` begins: under a name of its own, before somebody's folder is taken for a package of ours."""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from importlib.machinery import PathFinder
from pathlib import Path
from typing import NoReturn

PACKAGES = ("schemas", "hrnn", "jobs", "infra")


def main() -> NoReturn:
    """Run `hrnn ARGUMENTS…`, unless another package is called as one of ours and comes first."""
    for name in PACKAGES:
        found = PathFinder.find_spec(name)
        origin = None if found is None else found.origin
        if origin is None or Path(origin).resolve().parents[1] != Path(__file__).resolve().parent:
            _refuse(name, origin)
    from jobs.cli import main as run

    run()


def _refuse(name: str, origin: str | None) -> NoReturn:
    """Say whose package stands before ours, as every command says what the user can mend."""
    problem = f"this package stands before the platform's own {name}" if origin else f"the package {name} is not whole"
    error = f"{origin or Path(__file__).parent}: {problem}. Leave its folder out of PYTHONPATH, or name it otherwise."
    document = {"state": "failed", "kind": "MachineError", "error": error}  # which job it is, only jobs could say
    for number, line in ((2, f"hrnn: {error}"), (1, json.dumps(document))):
        with suppress(OSError):  # closed, full, or read by nobody
            os.write(number, f"{line}\n".encode(errors="backslashreplace"))
    sys.exit(1)
