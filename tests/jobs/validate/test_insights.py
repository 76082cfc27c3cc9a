"""Each insight at pass, warn and fail, at its boundaries, with values computed by partition."""

from __future__ import annotations

from typing import Any

import pytest
from insight_contexts import category, context, drawn, number

from jobs.validate.insight import InsightContext, counted, listed, percent
from jobs.validate.insights import INSIGHTS, Insight, insights, tie_order, verdict
from schemas.datasets import parse_schema_document
from schemas.quotas import Quotas

CITY = {"name": "CITY", "type": ["null", "string"], "categorical": True}
TYPE = {"name": "EVENT_TYPE", "type": "string"}
PRICE = {"name": "PRICE_PAID", "type": "float"}
PLOT = {"name": "PLOT", "type": ["null", "string"], "textual": True}


def numbered(count: int, rows: int = 10) -> dict[str, int]:
    return {f"v{place}": rows for place in range(count)}


def people(with_two: int, count: int) -> dict[str, Any]:
    return {"users": {"count": count, "with_two": with_two}}


def reference(kind: str, **figures: Any) -> dict[str, Any]:
    return {"references": {kind: {"count": 100, "without_interactions": 0, "orphans": 0, "orphan_events": 0} | figures}}


def ties(pairs: int, ascending: int, numeric: int = 0, numeric_ascending: int = 0) -> dict[str, Any]:
    found = {"events": 4_000, "in_sessions": 80_000, "pairs": pairs, "ascending": ascending, "descending": pairs - ascending}
    return {"ties": found | {"numeric_pairs": numeric, "numeric_ascending": numeric_ascending}}


def bots(events: int, busiest: float) -> dict[str, Any]:
    worst = [{"user": "u1", "events_per_day": busiest, "events": events}]
    return {"bots": {"percentile": 99.9, "threshold": 40.0, "users": 5, "events": events, "worst": worst}}


def cities(count: int, **figures: Any) -> InsightContext:
    return context(fields=(CITY,), columns={"CITY": category(numbered(count), **figures)})


def types(values: dict[str, int]) -> InsightContext:
    return context(fields=(TYPE,), columns={"EVENT_TYPE": category(values)})


def prices(*histogram: tuple[float, float, int]) -> InsightContext:
    return context(fields=(PRICE,), columns={"PRICE_PAID": number(*histogram)})


def plots(**figures: int) -> InsightContext:
    return context(name="Items", fields=(PLOT,), columns={"PLOT": {"kind": "text", **figures}})


# name, context, status, what the title or the value says
CASES: list[tuple[str, InsightContext, str, str]] = [
    ("few_interactions", context({"rows": 1_000}), "pass", "1,000 unique interactions: enough to train on."),
    ("few_interactions", context({"rows": 999}), "fail", "Only 999 unique interactions; training takes at least 1,000."),
    ("few_interactions", context({"rows": 1}), "fail", "Only 1 unique interaction;"),
    ("few_interactions", context({"rows": 999}, quotas=Quotas(interactions=999)), "pass", "999 unique"),
    ("users_with_two_interactions", context(people(25, 2_500)), "pass", "25 of 2,500 users (1 %) have two"),
    (
        "users_with_two_interactions",
        context(people(24, 30)),
        "fail",
        "24 of 30 users (80 %) have two interactions or more; training takes at least 25.",
    ),
    ("users_with_two_interactions", context(people(25, 2_501)), "fail", "training takes at least 1 % of all users."),
    ("users_with_two_interactions", context(people(0, 0)), "fail", "0 of 0 users (0 %)"),
    ("items_without_interactions", context(reference("items", without_interactions=50)), "pass", "50 % of the items have no"),
    ("items_without_interactions", context(reference("items", without_interactions=51)), "warn", "51 of 100 items"),
    ("users_without_interactions", context(reference("users", without_interactions=50)), "pass", "50 % of the users have no"),
    ("users_without_interactions", context(reference("users", without_interactions=51)), "warn", "51 of 100 users"),
    ("rows_with_missing_values", context({"rows_with_missing": 30_000}), "pass", "30 % of the rows lack a value."),
    ("rows_with_missing_values", context({"rows_with_missing": 30_001}), "warn", "30,001 of 100,000 rows"),
    ("incomplete_columns", cities(0, missing=30_000), "pass", "0 of 4 columns"),
    ("incomplete_columns", cities(0, missing=40_000), "warn", "Columns of which less than 70 % is filled: CITY (60 %)."),
    ("incomplete_texts", plots(missing=15_000), "pass", "Every textual column is at least 85 % filled."),
    ("incomplete_texts", plots(missing=15_001), "warn", "1 of 1 textual column"),
    ("numeric_outliers", prices((1, 2, 25), (2, 3, 25), (3, 4, 25), (4, 5, 25)), "pass", "No number lies far"),
    (
        "numeric_outliers",
        prices((1, 2, 250), (2, 3, 250), (3, 4, 250), (4, 5, 250), (512, 600, 1)),
        "warn",
        "PRICE_PAID (1 value outside -",
    ),
    ("many_categories", cities(30), "pass", "0 of 1 categorical column"),
    ("many_categories", cities(31), "warn", "CITY (31)."),
    ("many_categories", cities(31, num_values=4_000, complete=False), "warn", "CITY (at least 4,000)."),
    ("many_event_types", types(numbered(10)), "pass", "are 10 event types."),
    ("many_event_types", types(numbered(11)), "fail", "There are 11 event types; training takes at most 10."),
    ("many_event_types", types({"view": 3}), "pass", "is 1 event type."),
    ("equal_timestamps", context({"first_timestamp": 7, "last_timestamp": 7}), "fail", "All events have the timestamp 7."),
    ("equal_timestamps", context({"first_timestamp": 7, "last_timestamp": 8}), "pass", "7 to 8 (epoch seconds)"),
    ("rejected_rows", context(), "pass", "All of 100,000 rows follow the schema."),
    ("rejected_rows", context(counts={"rows_rejected": 1}), "warn", "1 row (under 0.1 %) broke a rule and was left out."),
    ("rejected_rows", context(counts={"rows_rejected": 2_500}), "warn", "2,500 rows (2.5 %) broke a rule and were left out."),
    ("duplicate_rows", context(), "pass", "No row is there twice."),
    ("duplicate_rows", context(counts={"rows_duplicate": 1_000}), "pass", "1,000 rows (1 %) repeat an event in every field."),
    ("duplicate_rows", context(counts={"rows_duplicate": 1_001}), "warn", "1,001 of 100,000 rows"),
    (
        "duplicate_rows",
        context(name="Items", counts={"rows_duplicate": 1}),
        "warn",
        "1 row (under 0.1 %) repeats the ITEM_ID of another one",
    ),
    ("items_without_metadata", context(reference("items")), "pass", "Every item of the events is in the items dataset."),
    (
        "items_without_metadata",
        context(reference("items", orphans=2, orphan_events=5_000, examples=["i7"])),
        "pass",
        "2 items in 5,000 events, e.g. i7",
    ),
    (
        "items_without_metadata",
        context(reference("items", orphans=1, orphan_events=5_001)),
        "warn",
        "1 item of the events was not in the items dataset: 5 % of all events.",
    ),
    ("users_without_metadata", context(reference("users")), "pass", "Every user of the events is in the users dataset."),
    (
        "users_without_metadata",
        context(reference("users", orphans=3, orphan_events=6_000)),
        "warn",
        "3 users of the events were not in the users dataset: 6 % of all events.",
    ),
    ("order_of_ties", context(), "pass", "another one; their order in the files is not that of their ids."),
    ("order_of_ties", context(ties(2_000, 1_900)), "pass", "4,000 of 80,000 events; 2,000 pairs, 95 % ascending"),
    ("order_of_ties", context(ties(2_000, 1_901)), "warn", "lie in ascending order of their item ids."),
    ("order_of_ties", context(ties(2_000, 40)), "warn", "98 % of 2,000 pairs of neighbours lie in descending order"),
    ("order_of_ties", context(ties(999, 999)), "pass", "999 pairs, 100 % ascending"),
    ("order_of_ties", context(ties(1_000, 1_000)), "warn", "100 % of 1,000 pairs"),
    ("order_of_ties", context(ties(2_000, 1_000, 2_000, 1_980)), "warn", "lie in ascending numeric order"),
    ("order_of_ties", context(ties(2_000, 1_000, 1_000, 10)), "warn", "lie in descending numeric order"),
    ("order_of_ties", context(ties(4_000, 2_000, 1_999, 1_999)), "pass", "50 % ascending"),
    ("suspected_bots", context(bots(5_000, 300.0)), "pass", "above the 99.9th percentile of events a day (40) make 5 % of"),
    ("suspected_bots", context(bots(5_001, 300.0)), "warn", "5 users, 5,001 events; busiest: u1 (300 a day)"),
    ("suspected_bots", context(bots(1_200, 1_000.0)), "pass", "u1 (1,000 a day)"),
    ("suspected_bots", context(bots(1_200, 1_000.5)), "warn", "1.2 % of all events."),
    ("changed_texts", plots(missing=0), "pass", "All texts were taken as they are."),
    ("changed_texts", plots(missing=0, cleaned=12), "pass", "freed of tags and white space: PLOT (12 values)."),
    ("changed_texts", plots(missing=0, cleaned=12, truncated=1), "warn", "Texts were cut at the length limit: PLOT (1 value)."),
    ("reserved_values", types({"view": 9}), "pass", "No value is a keyword"),
    ("reserved_values", types({"view": 9, "EVENT_TYPE": 1}), "warn", "EVENT_TYPE (EVENT_TYPE)."),
    ("schema_warnings", context(), "pass", "The schema is as Personalize wants it."),
    ("schema_warnings", context(fields=({"name": "OS", "type": "string", "doc": ""},)), "warn", "The schema has 1 warning: "),
    ("rows_per_import", context(counts={"rows_read": 1_000}), "pass", "This import has 1,000 rows."),
    ("rows_per_import", context(counts={"rows_read": 999}), "fail", "an import takes at least 1,000."),
    ("import_size", context(bytes_read=10**11), "pass", "100 GB."),
    ("import_size", context(bytes_read=18_813_807), "pass", "The files of this import hold 18.8 MB."),
    ("import_size", context(bytes_read=7), "pass", "hold 7 bytes."),
    ("import_size", context(bytes_read=3 * 10**12), "warn", "hold 3,000 GB;"),
    ("import_size", context(bytes_read=10**11 + 1), "warn", "one FULL import takes at most 100 GB."),
    ("import_size", context(bytes_read=10**9, import_mode="INCREMENTAL"), "pass", "1 GB."),
    ("import_size", context(bytes_read=10**9 + 1, import_mode="INCREMENTAL"), "warn", "one INCREMENTAL import takes"),
    ("considered_interactions", context({"rows": 500_000_000}), "pass", "500,000,000 interactions."),
    ("considered_interactions", context({"rows": 500_000_001}), "warn", "a -v2 recipe 3,000,000,000."),
    ("considered_items", context({"items": {"count": 750_000}}), "pass", "There are 750,000 items."),
    ("considered_items", context({"items": {"count": 750_001}}), "warn", "a recipe considers 750,000 at most"),
    ("considered_items", context({"rows": 750_001}, name="Items"), "warn", "750,001 items"),
    (
        "event_types_and_metadata",
        context(fields=(TYPE, CITY), columns={"EVENT_TYPE": category(numbered(8))}),
        "pass",
        "8 event types and 2 optional columns make 10.",
    ),
    (
        "event_types_and_metadata",
        context(fields=(TYPE, CITY), columns={"EVENT_TYPE": category(numbered(9))}),
        "warn",
        "make 11; Personalize takes 10 together.",
    ),
    ("advised_size", context({"rows": 50_000, **people(900, 1_000)}), "pass", "50,000 interactions of 1,000 users."),
    ("advised_size", context({"rows": 49_999, **people(900, 1_000)}), "warn", "50,000 of 1,000 users are advised."),
    ("advised_size", context({"rows": 50_000, **people(900, 999)}), "warn", "999 users"),
]


def find(name: str, found: list[Insight]) -> Insight:
    (insight,) = (insight for insight in found if insight.name == name)
    return insight


@pytest.mark.parametrize(("name", "given", "status", "told"), CASES)
def test_an_insight_passes_up_to_its_threshold_and_not_beyond(name: str, given: InsightContext, status: str, told: str) -> None:
    insight = find(name, insights(given))
    assert insight.status == status
    assert told in f"{insight.title} | {insight.value}"


def test_an_insight_that_passes_has_no_consequence_and_any_other_tells_what_to_do() -> None:
    for _, given, _, _ in CASES:
        for insight in insights(given):
            passes = insight.status == "pass"
            assert (insight.consequence == "Nothing.") == passes
            assert (insight.remedy == "Nothing is needed.") == passes
            assert all((insight.title, insight.value, insight.threshold))
            assert insight.title[0].isupper() or insight.title[0].isdigit()


def test_the_words_of_personalize_are_quoted_where_they_are_known() -> None:
    told = find("users_with_two_interactions", insights(context(people(24, 30)))).consequence
    assert "Create failed. Dataset has fewer than 25 users with at least 2 interactions each." in told
    told = find("few_interactions", insights(context({"rows": 3}))).consequence
    assert "Create failed. Dataset has fewer than 1000 interactions." in told


def test_the_consoles_eleven_are_all_there() -> None:
    columns = {"CITY": category({"a": 1}), "PRICE_PAID": number((1, 2, 5), (2, 3, 5)), "EVENT_TYPE": category({"view": 1})}
    references = {"references": {kind: {"count": 1} for kind in ("items", "users")}}
    events = insights(context(references, fields=(CITY, PRICE, TYPE), columns=columns))
    items = insights(plots(missing=0))
    assert len({insight.name for insight in [*events, *items] if insight.source == "console"}) == 11


def test_what_does_not_apply_to_a_dataset_is_left_out() -> None:
    given = InsightContext(
        schema=parse_schema_document({"type": "record", "name": "Users", "fields": [
            {"name": "USER_ID", "type": "string"}, {"name": "AGE", "type": "int"}]}),
        statistics={"rows": 2, "rows_with_missing": 0, "columns": {"AGE": number((1, 1.1, 2))}, "sample": ["01", "02"]},
        counts={"rows_read": 2},
    )  # fmt: skip
    names = [insight.name for insight in insights(given)]
    assert names == ["rows_with_missing_values", "incomplete_columns", "numeric_outliers", "rejected_rows", "duplicate_rows",
                     "schema_warnings"]  # fmt: skip


@pytest.mark.parametrize("name", ["Interactions", "Users", "Items", "Actions", "Action_Interactions"])
@pytest.mark.parametrize("statistics", [{}, {"rows": 0, "columns": {}}, {"rows": 0, "users": {}, "ties": {}, "bots": {}}])
def test_empty_statistics_give_no_error(name: str, statistics: dict[str, Any]) -> None:
    schema = context(name=name).schema
    for previous in (None, {}, statistics):
        given = InsightContext(schema=schema, statistics=statistics, previous=previous)
        assert verdict(insights(given)) in {"pass", "fail"}


def test_actions_are_called_actions() -> None:
    given = context(reference("items", orphans=1, orphan_events=50_000), name="Action_Interactions")
    assert "1 action of the events was not in the actions dataset" in find("items_without_metadata", insights(given)).title


def test_names_are_unique() -> None:
    names = [insight.name for insight in insights(context())]
    assert len(set(names)) == len(names)


def test_every_row_of_the_table_is_seen_on_both_sides_of_its_threshold() -> None:
    tested_elsewhere = {"dataset_size", "changed_past", "event_volume", "new_{noun}s", "column_drift"}  # in test_drift.py
    tested_elsewhere |= {"wrong_times", "odd_ids"}  # below
    passing, broken = ({name for name, _, status, _ in CASES if (status == "pass") == passes} for passes in (True, False))
    assert passing == broken == {rule.name for rule in INSIGHTS} - tested_elsewhere


def test_the_verdict_is_the_worst_status() -> None:
    assert verdict([]) == "pass"
    by_status = {status: find(name, insights(given)) for name, given, status, _ in CASES}
    passing, warning, failing = (by_status[status] for status in ("pass", "warn", "fail"))
    assert verdict([passing, warning]) == "warn"
    assert verdict([failing, passing, warning]) == "fail"


@pytest.mark.parametrize(
    ("statistics", "order"),
    [
        ({}, "file"),
        ({"ties": None}, "file"),
        (ties(2_000, 1_000), "file"),
        (ties(1_000, 951), "hash"),
        (ties(1_000, 950), "file"),
        (ties(1_000, 49), "hash"),
        (ties(1_000, 500, 1_000, 960), "hash"),
    ],
)
def test_equal_timestamps_are_ordered_by_hash_only_where_file_order_is_an_artefact(statistics: Any, order: str) -> None:
    assert tie_order(statistics) == order


@pytest.mark.parametrize(
    ("fraction", "text"),
    [(0, "0 %"), (1, "100 %"), (0.5, "50 %"), (0.1234, "12.3 %"), (0.0004, "under 0.1 %"), (0.9996, "over 99.9 %")],
)
def test_shares_are_never_rounded_to_nothing_or_all(fraction: float, text: str) -> None:
    assert percent(fraction) == text


def test_numbers_and_lists_read_well() -> None:
    assert [counted(number, "row") for number in (0, 1, 2_000)] == ["0 rows", "1 row", "2,000 rows"]
    assert listed("abcdefg") == "a, b, c, d, e and 2 more"
    assert listed("abcde") == "a, b, c, d, e"


def wrong_times_told(kept: bool, *reasons: dict[str, Any]) -> Insight | None:
    return drawn("wrong_times", context({"wrong_times": {"kept": kept, "reasons": list(reasons)}}))


FUTURE = {"reason": "after the import", "rows": 2, "examples": [{"file": "2.csv", "line": 7, "value": "4102444800"}]}
NULLS = {"reason": "a null", "rows": 1, "examples": [{"file": "1.csv", "line": 90, "value": "0"}]}


def test_events_with_wrong_times_are_told_with_the_first_file_and_line() -> None:
    insight = wrong_times_told(False, FUTURE, NULLS)
    assert insight is not None
    assert (insight.status, insight.value) == ("warn", "2 events after the import; 1 event a null")
    assert insight.title == "3 events with a time that cannot be true were left out; the first is 0 in 1.csv line 90."
    assert "--future keep" in insight.remedy
    kept = wrong_times_told(True, FUTURE)
    assert kept is not None
    assert "2 events with a time that cannot be true are kept; the first is 4102444800 in 2.csv line 7." in kept.title


def test_without_wrong_times_all_is_well() -> None:
    insight = wrong_times_told(False)
    assert insight is not None
    assert (insight.status, insight.title) == ("pass", "All times can be true.")
    assert drawn("wrong_times", context()) is None


def test_nulls_written_as_ids_and_ids_with_blanks_are_told_with_their_rows() -> None:
    insight = drawn(
        "odd_ids", context(columns={"USER_ID": {"kind": "id", "missing": 0, "nulls": {"nan": 1_200, "\\N": 4}, "spaced": 1}})
    )
    assert insight is not None
    assert insight.status == "warn"
    nulls = '1,204 rows name no USER_ID but a null: "nan" (1,200 rows), "\\N" (4 rows)'
    assert insight.title == f"{nulls}; 1 row has a USER_ID with blanks around it."
    assert "busy" in insight.consequence
    assert "dropna" in insight.remedy
    spaced = drawn("odd_ids", context(columns={"ITEM_ID": {"kind": "id", "missing": 0, "spaced": 30}}))
    assert spaced is not None
    assert spaced.title == "30 rows have an ITEM_ID with blanks around it."


def test_ids_that_mean_someone_are_no_finding() -> None:
    insight = drawn("odd_ids", context())
    assert insight is not None
    assert (insight.status, insight.title) == ("pass", "No id is a null or has blanks around it.")
