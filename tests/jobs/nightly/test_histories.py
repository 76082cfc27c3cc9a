from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from jobs.nightly.histories import Histories, three_users, title_column
from jobs.platform.storage import store_for
from schemas.columns import ITEM_ID, NUM_EVENTS, NUM_USERS
from schemas.datasets import parse_schema_document

DAY = 86_400


@pytest.fixture
def histories() -> Histories:
    """User a: two sessions on two days; b: one; c: one of a single event. Item z has no events."""
    return Histories(
        share=1.0,
        num_shards=1,
        hash_seed=0,
        item_rows=np.array([0, 1, 0, 1, 0, 2, 0]),
        times=np.array([0, 10, DAY, DAY + 5, 20, 30, 5 * DAY]),
        starts=np.array([True, False, True, False, True, False, True]),
        users={"a": (0, 4), "b": (4, 6), "c": (6, 7)},
        catalogue=pa.table({ITEM_ID: ["w", "x", "y", "z"], NUM_EVENTS: [4, 2, 1, 0], NUM_USERS: [3, 1, 1, 0]}),
        titles=["Wine", "Xylophone", "Yarn", "z"],
    )


def batch_output(folder: Path, *users: str) -> str:
    """An `.out` file that lists z and w for each user."""
    line = {"output": {"recommendedItems": ["z", "w"], "scores": [0.5, 0.4]}, "error": None}
    path = folder / "users.json.out"
    path.write_text("".join(json.dumps({"input": {"userId": user}, **line}) + "\n" for user in users))
    return str(path)


def test_events_are_counted_by_day(histories: Histories) -> None:
    assert histories.events_by_day() == {date(1970, 1, 1): 4, date(1970, 1, 2): 2, date(1970, 1, 6): 1}


def test_sessions_end_where_the_next_begins(histories: Histories) -> None:
    assert histories.session_lengths().tolist() == [2, 2, 2, 1]


def test_items_without_events_have_no_rank(histories: Histories) -> None:
    assert histories.events_by_rank().tolist() == [4, 2, 1]


def test_a_user_is_shown_by_titles_newest_session_first(histories: Histories, tmp_path: Path) -> None:
    (user,) = three_users(histories, [batch_output(tmp_path, "a", "nobody")], whole_history=False)
    assert (user.user_id, user.summary) == ("a", "4 events in 2 sessions")
    assert [(session.day, session.items) for session in user.sessions] == [
        ("02 Jan 1970", ("Wine", "Xylophone")),
        ("01 Jan 1970", ("Wine", "Xylophone")),
    ]
    assert [(item.title, item.taken) for item in user.recommendations] == [("z", False), ("Wine", True)]


def test_a_history_that_is_one_session_is_shown_by_day(histories: Histories, tmp_path: Path) -> None:
    whole = replace(histories, starts=np.array([True, False, False, False, True, False, True]))
    (user,) = three_users(whole, [batch_output(tmp_path, "a")], whole_history=True)
    assert user.summary == "4 events in 2 days"
    assert len(user.sessions) == 2


def test_three_known_users_are_chosen_the_same_every_time(histories: Histories, tmp_path: Path) -> None:
    out = batch_output(tmp_path, "nobody", "c", "b", "a")
    chosen = [user.user_id for user in three_users(histories, [out], whole_history=False)]
    assert chosen == [user.user_id for user in three_users(histories, [out], whole_history=False)]
    assert set(chosen) == {"a", "b", "c"}


def test_lists_for_nobody_we_know_show_no_user(histories: Histories, tmp_path: Path) -> None:
    assert three_users(histories, [batch_output(tmp_path, "nobody")], whole_history=False) == ()


def test_an_empty_batch_output_shows_no_user(histories: Histories, s3: str) -> None:
    store_for(s3).write(f"{s3}/empty.out", b"")
    assert three_users(histories, [f"{s3}/empty.out"], whole_history=False) == ()
    assert three_users(histories, [f"{s3}/nowhere.out"], whole_history=False) == ()


def items_schema(*fields: dict[str, object]) -> dict[str, object]:
    return {"type": "record", "name": "Items", "fields": [{"name": "ITEM_ID", "type": "string"}, *fields], "version": "1.0"}


@pytest.mark.parametrize(
    ("fields", "column"),
    [
        ([{"name": "A", "type": "string", "textual": True}, {"name": "B", "type": "string", "itemName": True}], "B"),
        ([{"name": "PRICE", "type": "float"}, {"name": "A", "type": "string", "textual": True}], "A"),
        ([{"name": "PRICE", "type": "float"}, {"name": "Title", "type": "string"}], "Title"),
        ([{"name": "PRICE", "type": "float"}], None),
    ],
)
def test_the_column_of_titles_is_found(fields: list[dict[str, object]], column: str | None) -> None:
    assert title_column(parse_schema_document(items_schema(*fields))) == column
    assert title_column(None) is None


def test_the_first_output_that_has_lists_of_users_is_shown(histories: Histories, tmp_path: Path) -> None:
    related = tmp_path / "items.json.out"
    related.write_text('{"input":{"itemId":"a"},"output":{"recommendedItems":["b"]},"error":null}\n')
    (user,) = three_users(histories, [str(related), batch_output(tmp_path, "a")], whole_history=False)
    assert user.user_id == "a"
