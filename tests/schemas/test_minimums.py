from __future__ import annotations

import pytest

from schemas.event_rules import event_rules
from schemas.minimums import CountedEvents, named_types, shortfalls
from schemas.quotas import PUBLISHED

FEW_INTERACTIONS = "Create failed. Dataset has fewer than 1000 interactions"
FEW_USERS = "Create failed. Dataset has fewer than 25 users with at least 2 interactions each"
FEW_OF_ALL = "Create failed. Fewer than 1% of the users of the dataset have at least 2 interactions each"


@pytest.mark.parametrize(
    ("interactions", "users", "with_two", "expected"),
    [
        (1_000, 2_500, 25, ()),
        (999, 2_500, 25, (FEW_INTERACTIONS,)),
        (1_000, 2_400, 24, (FEW_USERS,)),
        (1_000, 2_501, 25, (FEW_OF_ALL,)),
        (0, 0, 0, (FEW_INTERACTIONS, FEW_USERS)),
        (3, 3, 0, (FEW_INTERACTIONS, FEW_USERS, FEW_OF_ALL)),
    ],
)
def test_each_minimum_holds_at_its_bound_and_speaks_below_it(
    interactions: int, users: int, with_two: int, expected: tuple[str, ...]
) -> None:
    found = CountedEvents(interactions=interactions, users=users, users_with_two=with_two)
    assert shortfalls(found, PUBLISHED) == expected


def test_event_types_are_named_and_quotas_can_be_changed() -> None:
    few = CountedEvents(interactions=9, users=9, users_with_two=9)
    types = named_types(event_rules("buy", None, None))
    assert shortfalls(few, PUBLISHED, types)[0] == FEW_INTERACTIONS + " after filtering by event type: buy"
    lower = PUBLISHED.with_changes(["interactions=9", "users_with_two_events=9"])
    assert shortfalls(few, lower, types) == ()


def test_only_types_that_count_are_named() -> None:
    some = [{"event_type": "buy", "weight": 0.5}, {"event_type": "cart", "weight": 1}, {"event_type": "view", "weight": 0}]
    assert named_types(event_rules(None, None, some)) == ("buy", "cart")
    assert named_types(event_rules(None, "2", None)) == ()
    assert named_types(None) == ()
