"""Expectations that users add: a Great Expectations suite as JSON, read strictly, run on the accepted rows.

    {"name": "shop", "expectations": [
        {"type": "expect_column_values_to_be_in_set", "kwargs": {"column": "EVENT_TYPE", "value_set": ["view", "buy"]}},
        {"type": "expect_column_mean_to_be_between", "kwargs": {"column": "PRICE", "max_value": 90}, "severity": "warning"}]}

This is the form that Great Expectations writes (`suite.to_json_dict()`); a bare list of expectations, and the older key
`expectation_type`, are read too. A file is data, not code: only Great Expectations' own types are known, nothing is imported
for it, and SQL may only select from {batch} (see own_sql.py).
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from jobs.validate.own_sql import check_condition, check_sql
from jobs.validate.page import offline_page
from jobs.validate.suites import great_expectations, run_suite
from schemas import columns
from schemas.datasets import DatasetSchema
from schemas.documents import read_json
from schemas.errors import ConfigError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

MOST_EXPECTATIONS = 1000
LONGEST_TEXT = 1_000_000  # characters of the file
PAGE = "data_docs/own.html"

_SUITE_KEYS = {"name", "expectations", "id", "meta", "notes", "expectation_suite_name", "suite_parameters", "data_asset_type"}
_KEYS = {"type", "expectation_type", "kwargs", "severity", "description", "notes", "meta", "id", "rendered_content"}
_RUN_KEYS = {"result_format", "catch_exceptions", "include_config", "batch_id"}  # how it once ran; it runs our way
_NO_KWARGS = {"id", "meta", "notes", "description", "rendered_content", "severity", "windows", *_RUN_KEYS}
_REFUSED = {
    "expect_query_results_to_match_comparison": "it asks a second database",
    "expect_table_row_count_to_equal_other_table": "it asks for a second table",
    "expect_column_kl_divergence_to_be_less_than": "Great Expectations itself does not run it on Spark",
}
_SEVERITIES = ("critical", "warning", "info")
_PLACE = "place"  # key of an expectation's meta: its place in the file
_SHOWN_VALUES = 5
_SQL_ON_FILES = "spark.sql.runSQLOnFiles"


@dataclass(frozen=True)
class OwnSuite:
    """A user's suite, checked as far as that goes without data.

    Attributes:
        name: Of the suite.
        expectations: (type, arguments) of each, in the file's order; the arguments are those of its class.
    """

    name: str
    expectations: tuple[tuple[str, dict[str, Any]], ...]


@dataclass(frozen=True)
class OwnVerdict:
    """The result of a user's suite.

    Attributes:
        num_checked: Expectations that were checked.
        failed: Critical ones that do not hold, in words: the import must fail.
        warned: Others that do not hold, in words.
        page: Data Docs: one HTML page that needs no network.
        summary: All but the page, for report.json.
    """

    num_checked: int
    failed: tuple[str, ...]
    warned: tuple[str, ...]
    page: bytes
    summary: dict[str, Any]


def parse_own_expectations(text: str, where: str, schema: DatasetSchema) -> OwnSuite:
    """Parse a suite from JSON text.

    Args:
        text: JSON, at most a million characters.
        where: Name of its source, for messages.
        schema: Of the rows; its columns may be named, and INPUT_ORDER.

    Raises:
        ConfigError: It is not JSON, or names a type, an argument, a column or a severity that is not known, or misses one.
    """
    name, entries = _suite(_json(text, where), where)
    if not entries or len(entries) > MOST_EXPECTATIONS:
        allowed = f"1 to {MOST_EXPECTATIONS:,}"
        raise ConfigError("a suite holds expectations", where=f"{where}.expectations", value=len(entries), allowed=allowed)
    known = _types()
    parsed = tuple(_expectation(entry, f"{where}.expectations[{place}]", known, schema) for place, entry in enumerate(entries))
    return OwnSuite(name, parsed)


def check_own_expectations(frame: DataFrame, suite: OwnSuite) -> OwnVerdict:
    """Check a user's suite on the accepted rows; of those that do not hold, also find out how many rows break them.

    Args:
        frame: The accepted rows.
        suite: What is expected of them.
    """
    with _careful_spark(frame.sparkSession):
        result = run_suite(frame, suite.name, _made(suite, range(len(suite.expectations))), "BOOLEAN_ONLY")
        outcomes = {outcome.expectation_config.meta[_PLACE]: outcome for outcome in result.results}
        broken = sorted(place for place, outcome in outcomes.items() if not outcome.success and not _exception(outcome))
        if broken:  # counts and examples cost a scan for each, so only these are run again
            again = run_suite(frame, suite.name, _made(suite, broken), "BASIC")
            outcomes |= {outcome.expectation_config.meta[_PLACE]: outcome for outcome in again.results}
    result.results = [outcomes[place] for place in sorted(outcomes)]
    unmet = [(_sentence(outcome), outcome.expectation_config.severity) for outcome in result.results if not outcome.success]
    failed = tuple(text for text, severity in unmet if severity == "critical")
    warned = tuple(text for text, severity in unmet if severity != "critical")
    summary = {
        "name": suite.name,
        "checked": len(result.results),
        "failed": list(failed),
        "warned": list(warned),
        "data_docs": PAGE,
    }
    note = "Expectations of your own, checked on all accepted rows. Counts and examples are shown for those that do not hold."
    return OwnVerdict(len(result.results), failed, warned, offline_page(result, note), summary)


def _json(text: str, where: str) -> Any:
    if len(text) > LONGEST_TEXT:
        raise ConfigError("the file is too long", where=where, value=len(text), allowed=f"at most {LONGEST_TEXT:,} characters")
    try:
        return read_json(text)
    except ValueError as error:
        remedy = "Give a suite as Great Expectations writes it."
        raise ConfigError(f"the file is not JSON ({error})", where=where, remedy=remedy) from None


def _suite(document: Any, where: str) -> tuple[str, list[Any]]:
    """Name and entries of a suite, or of a bare list."""
    if isinstance(document, list):
        return "own expectations", document
    form = '{"name": …, "expectations": [{"type": …, "kwargs": {…}}, …]}'
    if not isinstance(document, dict) or not isinstance(document.get("expectations"), list):
        raise ConfigError("this is no suite of expectations", where=where, value=document, allowed=form)
    for key in document.keys() - _SUITE_KEYS:
        raise ConfigError("a suite has no such key", where=where, value=key, allowed=_near(key, _SUITE_KEYS))
    if document.get("suite_parameters"):
        _refuse_parameters(where)
    name = document.get("name") or document.get("expectation_suite_name") or "own expectations"
    if not isinstance(name, str):
        raise ConfigError("a suite's name is a text", where=f"{where}.name", value=name)
    return name, document["expectations"]


def _expectation(entry: Any, where: str, known: dict[str, Any], schema: DatasetSchema) -> tuple[str, dict[str, Any]]:
    if not isinstance(entry, dict) or not isinstance(entry.get("kwargs", {}), dict):
        form = '{"type": …, "kwargs": {…}}'
        raise ConfigError("this is no expectation", where=where, value=entry, allowed=form)
    if windows := entry.get("windows"):
        raise ConfigError("windows over earlier runs need a stored context", where=f"{where}.windows", value=windows)
    for key in entry.keys() - _KEYS - {"windows", "expectation_context"}:
        raise ConfigError("an expectation has no such key", where=where, value=key, allowed=_near(key, _KEYS))
    kind = entry.get("type", entry.get("expectation_type"))
    if kind in _REFUSED:
        raise ConfigError(
            "this type is not run here", where=f"{where}.type", value=kind, remedy=f"Leave it out: {_REFUSED[kind]}."
        )
    if not isinstance(kind, str) or kind not in known:
        raise ConfigError("this type is not known", where=f"{where}.type", value=kind, allowed=_near(kind, known))
    severity = entry.get("severity", "critical")
    if severity not in _SEVERITIES:
        raise ConfigError("no such severity", where=f"{where}.severity", value=severity, allowed=", ".join(_SEVERITIES))
    described = entry.get("description")
    if described is not None and not isinstance(described, str):
        raise ConfigError("a description is a text", where=f"{where}.description", value=described)
    kwargs = {name: value for name, value in entry.get("kwargs", {}).items() if name not in _RUN_KEYS and value is not None}
    _check_kwargs(kwargs, known[kind], f"{where}.kwargs", schema)
    return kind, {**kwargs, "severity": severity, "description": described}


def _check_kwargs(kwargs: dict[str, Any], kind: Any, where: str, schema: DatasetSchema) -> None:
    fields = {name: field.required for name, field in kind.__fields__.items() if name not in _NO_KWARGS}
    for name in kwargs.keys() - fields.keys():
        raise ConfigError("the type takes no such argument", where=where, value=name, allowed=", ".join(sorted(fields)))
    for name, value in kwargs.items():
        if '"$PARAMETER"' in json.dumps(value):
            _refuse_parameters(f"{where}.{name}")
    if isinstance(query := kwargs.get("unexpected_rows_query"), str):
        check_sql(query, f"{where}.unexpected_rows_query", whole=True)
    check_condition(kwargs.get("row_condition"), f"{where}.row_condition")
    if kwargs.get("condition_parser") == "pandas":
        raise ConfigError(
            "the rows are in Spark", where=f"{where}.condition_parser", value="pandas", allowed="spark, great_expectations"
        )
    if "json_schema" in kwargs and '"$ref"' in json.dumps(kwargs["json_schema"]):
        raise ConfigError("a JSON schema may not refer to others", where=f"{where}.json_schema", value="$ref")
    _check_columns(kwargs, where, schema)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of forms that it will not take for ever
            kind(**kwargs)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"the arguments are wrong: {_first_error(error)}", where=where, value=kwargs) from None


def _check_columns(kwargs: dict[str, Any], where: str, schema: DatasetSchema) -> None:
    """Check that named columns exist, except where an expectation is about their existence."""
    known = [*schema.names, columns.INPUT_ORDER]
    named: list[tuple[str, Any]] = [(name, kwargs[name]) for name in ("column", "column_A", "column_B") if name in kwargs]
    if isinstance(listed := kwargs.get("column_list"), list):
        named += [(f"column_list[{place}]", name) for place, name in enumerate(listed)]
    for key, name in named:
        if name not in known:
            raise ConfigError("the schema has no such column", where=f"{where}.{key}", value=name, allowed=", ".join(known))


def _refuse_parameters(where: str) -> None:
    raise ConfigError("parameters of a suite are not filled in here", where=where, remedy="Write the values themselves.")


def _first_error(error: Exception) -> str:
    """`value_set: value is not a valid list`, from pydantic's error."""
    listed: Any = getattr(error, "errors", None)
    if listed is None:
        return str(error)[:300]
    return "; ".join(dict.fromkeys(f"{problem['loc'][-1]}: {problem['msg']}" for problem in listed()))[:300]


def _near(name: Any, known: Any) -> str:
    """The nearest known names, or all of them where none is near."""
    near = get_close_matches(str(name), sorted(known), n=3, cutoff=0.5)
    return ", ".join(near or sorted(known)[:70])


def _types() -> dict[str, Any]:
    """Great Expectations' own types by name."""
    great_expectations()
    from great_expectations.expectations.registry import get_expectation_impl, list_registered_expectation_implementations

    names = set(list_registered_expectation_implementations()) - _REFUSED.keys()
    return {name: get_expectation_impl(name) for name in sorted(names)}


def _made(suite: OwnSuite, places: Any) -> Iterator[Any]:
    known = _types()
    for place in places:
        kind, arguments = suite.expectations[place]
        yield known[kind](**arguments, meta={_PLACE: place})


@contextmanager
def _careful_spark(spark: SparkSession) -> Iterator[None]:
    """No query reads files by their paths; failed ones are not logged, since the verdict has the reason."""
    logger = logging.getLogger("DataFrameQueryContextLogger")
    level, files = logger.level, spark.conf.get(_SQL_ON_FILES)
    logger.setLevel(logging.CRITICAL + 1)
    spark.conf.set(_SQL_ON_FILES, "false")
    try:
        yield
    finally:
        logger.setLevel(level)
        spark.conf.set(_SQL_ON_FILES, str(files))


def _exception(outcome: Any) -> str:
    """Why an expectation could not be checked; empty where it could."""
    info = outcome.exception_info or {}
    infos = [info] if "raised_exception" in info else list(info.values())
    messages = [str(entry.get("exception_message")) for entry in infos if entry.get("raised_exception")]
    return " ".join(messages[0].split())[:300] if messages else ""


def _sentence(outcome: Any) -> str:
    """`expect_column_values_to_be_in_set of EVENT_TYPE: 3 values (1.5 %), as 'sell', 'x'`."""
    config, result = outcome.expectation_config, outcome.result or {}
    named = [config.kwargs[key] for key in ("column", "column_A", "column_B") if key in config.kwargs]
    about = " and ".join(map(str, named or config.kwargs.get("column_list", [])))
    name = config.description or (f"{config.type} of {about}" if about else config.type)
    if reason := _exception(outcome):
        return f"{name}: could not be checked ({reason})"
    if (count := result.get("unexpected_count")) is not None:
        shown = list(dict.fromkeys(str(value)[:40] for value in result.get("partial_unexpected_list") or []))[:_SHOWN_VALUES]
        share = f" ({result['unexpected_percent']:.3g} %)" if result.get("unexpected_percent") is not None else ""
        examples = f", as {', '.join(map(repr, shown))}" if shown else ""
        return f"{name}: {count:,} unexpected{share}{examples}"
    if config.type == "unexpected_rows_expectation":
        return f"{name}: {result.get('observed_value')} unexpected rows"
    return f"{name}: observed {str(result.get('observed_value'))[:200]}"
