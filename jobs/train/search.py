"""performHPO and performAutoML: train several configurations, keep the one whose validation is best.

Every trial learns from the same events and is measured on the same examples, which nothing was fitted on: the calibration part
of the split, one half to fit the blend weights, the other to measure NDCG@25 as `evaluate` does. The test users' hidden events
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
from jobs.reports.metric_names import HEADLINE, MODEL
from jobs.train.checkpoints import WorkspaceCheckpoints
from jobs.train.fit import Trained, TrainingJob, closed_form, load_event_weights, model_of, snapshot_to_measure, train_ranks
from jobs.train.launch import NOTICED_SECONDS, Launch, stopping_on_sigterm
from schemas.errors import DataError
from schemas.manifest import fingerprint
from schemas.recipes import RECIPE_ARN, RECIPES, hrnn_hyperparameters, parse_hyperparameters
from schemas.solutions import Hpo
from schemas.tuning import tuned_parameters

_MOST_EXAMPLES = 4_000


@dataclass(frozen=True)
class Search:
    """A search for hyperparameters, or among recipes.

    Attributes:
        hpo: Bounds of the search; None: one trial a recipe (performAutoML).
        recipes: Names; one, or all those to choose from.
        folder: URI for the trials of this search alone.
        hyperparameters: As the user gave them; those that are searched for replace them.
    """

    hpo: Hpo | None
    recipes: tuple[str, ...]
    folder: str
    hyperparameters: dict[str, Any] = field(default_factory=dict)

    @property
    def num_trials(self) -> int:
        """Trainings in all."""
        return len(self.recipes) if self.hpo is None else self.hpo.max_jobs

    def check(self) -> None:
        """Check that the search can run, before anything is trained.

        Raises:
            ConfigError: A range is wrong, or Optuna is not installed.
        """
        if self.hpo is not None:
            tuned_parameters(RECIPES[self.recipes[0]], self.hpo.ranges)
            if self.hpo.max_jobs > 1:
                require_optuna()


def offered_recipes() -> tuple[str, ...]:
    """Recipes that AutoML chooses from, without those that would train the same model as another."""
    distinct: dict[tuple[Any, ...], str] = {}
    for recipe in (recipe for recipe in RECIPES.values() if recipe.auto_ml):
        defaults = hrnn_hyperparameters(recipe.hyperparameters())
        distinct.setdefault((recipe.runs_on or recipe.name, *defaults.values()), recipe.name)
    return tuple(distinct.values())


def search(
    plan: Search, job: TrainingJob, prepared: Prepared, arrays: Path, launch: Launch, scratch: Path
) -> tuple[TrainingJob, dict[str, Any]]:
    """Try configurations, in rounds of as many as may run at a time.

    Args:
        plan: The search.
        job: The training without a search.
        prepared, arrays, launch, scratch: As `fit` takes them.

    Returns:
        The job of the best trial, whose training is finished in its checkpoint, and facts for the manifest.
    """
    trials: list[Trial] = []
    at_once = 1 if plan.hpo is None else plan.hpo.parallel_jobs
    for first in range(0, plan.num_trials, at_once):
        numbers = range(first, min(first + at_once, plan.num_trials))
        jobs = [_job_of(plan, job, number, trials) for number in numbers]

        def run_trial(number: int, jobs: Sequence[TrainingJob] = jobs, first: int = first) -> Trial:
            return _run_trial(plan, jobs[number - first], number, prepared, arrays, launch, scratch)

        trials += _run_round(run_trial, numbers)
        # Only the best trial's checkpoint is needed at the end: its model is read from there.
        best = best_trial(trials)
        for number in range(trials[-1].number + 1):
            if number != best.number:
                WorkspaceCheckpoints(_checkpoints(plan, number)).clear()
    best = best_trial(trials)
    return _with(plan, job, best.number, best.recipe, best.hyperparameters), _facts(plan, trials, best)


def clear(plan: Search) -> None:
    """Remove the trials' files; the manifest holds their results."""
    store = store_for(plan.folder)
    store.delete([file.uri for file in store.list(plan.folder + "/")])


def _run_round(run_trial: Callable[[int], Trial], numbers: range) -> list[Trial]:
    """Run the trials of a round, each in a thread; SIGTERM or a failed trial ends the ranks of all, with checkpoints."""
    if len(numbers) == 1:
        return [run_trial(numbers[0])]
    with stopping_on_sigterm() as stopping, ThreadPoolExecutor(len(numbers)) as pool:
        trials: list[Future[Trial]] = []
        try:  # an interrupt may come before the last trial is started
            trials.extend(pool.submit(run_trial, number) for number in numbers)
            _until_one_fails(trials)
        finally:
            if any(not trial.done() for trial in trials):
                stopping.stop()
        for trial in sorted(trials, key=_was_stopped):  # the error that stopped the others comes first
            trial.result()
        return [trial.result() for trial in trials]


def _until_one_fails(trials: Sequence[Future[Trial]]) -> None:
    """Wait until a trial has failed, or all are done; a signal is noticed meanwhile, whichever thread receives it."""
    while True:
        done, others = wait(trials, NOTICED_SECONDS, FIRST_EXCEPTION)
        if not others or any(trial.exception() for trial in done):
            return


def _was_stopped(trial: Future[Trial]) -> bool:
    return isinstance(trial.exception(), SystemExit)


def _job_of(plan: Search, job: TrainingJob, number: int, finished: Sequence[Trial]) -> TrainingJob:
    """The training of a trial."""
    if plan.hpo is None:
        return _with(plan, job, number, plan.recipes[number], {})
    parameters = tuned_parameters(RECIPES[job.recipe], plan.hpo.ranges)
    values = propose(parameters, job.hyperparameters.model_dump(), number, finished, job.settings.seed)
    return _with(plan, job, number, job.recipe, values)


def _with(plan: Search, job: TrainingJob, number: int, recipe: str, values: Values) -> TrainingJob:
    parsed = parse_hyperparameters(recipe, {**plan.hyperparameters, **values})
    settings = replace(job.settings, num_steps=getattr(parsed, "bptt", job.settings.num_steps))
    identity = fingerprint("trial", {"recipe": recipe, "hyperparameters": parsed.model_dump()}, [job.identity])
    return replace(
        job,
        recipe=recipe,
        hyperparameters=parsed,
        settings=settings,
        identity=identity,
        checkpoints_uri=_checkpoints(plan, number),
    )


def _checkpoints(plan: Search, number: int) -> str:
    return join(plan.folder, f"trial-{number:03d}", "checkpoints")


def _run_trial(
    plan: Search,
    job: TrainingJob,
    number: int,
    prepared: Prepared,
    arrays: Path,
    launch: Launch,
    scratch: Path,
) -> Trial:
    """The result of a trial, from its file where it is finished."""
    uri = join(plan.folder, f"trial-{number:03d}", f"result-{job.identity[:16]}.json")
    if store_for(uri).stat(uri) is not None:
        return Trial(**read_record(uri, Trial, what="result of a trial", remedy="delete it and run again"))
    own_scratch = scratch / f"trial-{number}"
    own_scratch.mkdir()
    trained, event_weights = Trained({}, [], 0, {}), load_event_weights(arrays, job)
    if model_for(job.recipe).fit is not None:
        model: QueryModel = closed_form(job, prepared.fit, event_weights)
    else:
        result = train_ranks(job, arrays, launch, own_scratch)
        assert result is not None
        trained, model = result, model_of(job, result)
    # Half of the calibration examples fit the blend weights, the other half measures: no trial is judged by what fitted it.
    seed = job.settings.seed
    fitting_rows = np.setdiff1d(np.arange(len(prepared.calibration.user_rows)), measuring_examples(prepared, seed))
    fitting_half = replace(prepared, calibration=_subset(prepared.calibration, fitting_rows))
    snapshot = snapshot_to_measure(job, model, fitting_half, event_weights)
    objective = measured(snapshot, prepared, Sequences.load(arrays).item_counts(), seed, event_weights)
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
    chosen = ", ".join(f"{name} {value}" for name, value in trial.hyperparameters.items())
    done = f"trial {number + 1} of {plan.num_trials}: {job.recipe} {chosen}".rstrip()
    print(f"{done}: NDCG@25 {objective:.4f}", file=sys.stderr, flush=True)
    return trial


def measuring_examples(prepared: Prepared, seed: int) -> Rows:
    """int64, rising: every second example, shuffled by the seed."""
    generator = np.random.Generator(np.random.Philox(key=[seed, 2 << 40]))
    shuffled = generator.permutation(len(prepared.calibration.user_rows))
    return np.sort(shuffled[: max(1, len(shuffled) // 2)][:_MOST_EXAMPLES])


def measured(
    model: Snapshot,
    prepared: Prepared,
    num_events: Rows,
    seed: int,
    event_weights: npt.NDArray[np.float32] | None = None,
) -> float:
    """NDCG@25 of a model on the measuring half of the examples; with event weights, events of weight 0 are no right answers.

    `num_events` are those of all sequences, int64 [N]: as in the evaluation, items are ranked that only test users had.

    Raises:
        DataError: No event is left to measure by.
    """
    calibration = _subset(prepared.calibration, measuring_examples(prepared, seed))
    # As `evaluate` measures test users: by rising row, from their state before the hidden events.
    by_user = np.argsort(calibration.user_rows)
    split = EvaluationSplit(calibration.user_rows[by_user], calibration.keep_counts[by_user], calibration.truth_counts[by_user])
    fit_and_calibration = prepared.fit_and_calibration
    states = model.user_states(fit_and_calibration.truncate(split.user_rows, split.keep_counts), split.user_rows)
    held_out = hold_out(split, fit_and_calibration, states, with_baselines=False, event_weights=event_weights)
    evaluation = evaluate(held_out, *model.items(), num_events, num_events)
    if evaluation.hidden_events and not evaluation.test_users:
        raise DataError(
            "a search has nothing to measure by: of the events that it keeps for that, none meets the solution's event rules",
            value=evaluation.hidden_events,
            remedy="Lower event_value_threshold, name more types, or train without a search.",
        )
    return evaluation.rows[MODEL][HEADLINE]


def _subset(calibration: Calibration, rows: Rows) -> Calibration:
    columns = (getattr(calibration, column.name)[rows] for column in fields(calibration))
    return Calibration(*columns)


def _facts(plan: Search, trials: Sequence[Trial], best: Trial) -> dict[str, Any]:
    summary = {"metric": HEADLINE, "best_trial": best.number, "trials": [asdict(trial) for trial in trials]}
    if plan.hpo is None:
        return {"search": summary, "autoMLResult": {"bestRecipeArn": RECIPE_ARN + best.recipe}}
    tuned = {name: str(value) for name, value in best.hyperparameters.items()}
    return {"search": summary, "tunedHPOParams": {"algorithmHyperParameters": tuned}}
