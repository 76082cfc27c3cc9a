"""Event weights: how much each event counts as a target, by a solution's event rules."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from schemas.errors import ConfigError
from schemas.event_rules import EventRules, types_in_words


def event_weights(
    rules: EventRules,
    event_types: Sequence[str],
    type_codes: npt.NDArray[np.int32],
    values: npt.NDArray[np.float32] | None,
) -> npt.NDArray[np.float32]:
    """Weights scaled to a largest one of 1, so that rules of the same ratios give the same: float32 [E].

    Args:
        rules: Of the solution.
        event_types: Name of each code.
        type_codes: int32 [E].
        values: float32 [E], EVENT_VALUE, NaN where an event has none; None where the data have none.

    Raises:
        ConfigError: A rule names a type that the data don't have, or a threshold where they have no values.
    """
    largest = max(rule.weight for rule in rules.rules)
    weights = np.zeros(len(type_codes), dtype=np.float32)
    # No event meets two of them: of several rules, each names a type of its own (schemas/event_rules.py).
    for rule in rules.rules:
        matches = np.ones(len(type_codes), dtype=np.bool_)
        if rule.event_type is not None:
            if rule.event_type not in event_types:
                raise ConfigError(
                    "no interaction is of this type",
                    where=rule.key("event_type"),
                    value=rule.event_type,
                    allowed=types_in_words(event_types),
                )
            matches = type_codes == event_types.index(rule.event_type)
        if rule.threshold is not None:
            if values is None:
                raise ConfigError(
                    "the interactions have no EVENT_VALUE to hold against a threshold",
                    where=rule.key("event_value_threshold"),
                    value=rule.threshold,
                    remedy="Add EVENT_VALUE to schema and data, or leave the threshold out.",
                )
            # Rounded as values are stored, so that one equal to it is kept; NaN, of an event without a value, is never above.
            matches = matches & (values >= np.float32(rule.threshold))
        weights[matches] = rule.weight / largest
    return weights
