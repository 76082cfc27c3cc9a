"""Cells: what each kind of text becomes, and which reason each wrong one gets."""

from __future__ import annotations

import time
from typing import Any, get_args

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyspark.sql.pandas.types import from_arrow_type

from jobs.platform.stored_types import ARROW_TYPES, STORED
from jobs.validate import cells, numerals, strings
from jobs.validate.cells import Column, parse_column
from jobs.validate.fields import KEYWORDS
from schemas.dataset_rules import VALUE_KINDS, FieldType
from schemas.datasets import SchemaField

CATEGORIES_TOO_LONG = "longer than 1000 characters: Personalize fails the whole import on it"
NULL = None


def field(name: str = "X", kind: Any = "string", **more: bool) -> SchemaField:
    return SchemaField(name=name, type=kind, **{"nullable": True} | more)


TEXT = field("PLOT", textual=True)
GENRES = field("GENRES", categorical=True)
IMPRESSION = field("IMPRESSION")
TYPES: tuple[FieldType, ...] = get_args(FieldType)
USER = field("USER_ID", nullable=False)
TIME = field("TIMESTAMP", "long")


def test_every_field_type_can_be_read_stored_and_compared() -> None:
    texts = {name for name, kind in VALUE_KINDS.items() if kind == "text"}
    assert {*cells.PARSERS} | texts == set(STORED) == set(VALUE_KINDS) == set(TYPES)


@pytest.mark.parametrize("kind", TYPES)
def test_a_field_type_is_stored_as_parquet_and_spark_have_it(kind: FieldType) -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"X": pa.array([], ARROW_TYPES[kind])}), sink)
    [column] = pq.ParquetFile(sink.getvalue()).schema
    assert (column.physical_type, column.logical_type.type) == STORED[kind].parquet
    assert from_arrow_type(ARROW_TYPES[kind]).simpleString() == STORED[kind].spark


@pytest.mark.parametrize("kind", TYPES)
def test_a_column_of_every_field_type_is_of_its_arrow_type(kind: FieldType) -> None:
    parsed = parse_column(pa.array([b"", None], pa.binary()), field(kind=kind))
    stored = parsed.values.type
    assert (stored.value_type if pa.types.is_dictionary(stored) else stored) == ARROW_TYPES[kind]
    assert not parsed.wrong


@pytest.mark.parametrize("kind", [kind for kind in TYPES if VALUE_KINDS[kind] != "text"])
def test_what_no_value_of_a_field_type_is_is_rejected_with_a_reason(kind: FieldType) -> None:
    stored = ARROW_TYPES[kind]
    beyond = "9" * 400 if pa.types.is_floating(stored) else str(1 << (stored.bit_width - 1))
    parsed = parse_column(pa.array([b"x", beyond.encode()], pa.binary()), field(kind=kind))
    assert np.sum([mask for _, mask in parsed.wrong], axis=0).tolist() == [1, 1]


def parsed(values: list[str | bytes | None], described: SchemaField, as_dictionary: bool) -> Column:
    raw = pa.array([value.encode() if isinstance(value, str) else value for value in values], pa.binary())
    return parse_column(raw.dictionary_encode() if as_dictionary else raw, described)


def outcome(column: Column) -> list[Any]:
    """Of each cell its value, or the reason why it is wrong in a list of its own."""
    found: list[Any] = column.values.to_pylist()
    for reason, mask in column.wrong:
        for place in np.flatnonzero(mask):
            assert not isinstance(found[place], list), "two reasons for one cell"
            found[place] = [reason]
    return found


@pytest.mark.parametrize(
    ("described", "value", "wanted"),
    [
        (field(), "", NULL),
        (field(), " kept as it is\t", " kept as it is\t"),
        (field(), "x" * 1000, "x" * 1000),
        (field(), "日" * 1001, ["longer than 1000 characters"]),
        (field(), "a\0b", [strings.HAS_NUL]),
        (field(), b"caf\xe9", [cells.NOT_UTF8]),
        (field(nullable=False), b"\xff", [cells.NOT_UTF8]),
        (field(nullable=False), "", [cells.EMPTY]),
        (field("EVENT_TYPE", nullable=False), "TIMESTAMP", "TIMESTAMP"),
        (USER, " u 1 ", " u 1 "),
        (USER, "é" * 256, "é" * 256),
        (USER, "é" * 257, ["longer than 256 characters"]),
        (USER, " ", [strings.BLANK_ID]),
        (USER, "\t\u00a0\u3000\n", [strings.BLANK_ID]),
        (USER, "\u2003" * 300, [strings.BLANK_ID]),
        (USER, "", [cells.EMPTY]),
        (USER, "USER_ID", [strings.KEYWORD]),
        (USER, "user_id", "user_id"),
        (USER, "USER_ID ", "USER_ID "),
        (field("ITEM_ID"), "EVENT_TYPE", [strings.KEYWORD]),
        (field("ACTION_ID"), "TIMESTAMP", [strings.KEYWORD]),
        (field("ACTION_ID"), "a" * 257, ["longer than 256 characters"]),
        (GENRES, "drama|horror", "drama|horror"),
        (GENRES, "a | b|", "a|b"),
        (GENRES, "|| a b\t|\u00a0c\u3000||", "a b|c"),
        (GENRES, " science fiction ", "science fiction"),
        (GENRES, "two\nlines|b", "two\nlines|b"),
        (GENRES, "été |ü", "été|ü"),
        (GENRES, " | ", NULL),
        (field("GENRES", categorical=True, nullable=False), " | ", [strings.ONLY_FILLING]),
        (field("GENRES", categorical=True, nullable=False), "", [cells.EMPTY]),
        (GENRES, "x" * 1000 + " | ", "x" * 1000),
        (GENRES, "x" * 1001, [CATEGORIES_TOO_LONG]),
        (GENRES, "a|" * 500 + "bb", [CATEGORIES_TOO_LONG]),
        (IMPRESSION, " 73|70 |  17", "73|70|17"),
        (IMPRESSION, "1|" * 499 + "23", "1|" * 499 + "23"),
        (IMPRESSION, "1|" * 500 + "2", ["longer than 1000 characters, bars included"]),
        (TEXT, "plain", "plain"),
        (TEXT, "<p>A\r\n  <b class='x'>tale</b>,\ttold</p>", "A tale , told"),
        (TEXT, "1 < 2 > 0 and x<3", "1 < 2 > 0 and x<3"),
        (TEXT, "a<br/>b<!-- hidden > \n too -->c<!DOCTYPE html><?xml version='1.0'?>d", "a b c d"),
        (TEXT, "non\u00a0breaking\u2028and\u3000wide", "non breaking and wide"),
        (TEXT, "&lt;b&gt; stays", "&lt;b&gt; stays"),
        (TEXT, "unclosed <b", "unclosed <b"),
        (TEXT, "<!-- a -->b<!-- <i>c</i> --><!--d <i>e</i>", "b <!--d e"),
        (TEXT, "<!--> b --> c <!DOCTYPE x> <!- d -> <?e?>", "c <!- d ->"),
        (TEXT, " <br> \n", NULL),
        (field("PLOT", textual=True, nullable=False), "<br>", [strings.ONLY_FILLING]),
        (field("PLOT", textual=True, nullable=False), "", [cells.EMPTY]),
        (TEXT, "a" * 20_000, "a" * 20_000),
        (TEXT, "a" * 20_001, "a" * 20_000),
        (TEXT, "a" * 19_999 + " b", "a" * 19_999),
        (TEXT, "日本" * 3500, "日本" * 3500),
        (TEXT, "ひらカタ漢" * 1500, "ひらカタ漢" * 1400),
        (TEXT, "한글" * 4000, "한글" * 4000),
        (TEXT, "日" * 4000 + "a" * 4000, "日" * 4000 + "a" * 4000),
        (TEXT, "日" * 4001 + "a" * 4000, "日" * 4001 + "a" * 2999),
        (TEXT, "a\0b", [strings.HAS_NUL]),
    ],
)
@pytest.mark.parametrize("as_dictionary", [True, False])
def test_a_string_is_kept_mended_or_told(described: SchemaField, value: str, wanted: Any, as_dictionary: bool) -> None:
    column = parsed(["ok", value, "ok", value], described, as_dictionary)
    assert column.values.type == pa.dictionary(pa.int32(), pa.string())
    assert outcome(column) == ["ok", wanted, "ok", wanted]


@pytest.mark.parametrize(
    ("described", "value", "wanted"),
    [
        (TIME, "0", 0),
        (TIME, "100000000000", 100_000_000_000),
        (TIME, "100000000001", [numerals.MILLISECONDS]),
        (TIME, "1700000000000", [numerals.MILLISECONDS]),
        (TIME, "1700000000000000", [numerals.MICROSECONDS]),
        (TIME, "1700000000000000000", [numerals.NANOSECONDS]),
        (TIME, "-1", [numerals.NEGATIVE_TIME]),
        (TIME, "1600000000.0", [numerals.HAS_POINT]),
        (TIME, "1.6e9", [numerals.HAS_EXPONENT]),
        (TIME, "2024-05-01", [numerals.DATE]),
        (TIME, "1/5/2024 10:00", [numerals.DATE]),
        (TIME, "2024-05-01T10:00:00Z", [numerals.DATE]),
        (TIME, "yesterday", [numerals.NOT_WHOLE]),
        (TIME, "+5", [numerals.NOT_WHOLE]),
        (TIME, " 5", [numerals.SPACED]),
        (TIME, "5\u00a0", [numerals.SPACED]),
        (TIME, " ", [numerals.NOT_WHOLE]),
        (TIME, "1 2", [numerals.NOT_WHOLE]),
        (TIME, "0x1F", [numerals.NOT_WHOLE]),
        (TIME, "٣", [numerals.NOT_WHOLE]),
        (TIME, "5\0", [numerals.NOT_WHOLE]),
        (TIME, "5\n", [numerals.SPACED]),
        (TIME, b"\xff5", [cells.NOT_UTF8]),
        (TIME, "9223372036854775808", ["outside the range of a long (64 bits)"]),
        (TIME, "9" * 5000, ["outside the range of a long (64 bits)"]),
        (TIME, "", NULL),
        (field("CREATION_TIMESTAMP", "long"), "1700000000000", [numerals.MILLISECONDS]),
        (field("EXPIRATION_TIMESTAMP", "long"), "1700000000000", [numerals.MILLISECONDS]),
        (field("TOTAL", "long"), "1700000000000", 1_700_000_000_000),
        (field("TOTAL", "long"), "-9223372036854775808", -(1 << 63)),
        (field("TOTAL", "long"), "-9223372036854775809", ["outside the range of a long (64 bits)"]),
        (field("TOTAL", "long"), "-" + "0" * 6000 + "7", -7),
        (field("TOTAL", "long"), "2024-05-01", [numerals.NOT_WHOLE]),
        (field("TOTAL", "long", nullable=False), "", [cells.EMPTY]),
        (field("AGE", "int"), "2147483648", ["outside the range of an int (32 bits)"]),
        (field("AGE", "int"), "-2147483648", -(1 << 31)),
        (field("PRICE", "double"), "+1.5e3", 1500.0),
        (field("PRICE", "double"), "5.", 5.0),
        (field("PRICE", "double"), "1e-400", 0.0),
        (field("PRICE", "double"), "1,5", [numerals.NOT_NUMBER]),
        (field("PRICE", "double"), " 1.5", [numerals.SPACED]),
        (field("PRICE", "double"), "NaN", [numerals.NOT_FINITE]),
        (field("PRICE", "double"), "nan(7)", [numerals.NOT_NUMBER]),
        (field("PRICE", "double"), "-Infinity", [numerals.NOT_FINITE]),
        (field("PRICE", "double"), "1e999", ["outside the range of a double"]),
        (field("PRICE", "float"), "3.5e38", ["outside the range of a float"]),
        (field("PRICE", "float"), "0x1p3", [numerals.NOT_NUMBER]),
        (field("FRESH", "boolean"), "true", True),
        (field("FRESH", "boolean"), "false", False),
        *((field("FRESH", "boolean"), wrong, [numerals.NOT_BOOLEAN]) for wrong in ("True", "FALSE", "0", "yes", " true", "t")),
    ],
)
@pytest.mark.parametrize("beside", ["1", "x"])
def test_a_number_is_read_or_told_whatever_stands_beside_it(
    described: SchemaField, value: str, wanted: Any, beside: str
) -> None:
    assert outcome(parsed([beside, value], described, as_dictionary=False))[1] == wanted


@pytest.mark.parametrize("keyword", sorted(KEYWORDS))
def test_every_keyword_of_personalize_is_no_id_also_behind_a_byte_order_mark(keyword: str) -> None:
    """Such a mark stands where files that begin with one were put together."""
    for spelling in (keyword, "\ufeff" + keyword):
        assert outcome(parsed(["a", spelling], USER, as_dictionary=True)) == ["a", [strings.KEYWORD]]
    assert outcome(parsed(["\ufeffa"], USER, as_dictionary=True)) == ["\ufeffa"]


def test_an_id_that_is_right_at_one_row_is_right_at_all_and_unused_entries_are_of_no_account() -> None:
    dictionary = pa.array([b"a", b"\xff", b"", b"USER_ID", b" ", b"\0", b"b" * 300, b"c"], pa.binary())
    column = parse_column(pa.DictionaryArray.from_arrays(pa.array([7, 0] * 8, pa.int32()), dictionary), USER)
    assert column.wrong == []
    assert column.values.to_pylist() == ["c", "a"] * 8
    column = parse_column(pa.DictionaryArray.from_arrays(pa.array([0], pa.int32()), dictionary), USER)
    assert outcome(column) == ["a"]


def test_rows_may_be_null_or_lie_in_a_slice() -> None:
    codes = pa.array([0, 1, None, 2, 0, 1], pa.int32())
    encoded = pa.DictionaryArray.from_arrays(codes, pa.array([b"x | y", b"", b"\xff"], pa.binary()))
    assert outcome(parse_column(encoded.slice(1, 4), GENRES)) == [NULL, NULL, [cells.NOT_UTF8], "x|y"]
    assert outcome(parse_column(encoded.slice(4), field("G", nullable=False))) == ["x | y", [cells.EMPTY]]
    nothing = pa.DictionaryArray.from_arrays(pa.array([None, None], pa.int32()), pa.array([], pa.binary()))
    assert outcome(parse_column(nothing, GENRES)) == [NULL, NULL]
    assert outcome(parse_column(nothing.slice(0, 0), GENRES)) == []
    assert outcome(parse_column(pa.array([b"skipped", None, b"1"], pa.binary()).slice(1), field("N", "int"))) == [NULL, 1]


def test_values_that_become_equal_are_one_entry_of_the_dictionary() -> None:
    column = parsed(["a|b", "a | b", "|a|b", "", "|"], GENRES, as_dictionary=True)
    assert outcome(column) == ["a|b", "a|b", "a|b", NULL, NULL]
    assert sorted(column.values.dictionary.to_pylist()) == ["", "a|b"]


def test_cleaned_and_truncated_rows_are_counted() -> None:
    column = parsed(["a", "<b>a", "<b>a", "y" * 20_001, " " + "y" * 20_001, "<br>", ""], TEXT, as_dictionary=True)
    assert (column.cleaned, column.truncated) == (4, 2)
    column = parsed(["a |b", "|", "a"], field("G", categorical=True, nullable=False), as_dictionary=True)
    assert (column.cleaned, column.truncated, len(column.wrong)) == (1, 0, 1)


@pytest.mark.parametrize(
    "text", ["<!--<b>" * 150_000, "-->" + "<" * 1_000_000, "<b" * 500_000, " \t" * 500_000, "<!" * 500_000]
)
def test_a_text_made_to_be_slow_is_not(text: str) -> None:
    began = time.process_time()
    parsed([text], TEXT, as_dictionary=True)
    parsed([text], GENRES, as_dictionary=True)
    parsed([text], field("PRICE", "double"), as_dictionary=False)
    assert time.process_time() - began < 1


loose = st.text(st.sampled_from("ab| \t\u00a0\u3000日é\n"), max_size=8)


@settings(max_examples=200, deadline=None)
@given(st.lists(loose, max_size=6), st.integers(0, 3))
def test_any_list_is_what_splitting_trimming_and_joining_gives(values: list[str], skipped: int) -> None:
    encoded = pa.array([value.encode() for value in values], pa.binary()).dictionary_encode().slice(skipped)
    column = parse_column(encoded, GENRES)
    joined = ["|".join(part.strip() for part in value.split("|") if part.strip()) for value in values[skipped:]]
    assert outcome(column) == [value or NULL for value in joined]
    assert column.cleaned == sum(a != b for a, b in zip(joined, values[skipped:], strict=True))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(st.sampled_from("ab \t\n\u00a0\u2003"), max_size=12), max_size=4))
def test_any_text_keeps_its_words_with_single_spaces(values: list[str]) -> None:
    column = parsed(list(values), TEXT, as_dictionary=False)
    assert outcome(column) == [" ".join(value.split()) or NULL for value in values]
