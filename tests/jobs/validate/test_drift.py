"""What changed since the last import: days, volumes, items, columns."""

from __future__ import annotations

from datetime import date, timedelta
from math import log
from typing import Any

import pytest
from insight_contexts import SOUND, category, context, drawn, number

from jobs.validate.insight import Insight
from jobs.validate.stability import index, population_stability

MIDNIGHT = 86_399  # last second of a day


def days(first: str, *events: int) -> dict[str, int]:
    begin = date.fromisoformat(first)
    return {(begin + timedelta(days=place)).isoformat(): count for place, count in enumerate(events) if count}


def imports(before: dict[str, int], now: dict[str, int], last_second: int = MIDNIGHT, **more: Any) -> Any:
    """Two imports with such events a day; the later one ends at a second of its last day."""
    end = (date.fromisoformat(max(now)) - date(1970, 1, 1)).days * 86_400 + last_second
    previous = SOUND | {"events_per_day": before, "last_timestamp": 0}
    return context({"events_per_day": now, "last_timestamp": end}, previous=previous, **more)


def told(insight: Insight | None) -> tuple[str, str]:
    assert insight is not None
    return insight.status, f"{insight.title} | {insight.value}"


@pytest.mark.parametrize(
    ("rows", "status", "text"),
    [
        (200_000, "pass", "200,000 rows, 2.00 times the 100,000 of"),
        (200_001, "warn", "200,001 after 100,000"),
        (50_000, "pass", "0.50 times"),
        (49_999, "warn", "49,999 after 100,000"),
        (10_000_000, "warn", "100 times"),
    ],
)
def test_a_dataset_of_another_size_is_noticed(rows: int, status: str, text: str) -> None:
    found = told(drawn("dataset_size", context({"rows": rows}, previous=SOUND)))
    assert found[0] == status
    assert text in found[1]
    assert drawn("dataset_size", context({"rows": rows})) is None
    assert drawn("dataset_size", context({"rows": rows}, previous={"rows": 0})) is None


FOUR = days("2020-01-01", 400, 300, 300, 50)  # the last day is not looked at: the first import may have seen half of it


@pytest.mark.parametrize(
    ("now", "mode", "status", "text"),
    [
        (days("2020-01-01", 400, 300, 300, 400, 400), "FULL", "pass", "3 days that the last import had too are unchanged."),
        (days("2020-01-01", 400, 300, 310, 400), "FULL", "pass", "1 day of 3 that the last import had too changed: 2020-01-03"),
        (days("2020-01-01", 400, 300, 311, 400), "FULL", "warn", "+11 of 1,000 events on 3 days"),
        (days("2020-01-01", 400, 294, 305, 400), "FULL", "warn", "2 days of 3"),
        (days("2020-01-01", 400, 0, 300, 400), "FULL", "warn", "2020-01-02 (-300)"),
        (days("2020-01-01", 400, 300, 500, 400), "INCREMENTAL", "pass", "2020-01-03 (+200)"),
        (days("2020-01-01", 400, 289, 500, 400), "INCREMENTAL", "warn", "2020-01-02 (-11)"),
        # A window that moves on: its first day may be cut.
        (days("2020-01-02", 7, 300, 400, 400), "FULL", "pass", "1 day that the last import had too is unchanged."),
        (days("2020-01-02", 7, 306, 400, 400), "FULL", "warn", "+6 of 300 events on 1 day"),
        (days("2019-12-01", 7) | days("2020-01-01", 400, 300, 300, 400), "FULL", "pass", "3 days that"),
    ],
)  # fmt: skip
def test_a_past_that_changed_is_noticed(now: dict[str, int], mode: str, status: str, text: str) -> None:
    found = told(drawn("changed_past", imports(FOUR, now, import_mode=mode)))
    assert found[0] == status
    assert text in found[1]


def test_a_past_without_common_days_tells_nothing() -> None:
    assert drawn("changed_past", imports(FOUR, days("2021-01-01", 5, 5))) is None
    assert drawn("changed_past", imports(days("2020-01-01", 400), days("2020-01-01", 400))) is None
    assert drawn("changed_past", context()) is None


MONTH = days("2020-01-01", *[100] * 31, 20)  # 2020-01-31 is the last whole day; 28 of them are looked at


@pytest.mark.parametrize(
    ("now", "last_second", "status", "text"),
    [
        (days("2020-02-02", 100), MIDNIGHT, "pass", "100 events a day, 1.00 times the 100 of the 28 days before."),
        (days("2020-02-02", 200), MIDNIGHT, "pass", "2.00 times"),
        (days("2020-02-02", 201), MIDNIGHT, "warn", "201 a day over 1.0 days; 100 before"),
        (days("2020-02-02", 50), MIDNIGHT, "pass", "0.50 times"),
        (days("2020-02-02", 49), MIDNIGHT, "warn", "0.49 times"),
        (days("2020-02-02", 0, 100), MIDNIGHT, "pass", "50 a day over 2.0 days"),
        (days("2020-02-02", 0, 99), MIDNIGHT, "warn", "over 2.0 days"),
        (days("2020-02-02", 50), 43_199, "pass", "100 a day over 0.5 days"),
        (days("2020-02-02", 9_000), MIDNIGHT, "warn", "90 times"),
    ],
)
def test_the_volume_of_new_days_is_held_against_four_weeks(
    now: dict[str, int], last_second: int, status: str, text: str
) -> None:
    found = told(drawn("event_volume", imports(MONTH, MONTH | now, last_second)))
    assert found[0] == status
    assert text in found[1]


def test_too_short_a_time_says_nothing_of_volumes() -> None:
    assert drawn("event_volume", imports(MONTH, MONTH | days("2020-02-02", 1), 21_000)) is None  # under six hours
    week = days("2020-01-01", *[100] * 8)  # six whole days between its first and its last
    assert drawn("event_volume", imports(week, week | days("2020-01-09", 1))) is None
    week = days("2020-01-01", *[100] * 9)
    assert told(drawn("event_volume", imports(week, week | days("2020-01-10", 1))))[0] == "warn"


def test_an_import_without_newer_events_is_noticed() -> None:
    same = imports(MONTH, MONTH)
    same.previous["last_timestamp"] = same.statistics["last_timestamp"]
    status, text = told(drawn("event_volume", same))
    assert status == "warn"
    assert text.startswith("There is no event that is newer than those of the last import. | newest event on 2020-02-01;")
    same.previous["last_timestamp"] -= 1
    assert told(drawn("event_volume", same))[0] == "pass"


def sampled(count: int, *hashes: int) -> dict[str, Any]:
    return {"items": {"count": count, "sample": [f"{value:016x}" for value in hashes]}}


@pytest.mark.parametrize(
    ("before", "now", "status", "text"),
    [
        (sampled(4, 1, 2, 3, 4), sampled(4, 1, 2, 3, 4), "pass", "0 % of the items are new since the last import; 0 % of"),
        (sampled(4, 1, 2, 3, 4), sampled(4, 1, 2, 5, 6), "pass", "50 % new, 50 % gone"),
        (sampled(4, 1, 2, 3, 4), sampled(4, 1, 5, 6, 7), "warn", "75 % new, 75 % gone"),
        (sampled(1, 1), sampled(3, 1, 2, 3), "warn", "66.7 % new, 0 % gone"),
        (sampled(3, 1, 2, 3), sampled(1, 1), "warn", "0 % new, 66.7 % gone"),
        # Full samples: only hashes up to the smaller end, 8, can be told: {2, 4, 6, 8} then, {2, 4, 7} now.
        (sampled(99, 2, 4, 6, 8), sampled(99, 2, 4, 7, 9), "pass", "33.3 % new, 50 % gone (estimated from 3 items)"),
        # All items then, a sample now: up to 4, {1, 4} then, {2, 4} now.
        (sampled(4, 1, 4, 9, 11), sampled(99, 2, 4), "pass", "50 % new, 50 % gone (estimated from 2 items)"),
    ],
)  # fmt: skip
def test_new_items_are_counted_from_samples(before: Any, now: Any, status: str, text: str) -> None:
    found = told(drawn("new_items", context(now, previous=SOUND | before)))
    assert found[0] == status
    assert text in found[1]


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ({}, sampled(1, 1)),
        (sampled(0), sampled(1, 1)),
        (sampled(9, 1), sampled(2, 5, 6)),
        (sampled(1, 1), {"items": {}}),
    ],
)
def test_without_comparable_samples_nothing_is_said_of_items(before: Any, now: Any) -> None:
    assert drawn("new_items", context(now, previous=before)) is None


def test_descriptions_keep_their_sample_beside_their_rows() -> None:
    given = context({"rows": 2, "sample": ["03", "04"]}, name="Items", previous={"rows": 2, "sample": ["01", "02"]})
    status, text = told(drawn("new_items", given))
    assert status == "warn"
    assert text.endswith("| 100 % new, 100 % gone")
    given = context({"rows": 2, "sample": ["03"]}, name="Users", previous={"rows": 2, "sample": ["03"]})
    assert drawn("new_users", given) is not None


def psi(old: list[float], new: list[float]) -> float:
    return sum((p - q) * log(p / q) for p, q in zip(new, old, strict=True))


def test_the_index_is_zero_of_equal_counts_and_known_for_others() -> None:
    assert index({"a": 500, "b": 500}, {"a": 500, "b": 500}) == 0
    # (500 + .5) / 1001 = 1/2 each; 750.5 / 1001 and 250.5 / 1001.
    assert index({"a": 500, "b": 500}, {"a": 750, "b": 250}) == pytest.approx(psi([0.5, 0.5], [750.5 / 1001, 250.5 / 1001]))
    assert index({"a": 100, "c": 0}, {"a": 100, "c": 0}) == 0
    gone = index({"a": 100}, {"b": 100})
    assert gone == pytest.approx(psi([100.5 / 101, 0.5 / 101], [0.5 / 101, 100.5 / 101]))
    assert index({"a": 99}, {"a": 1_000}) is None
    assert index({}, {}) is None


def stability(before: dict[str, Any], now: dict[str, Any], rows: int = 1_000) -> float | None:
    return population_stability(before, rows, now, rows)


def test_categories_that_one_side_dropped_are_others_on_both() -> None:
    before = category({"a": 900, "b": 60}, complete=False)  # 40 rows of other values
    now = category({"a": 900, "c": 100})
    # The later import kept all of its values, so b has no rows there; c may have been among the 40.
    expected = psi(
        [900.5 / 1001.5, 60.5 / 1001.5, 40.5 / 1001.5],
        [900.5 / 1001.5, 0.5 / 1001.5, 100.5 / 1001.5],
    )
    assert stability(before, now) == pytest.approx(expected)


def test_only_the_commonest_categories_have_bins_of_their_own() -> None:
    before = category({f"v{place:02}": 40 - place % 2 for place in range(25)})
    now = category({f"v{place:02}": 40 - (place + 1) % 2 for place in range(25)})
    assert stability(before, now) == pytest.approx(0, abs=0.001)
    rare = category({"a": 9_000, **{f"v{place}": 1 for place in range(1_000)}})
    other_rare = category({"a": 9_000, **{f"w{place}": 1 for place in range(1_000)}})
    # 19 values of one row each have a bin; the others together are the same.
    assert (stability(rare, other_rare, 10_000) or 0) < 0.1


def test_missing_values_are_a_bin() -> None:
    before, now = category({"a": 1_000}), category({"a": 500}, missing=500)
    assert stability(before, now) == pytest.approx(psi([1000.5 / 1001, 0.5 / 1001], [0.5, 0.5]))


def test_numbers_fall_into_tenths_of_the_earlier_import() -> None:
    grid = [(float(low), low + 1.0, 10) for low in range(100)]
    shifted = [(float(low), low + 1.0, 10) for low in range(10, 110)]
    assert stability(number(*grid), number(*grid)) == 0
    # Ten bins of 100 numbers; shifted by one bin: the first is empty, and the last holds 200.
    old, new = [100.5 / 1005] * 10, [0.5 / 1005, *[100.5 / 1005] * 8, 200.5 / 1005]
    assert stability(number(*grid), number(*shifted)) == pytest.approx(psi(old, new))


def test_numbers_on_the_mirrored_grid_keep_their_order() -> None:
    before = number((-2, -1, 300), (0, 0, 400), (1, 2, 300))
    now = number((-2, -1, 0), (0, 0, 400), (1, 2, 600))
    expected = psi([300.5 / 1001.5, 400.5 / 1001.5, 300.5 / 1001.5], [0.5 / 1001.5, 400.5 / 1001.5, 600.5 / 1001.5])
    assert stability(before, now) == pytest.approx(expected)


@pytest.mark.parametrize(
    "figures", [{"kind": "id"}, {"kind": "time"}, {"kind": "text"}, {"kind": "list"}, {}, category({}), number()]
)
def test_columns_without_a_distribution_have_no_index(figures: dict[str, Any]) -> None:
    assert stability(figures, figures) is None
    assert population_stability(category({"a": 50}), 50, category({"a": 50}), 50) is None


TYPE = {"name": "EVENT_TYPE", "type": "string"}


@pytest.mark.parametrize(
    ("views", "status", "text"),
    [
        (500, "pass", "The values of 1 column are spread as in the last import. | PSI EVENT_TYPE 0.00"),
        (600, "pass", "PSI EVENT_TYPE 0.04"),
        (660, "pass", "shifted a little: EVENT_TYPE (0.11)."),
        (700, "pass", "EVENT_TYPE (0.17)."),
        (738, "pass", "shifted a little: EVENT_TYPE (0.25)."),
        (750, "warn", "Since the last import the values of columns shifted: EVENT_TYPE (0.27)."),
    ],
)
def test_a_column_that_shifted_is_named(views: int, status: str, text: str) -> None:
    before = {"rows": 1_000, "columns": {"EVENT_TYPE": category({"view": 500, "buy": 500})}}
    columns = {"EVENT_TYPE": category({"view": views, "buy": 1_000 - views})}
    found = told(drawn("column_drift", context({"rows": 1_000}, fields=(TYPE,), columns=columns, previous=before)))
    assert found[0] == status
    assert text in found[1]


def test_the_new_rows_alone_are_held_against_the_last_import() -> None:
    old = {"rows": 9_000, "columns": {"EVENT_TYPE": category({"view": 9_000})}}
    both = {"EVENT_TYPE": category({"view": 9_000, "buy": 1_000})}
    added = {"rows": 1_000, "columns": {"EVENT_TYPE": category({"buy": 1_000})}}
    together = context({"rows": 10_000}, fields=(TYPE,), columns=both, previous=old)
    apart = context({"rows": 10_000}, fields=(TYPE,), columns=both, previous=old, added=added, import_mode="INCREMENTAL")
    # 9000.5 / 9001 and 0.5 / 9001 then; 0.5 / 1001 and 1000.5 / 1001 of the new rows.
    expected = psi([9000.5 / 9001, 0.5 / 9001], [0.5 / 1001, 1000.5 / 1001])
    assert told(drawn("column_drift", apart)) == (
        "warn",
        f"Since the last import the values of columns shifted: EVENT_TYPE ({expected:.2f}). | PSI EVENT_TYPE {expected:.2f}",
    )
    assert f"{expected:.2f}" not in told(drawn("column_drift", together))[1]


def test_columns_of_another_kind_or_of_no_earlier_import_are_not_compared() -> None:
    columns = {"EVENT_TYPE": category({"view": 1_000})}
    given = context(
        {"rows": 1_000}, fields=(TYPE,), columns=columns, previous={"rows": 1_000, "columns": {"EVENT_TYPE": number()}}
    )
    assert drawn("column_drift", given) is None
    assert drawn("column_drift", context({"rows": 1_000}, fields=(TYPE,), columns=columns, previous={"rows": 1_000})) is None
    assert drawn("column_drift", context({"rows": 1_000}, fields=(TYPE,), columns=columns)) is None
