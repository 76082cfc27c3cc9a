from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import DataError
from schemas.filters.tree import Text, conditions
from schemas.item_attributes import parse_item_attributes


def parts(text: str) -> list[tuple[str, str]]:
    found = []
    for condition in conditions(parse_item_attributes(text).expressions[0].where):
        (operand,) = condition.operands
        assert isinstance(operand, Text)
        found.append((condition.field.name, operand.value))
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('ITEMS.CATEGORY_L1 = "food service"', [("CATEGORY_L1", "food service")]),
        ('ITEMS.genres = "Comedy" AND ITEMS.genres = "Action"', [("genres", "Comedy"), ("genres", "Action")]),
        ("items.Genres='x' and Items.BRAND = 'y'", [("Genres", "x"), ("BRAND", "y")]),
    ],
)
def test_conditions_are_read(text: str, expected: list[tuple[str, str]]) -> None:
    assert parts(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('ITEMS.A = "x" OR ITEMS.B = "y"', "OR is not known here"),
        ('ITEMS.A IN ("x")', "character 1: IN is not known here"),
        ('ITEMS.A = "x" AND ITEMS.B != "y"', "character 19: != is not known here"),
        ("ITEMS.A = 5", "character 1: the field is not compared with a text"),
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
    assert 'Allowed: conditions as ITEMS.GENRE = "Comedy", joined by AND' in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_as_much_as_a_line_may_hold_is_read() -> None:
    assert len(parts(f'ITEMS.A = "{"x" * 2488}"')[0][1]) == 2488


@given(st.one_of(st.text(max_size=60), st.text(alphabet='ITEMS.A= "xANDOR|$()', max_size=60)))
def test_anything_is_read_or_refused(text: str) -> None:
    with suppress(DataError):
        parse_item_attributes(text)
