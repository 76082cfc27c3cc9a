from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from hrnn.data.event_weights import event_weights
from schemas.errors import ConfigError
from schemas.event_rules import EventRule, EventRules, event_rules, types_in_words

TYPES = ["view", "cart", "buy"]
CODES = np.asarray([0, 1, 2, 0, 1, 2], dtype=np.int32)
VALUES = np.asarray([0.1, 0.5, 0.3, 0.09, np.nan, 2.0], dtype=np.float32)


def weights_of(rules: EventRules | None) -> list[float]:
    assert rules is not None
    return [round(float(weight), 6) for weight in event_weights(rules, TYPES, CODES, VALUES)]


def test_without_settings_all_events_count_alike() -> None:
    assert event_rules(None, None, None) is None


def test_only_events_of_the_type_count() -> None:
    assert weights_of(event_rules("buy", None, None)) == [0, 0, 1, 0, 0, 1]


def test_a_value_equal_to_the_threshold_is_kept_and_a_missing_one_is_not() -> None:
    assert weights_of(event_rules(None, "0.1", None)) == [1, 1, 1, 0, 0, 1]
    assert weights_of(event_rules("view", "0.1", None)) == [1, 0, 0, 0, 0, 0]


def test_weights_are_ratios_and_types_that_are_not_listed_do_not_count() -> None:
    first = [{"event_type": "buy", "weight": 0.3}, {"eventType": "view", "weight": "0.1", "eventValueThreshold": 0.1}]
    second = [{"event_type": "buy", "weight": 0.6}, {"event_type": "view", "weight": 0.2, "event_value_threshold": "0.1"}]
    assert weights_of(event_rules(None, None, first)) == [round(1 / 3, 6), 0, 1, 0, 0, 1]
    assert weights_of(event_rules(None, None, first)) == weights_of(event_rules(None, None, second))


@pytest.mark.parametrize(
    ("event_type", "threshold", "config", "message"),
    [
        (None, "much", None, "no threshold"),
        (None, "nan", None, "no threshold"),
        ("buy", None, [{"event_type": "buy"}], "say what events_config says too"),
        (None, None, [], "no such number of types"),
        (None, None, [{"event_type": f"{number}"} for number in range(11)], "no such number of types"),
        (None, None, [{"weight": 1.0}], "an event type is missing"),
        (None, None, [{"event_type": "buy", "weigth": 1.0}], "this key is not known"),
        (None, None, [{"event_type": "buy", "weight": 1.1}], "this is no weight"),
        (None, None, [{"event_type": "buy", "weight": True}], "this is no weight"),
        (None, None, [{"event_type": "buy"}, {"event_type": "buy"}], "named twice"),
        (None, None, [{"event_type": "buy", "weight": 0}], "every weight is 0"),
        (None, 10**400, None, "no threshold"),
        (None, None, [{"event_type": "buy", "weight": 10**400}], "this is no weight"),
        (None, None, [{"eventType": "view", "event_type": "buy"}], "event_type: the key is given twice, in two spellings"),
        ("", None, None, "an event type is missing"),
        (
            None,
            None,
            [1],
            r"events_config\[0\]: this is no rule of events \(got 1\)\. Allowed: an object with event_type, event_v",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(
    event_type: str | None, threshold: str | float | None, config: Any, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        event_rules(event_type, threshold, config)


def test_a_type_that_no_event_has_is_told_where_it_was_said() -> None:
    told = (
        (event_rules("nope", None, None), "event_type"),
        (event_rules(None, None, [{"event_type": "nope"}]), "events_config[0].event_type"),
    )
    for rules, where in told:
        assert rules is not None
        with pytest.raises(ConfigError, match=f"^{re.escape(where)}: no interaction .* Allowed: view, cart, buy"):
            event_weights(rules, TYPES, CODES, VALUES)
        assert "where" not in rules.facts()["rules"][0]
    assert types_in_words([f"type {each}" for each in range(12)]).endswith("type 9 and 2 more")


def test_rules_that_the_data_can_not_meet_are_refused() -> None:
    with pytest.raises(ConfigError, match="no interaction is of this type"):
        event_weights(EventRules((EventRule("purchase", None, 1.0),)), TYPES, CODES, VALUES)
    with pytest.raises(ConfigError, match="no EVENT_VALUE"):
        event_weights(EventRules((EventRule(None, 0.5, 1.0),)), TYPES, CODES, None)
