from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from called_jobs import train
from small_sequences import circular_histories, publish_sequences, sequences_of

import jobs.train.fit
import jobs.train.search
from hrnn.blend.snapshots import PlainSnapshot
from hrnn.data.arrays import Rows
from hrnn.data.sequences import Sequences
from hrnn.data.sparse_scores import SparseScores
from hrnn.data.splits import prepare
from hrnn.models.contract import ItemMatrix, UserStates
from hrnn.models.popularity import PopularityCount
from hrnn.training.distributed import Ranks
from jobs.platform.storage.folders import StepFolder
from jobs.solutions.tensors import tensor_file
from jobs.train.launch import Launch
from jobs.train.search import measured, measuring_examples
from jobs.train.spec import WorkerSpec
from jobs.train.worker import work
from schemas.errors import ConfigError, DataError, MachineError

CIRCLE = sequences_of(circular_histories(80, 15))
HPO: dict[str, Any] = {"max_jobs": 3, "ranges": {"hidden_dimension": [32, 36], "bptt": [2, 8]}}
ASKED: dict[str, Any] = {"recipe": "aws-hrnn", "hyperparameters": {"hidden_dimension": "32", "bptt": "8"}, "epochs": 2}


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[WorkerSpec]:
    """Trainings run in this process, and the specs of all of them; proposals need no Optuna."""
    specs: list[WorkerSpec] = []

    def run_here(launch: Launch, spec: WorkerSpec, spec_path: Path) -> None:
        specs.append(spec)
        work(spec, Ranks.alone(), [])

    def proposed(parameters: Any, given: dict[str, Any], number: int, finished: Any, seed: int) -> dict[str, Any]:
        assert len(finished) == number
        return {"hidden_dimension": 32 + number, "bptt": 2 + number, "recency_mask": number != 2}

    torch.set_num_threads(1)
    monkeypatch.setattr(jobs.train.fit, "run_ranks", run_here)
    monkeypatch.setattr(jobs.train.search, "propose", proposed)
    monkeypatch.setattr(jobs.train.search, "require_optuna", lambda: None)
    return specs


@pytest.fixture
def uri(tmp_path: Path) -> str:
    (tmp_path / "parts").mkdir()
    return publish_sequences(CIRCLE, str(tmp_path / "sequences"), tmp_path / "parts")


def test_a_search_keeps_the_best_trial_and_tells_what_it_chose(trained: list[WorkerSpec], uri: str, tmp_path: Path) -> None:
    summary = train(sequences_uri=uri, output_uri=str(tmp_path / "version"), hpo=HPO, **ASKED)
    folder = StepFolder(str(tmp_path / "version"))
    facts = folder.require("solution_version").metadata
    trials = facts["search"]["trials"]
    assert [trial["hyperparameters"]["bptt"] for trial in trials] == [2, 3, 4]
    best = max(trials, key=lambda trial: trial["objective"])
    tuned = {name: str(value) for name, value in best["hyperparameters"].items()}
    assert summary["tunedHPOParams"] == facts["tunedHPOParams"] == {"algorithmHyperParameters": tuned}
    assert facts["hyperparameters"]["hidden_dimension"] == best["hyperparameters"]["hidden_dimension"]
    assert facts["training_outcome"]["shape"]["hidden_dimension"] == best["hyperparameters"]["hidden_dimension"]
    assert len(trained) == 4  # the last one only takes up the best trial's finished checkpoint
    files = folder.require("solution_version").files
    expected = {file.path for file in files} | {file.shown for file in files if file.shown} | {"manifest.json", ".hrnn.lock"}
    there = [path for path in Path(folder.uri).rglob("*") if path.is_file()]
    assert {str(path.relative_to(folder.uri)) for path in there} == expected  # nothing of the trials is left


def test_an_interrupted_search_repeats_no_finished_trial(
    trained: list[WorkerSpec], uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_here = jobs.train.fit.run_ranks

    def broken(launch: Launch, spec: WorkerSpec, spec_path: Path) -> None:
        if len(trained) == 2:
            raise MachineError("training broke off")
        run_here(launch, spec, spec_path)

    monkeypatch.setattr(jobs.train.fit, "run_ranks", broken)
    with pytest.raises(MachineError):
        train(sequences_uri=uri, output_uri=str(tmp_path / "cut"), hpo=HPO, **ASKED)
    monkeypatch.setattr(jobs.train.fit, "run_ranks", run_here)
    train(sequences_uri=uri, output_uri=str(tmp_path / "cut"), hpo=HPO, **ASKED)
    assert len(trained) == 4
    train(sequences_uri=uri, output_uri=str(tmp_path / "whole"), hpo=HPO, **ASKED)
    cut, whole = (StepFolder(str(tmp_path / name)).require("solution_version") for name in ("cut", "whole"))
    for purpose in ("parameters", "serving", "evaluation"):
        assert tensor_file(cut, purpose).sha256 == tensor_file(whole, purpose).sha256
    objectives = [[trial["objective"] for trial in version.metadata["search"]["trials"]] for version in (cut, whole)]
    assert objectives[0] == objectives[1]


def test_another_search_in_the_folder_costs_an_interrupted_one_no_trial(
    trained: list[WorkerSpec], uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_here = jobs.train.fit.run_ranks

    def broken(launch: Launch, spec: WorkerSpec, spec_path: Path) -> None:
        if len(trained) == 2:
            raise MachineError("training broke off")
        run_here(launch, spec, spec_path)

    asked: dict[str, Any] = {"sequences_uri": uri, "output_uri": str(tmp_path / "version"), "hpo": HPO, **ASKED}
    monkeypatch.setattr(jobs.train.fit, "run_ranks", broken)
    with pytest.raises(MachineError):
        train(**asked, seed=1)
    monkeypatch.setattr(jobs.train.fit, "run_ranks", run_here)
    train(**asked, seed=2)
    assert len(trained) == 2 + 4
    train(**asked, seed=1)
    assert len(trained) == 2 + 4 + 2  # the third trial, and the best one's checkpoint is taken up


def test_names_as_describe_solution_shows_them_are_searched(trained: list[WorkerSpec], uri: str, tmp_path: Path) -> None:
    asked = {"recipe": "aws-hrnn", "hyperparameters": {"hidden_dimension": "32", "training.bptt": "8"}, "epochs": 1}
    hpo = {"max_jobs": 1, "ranges": {"training.bptt": [2, 8], "data.recency_mask": ["true"]}}
    summary = train(sequences_uri=uri, output_uri=str(tmp_path / "version"), hpo=hpo, gru_baseline=False, **asked)  # type: ignore[arg-type]
    assert summary["tunedHPOParams"]["algorithmHyperParameters"]["bptt"] == "2"


def test_the_objective_is_of_events_that_count() -> None:
    prepared = prepare(CIRCLE, 0)
    popularity = PlainSnapshot(PopularityCount.fit(prepared.fit_and_calibration))
    everything, num_events = np.ones(CIRCLE.num_events, dtype=np.float32), CIRCLE.item_counts()
    assert measured(popularity, prepared, num_events, 0, everything) == measured(popularity, prepared, num_events, 0)
    example, calibration = measuring_examples(prepared, 0)[0], prepared.calibration
    item = CIRCLE.item_rows[CIRCLE.user_offsets[calibration.user_rows[example]] + calibration.keep_counts[example]]
    rank = 1 + int((-popularity.items().bias).argsort(stable=True).tolist().index(item))
    only = (CIRCLE.item_rows == item).astype(np.float32)
    assert measured(popularity, prepared, num_events, 0, only) == pytest.approx(1 / np.log2(1 + rank))
    with pytest.raises(DataError, match="nothing to measure by"):
        measured(popularity, prepared, num_events, 0, 0 * everything)


def test_items_that_only_tested_users_had_leave_the_others_in_the_catalogue() -> None:
    """Of what may be learnt from, items without events lie between others, so that these have rows beyond their number."""
    random = np.random.default_rng(3)
    histories = [random.zipf(1.3, 6).clip(max=400) for _ in range(300)]
    by_count = np.argsort(-np.bincount(np.concatenate(histories), minlength=401), kind="stable")
    rows = np.argsort(by_count)  # items stand in falling order of events
    sequences = sequences_of([[rows[items].tolist()] for items in histories], num_items=401)
    prepared, num_events = prepare(sequences, 0), sequences.item_counts()
    learnt, calibration = prepared.fit_and_calibration, prepared.calibration
    places = measuring_examples(prepared, 0)
    begin = learnt.user_offsets[calibration.user_rows[places]] + calibration.keep_counts[places]
    item = int(learnt.item_rows[begin].max())
    assert item >= np.count_nonzero(learnt.item_counts())

    class OneItem:
        """Gives everybody that item first."""

        def items(self) -> ItemMatrix:
            return ItemMatrix(torch.zeros(401, 0), torch.zeros(401))

        def user_states(self, _: Sequences, users: Rows) -> UserStates:
            count = len(users)
            scores = SparseScores(np.arange(count + 1), np.full(count, item), np.ones(count, dtype=np.float32))
            return UserStates(torch.zeros(count, 0), scores)

    only = (sequences.item_rows == item).astype(np.float32)
    assert measured(OneItem(), prepared, num_events, 0, only) == pytest.approx(1.0)


def test_automl_keeps_the_recipe_that_predicts_best(trained: list[WorkerSpec], uri: str, tmp_path: Path) -> None:
    summary = train(sequences_uri=uri, output_uri=str(tmp_path / "version"), recipe="aws-hrnn", auto_ml=True, epochs=12)
    facts = StepFolder(str(tmp_path / "version")).require("solution_version").metadata
    tried = {trial["recipe"]: trial["objective"] for trial in facts["search"]["trials"]}
    assert list(tried) == ["aws-hrnn", "aws-hrnn-coldstart"]  # aws-hrnn-metadata would train aws-hrnn's model once more
    assert facts["recipe"] == max(tried, key=lambda recipe: tried[recipe])
    assert summary["autoMLResult"] == {"bestRecipeArn": f"arn:aws:personalize:::recipe/{facts['recipe']}"}


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"hpo": {"max_jobs": 41}}, "hpo.max_jobs"),
        ({"hpo": {"parallel_jobs": 11}}, "hpo.parallel_jobs"),
        ({"hpo": {"ranges": {"hidden_dimension": [1, 64]}}}, "out of range"),
        ({"hpo": {"max_jobs": 1}, "launch": Launch(nnodes=2, rdzv_endpoint="here:1")}, "one node"),
        ({"auto_ml": True}, "neither hpo nor hyperparameters"),
        ({"auto_ml": True, "recipe": "aws-hrnn-coldstart", "hyperparameters": {}}, "AutoML chooses the recipe itself"),
        ({"event_type": "buy"}, "no interaction is of this type"),
        ({"event_value_threshold": "1"}, "no EVENT_VALUE"),
        ({"patience": -1}, "patience"),
    ],
)
def test_what_can_not_be_searched_or_learnt_is_refused(
    trained: list[WorkerSpec], uri: str, tmp_path: Path, asked: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        train(sequences_uri=uri, output_uri=str(tmp_path / "version"), **(ASKED | asked))


def test_without_optuna_a_search_is_refused_before_anything_is_trained(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    with pytest.raises(ConfigError, match=r"pip install 'hrnn-platform\[hpo\]'"):
        train(sequences_uri=uri, output_uri=str(tmp_path / "version"), hpo=HPO, **ASKED)


def test_the_only_type_there_is_changes_nothing_and_the_curve_has_validation(
    trained: list[WorkerSpec], uri: str, tmp_path: Path
) -> None:
    for name, event_type in (("plain", None), ("typed", "x")):
        train(sequences_uri=uri, output_uri=str(tmp_path / name), event_type=event_type, **ASKED)
    plain, typed = (StepFolder(str(tmp_path / name)).require("solution_version") for name in ("plain", "typed"))
    assert plain.metadata["evaluation"]["metrics"] == typed.metadata["evaluation"]["metrics"]
    assert plain.metadata["training_outcome"]["epochs"] == 2
    assert 1 <= plain.metadata["training_outcome"]["best_epoch"] <= 2
