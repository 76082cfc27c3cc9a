from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import DataError
from schemas.filters.tree import Number, Text, conditions
from schemas.item_attributes import parse_item_attributes


def parts(text: str) -> list[tuple[str, str | float]]:
    found = []
    for condition in conditions(parse_item_attributes(text).expressions[0].where):
        (operand,) = condition.operands
        assert isinstance(operand, Text | Number)
        found.append((condition.field.name, operand.value))
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ITEMS.YEAR = 1990 AND ITEMS.PRICE = -1.5", [("YEAR", 1990), ("PRICE", -1.5)]),
        ('ITEMS.CATEGORY_L1 = "food service"', [("CATEGORY_L1", "food service")]),
        ('ITEMS.genres = "Comedy" AND ITEMS.genres = "Action"', [("genres", "Comedy"), ("genres", "Action")]),
        ("items.Genres='x' and Items.BRAND = 'y'", [("Genres", "x"), ("BRAND", "y")]),
    ],
)
def test_conditions_are_read(text: str, expected: list[tuple[str, str | float]]) -> None:
    assert parts(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('ITEMS.A = "x" OR ITEMS.B = "y"', "OR is not known here"),
        ('ITEMS.A IN ("x")', "character 1: IN is not known here"),
        ('ITEMS.A = "x" AND ITEMS.B != "y"', "character 19: != is not known here"),
        ("ITEMS.A = $X", "character 1: the field is not compared with a text"),
        ('Users.A = "x"', "character 1: "),
        ('ITEMS.A = "x" | EXCLUDE ItemID WHERE ITEMS.B = "y"', "character 17: nothing may follow the conditions"),
        ('ITEMS.A = "x" IF CurrentUser.AGE = 3', "character 18: nothing may follow the conditions"),
        ('ITEMS.A "x"', "itemAttributes, character 9: "),
        ("Comedy", "itemAttributes, character "),
        ('ITEMS.A = "x', "itemAttributes, character 11: "),
        (" ", "itemAttributes, character 1: "),
    ],
)
def test_anything_else_is_refused_in_one_sentence_with_its_place(text: str, message: str) -> None:
    with pytest.raises(DataError) as refusal:
        parse_item_attributes(text)
    assert message in str(refusal.value)
    assert 'Allowed: conditions as ITEMS.GENRE = "Comedy" or ITEMS.YEAR = 1990, joined by AND.' in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ('ITEMS.A == "x"', "Write =."),
        ('Itms.A = "x"', "Did you mean Items?"),
        ('ITEMS.A = "x" && ITEMS.B = "y"', "Write AND."),
        ("ITEMS.A = x", 'Texts stand in quotes: "x". Fields stand first.'),
        ('ITEMS.A IN ("x")', "Write =."),
        ('ITEMS.A = "x" OR ITEMS.B = "y"', "Ask for each in a line of its own."),
        ("ITEMS.A = “x”", "Write \" or '."),
        ('GENRE = "x"', "Write Items.GENRE, say."),
    ],
)
def test_the_remedy_is_told(text: str, remedy: str) -> None:
    with pytest.raises(DataError) as refusal:
        parse_item_attributes(text)
    assert str(refusal.value).endswith(remedy)


@pytest.mark.parametrize(
    "text", ['ITEMS.A <> "x"', 'ITEMS.A = "x" || ITEMS.B = "y"', 'CurrentUser.A = "x"', "ITEMS.A ! 1", "(ITEMS.A = 1)"]
)
def test_no_remedy_names_what_is_not_known_here(text: str) -> None:
    with pytest.raises(DataError) as refusal:
        parse_item_attributes(text)
    assert str(refusal.value).endswith("joined by AND.")


def test_as_much_as_a_line_may_hold_is_read() -> None:
    assert len(parts(f'ITEMS.A = "{"x" * 2488}"')[0][1]) == 2488


@given(st.one_of(st.text(max_size=60), st.text(alphabet='ITEMS.A= "xANDOR|$()', max_size=60)))
def test_anything_is_read_or_refused(text: str) -> None:
    with suppress(DataError):
        parse_item_attributes(text)
