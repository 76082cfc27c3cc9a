"""Expectations that users add: what their file may hold, and what becomes of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from jobs.validate.own_expectations import check_own_expectations, parse_own_expectations
from jobs.validate.own_sql import check_sql
from jobs.validate.suites import great_expectations
from schemas.datasets import parse_schema_document
from schemas.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import DataFrame, SparkSession

SCHEMA = parse_schema_document(
    {
        "type": "record",
        "name": "Interactions",
        "fields": [
            {"name": "USER_ID", "type": "string"},
            {"name": "ITEM_ID", "type": "string"},
            {"name": "TIMESTAMP", "type": "long"},
            {"name": "PRICE", "type": ["null", "double"]},
        ],
        "version": "1.0",
    }
)
IN_SET = {"type": "expect_column_values_to_be_in_set", "kwargs": {"column": "USER_ID", "value_set": ["u1"]}}
QUERY = "SELECT * FROM {batch} WHERE TIMESTAMP > 1"


def refused(document: Any) -> str:
    text = document if isinstance(document, str) else json.dumps(document)
    with pytest.raises(ConfigError) as raised:
        parse_own_expectations(text, "own.json", SCHEMA)
    return str(raised.value)


def one(**changed: Any) -> list[dict[str, Any]]:
    return [{**IN_SET, **changed}]


def kwargs(**changed: Any) -> list[dict[str, Any]]:
    return one(kwargs={**IN_SET["kwargs"], **changed})  # type: ignore[dict-item]


def test_what_great_expectations_writes_is_read() -> None:
    gx = great_expectations()
    kinds = gx.expectations
    suite = gx.ExpectationSuite(
        "shop",
        expectations=[
            kinds.ExpectColumnMaxToBeBetween(column="PRICE", max_value=9, severity="info", notes="why", meta={"by": "me"}),
            kinds.UnexpectedRowsExpectation(unexpected_rows_query=QUERY, description="no late events"),
        ],
    )
    read = parse_own_expectations(json.dumps(suite.to_json_dict()), "own.json", SCHEMA)
    assert read.name == "shop"
    assert [kind for kind, _ in read.expectations] == ["expect_column_max_to_be_between", "unexpected_rows_expectation"]
    assert read.expectations[0][1] == {"column": "PRICE", "max_value": 9.0, "severity": "info", "description": None}


def test_bare_lists_and_the_older_form_are_read() -> None:
    older = {"expectation_type": IN_SET["type"], "kwargs": {**IN_SET["kwargs"], "result_format": "BASIC"}}  # type: ignore[dict-item]
    read = [
        parse_own_expectations(json.dumps(document), "own.json", SCHEMA).expectations
        for document in ([IN_SET], [older], {"expectation_suite_name": "old", "expectations": [older], "data_asset_type": None})
    ]
    assert read[0] == read[1] == read[2]


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "nested too deeply"),
        ('[{"type": NaN}]', "NaN is no number of JSON"),
        ('"x"', "this is no suite of expectations"),
        ({"name": "n"}, "this is no suite of expectations"),
        ({"name": 3, "expectations": [IN_SET]}, "a suite's name is a text (got 3)"),
        ({"expectation": [], "expectations": [IN_SET]}, "no such key (got 'expectation'). Allowed: expectations"),
        ([], "(got 0). Allowed: 1 to 1,000"),
        ([3], "own.json.expectations[0]: this is no expectation (got 3)"),
        (one(kwargs=[]), "this is no expectation"),
        (one(type="expect_column_values_to_be_in_sets"), "Allowed: expect_column_values_to_be_in_set,"),
        (one(type=None), "this type is not known (got None)"),
        (one(type="os.system"), "this type is not known"),
        (one(type="expect_table_row_count_to_equal_other_table"), "Leave it out: it asks for a second table."),
        (one(kwarg={}), "no such key (got 'kwarg'). Allowed: kwargs"),
        (one(severity="fatal"), "no such severity (got 'fatal'). Allowed: critical, warning, info"),
        (one(description=3), "a description is a text"),
        (one(windows=[{"range": 5}]), "windows over earlier runs need a stored context"),
        (kwargs(column="USER"), "kwargs.column: the schema has no such column (got 'USER'). Allowed: USER_ID, ITEM_ID"),
        (kwargs(column=3), "no such column (got 3)"),
        (kwargs(values=[]), "takes no such argument (got 'values')"),
        (kwargs(value_set=None), "value_set: field required"),
        (kwargs(value_set="u1"), "value_set: value is not a valid list"),
        (kwargs(mostly=2), "mostly: "),
        (kwargs(value_set={"$PARAMETER": "x"}), "parameters of a suite are not filled in"),
        ({"expectations": [IN_SET], "suite_parameters": {"x": 1}}, "parameters of a suite are not filled in"),
        (kwargs(row_condition="reflect('java.lang.System', 'exit')", condition_parser="spark"), "no calls of Java"),
        (kwargs(row_condition={"type": "pass_through", "pass_through_filter": "reflect('a', 'b')"}), "no calls of Java"),
        (kwargs(row_condition="a.b()", condition_parser="pandas"), "the rows are in Spark"),
        ([{"type": "expect_compound_columns_to_be_unique", "kwargs": {"column_list": ["USER_ID", "X"]}}], "column_list[1]"),
        ([{"type": "unexpected_rows_expectation", "kwargs": {"unexpected_rows_query": "DROP TABLE x"}}], "this is no query"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(document: Any, told: str) -> None:
    assert told in refused(document)


@pytest.mark.parametrize(
    "text",
    [
        "SELECT 1",
        "INSERT OVERWRITE DIRECTORY '/tmp/x' SELECT * FROM {batch}",
        "WITH x AS (SELECT 1) INSERT INTO t SELECT * FROM {batch}",
        "SELECT * FROM {batch}; DROP TABLE x",
        "SELECT java_method('java.lang.Runtime', 'getRuntime') FROM {batch}",
        "SELECT `reflect`('a', 'b') FROM {batch}",
        "SELECT IDENTIFIER('ref' || 'lect')('a', 'b') FROM {batch}",
        "SELECT TRANSFORM (USER_ID) USING 'cat' AS (x) FROM {batch}",
        "SELECT TRANSFORM (USER_ID) USING/**/'cat' AS (x) FROM {batch}",
        "SELECT * FROM {batch}, csv.`/etc/passwd`",
        "SELECT * FROM {batch}, csv . `/etc/passwd`",
    ],
)
def test_sql_that_may_do_more_than_select_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        check_sql(text, "query", whole=True)


def test_a_condition_holds_no_query() -> None:
    with pytest.raises(ConfigError, match="a condition holds no query"):
        check_sql("USER_ID IN (SELECT x FROM t)", "row_condition", whole=False)
    check_sql("PRICE > 3 AND USER_ID <> 'x'", "row_condition", whole=False)
    check_sql("with late as (select * from {batch} where TIMESTAMP > 3) select * from late", "query", whole=True)


@pytest.fixture
def frame(spark: SparkSession) -> DataFrame:
    rows = [("u1", "i1", 1, 1.5), ("u2", "i2", 2, None), ("u<b>", "i3", 300, 2.0)]
    return spark.createDataFrame(rows, "USER_ID string, ITEM_ID string, TIMESTAMP bigint, PRICE double")


def test_each_expectation_is_told_and_only_critical_ones_fail(frame: DataFrame) -> None:
    suite = {
        "name": "shop",
        "expectations": [
            IN_SET,
            {**IN_SET, "severity": "warning"},
            {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "PRICE", "mostly": 0.5}},
            {"type": "expect_column_mean_to_be_between", "kwargs": {"column": "PRICE", "max_value": 1}, "severity": "info"},
            {"type": "unexpected_rows_expectation", "kwargs": {"unexpected_rows_query": QUERY}, "description": "all is early"},
            {"type": "expect_column_pair_values_a_to_be_greater_than_b",
             "kwargs": {"column_A": "TIMESTAMP", "column_B": "PRICE", "row_condition": "PRICE > 1.7",
                        "condition_parser": "spark"}},
        ],
    }  # fmt: skip
    verdict = check_own_expectations(frame, parse_own_expectations(json.dumps(suite), "own.json", SCHEMA))
    in_set = "expect_column_values_to_be_in_set of USER_ID: 2 unexpected (66.7 %), as 'u2', 'u<b>'"
    assert verdict.failed == (in_set, "all is early: 2 unexpected rows")
    assert verdict.warned == (in_set, "expect_column_mean_to_be_between of PRICE: observed 1.75")
    assert verdict.num_checked == 6
    assert verdict.summary == {
        "name": "shop", "checked": 6, "failed": list(verdict.failed), "warned": list(verdict.warned),
        "data_docs": "data_docs/own.html",
    }  # fmt: skip
    page = verdict.page.decode()
    assert "all is early" in page
    assert "<b>" not in page


def test_what_cannot_be_checked_fails_and_leaves_the_others_be(frame: DataFrame, tmp_path: Path) -> None:
    query = f"SELECT * FROM {{batch}}, text.{tmp_path.name}"
    suite = [
        {"type": "unexpected_rows_expectation", "kwargs": {"unexpected_rows_query": query}},
        {"type": "expect_table_row_count_to_equal", "kwargs": {"value": 3}},
    ]  # fmt: skip
    verdict = check_own_expectations(frame, parse_own_expectations(json.dumps(suite), "own.json", SCHEMA))
    assert [text.partition(" (")[0] for text in verdict.failed] == ["unexpected_rows_expectation: could not be checked"]
    assert frame.sparkSession.conf.get("spark.sql.runSQLOnFiles") == "true"
