"""What the documents name is there, and what is there is named."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hrnn.training.batching import BATCHINGS
from jobs.cli import JOBS
from schemas.recipes import RECIPES

ROOT = Path(__file__).resolve().parents[2]
HOW = sorted((ROOT / "docs").glob("adding-a-*.md"))
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

_PATH = re.compile(r"`((?:\w[\w.-]*/)+(?:\w[\w.-]*)?)`")
_NAME_IN = re.compile(r"`(\w+)` (?:in|of) `((?:\w+/)+\w+\.\w+)`")


@pytest.mark.parametrize("page", HOW, ids=lambda page: page.stem)
def test_a_recipe_for_a_change_names_what_is_there(page: Path) -> None:
    text = page.read_text()
    assert [path for path in _PATH.findall(text) if not (ROOT / path).exists()] == []
    named = [(name, path) for name, path in _NAME_IN.findall(text) if (ROOT / path).exists()]
    assert [(name, path) for name, path in named if not re.search(rf"\b{name}\b", (ROOT / path).read_text())] == []


@pytest.mark.parametrize("page", HOW, ids=lambda page: page.stem)
def test_it_is_one_screen_and_the_map_leads_to_it(page: Path) -> None:
    lines = page.read_text().splitlines()
    assert len(lines) <= 45
    assert max(map(len, lines)) <= 155
    assert f"({page.name})" in (ROOT / "docs/architecture.md").read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_every_command_stands_in_the_readme() -> None:
    table = (ROOT / "README.md").read_text().partition("| command |")[2].partition("\n\n")[0]
    assert set(JOBS) - set(re.findall(r"`(?:hrnn )?([a-z-]+)", table)) == set()


def test_every_recipe_stands_in_its_table() -> None:
    table = (ROOT / "docs/recipes.md").read_text().partition("| recipe |")[2].partition("\n\n")[0]
    named = re.findall(r"`([\w-]+)`", table)
    assert {name for name, recipe in RECIPES.items() if recipe.available} - set(named) == set()


def test_every_batching_stands_in_its_table() -> None:
    table = (ROOT / "docs/adding-a-model.md").read_text().partition("| `batching` |")[2].partition("\n\n")[0]
    assert re.findall(r"^ +\| `(\w+)`", table, re.MULTILINE) == list(BATCHINGS)
