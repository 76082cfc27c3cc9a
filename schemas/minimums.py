"""The least that Personalize trains on, and its own text where there is less: one table for imports, trainings and nights.

Source: developer guide, "Error messages" and "Amazon Personalize endpoints and quotas". The text on users is Personalize's. The
one on interactions it publishes for recommenders; solution versions get the same words. The one on shares is ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from schemas.event_rules import EventRules
from schemas.quotas import Quotas

MINIMUMS = ("interactions", "users_with_two_events", "users_with_two_events_share")  # fields of Quotas
FEWEST_OF_A_USER = 2  # interactions from which a user says what follows what


@dataclass(frozen=True, kw_only=True)
class CountedEvents:
    """How much there is to train on.

    Attributes:
        interactions: Unique ones that count by the solution's event rules.
        users: All users of the interactions.
        users_with_two: Users with two or more that count.
    """

    interactions: int
    users: int
    users_with_two: int

    def __str__(self) -> str:
        return f"{self.interactions:,} interactions count, of {self.users:,} users; {self.users_with_two:,} have two or more"


def shortfalls(counted: CountedEvents, quotas: Quotas, event_types: Sequence[str] = ()) -> tuple[str, ...]:
    """Personalize's messages, without their full stops, for each minimum that is missed.

    Args:
        counted: How much there is to train on.
        quotas: What must be there, by the fields of MINIMUMS.
        event_types: Types that alone count; none: all.
    """
    sentences = []
    if counted.interactions < quotas.interactions:
        sentences.append(few_interactions(quotas, event_types))
    if counted.users_with_two < quotas.users_with_two_events:
        sentences.append(few_users(quotas))
    if counted.users_with_two < counted.users * quotas.users_with_two_events_share:
        share = f"{quotas.users_with_two_events_share * 100:g}%"
        sentences.append(f"Create failed. Fewer than {share} of the users of the dataset have at least 2 interactions each")
    return tuple(sentences)


def few_interactions(quotas: Quotas, event_types: Sequence[str] = ()) -> str:
    """Personalize's message for too few interactions."""
    after = f" after filtering by event type: {', '.join(event_types)}" if event_types else ""
    return f"Create failed. Dataset has fewer than {quotas.interactions} interactions{after}"


def few_users(quotas: Quotas) -> str:
    """Personalize's message for too few users with two interactions."""
    return (
        f"Create failed. Dataset has fewer than {quotas.users_with_two_events} users "
        f"with at least {FEWEST_OF_A_USER} interactions each"
    )


def named_types(rules: EventRules | None) -> tuple[str, ...]:
    """Event types that alone count by the rules; empty where every type counts."""
    named = [] if rules is None else [rule.event_type for rule in rules.rules if rule.weight > 0]
    return tuple(name for name in named if name is not None)
