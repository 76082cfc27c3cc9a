"""Any number of ranks does the same work: here as threads of one process; tests/jobs/train/test_ranks.py starts real ones."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_sequences import random_histories, sequences_of
from thread_ranks import together

from hrnn.models.hrnn import Hrnn, HrnnShape
from hrnn.training.batching.lanes import LanePlan
from hrnn.training.checkpoints import checkpoint_names
from hrnn.training.distributed import Ranks
from hrnn.training.parts import TrainingPart
from hrnn.training.settings import TrainingSettings
from hrnn.training.trainer import Stopped, Trainer
from jobs.train.checkpoints import WorkspaceCheckpoints

SEQUENCES = sequences_of(random_histories(40, 20))
USERS = np.arange(SEQUENCES.num_users)
SETTINGS = TrainingSettings(
    num_lanes=64,
    num_steps=4,
    epochs=2,
    num_negatives=8,
    exact_below=0,
    state_dropout=0.0,
    momentum=0.1,
    in_batch_negatives=True,
)
NUMBERS = [1, 2, 3, 5, 6, 7, 64, 70]


def trained(
    world_size: int,
    store: WorkspaceCheckpoints | None = None,
    stop_after: int | None = None,
    settings: TrainingSettings = SETTINGS,
    identity: str = "x",
) -> Hrnn:
    """A model in double precision, the same on every rank; `stop_after` windows the training is stopped."""

    def work(ranks: Ranks) -> Hrnn:
        asked = iter(range(10_000))
        shape = HrnnShape(num_items=20, hidden_dimension=5, variant="all")
        dropout = {"input_dropout": settings.input_dropout, "state_dropout": settings.state_dropout}
        model = Hrnn.initial(shape, SEQUENCES.item_counts(), 0, **dropout)
        trainer = Trainer(
            model.double(),
            [TrainingPart(SEQUENCES, USERS)],
            settings,
            ranks=ranks,
            store=store,
            identity=identity,
            should_stop=None if stop_after is None else lambda: next(asked) >= stop_after,
        )
        try:
            trainer.run()
        except Stopped:
            assert stop_after is not None
        return trainer.model

    models = together(world_size, work)
    for other in models[1:]:
        assert torch.equal(other.dense, models[0].dense)
        assert torch.equal(other.item_table, models[0].item_table)
    return models[0]


def assert_close(one: Hrnn, other: Hrnn) -> None:
    torch.testing.assert_close(one.dense, other.dense, atol=1e-9, rtol=0)
    torch.testing.assert_close(one.item_table, other.item_table, atol=1e-9, rtol=0)


@pytest.fixture(scope="module")
def of_one() -> Hrnn:
    return trained(1)


@pytest.mark.parametrize("world_size", NUMBERS)
def test_every_event_stands_in_the_same_window_once_however_many_ranks_share_the_lanes(world_size: int) -> None:
    whole = LanePlan(SEQUENCES, USERS, 64, 4, seed=1, epoch=2)
    plans = [LanePlan(SEQUENCES, USERS, 64, 4, seed=1, epoch=2, rank=rank, world_size=world_size) for rank in range(world_size)]
    assert {plan.num_windows for plan in plans} == {whole.num_windows}
    assert len({plan.num_lanes for plan in plans}) == 1
    for number in range(whole.num_windows):
        windows = [plan.window(number) for plan in plans]
        met = np.concatenate([window.positions[window.alive] for window in windows])
        window = whole.window(number)
        assert sorted(met) == sorted(window.positions[window.alive])


@pytest.mark.parametrize("world_size", NUMBERS[1:])
def test_any_number_of_ranks_learns_what_one_learns(of_one: Hrnn, world_size: int) -> None:
    assert_close(trained(world_size), of_one)


@pytest.mark.parametrize("world_size", [3, 5])
def test_the_same_number_of_ranks_gives_the_same_bits(world_size: int) -> None:
    settings = replace(SETTINGS, state_dropout=0.2, input_dropout=0.1)
    one, again = (trained(world_size, settings=settings) for _ in range(2))
    assert torch.equal(one.dense, again.dense)
    assert torch.equal(one.item_table, again.item_table)


@pytest.mark.parametrize(("before", "after"), [(3, 2), (1, 3), (2, 1), (5, 7)])
@pytest.mark.parametrize("stop_after", [1, 6])
def test_another_number_of_ranks_goes_on_where_the_first_stopped_and_says_so(
    tmp_path: Path, of_one: Hrnn, before: int, after: int, stop_after: int, caplog: pytest.LogCaptureFixture
) -> None:
    store = WorkspaceCheckpoints(str(tmp_path / "checkpoints"))
    trained(before, store, stop_after)
    assert checkpoint_names(store, "x")
    with caplog.at_level(logging.WARNING):
        assert_close(trained(after, store), of_one)
    [said] = [record.message for record in caplog.records if "going on" in record.message]
    assert said.startswith(f"going on with {after} ranks after batch {stop_after + 1}, which {before} had trained: nothing")


def test_a_young_training_keeps_its_checkpoints_beside_an_older_one_s(tmp_path: Path) -> None:
    store = WorkspaceCheckpoints(str(tmp_path / "checkpoints"))
    trained(1, store, 9, identity="older")
    older = set(store.names())
    trained(2, store, 1, identity="younger")
    younger = set(store.names()) - older
    assert older <= set(store.names())
    assert len(younger) == 1
    trained(2, store, 2, identity="younger")
    assert set(checkpoint_names(store, "older")) == older
