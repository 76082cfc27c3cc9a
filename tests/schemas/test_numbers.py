from __future__ import annotations

from typing import Any

import pytest

from schemas.errors import ConfigError
from schemas.event_rules import event_rules
from schemas.numbers import number_of


@pytest.mark.parametrize(
    ("given", "number"),
    [
        (3, 3.0),
        (0.5, 0.5),
        ("3", 3.0),
        (" 0.50 ", 0.5),
        ("\x1c1", 1.0),
        ("-1e3", -1000.0),
        ("+.5", 0.5),
        ("5.", 5.0),
        ("0x1", None),
    ]
    + [(each, None) for each in ("1_0", "\u0663", "nan", "inf", "", "1 0", "1,5", True, None, [1], "1e999", 10**400)],
)
def test_numbers_are_what_people_and_services_write(given: Any, number: float | None) -> None:
    assert number_of(given) == number


def test_a_threshold_in_other_digits_is_refused() -> None:
    with pytest.raises(ConfigError, match="no threshold"):
        event_rules(None, None, [{"eventType": "view", "eventValueThreshold": "1_0"}])
