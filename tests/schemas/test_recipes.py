from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.errors import ConfigError
from schemas.hyperparameters import Parameter
from schemas.recipes import (
    RECIPES,
    HrnnHyperparameters,
    RankingHyperparameters,
    hrnn_hyperparameters,
    parse_hyperparameters,
    recipe_for,
)

# Recipe, hyperparameter, default, lowest, highest, tunable: from the developer guide.
DOCUMENTED = [
    ("aws-hrnn", "hidden_dimension", 43, 32, 256, True),
    ("aws-hrnn", "bptt", 32, 2, 32, True),
    ("aws-hrnn", "recency_mask", True, None, None, True),
    ("aws-hrnn", "min_user_history_length_percentile", 0.0, 0, 1, False),
    ("aws-hrnn", "max_user_history_length_percentile", 0.99, 0, 1, False),
    ("aws-hrnn-metadata", "hidden_dimension", 43, 32, 256, True),
    ("aws-hrnn-coldstart", "hidden_dimension", 149, 32, 256, True),
    ("aws-hrnn-coldstart", "cold_start_max_interactions", 15, None, None, False),
    ("aws-hrnn-coldstart", "cold_start_max_duration", 5.0, None, None, False),
    ("aws-hrnn-coldstart", "cold_start_relative_from", "latestItem", None, None, False),
    ("aws-user-personalization", "hidden_dimension", 149, 32, 256, True),
    ("aws-user-personalization", "exploration_weight", 0.3, 0, 1, False),
    ("aws-user-personalization", "exploration_item_age_cut_off", 30.0, None, None, False),
    ("aws-personalized-ranking", "hidden_dimension", 149, 32, 256, True),
    ("aws-sims", "popularity_discount_factor", 0.5, 0, 1, True),
    ("aws-sims", "min_cointeraction_count", 3, 0, 10, True),
    ("aws-sims", "min_user_history_length_percentile", 0.005, 0, 1, False),
    ("aws-sims", "max_user_history_length_percentile", 0.995, 0, 1, False),
    ("aws-sims", "min_item_interaction_count_percentile", 0.01, 0, 1, False),
    ("aws-sims", "max_item_interaction_count_percentile", 0.9, 0, 1, False),
    ("aws-similar-items", "item_id_hidden_dim", 100, 30, 200, True),
    ("aws-similar-items", "item_metadata_hidden_dim", 100, 30, 200, True),
    ("aws-trending-now", "trend_discovery_frequency", "3 hours", None, None, False),
    ("aws-item-affinity", "hidden_dimension", 149, 32, 256, False),
    ("aws-item-attribute-affinity", "hidden_dimension", 149, 32, 256, False),
]


def parameter_of(recipe: str, name: str) -> Parameter:
    return next(p for p in RECIPES[recipe].hyperparameters.parameters() if p.name == name)


def hrnn(**values: Any) -> HrnnHyperparameters:
    parsed = parse_hyperparameters("aws-hrnn", values)
    assert isinstance(parsed, HrnnHyperparameters)
    return parsed


@pytest.mark.parametrize(("recipe", "name", "default", "lowest", "highest", "tunable"), DOCUMENTED)
def test_defaults_and_ranges_are_those_of_the_guide(
    recipe: str, name: str, default: Any, lowest: float | None, highest: float | None, tunable: bool
) -> None:
    parameter = parameter_of(recipe, name)
    assert (parameter.default, parameter.lowest, parameter.highest, parameter.tunable) == (default, lowest, highest, tunable)


def test_every_recipe_has_a_summary_and_every_hyperparameter_a_meaning_and_a_range() -> None:
    for recipe in RECIPES.values():
        assert recipe.summary.endswith(".")
        for parameter in recipe.hyperparameters.parameters():
            assert parameter.meaning
            assert parameter.allowed
            assert parameter.read(parameter.default, "x") == parameter.default


def test_defaults_are_taken_where_nothing_is_given() -> None:
    assert hrnn() == HrnnHyperparameters()
    assert hrnn().hidden_dimension == 43


def test_strings_and_numbers_mean_the_same() -> None:
    as_text = hrnn(hidden_dimension="55", bptt="16", recency_mask="false", max_user_history_length_percentile="0.5")
    as_numbers = hrnn(hidden_dimension=55, bptt=16.0, recency_mask=False, max_user_history_length_percentile=0.5)
    assert as_text == as_numbers
    assert (as_text.hidden_dimension, as_text.bptt, as_text.recency_mask) == (55, 16, False)
    assert isinstance(as_numbers.bptt, int)


def test_prefixed_names_of_describe_solution_are_taken() -> None:
    parsed = parse_hyperparameters("aws-hrnn", {"training.bptt": "22", "data.recency_mask": "True"})
    assert parsed == hrnn(bptt=22, recency_mask=True)


def test_a_name_given_bare_and_prefixed_is_refused() -> None:
    with pytest.raises(ConfigError, match="given twice"):
        parse_hyperparameters("aws-hrnn", {"training.bptt": "22", "bptt": "22"})


def test_a_recipe_is_found_by_name_and_by_arn() -> None:
    assert recipe_for("aws-hrnn") is recipe_for("arn:aws:personalize:::recipe/aws-hrnn")
    assert recipe_for("aws-hrnn").arn == "arn:aws:personalize:::recipe/aws-hrnn"
    assert RECIPES["aws-trending-now"].algorithm_arn == "arn:aws:personalize:::algorithm/aws-trending-now-custom"


def test_an_unknown_hyperparameter_is_refused_in_personalize_words() -> None:
    with pytest.raises(ConfigError) as refusal:
        hrnn(model_depth=3)
    assert refusal.value.problem == (
        "Provide a hyperparameter that is used in the algorithm: arn:aws:personalize:::algorithm/aws-hrnn"
    )
    assert "'model_depth'" in str(refusal.value)
    assert "hidden_dimension, bptt, recency_mask" in str(refusal.value)


def test_a_recipe_without_hyperparameters_says_so() -> None:
    with pytest.raises(ConfigError, match=r"algorithm/aws-popularity-count \(got 'bptt'\). Allowed: none"):
        parse_hyperparameters("aws-popularity-count", {"bptt": "3"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("hidden_dimension", "31"),
        ("hidden_dimension", 257),
        ("hidden_dimension", "43.5"),
        ("hidden_dimension", "many"),
        ("hidden_dimension", True),
        ("hidden_dimension", None),
        ("hidden_dimension", ["43"]),
        ("hidden_dimension", "nan"),
        ("bptt", "1"),
        ("bptt", "33"),
        ("recency_mask", "yes"),
        ("recency_mask", 1),
        ("max_user_history_length_percentile", "1.01"),
        ("min_user_history_length_percentile", "-0.1"),
        ("max_user_history_length_percentile", "inf"),
    ],
)
def test_a_wrong_value_is_refused_with_path_value_and_range(name: str, value: Any) -> None:
    with pytest.raises(ConfigError) as refusal:
        hrnn(**{name: value})
    assert str(refusal.value).startswith(f"hyperparameters.{name}: ")
    assert f"Allowed: {parameter_of('aws-hrnn', name).allowed}" in str(refusal.value)


def test_percentiles_that_leave_no_user_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"min_user_history_length_percentile: .* leaves no user \(got 0.8\)"):
        hrnn(min_user_history_length_percentile="0.8", max_user_history_length_percentile="0.2")
    with pytest.raises(ConfigError, match=r"min_item_interaction_count_percentile: .* leaves no item \(got 0.95\)"):
        parse_hyperparameters("aws-sims", {"min_item_interaction_count_percentile": "0.95"})


def test_ranges_read_well() -> None:
    assert parameter_of("aws-hrnn", "bptt").allowed == "a whole number from 2 to 32"
    assert parameter_of("aws-hrnn", "recency_mask").allowed == "true or false"
    assert parameter_of("aws-hrnn-coldstart", "cold_start_max_duration").allowed == "a number above 0"


@pytest.mark.parametrize(("name", "hint"), [("aws-hrn", "Did you mean aws-hrnn"), ("foo", "`hrnn recipes` lists them")])
def test_an_unknown_recipe_is_refused_with_a_hint(name: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=f"no such recipe.*{hint}"):
        recipe_for(name)


@pytest.mark.parametrize(
    ("name", "reason"), [("aws-semantic-similarity", "language model"), ("aws-next-best-action", "no batch inference")]
)
def test_a_recipe_that_is_not_offered_says_why_and_what_is(name: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=rf"{reason}.*{name}.*Allowed: aws-hrnn, .*aws-sims") as refusal:
        recipe_for(f"arn:aws:personalize:::recipe/{name}")
    assert name not in str(refusal.value).partition("Allowed:")[2]


def test_every_batch_recipe_of_personalize_can_be_trained() -> None:
    refused = {name for name, recipe in RECIPES.items() if not recipe.available}
    assert refused == {"aws-semantic-similarity", "aws-next-best-action"}
    assert {recipe.line_kind for recipe in RECIPES.values()} == {"user", "ranking", "item", "item_users", "attribute_users"}


def test_a_recipe_that_runs_on_another_says_what_has_no_effect() -> None:
    assert RECIPES["aws-hrnn-metadata"].runs_on == "aws-hrnn"
    assert RECIPES["aws-hrnn-metadata"].without_effect == ()
    assert RECIPES["aws-similar-items"].without_effect == ("item_metadata_hidden_dim",)
    assert RECIPES["aws-hrnn-coldstart"].without_effect == (
        "cold_start_max_interactions",
        "cold_start_max_duration",
        "cold_start_relative_from",
    )
    assert RECIPES["aws-user-personalization"].without_effect == ()  # exploration is for batch jobs to choose
    assert RECIPES["aws-sims"].runs_on == ""


@pytest.mark.parametrize("recipe", [recipe for recipe in RECIPES.values() if recipe.runs_on], ids=lambda recipe: recipe.name)
def test_what_runs_on_hrnn_knows_its_hyperparameters(recipe: Any) -> None:
    parsed = hrnn_hyperparameters(recipe.hyperparameters())
    assert set(parsed) == set(HrnnHyperparameters.model_fields)


def test_other_names_of_hrnn_hyperparameters_are_understood() -> None:
    similar = hrnn_hyperparameters(parse_hyperparameters("aws-similar-items", {"item_id_hidden_dim": "30"}))
    assert similar == RankingHyperparameters().model_dump() | {"hidden_dimension": 30}
    late = hrnn_hyperparameters(parse_hyperparameters("aws-user-personalization-v2", {"apply_recency_bias": "false"}))
    assert late == RankingHyperparameters().model_dump() | {"recency_mask": False}
    own = parse_hyperparameters("aws-hrnn", {"bptt": "7", "recency_mask": "false"})
    assert hrnn_hyperparameters(own) == own.model_dump()


def test_hyperparameters_are_frozen() -> None:
    with pytest.raises(ValidationError):
        hrnn().bptt = 3  # type: ignore[misc]


ANYTHING = st.one_of(st.text(max_size=10), st.integers(), st.floats(), st.none())


@given(
    st.dictionaries(
        st.one_of(st.text(max_size=20), st.sampled_from(list(HrnnHyperparameters.model_fields))), ANYTHING, max_size=3
    )
)
def test_anything_is_parsed_or_refused_but_never_crashes(values: dict[str, Any]) -> None:
    with suppress(ConfigError):
        assert isinstance(parse_hyperparameters("aws-hrnn", values), HrnnHyperparameters)


def test_heads_that_do_not_divide_the_hidden_dimension_are_refused_at_once() -> None:
    assert parse_hyperparameters("hrnn-sasrec", {"num_heads": 4}).model_dump()["num_heads"] == 4
    with pytest.raises(
        ConfigError, match=r"^hyperparameters\.num_heads: heads must divide .* \(got 3\)\. Allowed: divisors of 64\."
    ):
        parse_hyperparameters("hrnn-sasrec", {"num_heads": 3})
