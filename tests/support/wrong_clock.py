"""This machine's clock set to another time, for the code of the jobs; stores go on dating files by theirs."""

from __future__ import annotations

import sys
from datetime import datetime, timedelta
from typing import Any

import pytest


def set_clock(monkeypatch: pytest.MonkeyPatch, by: timedelta) -> None:
    """Have every job see a clock that is ahead by so much."""

    class Shifted(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.now(tz) + by

    for name, module in list(sys.modules.items()):
        if name.startswith("jobs.") and getattr(module, "datetime", None) is datetime:
            monkeypatch.setattr(module, "datetime", Shifted)
