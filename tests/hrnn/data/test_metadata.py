from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from hrnn.data.metadata import MOST_WORDS, Metadata, item_columns, user_codes
from schemas.schema_fields import SchemaField

FIELDS = [
    SchemaField(name="GENRES", type="string", nullable=True, categorical=True),
    SchemaField(name="TITLE", type="string", nullable=True, textual=True),
    SchemaField(name="PRICE", type="double", nullable=True),
    SchemaField(name="ADULT", type="boolean", nullable=True),
    SchemaField(name="SKU", type="string"),
]
ITEMS = pa.table(
    {
        "GENRES": ["drama|war", "drama", None, " war || drama ", ""],
        "TITLE": ["The War, the PEACE", "peace!", None, "Straße 7", "--"],
        "PRICE": pa.array([1.5, None, float("inf"), 2.0, 1e300]),
        "ADULT": [True, False, None, False, False],
        "SKU": list("abcde"),
    }
)


def values_of(name: str) -> list[dict[int, float]]:
    values = item_columns(ITEMS, FIELDS)[0][name]
    rows = [values.codes.row(number) for number in range(len(ITEMS))]
    weights = [values.weights[begin:end] for begin, end in zip(values.codes.offsets, values.codes.offsets[1:], strict=False)]
    return [dict(zip(row.tolist(), of_row.tolist(), strict=True)) for row, of_row in zip(rows, weights, strict=True)]


def test_a_column_is_used_by_its_type_and_marks() -> None:
    values, numbers = item_columns(ITEMS, FIELDS)
    assert {name: each.words for name, each in values.items()} == {"GENRES": False, "TITLE": True, "ADULT": False}
    assert list(numbers) == ["PRICE"]
    np.testing.assert_array_equal(numbers["PRICE"], np.asarray([1.5, np.nan, np.nan, 2.0, np.nan], np.float32))


def test_several_categories_count_alike_and_blanks_are_none() -> None:
    drama_war, drama, null, blanks, empty = values_of("GENRES")
    assert drama_war == blanks == {0: pytest.approx(0.5**0.5), 1: pytest.approx(0.5**0.5)}
    assert drama == {0: 1.0}
    assert null == empty == {}


def test_words_are_weighted_by_how_rare_they_are() -> None:
    first, second, null, street, dashes = values_of("TITLE")
    assert len(first) == 3  # the, war, peace: each once
    [peace] = second
    assert min(first, key=first.__getitem__) == peace
    assert null == dashes == {}
    assert len(street) == 2
    for row in (first, second, street):
        assert sum(weight**2 for weight in row.values()) == pytest.approx(1.0)


def test_a_text_is_read_to_its_thirtieth_word() -> None:
    text = " ".join(f"w{number:03}" for number in range(200))
    values, _ = item_columns(pa.table({"TITLE": [text, "w199", "w029"]}), [FIELDS[1]])
    found = [set(values["TITLE"].codes.row(row).tolist()) for row in range(3)]
    assert len(found[0]) == MOST_WORDS
    assert not found[0] & found[1]
    assert found[2] < found[0]


def test_users_have_a_code_a_column_and_who_is_not_there_has_none() -> None:
    fields = [
        SchemaField(name="CITY", type="string", nullable=True, categorical=True),
        SchemaField(name="AGE", type="int", nullable=True),
        SchemaField(name="NOTE", type="string"),
    ]
    ages = list(range(16))
    table = pa.table({"CITY": ["b|a", "a", None, ""] * 4, "AGE": [*ages[:-1], None], "NOTE": ["x"] * 16})
    rows = np.asarray([*range(3, 17), -1, 1])
    codes = user_codes(table, rows, fields, 18)
    assert list(codes) == ["CITY", "AGE"]
    assert codes["CITY"].tolist() == [-1, -1, -1, *([1, 0, -1, -1] * 4)[:14], -1]
    known = codes["AGE"][3:17]
    assert (np.diff(known) >= 0).all()
    assert set(known.tolist()) == set(range(8))
    assert codes["AGE"][1] == codes["AGE"][0] == codes["AGE"][17] == -1


def test_what_is_stored_is_loaded(tmp_path: Path) -> None:
    values, numbers = item_columns(ITEMS, FIELDS)
    codes = np.asarray([0, -1, 2], np.int32)
    stored = Metadata(values, numbers, {"CITY": codes}, {"DEVICE": codes}, {"EVENT_VALUE": numbers["PRICE"][:3]}, ("buy",))
    stored.save(tmp_path / "metadata")
    loaded = Metadata.load(tmp_path / "metadata")
    assert loaded.event_types == ("buy",)
    for name, each in values.items():
        again = loaded.item_values[name]
        assert (again.count, again.words) == (each.count, each.words)
        for ours, theirs in ((again.codes.offsets, each.codes.offsets), (again.codes.values, each.codes.values)):
            np.testing.assert_array_equal(ours, theirs)
        np.testing.assert_array_equal(again.weights, each.weights)
    for kind in ("item_numbers", "user_codes", "event_codes", "event_numbers"):
        ours, theirs = getattr(loaded, kind), getattr(stored, kind)
        assert list(ours) == list(theirs)
        for name in theirs:
            np.testing.assert_array_equal(ours[name], theirs[name])
    some = loaded.only(np.asarray([True, False, True]))
    assert some.event_codes["DEVICE"].tolist() == [0, 2]
    assert len(some.event_numbers["EVENT_VALUE"]) == 2


def test_a_folder_without_metadata_has_none(tmp_path: Path) -> None:
    assert Metadata.load(tmp_path) == Metadata() or not Metadata.load(tmp_path).item_values
