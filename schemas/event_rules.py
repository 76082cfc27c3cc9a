"""Which events are targets, and how much each counts: `eventType`, `eventValueThreshold` and `eventsConfig` of a solution.

Every event is read; one of weight 0 is never to be predicted. Only the ratios of weights matter: 0.3 and 0.1 say the same as
0.6 and 0.2. A threshold keeps events whose EVENT_VALUE is at least as large; an event without a value is below every threshold.

Source: Amazon Personalize API reference, CreateSolution, SolutionConfig and EventParameters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from schemas.errors import ConfigError
from schemas.numbers import number_of

MOST_RULES = 10
THRESHOLDS = 'a number, or one in quotes: "0.5"'  # what is allowed
_KEYS = {"event_type": "eventType", "event_value_threshold": "eventValueThreshold", "weight": "weight"}


@dataclass(frozen=True)
class EventRule:
    """Events that count.

    Attributes:
        event_type: Of this type; None: of every type.
        threshold: With an EVENT_VALUE of this and more; None: of any value, or none.
        weight: 0 to 1.
        where: Key path of the table that holds it, for messages; empty where none does.
    """

    event_type: str | None
    threshold: float | None
    weight: float
    where: str = field(default="", compare=False)

    def key(self, name: str) -> str:
        """Key path of one of its settings."""
        return f"{self.where}.{name}" if self.where else name


@dataclass(frozen=True)
class EventRules:
    """All rules of a solution; an event that meets none has weight 0."""

    rules: tuple[EventRule, ...]

    def facts(self) -> dict[str, Any]:
        """What they say, without where it was said."""
        return {"rules": [{key: getattr(rule, key) for key in ("event_type", "threshold", "weight")} for rule in self.rules]}


def types_in_words(event_types: Sequence[str]) -> str:
    """The types that there are, ten at most, for messages."""
    shown = ", ".join(event_types[:10]) or "nothing: the interactions have no EVENT_TYPE"
    return shown if len(event_types) <= 10 else f"{shown} and {len(event_types) - 10:,} more"


def event_rules(
    event_type: str | None,
    event_value_threshold: str | float | None,
    events_config: Sequence[Mapping[str, Any]] | None,
    where: str = "",
) -> EventRules | None:
    """The rules of a solution's three settings; None where all events count alike.

    Args:
        event_type: `eventType`: only events of this type are targets.
        event_value_threshold: `eventValueThreshold`: only events of this value and more; a string, as Personalize has it.
        events_config: `eventParametersList`: names in snake case or as Personalize writes them.
        where: Key path of the table that holds the settings, for messages; empty where none does.

    Raises:
        ConfigError: A value is wrong, or the settings contradict one another.
    """
    table, where = where, f"{where}." if where else ""
    if events_config is None:
        if event_type == "":
            raise _no_type(f"{where}event_type")
        threshold = (
            None if event_value_threshold is None else _threshold(event_value_threshold, f"{where}event_value_threshold")
        )
        return None if event_type is None and threshold is None else EventRules((EventRule(event_type, threshold, 1.0, table),))
    where = f"{where}events_config"
    if event_type is not None or event_value_threshold is not None:
        raise ConfigError(
            "event_type and event_value_threshold say what events_config says too",
            where=where,
            remedy="Name every type that is to count in events_config, and nothing beside it.",
        )
    if not 1 <= len(events_config) <= MOST_RULES:
        raise ConfigError(
            "this is no such number of types", where=where, value=len(events_config), allowed=f"1 to {MOST_RULES} entries"
        )
    rules = [_rule(entry, f"{where}[{number}]") for number, entry in enumerate(events_config)]
    if len({rule.event_type for rule in rules}) < len(rules):
        raise ConfigError("an event type is named twice", where=where, value=", ".join(str(rule.event_type) for rule in rules))
    if not any(rule.weight for rule in rules):
        raise ConfigError("every weight is 0, so nothing would be learnt", where=where, allowed="a weight above 0")
    return EventRules(tuple(rules))


def _rule(entry: Any, where: str) -> EventRule:
    if not isinstance(entry, Mapping):
        raise ConfigError("this is no rule of events", where=where, value=entry, allowed=f"an object with {', '.join(_KEYS)}")
    snake = {personalize: ours for ours, personalize in _KEYS.items()}
    read = {snake.get(str(key), str(key)): value for key, value in entry.items()}
    for key in entry:
        if key in snake and snake[key] != key and snake[key] in entry:
            raise ConfigError("the key is given twice, in two spellings", where=f"{where}.{snake[key]}", value=key)
    for key in read:
        if key not in _KEYS:
            raise ConfigError("this key is not known", where=where, value=key, allowed=", ".join(_KEYS))
    event_type = read.get("event_type")
    if not isinstance(event_type, str) or not event_type:
        raise _no_type(f"{where}.event_type")
    written = read.get("event_value_threshold")
    threshold = None if written is None else _threshold(written, f"{where}.event_value_threshold")
    weight = number_of(read.get("weight", 1.0))
    if weight is None or not 0.0 <= weight <= 1.0:
        raise ConfigError(
            "this is no weight", where=f"{where}.weight", value=read.get("weight"), allowed="a number from 0 to 1"
        )
    return EventRule(event_type, threshold, weight, where)


def _no_type(where: str) -> ConfigError:
    return ConfigError("an event type is missing", where=where, allowed="an EVENT_TYPE of the interactions")


def _threshold(value: Any, where: str) -> float:
    number = number_of(value)
    if number is None:
        raise ConfigError("this is no threshold", where=where, value=value, allowed=THRESHOLDS)
    return number
