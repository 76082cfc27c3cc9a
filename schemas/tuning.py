"""What hyperparameter optimisation may choose: the recipe's tunable hyperparameters, and narrower ranges where they are given.

Bounds of the number of trainings: Amazon Personalize API reference, HPOResourceConfig.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from schemas.errors import ConfigError
from schemas.hyperparameters import Parameter, bare_name
from schemas.recipes import Recipe

MOST_JOBS = 40
MOST_PARALLEL_JOBS = 10
MOST_SEED = 2**63 - 1  # what every generator of random numbers takes


def tuned_parameters(recipe: Recipe, ranges: Mapping[str, Sequence[float | bool]], where: str = "hpo") -> tuple[Parameter, ...]:
    """The hyperparameters that may be chosen, each with its range.

    Args:
        recipe: Whose.
        ranges: Name, bare or prefixed -> (least, most) of a number, or the values of a categorical one.
        where: Key path of the search, for messages.

    Raises:
        ConfigError: The recipe has nothing to tune, or a range is wrong.
    """
    known = {parameter.name: parameter for parameter in recipe.hyperparameters.parameters() if parameter.tunable}
    if not known:
        raise ConfigError("this recipe has no hyperparameters that could be searched", where=where, value=recipe.name)
    narrowed: set[str] = set()
    for written, bounds in ranges.items():
        name = bare_name(written)
        if name not in known:
            raise ConfigError(
                "this hyperparameter can't be searched", where=f"{where}.ranges", value=written, allowed=", ".join(known)
            )
        if name in narrowed:
            raise ConfigError("the range is given twice, once with a prefix", where=f"{where}.ranges.{name}")
        narrowed.add(name)
        known[name] = _narrowed(known[name], bounds, f"{where}.ranges.{name}")
    return tuple(known.values())


def _narrowed(parameter: Parameter, bounds: Sequence[float | bool], where: str) -> Parameter:
    values = [parameter.read(value, where) for value in bounds]
    if parameter.kind == "categorical":
        if not values:
            raise ConfigError("there is no value to choose from", where=where, allowed=parameter.allowed)
        return replace(
            parameter, choices=tuple(choice for choice in parameter.choices if parameter.read(choice, where) in values)
        )
    if len(values) != 2 or float(values[0]) > float(values[1]):
        raise ConfigError("this is no range", where=where, value=list(bounds), allowed="[least, most]")
    return replace(parameter, lowest=float(values[0]), highest=float(values[1]))
