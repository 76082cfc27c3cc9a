from __future__ import annotations

import io
import json
from collections.abc import Callable

import pytest

from jobs.cli import main
from jobs.recipes.job import recipes, write_table
from schemas.recipes import RECIPES


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Gives what `hrnn recipes ARGUMENTS…` prints on stdout, and it prints on nothing else."""

    def run(*arguments: str) -> str:
        with pytest.raises(SystemExit, match="0"):
            main(["recipes", *arguments])
        streams = capsys.readouterr()
        assert streams.err == ""
        return streams.out

    return run


def test_the_table_names_every_hyperparameter_of_what_can_be_trained(printed: Callable[..., str]) -> None:
    table = printed("--output", "text")
    assert "hidden_dimension                    43       a whole number from 32 to 256  yes" in table
    assert '  lines: {"userId": "…", "itemList": ["…", "…"]}\n  runs on aws-hrnn, until its own model is there\n' in table
    assert "own model is there; without effect so far: item_metadata_hidden_dim\n" in table
    assert "Not offered:\n  aws-semantic-similarity  this recipe needs a language model" in table


def test_people_at_a_terminal_get_the_table_and_programs_json(
    printed: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert json.loads(printed()) == json.loads(printed("--output", "json")) == recipes()
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert printed() == printed("--output", "text")
    assert json.loads(printed("--output", "json")) == recipes()


def test_what_can_be_trained_is_named() -> None:
    available = recipes()["available"]
    assert available == [name for name, recipe in RECIPES.items() if recipe.available]
    assert "aws-sims" in available
    assert "aws-next-best-action" not in available


def test_the_document_tells_ranges_and_where_a_value_is_given() -> None:
    first = recipes()["recipes"][0]
    assert first["recipeArn"] == "arn:aws:personalize:::recipe/aws-hrnn"
    assert first["hyperparameters"][1] == {
        "name": "bptt",
        "kind": "integer",
        "default": 32,
        "lowest": 2,
        "highest": 32,
        "tunable": True,
        "givenIn": "algorithmHyperParameters",
        "meaning": "events through which gradients flow back in time",
    }


def test_the_document_tells_what_runs_on_what() -> None:
    by_name = {recipe["name"]: recipe for recipe in recipes()["recipes"]}
    assert by_name["aws-item-affinity"]["runsOn"] == "aws-hrnn"
    assert by_name["aws-item-affinity"]["lineKind"] == "item_users"
    assert "runsOn" not in by_name["aws-sims"]
    assert "real time only" in by_name["aws-next-best-action"]["refusal"]


def test_no_line_of_the_table_ends_in_blanks() -> None:
    stream = io.StringIO()
    write_table(stream)
    assert not [line for line in stream.getvalue().splitlines() if line != line.rstrip()]
