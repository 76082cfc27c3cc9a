"""A small share of `make fuzz`: damaged configs, schemas and batch lines."""

from __future__ import annotations

import fuzz_configs
import pytest


def test_damaged_configs_schemas_and_lines_are_taken_or_refused_in_words() -> None:
    figures = fuzz_configs.fuzz(500, 1)
    kinds = ["toml", "json", "aws", "schema", "line"]
    assert sum(figures[kind] for kind in kinds) == 500
    assert all(5 < figures[f"{kind} refused"] < figures[kind] for kind in kinds)


def test_an_input_that_goes_wrong_is_told_with_seed_and_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(fuzz_configs._TRIES, "line", lambda text: 1 / 0)
    with pytest.raises(fuzz_configs.Failed, match=r"ZeroDivisionError(.|\n)*seed 3, input \d+, line: '"):
        fuzz_configs.fuzz(50, 3)
