"""Settings of every job and of a night: no wrong value is told in pydantic's words, and no boolean is taken for a number."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, get_args

import pytest
from pydantic import BaseModel, ValidationError

from jobs.train.options import LaunchSettings
from schemas.batch_jobs import RecommendSettings, SegmentSettings
from schemas.config import NightlyConfig
from schemas.config_errors import _one
from schemas.data_settings import SessionizeSettings, ValidateSettings
from schemas.errors import ConfigError
from schemas.recipes import RECIPES
from schemas.settings import Settings
from schemas.solutions import FittingSettings, TrainSettings

OF_JOBS = (TrainSettings, RecommendSettings, SegmentSettings, ValidateSettings, SessionizeSettings, LaunchSettings)
NONSENSE = (
    None,
    True,
    0,
    1,
    -1,
    1.5,
    float("nan"),
    float("inf"),
    10**30,
    "",
    "x",
    "\ud800",
    [],
    [[]],
    [1],
    {},
    {"x": []},
    b"x",
    object(),
)
OF_PYDANTIC = re.compile(r"[Ii]nput|[Ss]hould|[Uu]nable|valid|instance|NoneType|Value error")


def models_of(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """A model and those inside it."""
    yield model
    for field in model.model_fields.values():
        waiting = [field.annotation]
        while waiting:
            kind: Any = waiting.pop()
            waiting += get_args(kind)
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from models_of(kind)


MODELS = sorted({each for model in (*OF_JOBS, NightlyConfig) for each in models_of(model)}, key=lambda model: model.__name__)
FIELDS = [(model, name) for model in MODELS for name in model.model_fields]


def refusals(model: type[BaseModel], name: str, value: Any) -> Iterator[ConfigError]:
    """What is said of a value of one field, as a night says it, and as the job does where the model is a job's own."""
    key = model.model_fields[name].alias or name
    try:
        model.model_validate({key: value})
    except ValidationError as error:
        for fault in error.errors(include_url=False):
            if fault["loc"][:1] == (key,):
                yield _one(fault, model, "a.toml")[1]
    if issubclass(model, Settings):
        try:
            model.read({key: value})
        except ConfigError as error:
            yield error


@pytest.mark.parametrize(("model", "name"), FIELDS)
def test_no_value_is_refused_in_pydantics_words(model: type[BaseModel], name: str) -> None:
    for value in NONSENSE:
        for error in refusals(model, name, value):
            assert not OF_PYDANTIC.search(error.problem), error
            assert error.allowed or "between 0 and 1" in error.problem, error


NUMBERS = [
    (model, name)
    for model, name in FIELDS
    if {int, float} & {*get_args(model.model_fields[name].annotation), model.model_fields[name].annotation}
    or re.search(r"\b(int|float)\b", str(model.model_fields[name].annotation))
]


@pytest.mark.parametrize(("model", "name"), [each for each in NUMBERS if each[1] not in {"ranges", "hyperparameters"}])
@pytest.mark.parametrize("value", [True, False])
def test_a_boolean_is_no_number(model: type[BaseModel], name: str, value: bool) -> None:
    assert len(NUMBERS) > 50
    with pytest.raises(ValidationError, match=name):
        model.model_validate({model.model_fields[name].alias or name: value})


STEPS = {"variant": "init", "loss": "top1", "epochs": 3, "patience": 1, "time_limit_seconds": 9, "gru_baseline": True}
SPLIT = {"split": "personalize"}


@pytest.mark.parametrize("name", [*STEPS, "within_session_only"])
@pytest.mark.parametrize("recipe", ["aws-sims", "aws-popularity-count", "aws-trending-now"])
def test_a_setting_of_steps_is_refused_where_a_recipe_has_none(recipe: str, name: str) -> None:
    settings = TrainSettings.read({name: STEPS.get(name, True)})
    with pytest.raises(ConfigError, match=rf"^{name}: this has no effect: {recipe} is fitted in closed form.* Leave it out\.$"):
        settings.check_effects(RECIPES[recipe])


@pytest.mark.parametrize("recipe", [name for name, recipe in RECIPES.items() if recipe.available])
def test_what_is_not_given_is_never_refused(recipe: str) -> None:
    FittingSettings().check_effects(RECIPES[recipe])
    FittingSettings(seed=3, event_type="buy", gru_baseline=False).check_effects(RECIPES[recipe])


@pytest.mark.parametrize(
    ("recipe", "name", "says"),
    [
        ("hrnn-gru4rec", "variant", "hrnn-gru4rec is no HRNN"),
        ("aws-item-affinity", "gru_baseline", "measured beside no trained baseline"),
        ("aws-item-affinity", "split", "newest events of every user"),
        ("aws-item-attribute-affinity", "split", "newest events of every user"),
    ],
)
def test_a_setting_is_refused_where_a_recipe_has_no_use_for_it(recipe: str, name: str, says: str) -> None:
    with pytest.raises(ConfigError, match=f"^{name}: this has no effect: .*{says}"):
        FittingSettings.model_validate({name: (STEPS | SPLIT)[name]}).check_effects(RECIPES[recipe])
