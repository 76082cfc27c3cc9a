from __future__ import annotations

import builtins
import hashlib
import io
from pathlib import Path
from typing import Any

import pytest

from jobs.batch.parts import store_part
from jobs.batch.tally import Tally


def test_a_part_is_hashed_as_it_is_written_and_read_but_to_be_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    plain_open = builtins.open

    def watched(file: Any, mode: str = "r", *arguments: Any, **named: Any) -> Any:
        if Path(str(file)).name == "part":
            opened.append(mode)
        return plain_open(file, mode, *arguments, **named)

    for module in (builtins, io):
        monkeypatch.setattr(module, "open", watched)
    lines = [b"%d\n" % number for number in range(1_000)]
    part = store_part(lines, str(tmp_path), "0" * 12, 0, Tally(lines=1_000))
    monkeypatch.undo()
    assert sorted(opened) == ["rb", "wb"]
    stored = Path(part.uri).read_bytes()
    assert (stored, part.sha256) == (b"".join(lines), hashlib.sha256(stored).hexdigest())
