from __future__ import annotations

from pathlib import Path

import pytest
from ranked_shop import METADATA

from hrnn.blend import weights
from hrnn.explain.families import FAMILIES
from hrnn.explain.ranked import DEALT, family_of, family_of_blend
from hrnn.ranker.features import FEATURES, names_of

PAGE = (Path(__file__).parents[3] / "docs" / "models" / "ranker.md").read_text()


def test_every_feature_is_of_one_family() -> None:
    names = names_of(METADATA)
    assert len(names) > len(FEATURES) + 10
    found = {name: family_of(name) for name in names if name not in DEALT}
    assert set(found.values()) == set(FAMILIES)
    assert set(DEALT) < set(names)


def test_what_the_blend_is_made_of_is_of_one_family_each() -> None:
    assert {family_of_blend(name) for name in weights.FEATURES} < set(FAMILIES)


@pytest.mark.parametrize("name", ["shoe size", "", "Items.GENRE", "Users.AGE own size", "Interactions.X"])
def test_what_is_of_no_family_is_an_error(name: str) -> None:
    with pytest.raises(KeyError):
        family_of(name)


def test_the_page_tells_of_every_family() -> None:
    section = PAGE[PAGE.index("## Why an item is listed") :]
    for family, words in FAMILIES.items():
        assert f"| `{family}` | {words} |" in section, family
