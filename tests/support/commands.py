"""Commands as people type them, run in this process with the Spark that it has, or in one of their own."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import pytest

from jobs.cli import main


def hrnn(*arguments: str) -> dict[str, Any]:
    """Run a command that ends well; gives the last line of its stdout."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), pytest.raises(SystemExit) as ended:
        main(list(arguments))
    assert ended.value.code == 0
    summary: dict[str, Any] = json.loads(said.getvalue().splitlines()[-1])
    return summary


HEAVY = {"boto3", "botocore", "great_expectations", "jinja2", "numpy", "pandas", "pyarrow", "pyspark", "torch"}
_RUN = """
import json, sys
from jobs.cli import main
for arguments in json.loads(sys.argv[1]):
    try:
        main(arguments)
    except SystemExit as ended:
        assert ended.code == 0, arguments
print(json.dumps(sorted(sys.modules)))
"""


def heavy_modules(*commands: Sequence[str]) -> set[str]:
    """Those of HEAVY that a fresh Python has imported after some commands, each of which ends well."""
    done = subprocess.run([sys.executable, "-c", _RUN, json.dumps(commands)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return HEAVY & set(json.loads(done.stdout.splitlines()[-1]))
