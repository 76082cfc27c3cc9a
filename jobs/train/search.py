"""performHPO and performAutoML: train several configurations, keep the one whose validation is best.

Every trial learns from the same events and is measured on the same examples, which nothing was fitted on: the examples that
`prepare` keeps, one half to weigh the paths, the other to measure NDCG@25 as `evaluate` does. The test users' hidden events
play no part. A finished trial is a file in the solution version's folder and is not repeated.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hrnn.data.arrays import Rows
from hrnn.data.sequences import Sequences
from hrnn.data.splits import Calibration, EvaluationSplit, Prepared
from hrnn.evaluation.evaluate import evaluate
from hrnn.evaluation.holdout import hold_out
from hrnn.models.contract import QueryModel, Snapshot
from hrnn.models.registry import model_for
from hrnn.training.search import Trial, Values, best_trial, propose, require_optuna
from jobs.platform.storage import join, store_for
from jobs.platform.storage.records import read_record, write_record
from jobs.train.checkpoints import WorkspaceCheckpoints
from jobs.train.fit import Trained, TrainingJob, closed_form, load_event_weights, model_of, snapshot_to_measure, train_ranks
from jobs.train.launch import Launch, stopping_on_sigterm
from schemas.errors import DataError
from schemas.manifest import fingerprint
from schemas.recipes import RECIPE_ARN, RECIPES, hrnn_hyperparameters, parse_hyperparameters
from schemas.solutions import Hpo
from schemas.tuning import tuned_parameters

METRIC = "normalized_discounted_cumulative_gain_at_25"
_MOST_EXAMPLES = 4_000
_AUTO_ML = ("aws-hrnn", "aws-hrnn-metadata", "aws-hrnn-coldstart")  # Personalize's AutoML chooses among its HRNN recipes only


@dataclass(frozen=True)
class Search:
    """What is searched for.

    Attributes:
        hpo: Bounds of the search; None: one trial a recipe (performAutoML).
        recipes: Names; one, or all those to choose from.
        folder: URI for the trials of this search alone.
        given: Hyperparameters as they were given.
    """

    hpo: Hpo | None
    recipes: tuple[str, ...]
    folder: str
    given: dict[str, Any] = field(default_factory=dict)

    @property
    def num_trials(self) -> int:
        """Trainings in all."""
        return len(self.recipes) if self.hpo is None else self.hpo.max_jobs

    def check(self) -> None:
        """See that the search can be done, before anything is trained.

        Raises:
            ConfigError: A range is wrong, or Optuna is not installed.
        """
        if self.hpo is not None:
            tuned_parameters(RECIPES[self.recipes[0]], self.hpo.ranges)
            if self.hpo.max_jobs > 1:
                require_optuna()


def offered_recipes() -> tuple[str, ...]:
    """What AutoML chooses from: the HRNN recipes, but for one that would train the same model as another."""
    distinct: dict[tuple[Any, ...], str] = {}
    for name in _AUTO_ML:
        defaults = hrnn_hyperparameters(RECIPES[name].hyperparameters())
        distinct.setdefault((RECIPES[name].runs_on or name, *defaults.values()), name)
    return tuple(distinct.values())


def search(
    wanted: Search, job: TrainingJob, sequences: Sequences, prepared: Prepared, arrays: Path, launch: Launch, scratch: Path
) -> tuple[TrainingJob, dict[str, Any]]:
    """Try configurations, in rounds of as many as may run at a time.

    Args:
        wanted: What is searched for.
        job: The training without a search.
        sequences, prepared, arrays, launch, scratch: As `fit` takes them.

    Returns:
        The job of the best trial, whose training is finished in its checkpoint, and facts for the manifest.
    """
    trials: list[Trial] = []
    at_once = 1 if wanted.hpo is None else wanted.hpo.parallel_jobs
    for first in range(0, wanted.num_trials, at_once):
        numbers = range(first, min(first + at_once, wanted.num_trials))
        jobs = [_job_of(wanted, job, number, trials) for number in numbers]

        def tried(number: int, jobs: Sequence[TrainingJob] = jobs, first: int = first) -> Trial:
            return _tried(wanted, jobs[number - first], number, sequences, prepared, arrays, launch, scratch)

        trials += _all(tried, numbers)
        best = best_trial(trials)
        for number in range(trials[-1].number + 1):
            if number != best.number:
                WorkspaceCheckpoints(_checkpoints(wanted, number)).clear()
    best = best_trial(trials)
    return _rebuilt(wanted, job, best), _facts(wanted, trials, best)


def clear(wanted: Search) -> None:
    """Remove what the trials have left; the manifest holds their results."""
    store = store_for(wanted.folder)
    store.delete([file.uri for file in store.list(wanted.folder + "/")])


def _all(tried: Callable[[int], Trial], numbers: range) -> list[Trial]:
    """Trials of one round, each in a thread; what ends this one, or a trial, ends the ranks of all, with their checkpoints."""
    if len(numbers) == 1:
        return [tried(numbers[0])]
    with stopping_on_sigterm() as stopping, ThreadPoolExecutor(len(numbers)) as pool:
        trials = [pool.submit(tried, number) for number in numbers]
        try:
            wait(trials, return_when=FIRST_EXCEPTION)
        finally:
            if any(not trial.done() for trial in trials):
                stopping.stop()
        for trial in sorted(trials, key=_was_stopped):  # why the others were stopped is told, not that they were
            trial.result()
        return [trial.result() for trial in trials]


def _was_stopped(trial: Future[Trial]) -> bool:
    return isinstance(trial.exception(), SystemExit)


def _job_of(wanted: Search, job: TrainingJob, number: int, finished: Sequence[Trial]) -> TrainingJob:
    """What a trial trains."""
    if wanted.hpo is None:
        return _with(wanted, job, number, wanted.recipes[number], {})
    parameters = tuned_parameters(RECIPES[job.recipe], wanted.hpo.ranges)
    values = propose(parameters, job.hyperparameters.model_dump(), number, finished, job.settings.seed)
    return _with(wanted, job, number, job.recipe, values)


def _rebuilt(wanted: Search, job: TrainingJob, trial: Trial) -> TrainingJob:
    return _with(wanted, job, trial.number, trial.recipe, trial.hyperparameters)


def _with(wanted: Search, job: TrainingJob, number: int, recipe: str, values: Values) -> TrainingJob:
    parsed = parse_hyperparameters(recipe, {**wanted.given, **values})
    settings = replace(job.settings, num_steps=getattr(parsed, "bptt", job.settings.num_steps))
    identity = fingerprint("trial", {"recipe": recipe, "hyperparameters": parsed.model_dump()}, [job.identity])
    return replace(
        job,
        recipe=recipe,
        hyperparameters=parsed,
        settings=settings,
        identity=identity,
        checkpoints_uri=_checkpoints(wanted, number),
    )


def _checkpoints(wanted: Search, number: int) -> str:
    return join(wanted.folder, f"trial-{number:03d}", "checkpoints")


def _tried(
    wanted: Search,
    job: TrainingJob,
    number: int,
    sequences: Sequences,
    prepared: Prepared,
    arrays: Path,
    launch: Launch,
    scratch: Path,
) -> Trial:
    """The result of a trial, from its file where it is finished."""
    uri = join(wanted.folder, f"trial-{number:03d}", f"result-{job.identity[:16]}.json")
    if store_for(uri).stat(uri) is not None:
        return Trial(**read_record(uri, Trial, what="result of a trial", remedy="delete it and run again"))
    own_scratch = scratch / f"trial-{number}"
    own_scratch.mkdir()
    trained, event_weights = Trained({}, [], 0, {}), load_event_weights(arrays, job)
    if model_for(job.recipe).fit is not None:
        model: QueryModel = closed_form(job, prepared.fit, event_weights)
    else:
        found = train_ranks(job, arrays, launch, own_scratch)
        assert found is not None
        trained, model = found, model_of(job, found)
    seed = job.settings.seed
    kept = np.setdiff1d(np.arange(len(prepared.calibration.user_rows)), measuring_examples(prepared, seed))
    weighing = replace(prepared, calibration=_some(prepared.calibration, kept))
    objective = measured(snapshot_to_measure(job, model, weighing, event_weights), prepared, seed, event_weights)
    parsed = job.hyperparameters.model_dump()
    tunable = [parameter.name for parameter in job.hyperparameters.parameters() if parameter.tunable]
    trial = Trial(
        number=number,
        recipe=job.recipe,
        hyperparameters={name: parsed[name] for name in tunable},
        objective=objective,
        best_epoch=trained.best_epoch,
        epochs=len(trained.curve),
        seconds=round(float(trained.curve[-1]["seconds"]), 1) if trained.curve else 0.0,
    )
    write_record(uri, asdict(trial))
    told = ", ".join(f"{name} {value}" for name, value in trial.hyperparameters.items())
    done = f"trial {number + 1} of {wanted.num_trials}: {job.recipe} {told}".rstrip()
    print(f"{done}: NDCG@25 {objective:.4f}", file=sys.stderr, flush=True)
    return trial


def measuring_examples(prepared: Prepared, seed: int) -> Rows:
    """int64, rising: every second example, shuffled by the seed."""
    generator = np.random.Generator(np.random.Philox(key=[seed, 2 << 40]))
    order = generator.permutation(len(prepared.calibration.user_rows))
    return np.sort(order[: max(1, len(order) // 2)][:_MOST_EXAMPLES])


def measured(model: Snapshot, prepared: Prepared, seed: int, event_weights: npt.NDArray[np.float32] | None = None) -> float:
    """NDCG@25 of a model on the measuring half of the examples; with event weights, events of weight 0 are no right answers.

    Raises:
        DataError: No event is left to measure by.
    """
    calibration = _some(prepared.calibration, measuring_examples(prepared, seed))
    by_user = np.argsort(calibration.user_rows)
    split = EvaluationSplit(calibration.user_rows[by_user], calibration.keep_counts[by_user], calibration.truth_counts[by_user])
    fit_and_calibration = prepared.fit_and_calibration
    states = model.user_states(fit_and_calibration.truncate(split.user_rows, split.keep_counts), split.user_rows)
    counts = fit_and_calibration.item_counts()
    held_out = hold_out(split, fit_and_calibration, states, with_peers=False, event_weights=event_weights)
    found = evaluate(held_out, *model.items(), counts, counts)
    if found.hidden_events and not found.test_users:
        raise DataError(
            "a search has nothing to measure by: of the events that it keeps for that, none meets the solution's event rules",
            value=found.hidden_events,
            remedy="Lower event_value_threshold, name more types, or train without a search.",
        )
    return found.rows["model"][METRIC]


def _some(calibration: Calibration, at: Rows) -> Calibration:
    columns = (getattr(calibration, column.name)[at] for column in fields(calibration))
    return Calibration(*columns)


def _facts(wanted: Search, trials: Sequence[Trial], best: Trial) -> dict[str, Any]:
    told = {"metric": METRIC, "best_trial": best.number, "trials": [asdict(trial) for trial in trials]}
    if wanted.hpo is None:
        return {"search": told, "autoMLResult": {"bestRecipeArn": RECIPE_ARN + best.recipe}}
    tuned = {name: str(value) for name, value in best.hyperparameters.items()}
    return {"search": told, "tunedHPOParams": {"algorithmHyperParameters": tuned}}
