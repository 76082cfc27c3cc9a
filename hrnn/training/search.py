"""Hyperparameter search: proposes each trial's values from the finished trials.

The first trial takes the given values, so that a search never ends worse than none. The others come from Optuna's
tree-structured Parzen estimator. A proposal is a function of seed, trial number and finished trials alone: a search that
is interrupted goes on as if it had not been.

Source: Bergstra et al. 2011, "Algorithms for Hyper-Parameter Optimization" (TPE).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from schemas.errors import ConfigError
from schemas.hyperparameters import Parameter

Values = dict[str, int | float | bool | str]
_RANDOM_TRIALS = 4  # before the estimator has anything to go on


@dataclass(frozen=True)
class Trial:
    """One training of a search.

    Attributes:
        number: From 0.
        recipe: Personalize's name.
        hyperparameters: The ones that are searched.
        objective: On the calibration users, higher is better.
        best_epoch: Whose parameters were evaluated.
        epochs: Done.
        seconds: Of the training loop.
    """

    number: int
    recipe: str
    hyperparameters: Values
    objective: float
    best_epoch: int
    epochs: int
    seconds: float


def best_trial(trials: Sequence[Trial]) -> Trial:
    """The trial with the highest objective, the earliest of equal ones."""
    return max(trials, key=lambda trial: (trial.objective, -trial.number))


def propose(
    parameters: Sequence[Parameter], defaults: Mapping[str, Any], number: int, finished: Sequence[Trial], seed: int
) -> Values:
    """The hyperparameters of a trial.

    Args:
        parameters: Search space.
        defaults: Name -> value without a search; those of the first trial.
        number: The trial's, from 0.
        finished: Trials so far.
        seed: Of the search.

    Raises:
        ConfigError: Optuna is not installed.
    """
    if number == 0:
        return {parameter.name: defaults[parameter.name] for parameter in parameters}
    optuna = _optuna()
    distributions = {parameter.name: _distribution(parameter) for parameter in parameters}
    # A sampler is made for each trial, and forgets its draws: with one seed for all, random trials would repeat one another.
    sampler = optuna.samplers.TPESampler(seed=seed * 1_000 + number, n_startup_trials=_RANDOM_TRIALS)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    for trial in sorted(finished, key=lambda trial: trial.number):
        # A trial outside of the space teaches nothing: Optuna would not take it.
        if all(_within(parameter, trial.hyperparameters[parameter.name]) for parameter in parameters):
            frozen = optuna.trial.create_trial(params=trial.hyperparameters, distributions=distributions, value=trial.objective)
            study.add_trial(frozen)
    return dict(study.ask(fixed_distributions=distributions).params)


def require_optuna() -> None:
    """Raise ConfigError where Optuna is not installed, before anything is trained."""
    _optuna()


def _optuna() -> Any:
    try:
        import optuna
    except ImportError:
        raise ConfigError(
            "hyperparameter optimisation needs Optuna, which is not installed",
            where="hpo",
            remedy="pip install 'hrnn-platform[hpo]'",
        ) from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _within(parameter: Parameter, value: int | float | bool | str) -> bool:
    """Whether a value lies in a range: given defaults may not, where the range was narrowed."""
    if parameter.kind == "categorical":
        return str(value) in parameter.choices
    return (parameter.lowest or 0.0) <= float(value) <= (parameter.highest or float(value))


def _distribution(parameter: Parameter) -> Any:
    """Optuna's distribution of a range."""
    distributions = _optuna().distributions
    if parameter.kind == "categorical":
        return distributions.CategoricalDistribution([parameter.read(choice, parameter.name) for choice in parameter.choices])
    lowest, highest = parameter.lowest, parameter.highest
    assert lowest is not None
    assert highest is not None
    if parameter.kind == "integer":
        return distributions.IntDistribution(int(lowest), int(highest))
    return distributions.FloatDistribution(lowest, highest)
