from __future__ import annotations

from typing import Any

import pytest

from schemas.documents import read_json, read_toml
from schemas.errors import ConfigError
from schemas.event_rules import event_rules
from schemas.numbers import number_of
from schemas.recipes import RECIPES


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


ALMOST = "00000000000000000000001"  # more digits than a float has


@pytest.mark.parametrize(
    ("text", "below", "above"),
    [
        (f"1.{ALMOST}", 1, 2),
        (f"-1.{ALMOST}", -2, -1),
        ("0.99999999999999999999", 0, 1),
        ("1e-400", 0, 1),
        ("-1e-400", -1, 0),
        (f"4503599627370495.{ALMOST}", 4503599627370495, 4503599627370496),
    ],
)
def test_what_is_almost_a_whole_number_is_none(text: str, below: int, above: int) -> None:
    for number in (number_of(text), read_json(text), read_toml(f"a = {text}")["a"]):
        assert number is not None
        assert below < number < above


@pytest.mark.parametrize("text", ["1.0", "10e-1", "-0.0", "0e-999", "1e22", "9007199254740993.0", "123456789012345678901234.0"])
def test_a_whole_number_stays_one_however_it_is_written(text: str) -> None:
    for number in (number_of(text), read_json(text), read_toml(f"a = {text}")["a"]):
        assert number == float(text)


def test_a_hyperparameter_is_checked_by_all_its_digits() -> None:
    with pytest.raises(ConfigError, match=r"hidden_dimension: .*Allowed"):
        RECIPES["aws-hrnn"].hyperparameters.parse({"hidden_dimension": f"43.{ALMOST}"}, algorithm_arn="x")


def test_a_weight_is_checked_by_all_its_digits() -> None:
    for given in (f"1.{ALMOST}", read_json(f"1.{ALMOST}")):
        with pytest.raises(ConfigError, match="this is no weight"):
            event_rules(None, None, [{"eventType": "view", "weight": given}])


def test_a_threshold_in_other_digits_is_refused() -> None:
    with pytest.raises(ConfigError, match="no threshold"):
        event_rules(None, None, [{"eventType": "view", "eventValueThreshold": "1_0"}])
