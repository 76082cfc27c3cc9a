from __future__ import annotations

from typing import Any

import pytest

from hrnn.training.search import Trial, best_trial, propose
from schemas.errors import ConfigError
from schemas.recipes import RECIPES, Recipe, parse_hyperparameters
from schemas.tuning import tuned_parameters

HRNN = RECIPES["aws-hrnn"]
GIVEN: dict[str, Any] = {"hidden_dimension": 43, "bptt": 32, "recency_mask": True}


def trial(number: int, objective: float, **changed: Any) -> Trial:
    return Trial(number, "aws-hrnn", GIVEN | changed, objective, 1, 1, 0.0)


def test_personalize_s_ranges_are_searched_and_may_be_narrowed() -> None:
    ranges = {parameter.name: (parameter.lowest, parameter.highest) for parameter in tuned_parameters(HRNN, {})}
    assert ranges == {"hidden_dimension": (32, 256), "bptt": (2, 32), "recency_mask": (None, None)}
    narrowed = tuned_parameters(HRNN, {"bptt": [4, 8], "recency_mask": [True]})
    assert [(parameter.lowest, parameter.highest, parameter.choices) for parameter in narrowed][1:] == [
        (4, 8, ()),
        (None, None, ("True",)),
    ]


def test_ranges_may_have_the_names_that_describe_solution_shows() -> None:
    shown = {"training.bptt": [4, 8], "data.recency_mask": ["true"]}
    assert tuned_parameters(HRNN, shown) == tuned_parameters(HRNN, {"bptt": [4, 8], "recency_mask": [True]})


@pytest.mark.parametrize(
    ("recipe", "ranges", "message"),
    [
        ("aws-hrnn", {"bptt": [2, 4], "training.bptt": [2, 4]}, "given twice"),
        ("aws-hrnn", {"bppt": [2, 4]}, "can't be searched"),
        ("aws-hrnn", {"bptt": [1, 4]}, "out of range"),
        ("aws-hrnn", {"bptt": [8, 4]}, "no range"),
        ("aws-hrnn", {"bptt": [8]}, "no range"),
        ("aws-hrnn", {"recency_mask": []}, "no value to choose from"),
        ("aws-popularity-count", {}, "no hyperparameters that could be searched"),
    ],
)
def test_ranges_that_make_no_sense_are_refused(recipe: str, ranges: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        tuned_parameters(RECIPES[recipe], ranges)


def test_the_best_trial_is_the_earliest_of_the_highest() -> None:
    assert best_trial([trial(0, 0.1), trial(1, 0.3), trial(2, 0.3)]).number == 1


def test_the_first_trial_takes_what_was_given() -> None:
    assert propose(tuned_parameters(HRNN, {}), GIVEN, 0, [], seed=0) == GIVEN


def test_proposals_are_in_range_and_depend_on_the_past_and_the_seed_alone() -> None:
    pytest.importorskip("optuna")
    parameters = tuned_parameters(HRNN, {"hidden_dimension": [64, 96]})
    finished: list[Trial] = []
    for number in range(8):
        values = propose(parameters, GIVEN, number, finished, seed=3)
        assert values == propose(parameters, GIVEN, number, list(reversed(finished)), seed=3)
        if number:
            assert 64 <= values["hidden_dimension"] <= 96
            assert 2 <= values["bptt"] <= 32
            assert isinstance(values["recency_mask"], bool)
        finished.append(trial(number, float(values["bptt"]), **values))
    assert propose(parameters, GIVEN, 8, finished, seed=3) != propose(parameters, GIVEN, 8, finished, seed=4)
    assert max(item.objective for item in finished[1:]) > 24


TUNED = [recipe for recipe in RECIPES.values() if any(parameter.tunable for parameter in recipe.hyperparameters.parameters())]


@pytest.mark.parametrize("recipe", TUNED, ids=lambda recipe: recipe.name)
def test_whatever_is_drawn_from_the_whole_ranges_fits_together(recipe: Recipe) -> None:
    pytest.importorskip("optuna")
    parameters, defaults = tuned_parameters(recipe, {}), recipe.hyperparameters().model_dump()
    for number in range(30):
        parse_hyperparameters(recipe.name, defaults | propose(parameters, defaults, number, [], seed=0))
