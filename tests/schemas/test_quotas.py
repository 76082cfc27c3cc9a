"""Quotas: published values, and how they are changed."""

from __future__ import annotations

import pytest

from schemas.errors import ConfigError
from schemas.quotas import PUBLISHED, Quotas


def test_the_published_values_are_the_defaults() -> None:
    quotas = Quotas()
    metadata = {name: quotas.metadata_of(name) for name in ("Interactions", "Users", "Items", "Action_Interactions")}
    assert metadata == {
        "Interactions": ("interactions_metadata", 5),
        "Users": ("users_metadata", 25),
        "Items": ("items_metadata", 100),
        "Action_Interactions": None,
    }
    assert (quotas.event_types, quotas.rows_per_import, quotas.users_with_two_events) == (10, 1_000, 25)
    assert (quotas.full_import_bytes, quotas.incremental_import_bytes) == (10**11, 10**9)
    assert quotas == PUBLISHED


def test_every_quota_is_described() -> None:
    assert all(field.description for field in Quotas.model_fields.values())


def test_changes_are_read_from_texts_and_leave_the_others() -> None:
    changed = Quotas().with_changes(["event_types=20", " considered_items = 1_000_000 ", "row_completeness=.5"])
    assert (changed.event_types, changed.considered_items, changed.row_completeness) == (20, 1_000_000, 0.5)
    assert changed.items_metadata == 100
    assert Quotas().with_changes([]) == Quotas()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["event_types"], "--quota: this is no change of a quota (got 'event_types'). Allowed: NAME=VALUE."),
        (["event_types="], "this is no change of a quota (got 'event_types=')"),
        (["=3"], "this is no change of a quota (got '=3')"),
        ([""], "this is no change of a quota (got '')"),
        (["event_type=3"], "there is no such quota (got 'event_type')"),
        (["event_type=3"], "Did you mean event_types?"),
        (["zzz=3"], "Allowed: interactions_metadata, users_metadata, items_metadata"),
        (["event_types=3", "event_types=4"], "this quota is given twice (got 'event_types')"),
        (["event_types=many"], "this is no value of the quota event_types (most distinct values of EVENT_TYPE) (got 'many')"),
        (["event_types=-1"], "(got '-1'). Allowed: a whole number of 0 or more."),
        (["event_types=2.5"], "Allowed: a whole number of 0 or more."),
        (["row_completeness=1.1"], "(got '1.1'). Allowed: a number from 0 to 1."),
        (["row_completeness=nan"], "Allowed: a number from 0 to 1."),
        (["model_config=1"], "there is no such quota (got 'model_config')"),
    ],
)
def test_a_wrong_change_is_one_message(changes: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        Quotas().with_changes(changes)
    assert message in str(raised.value)
