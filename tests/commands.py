"""Commands as people type them, run in this process, with the Spark that it has."""

from __future__ import annotations

import contextlib
import io
import json
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
