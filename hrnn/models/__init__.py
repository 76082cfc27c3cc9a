"""Models, one file each. The registry reads this folder: a file with an `ENTRY` is a model, and nothing else names it."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from torch import Tensor

from hrnn.sequences import Sequences
from hrnn.session_model import ScoringModel
from schemas.errors import ConfigError
from schemas.recipes import RECIPES


@dataclass(frozen=True, kw_only=True)
class ModelEntry:
    """How one model is fitted.

    Attributes:
        recipes: Personalize's names of the recipes that are this model's own.
        fit: For models in closed form: (sequences to learn from, parsed hyperparameters) -> the fitted model.
            None for models that are trained step by step by `hrnn/training.py`, under torchrun.
        served: Where a model in closed form is not served as it is measured: the model -> what is served for users, and
            parameters that are stored beside it.
    """

    recipes: tuple[str, ...]
    fit: Callable[[Sequences, Any], ScoringModel] | None
    served: Callable[[ScoringModel], tuple[ScoringModel, dict[str, Tensor]]] | None = None


@cache
def registry() -> dict[str, ModelEntry]:
    """Recipe name -> how it is fitted."""
    entries = {}
    for module in pkgutil.iter_modules(__path__):
        entry = getattr(importlib.import_module(f"{__name__}.{module.name}"), "ENTRY", None)
        if entry is not None:
            entries.update(dict.fromkeys(entry.recipes, entry))
    return entries


def model_for(recipe: str) -> ModelEntry:
    """The model that serves a recipe: its own, or that of the recipe that it runs on.

    Raises:
        ConfigError: There is none.
    """
    name = RECIPES[recipe].runs_on or recipe if recipe in RECIPES else recipe
    if name not in registry():
        raise ConfigError(
            "there is no model for this recipe", where="recipe", value=recipe, allowed=", ".join(sorted(registry()))
        )
    return registry()[name]
