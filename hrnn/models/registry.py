"""The model registry, by recipe. It reads this folder: a file with `ENTRIES` is a model, and nothing else names it."""

from __future__ import annotations

import importlib
import json
import pkgutil
import sys
from collections.abc import Mapping
from dataclasses import asdict, fields
from functools import cache
from typing import Any

from torch import Tensor

import hrnn.models
from hrnn.models.contract import ModelEntry, SequenceModel
from schemas.errors import ConfigError
from schemas.recipes import RECIPES, Recipe


@cache
def registry() -> dict[str, ModelEntry]:
    """Entries by recipe name."""
    entries = {}
    for module in pkgutil.iter_modules(hrnn.models.__path__):
        for entry in getattr(importlib.import_module(f"{hrnn.models.__name__}.{module.name}"), "ENTRIES", ()):
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


def neural_model_for(recipe: str) -> type[SequenceModel]:
    """The neural model that serves a recipe, which must have one."""
    neural = model_for(recipe).neural
    assert neural is not None
    return neural


def restored(recipe: str, sizes: Mapping[str, Any], parameters: Mapping[str, Tensor]) -> SequenceModel:
    """The trained model of a recipe from its stored sizes and parameters (hrnn/models/contract.py)."""
    return neural_model_for(recipe).restored(sizes, parameters)


def document() -> dict[str, Any]:
    """`schemas/models.json`: recipes that models describe themselves, as `schemas.recipes` reads them."""
    described = {recipe.name: recipe for entry in registry().values() for recipe in entry.described}
    return {name: _described(recipe) for name, recipe in sorted(described.items())}


def _described(recipe: Recipe) -> dict[str, Any]:
    """What an entry says, but for its name and what is as in any other."""
    said = {field.name: getattr(recipe, field.name) for field in fields(recipe) if getattr(recipe, field.name) != field.default}
    del said["name"]
    return said | {"hyperparameters": [asdict(parameter) for parameter in recipe.hyperparameters.parameters()]}


if __name__ == "__main__":
    json.dump(document(), sys.stdout, indent=1)
    sys.stdout.write("\n")
