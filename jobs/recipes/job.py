"""`hrnn recipes`: every recipe of Personalize with its hyperparameters, defaults and ranges."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TextIO

from schemas.batch import EXAMPLES
from schemas.hyperparameters import Parameter
from schemas.recipes import RECIPES, Recipe

_PLACES = {
    "algorithm": "algorithmHyperParameters",
    "feature": "featureTransformationParameters",
    "inference": "itemExplorationConfig",
}


def recipes() -> dict[str, Any]:
    """Every recipe as a document.

    Returns:
        `available`: names of those that can be trained; `recipes`: one dict a recipe: names, type, whether it is available, and
        its hyperparameters.
    """
    available = [recipe.name for recipe in RECIPES.values() if recipe.available]
    return {"job": "recipes", "available": available, "recipes": [_document(recipe) for recipe in RECIPES.values()]}


def write_table(stream: TextIO) -> None:
    """The recipes as text: those that can be trained with all their hyperparameters, the others with the reason."""
    for recipe in (recipe for recipe in RECIPES.values() if recipe.available):
        stream.write(f"\n{recipe.name}   {recipe.recipe_type}\n  {recipe.summary}\n  lines: {EXAMPLES[recipe.line_kind]}\n")
        if recipe.runs_on:
            idle = f"; without effect so far: {', '.join(recipe.without_effect)}" if recipe.without_effect else ""
            stream.write(f"  runs on {recipe.runs_on}, until its own model is there{idle}\n")
        stream.writelines(f"  {line}\n" for line in _parameter_lines(recipe))
    stream.write("\nNot offered:\n")
    stream.writelines(f"  {recipe.name:<24} {recipe.refusal}\n" for recipe in RECIPES.values() if not recipe.available)
    stream.write("\n")


def _parameter_lines(recipe: Recipe) -> Iterator[str]:
    parameters = recipe.hyperparameters.parameters()
    if not parameters:
        yield "no hyperparameters"
        return
    heads = ("hyperparameter", "default", "allowed", "HPO", "meaning")
    rows = [heads, *((p.name, str(p.default), p.allowed, "yes" if p.tunable else "no", p.meaning) for p in parameters)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(heads) - 1)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, [*widths, 0], strict=True)).rstrip()


def _document(recipe: Recipe) -> dict[str, Any]:
    return {
        "name": recipe.name,
        "recipeArn": recipe.arn,
        "recipeType": recipe.recipe_type,
        "algorithmArn": recipe.algorithm_arn,
        "available": recipe.available,
        "summary": recipe.summary,
        "lineKind": recipe.line_kind,
        **({"runsOn": recipe.runs_on, "withoutEffect": list(recipe.without_effect)} if recipe.runs_on else {}),
        **({"refusal": recipe.refusal} if recipe.refusal else {}),
        "hyperparameters": [_parameter_document(parameter) for parameter in recipe.hyperparameters.parameters()],
    }


def _parameter_document(parameter: Parameter) -> dict[str, Any]:
    bounds = {
        "lowest": parameter.lowest,
        "highest": parameter.highest,
        "above": parameter.above,
        "choices": list(parameter.choices) or None,
    }
    return {
        "name": parameter.name,
        "kind": parameter.kind,
        "default": parameter.default,
        **{name: bound for name, bound in bounds.items() if bound is not None},
        "tunable": parameter.tunable,
        "givenIn": _PLACES[parameter.place],
        "meaning": parameter.meaning,
    }
