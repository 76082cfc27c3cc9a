from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from plain_loop import double, plain_training
from small_sequences import circular_histories, random_histories, sequences_of
from torch import Tensor

from hrnn.data.event_weights import event_weights
from hrnn.data.sequences import Sequences
from hrnn.models.contract import OptimiserSpec, Phase
from hrnn.models.hrnn import Hrnn, HrnnShape, Variant
from hrnn.training.batching.lanes import LanePlan
from hrnn.training.checkpoints import checkpoint_names
from hrnn.training.parts import TrainingPart
from hrnn.training.settings import CurvePoint, TrainingSettings
from hrnn.training.trainer import Stopped, Trainer
from schemas.errors import DataError
from schemas.event_rules import EventRule, EventRules

SEQUENCES = sequences_of(random_histories(20, 25))
SEQUENCES = replace(SEQUENCES, event_types=np.random.default_rng(0).integers(0, 3, len(SEQUENCES.item_rows)).astype(np.int32))
USERS = np.arange(SEQUENCES.num_users)
SETTINGS = TrainingSettings(num_lanes=4, num_steps=5, epochs=2, num_negatives=8, exact_below=0, state_dropout=0.0)


class Folder:
    """A CheckpointStore on the local disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(exist_ok=True)

    def names(self) -> list[str]:
        return [path.name for path in self.path.iterdir()]

    def read(self, name: str) -> bytes:
        return (self.path / name).read_bytes()

    def write(self, name: str, data: bytes) -> None:
        (self.path / name).write_bytes(data)

    def delete(self, name: str) -> None:
        (self.path / name).unlink()


def fresh_model(
    sequences: Sequences = SEQUENCES,
    variant: Variant = "init",
    width: int = 6,
    gap_buckets: int = 0,
    event_types: int = 0,
    settings: TrainingSettings = SETTINGS,
) -> Hrnn:
    shape = HrnnShape(
        num_items=sequences.num_items,
        hidden_dimension=width,
        variant=variant,
        gap_buckets=gap_buckets,
        event_types=event_types,
    )
    dropout = {"input_dropout": settings.input_dropout, "state_dropout": settings.state_dropout}
    return Hrnn.initial(shape, sequences.item_counts(), 0, **dropout)


@pytest.mark.parametrize(
    ("variant", "gap_buckets", "event_types"), [("init", 0, 0), ("all", 0, 0), ("all", 26, 3), ("init", 0, 3)]
)
def test_training_in_lanes_equals_a_plain_loop_over_single_events(variant: Variant, gap_buckets: int, event_types: int) -> None:
    lanes, plain = (double(fresh_model(SEQUENCES, variant, 6, gap_buckets, event_types)) for _ in range(2))
    curve = Trainer(lanes, [TrainingPart(SEQUENCES, USERS)], SETTINGS).run()
    losses = plain_training(plain, SEQUENCES, USERS, SETTINGS)
    assert [point.loss for point in curve] == pytest.approx(losses, abs=1e-9)
    torch.testing.assert_close(lanes.item_table, plain.item_table, atol=1e-5, rtol=0)
    torch.testing.assert_close(lanes.dense, plain.dense, atol=1e-5, rtol=0)
    table = lanes.context_table()
    assert table is None or bool(table.any())


def trained(store: Folder | None = None, stop_after: int | None = None, settings: TrainingSettings = SETTINGS) -> Hrnn:
    """A model trained to the end, or stopped after some windows."""
    asked = iter(range(10_000))
    stop: Callable[[], bool] | None = (lambda: next(asked) >= stop_after) if stop_after is not None else None
    model = fresh_model(settings=settings)
    Trainer(model, [TrainingPart(SEQUENCES, USERS)], settings, store=store, identity="x", should_stop=stop).run()
    return model


@pytest.mark.parametrize("stop_after", [0, 1, 4, 9])
def test_a_training_stopped_and_resumed_ends_with_the_bits_of_an_uninterrupted_one(tmp_path: Path, stop_after: int) -> None:
    settings = replace(SETTINGS, momentum=0.2, input_dropout=0.1, state_dropout=0.2, in_batch_negatives=True)
    store, whole = Folder(tmp_path / "c"), trained(settings=settings)
    with pytest.raises(Stopped):
        trained(store, stop_after, settings)
    assert checkpoint_names(store, "x")
    resumed = trained(store, settings=settings)
    assert torch.equal(resumed.item_table, whole.item_table)
    assert torch.equal(resumed.dense, whole.dense)


def test_the_same_seed_gives_the_same_bits_and_another_seed_others() -> None:
    assert torch.equal(trained().dense, trained().dense)
    assert not torch.equal(trained().dense, trained(settings=replace(SETTINGS, seed=1)).dense)


def test_a_finished_training_is_not_repeated(tmp_path: Path) -> None:
    store = Folder(tmp_path / "c")
    first = trained(store)
    again = Trainer(fresh_model(), [TrainingPart(SEQUENCES, USERS)], SETTINGS, store=store, identity="x", progress=no_progress)
    assert len(again.run()) == SETTINGS.epochs
    assert torch.equal(again.model.dense, first.dense)


def no_progress(events: int, text: str) -> None:
    raise AssertionError(f"{events} events were trained on: {text}")


def test_a_damaged_checkpoint_gives_way_to_the_one_before_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store, whole = Folder(tmp_path / "c"), trained()
    for windows in (2, 3):
        with pytest.raises(Stopped):
            trained(store, windows)
    newest = store.path / checkpoint_names(store, "x")[0]
    newest.write_bytes(newest.read_bytes()[:-7] + b"damaged")
    assert torch.equal(trained(store).dense, whole.dense)
    assert "is damaged" in caplog.text


def test_checkpoints_of_another_training_are_left_alone(tmp_path: Path) -> None:
    store = Folder(tmp_path / "c")
    with pytest.raises(Stopped):
        trained(store, 3)
    other = Trainer(fresh_model(), [TrainingPart(SEQUENCES, USERS)], SETTINGS, store=store, identity="y")
    assert other.run()[-1].events == 2 * SEQUENCES.num_events


def test_time_that_is_out_ends_the_training_after_the_window() -> None:
    curve = Trainer(fresh_model(), [TrainingPart(SEQUENCES, USERS)], replace(SETTINGS, time_limit_seconds=0.0)).run()
    assert len(curve) == 1
    assert curve[0].step == 1


def test_the_loss_falls_and_the_next_item_round_the_circle_is_found() -> None:
    sequences = sequences_of(circular_histories(60, 12))
    settings = TrainingSettings(num_lanes=8, num_steps=8, epochs=25, item_rate=0.3, dense_rate=0.1, state_dropout=0.0)
    model = fresh_model(sequences, width=16)
    curve = Trainer(model, [TrainingPart(sequences, np.arange(60))], settings).run()
    assert curve[-1].loss < 0.5 * curve[0].loss < 0.5 * math.log(12) * 1.1


def test_within_sessions_only_first_events_are_no_targets() -> None:
    settings = replace(SETTINGS, within_session_only=True, epochs=1)
    seen: list[str] = []
    trainer = Trainer(
        fresh_model(), [TrainingPart(SEQUENCES, USERS)], settings, progress=lambda events, text: seen.append(text)
    )
    curve = trainer.run()
    alone = sequences_of([[[item] for session in history for item in session] for history in random_histories(20, 25)])
    assert curve[0].loss > 0
    assert Trainer(fresh_model(alone), [TrainingPart(alone, USERS)], settings).run()[0].loss == 0


@pytest.mark.usefixtures("any_processor")
def test_a_training_in_single_precision_stays_close_to_the_plain_loop() -> None:
    model, plain = fresh_model(), double(fresh_model())
    curve = Trainer(model, [TrainingPart(SEQUENCES, USERS)], SETTINGS).run()
    assert [point.loss for point in curve] == pytest.approx(plain_training(plain, SEQUENCES, USERS, SETTINGS), rel=0.01)
    assert float((model.dense - plain.dense).norm() / plain.dense.norm()) < 0.05


@pytest.mark.usefixtures("any_processor")
@pytest.mark.parametrize("loss", ["cross_entropy", "bpr_max", "top1_max", "top1"])
def test_every_loss_can_be_trained_with(loss: str) -> None:
    curve = Trainer(fresh_model(), [TrainingPart(SEQUENCES, USERS)], replace(SETTINGS, loss=loss, epochs=8)).run()  # type: ignore[arg-type]
    assert curve[-1].loss < curve[0].loss


def test_progress_counts_every_event_of_every_epoch() -> None:
    statistics: list[int] = []
    Trainer(
        fresh_model(), [TrainingPart(SEQUENCES, USERS)], SETTINGS, progress=lambda events, _: statistics.append(events)
    ).run()
    assert sum(statistics) == 2 * SEQUENCES.num_events


def test_a_loss_that_is_not_a_number_ends_with_a_clear_error() -> None:
    model = fresh_model()
    model.dense[0] = math.nan
    with pytest.raises(DataError, match=r"not a number any more \(epoch 1, batch 1\)"):
        Trainer(model, [TrainingPart(SEQUENCES, USERS)], SETTINGS).run()


def test_one_item_is_too_little_to_learn_from() -> None:
    lonely = sequences_of([[[0, 0]], [[0]]])
    with pytest.raises(DataError, match="fewer than two items"):
        Trainer(fresh_model(lonely), [TrainingPart(lonely, np.arange(2))], SETTINGS)


def test_one_user_and_equal_times_are_enough_to_train() -> None:
    alone = sequences_of([[[0, 1, 2, 1, 0]]], day_of_session=False)
    assert Trainer(fresh_model(alone), [TrainingPart(alone, np.arange(1))], SETTINGS).run()[-1].events == 10


def trained_by(costs: list[float | None], **changed: object) -> tuple[Trainer[Hrnn], list[CurvePoint], list[Tensor]]:
    """A training whose validation tells these costs, one an epoch; its curve, and the dense parameters of each epoch."""
    told, met = iter(costs), []

    def validate(model: Hrnn) -> float | None:
        met.append(model.dense.clone())
        return next(told)

    settings = replace(SETTINGS, **{"epochs": len(costs), **changed})  # type: ignore[arg-type]
    trainer = Trainer(fresh_model(), [TrainingPart(SEQUENCES, USERS)], settings, heldout_loss=validate)
    return trainer, trainer.run(), met


def test_the_best_epoch_is_kept_and_training_ends_when_patience_does() -> None:
    trainer, curve, met = trained_by([5.0, 3.0, 4.0, 3.0, 9.0, 9.0], patience=2)
    assert [point.validation for point in curve] == [5.0, 3.0, 4.0, 3.0]
    assert trainer.best_epoch == 2
    assert torch.equal(trainer.model.dense, met[1])


def test_without_patience_every_epoch_is_done_and_the_best_is_kept() -> None:
    trainer, curve, met = trained_by([5.0, 3.0, 4.0, 6.0, 7.0], patience=None)
    assert len(curve) == 5
    assert torch.equal(trainer.model.dense, met[1])


@pytest.mark.parametrize("costs", [[None] * 4, [math.nan] * 4])
def test_where_nothing_validates_the_last_epoch_is_kept(costs: list[float | None]) -> None:
    trainer, curve, met = trained_by(costs, patience=1)
    assert trainer.best_epoch == len(curve) == 4
    assert [point.validation for point in curve] == [None] * 4
    assert torch.equal(trainer.model.dense, met[-1])


@pytest.mark.parametrize("stop_after", [0, 3, 7, 12, 16])
def test_a_resumed_training_keeps_the_same_best_and_ends_in_the_same_epoch(tmp_path: Path, stop_after: int) -> None:
    settings = replace(SETTINGS, epochs=6, patience=2, state_dropout=0.2)

    def training(store: Folder | None, stop_after: int | None) -> Trainer[Hrnn]:
        asked = iter(range(10_000))
        return Trainer(
            fresh_model(settings=settings),
            [TrainingPart(SEQUENCES, USERS)],
            settings,
            store=store,
            should_stop=None if stop_after is None else lambda: next(asked) >= stop_after,
            heldout_loss=lambda model: abs(float(model.dense.abs().sum()) - PREFERRED),
        )

    whole = training(None, None)
    sizes = [float(whole.model.dense.detach().abs().sum())]
    PREFERRED = sizes[0] * 1.02
    curve = whole.run()
    assert 0 < whole.best_epoch < len(curve) < 6
    store = Folder(tmp_path / "c")
    with pytest.raises(Stopped):
        training(store, stop_after).run()
    resumed = training(store, None)
    assert [point.validation for point in resumed.run()] == [point.validation for point in curve]
    assert resumed.best_epoch == whole.best_epoch
    assert torch.equal(resumed.model.dense, whole.model.dense)
    assert torch.equal(resumed.model.item_table, whole.model.item_table)
    finished = training(store, None)
    finished.run()
    assert torch.equal(finished.model.dense, whole.model.dense)


def test_only_the_ratios_of_event_weights_matter() -> None:
    models = []
    for of_type in ([0.3, 0.1, 0.2], [0.6, 0.2, 0.4]):
        model = double(fresh_model())
        rules = EventRules(tuple(EventRule(f"type {code}", None, weight) for code, weight in enumerate(of_type)))
        weights = event_weights(rules, ["type 0", "type 1", "type 2"], SEQUENCES.event_types, None)
        Trainer(model, [TrainingPart(SEQUENCES, USERS, event_weights=weights)], SETTINGS).run()
        models.append(model)
    torch.testing.assert_close(models[0].dense, models[1].dense, atol=1e-9, rtol=0)
    torch.testing.assert_close(models[0].item_table, models[1].item_table, atol=1e-9, rtol=0)


def test_events_of_weight_zero_are_read_but_are_no_targets() -> None:
    targets = (SEQUENCES.event_types == 1).astype(np.float32)
    settings = replace(SETTINGS, epochs=1, exact_below=100, item_rate=0.0, dense_rate=0.0)
    statistics = Trainer(fresh_model(), [TrainingPart(SEQUENCES, USERS, event_weights=targets)], settings).run()[0].loss
    of_all = Trainer(fresh_model(), [TrainingPart(SEQUENCES, USERS)], settings).run()[0].loss
    costs = []
    for position in np.flatnonzero(targets):
        only = np.zeros_like(targets)
        only[position] = 1.0
        costs.append(Trainer(fresh_model(), [TrainingPart(SEQUENCES, USERS, event_weights=only)], settings).run()[0].loss)
    assert statistics == pytest.approx(np.mean(costs), abs=1e-5)
    assert statistics != pytest.approx(of_all, abs=1e-5)


RATES = OptimiserSpec(item_rate=0.2, dense_rate=0.1)
IN_TURN = (
    Phase(name="dense", batching="lanes", epochs=2, optimiser=RATES, trains=lambda name: name == "dense"),
    Phase(name="items", batching="lanes", epochs=1, optimiser=RATES, trains=lambda name: name == "item_table"),
    Phase(name="all", batching="lanes", epochs=2, optimiser=replace(RATES, momentum=0.3)),
)
BATCHES = LanePlan(SEQUENCES, USERS, SETTINGS.num_lanes, SETTINGS.num_steps, seed=0, epoch=0).num_windows


def in_phases(store: Folder | None = None, stop_after: int | None = None, costs: list[float] | None = None) -> Trainer[Hrnn]:
    """A training in three phases; stopped after some batches, or to its end."""
    asked, told = iter(range(10_000)), iter(costs or ())
    trainer = Trainer(
        fresh_model(),
        [TrainingPart(SEQUENCES, USERS)],
        replace(SETTINGS, patience=1),
        phases=IN_TURN,
        store=store,
        should_stop=None if stop_after is None else lambda: next(asked) >= stop_after,
        heldout_loss=None if costs is None else lambda model: next(told),
    )
    with contextlib.suppress(Stopped):
        trainer.run()
    return trainer


def test_each_phase_moves_its_own_parameters_and_no_others() -> None:
    ends = 2 * BATCHES, 3 * BATCHES, 5 * BATCHES
    fresh, (dense, items, whole) = fresh_model(), (in_phases(stop_after=end - 1).model for end in ends)
    assert torch.equal(dense.item_table, fresh.item_table)
    assert not torch.equal(dense.dense, fresh.dense)
    assert torch.equal(items.dense, dense.dense)
    assert not torch.equal(items.item_table, dense.item_table)
    assert not torch.equal(whole.dense, items.dense)
    assert not torch.equal(whole.item_table, items.item_table)


@pytest.mark.parametrize("stop_after", [0, BATCHES, 2 * BATCHES - 1, 2 * BATCHES, 3 * BATCHES, 4 * BATCHES + 1])
def test_a_training_in_phases_is_resumed_in_any_of_them_with_the_same_bits(tmp_path: Path, stop_after: int) -> None:
    whole, store = in_phases(), Folder(tmp_path / "c")
    in_phases(store, stop_after)
    assert checkpoint_names(store, "")
    resumed = in_phases(store)
    assert torch.equal(resumed.model.dense, whole.model.dense)
    assert torch.equal(resumed.model.item_table, whole.model.item_table)


def test_a_phase_starts_from_the_best_parameters_of_the_one_before_and_has_a_best_of_its_own() -> None:
    first_epoch = in_phases(stop_after=BATCHES - 1).model
    trainer = in_phases(costs=[2.0, 3.0, 9.0, 8.0, 8.5], stop_after=2 * BATCHES)  # stopped in the second phase's first batch
    assert torch.equal(trainer.model.dense, first_epoch.dense)
    assert in_phases(costs=[2.0, 3.0, 9.0, 8.0, 8.5]).best_epoch == 4


def test_a_phase_that_gets_no_better_gives_way_to_the_next() -> None:
    patient = Phase(batching="lanes", epochs=9, optimiser=OptimiserSpec(item_rate=0.1, dense_rate=0.1))
    told = iter([5.0, 6.0, 4.0, 3.0, 3.5])
    trainer = Trainer(
        fresh_model(),
        [TrainingPart(SEQUENCES, USERS)],
        replace(SETTINGS, patience=1),
        phases=[patient, patient],
        heldout_loss=lambda _: next(told),
    )
    assert [point.validation for point in trainer.run()] == [5.0, 6.0, 4.0, 3.0, 3.5]
    assert trainer.best_epoch == 4


@pytest.mark.parametrize("stop_after", [0, 4, 9, 14, 19, 24])
def test_parts_are_learnt_one_after_the_other_kept_and_resumed(tmp_path: Path, stop_after: int) -> None:
    first = SEQUENCES.truncate(USERS, np.full(len(USERS), 3))
    parts = [
        TrainingPart(first, USERS, "first", epochs=1, keep=True, measured=False),
        TrainingPart(SEQUENCES, USERS, "second", epochs=2, keep=True, measured=False),
        TrainingPart(SEQUENCES, USERS, "third", epochs=1, measured=False, starts_from="first"),
    ]

    def training(store: Folder | None, stop_after: int | None = None) -> Trainer[Hrnn]:
        asked = iter(range(10_000))
        should_stop = None if stop_after is None else lambda: next(asked) >= stop_after
        return Trainer(fresh_model(), parts, SETTINGS, store=store, should_stop=should_stop, heldout_loss=lambda _: 1.0)

    whole = training(None)
    curve = whole.run()
    assert [point.epoch for point in curve] == [1, 2, 3, 4]
    assert [point.validation for point in curve] == [None] * 4
    assert set(whole.kept) == {"first", "second"}
    alone = Trainer(fresh_model(), parts[:1], SETTINGS)
    alone.run()
    assert torch.equal(whole.kept["first"]["item_table"], alone.model.item_table)
    store = Folder(tmp_path / "c")
    with pytest.raises(Stopped):
        training(store, stop_after).run()
    resumed = training(store)
    resumed.run()
    assert torch.equal(resumed.model.item_table, whole.model.item_table)
    for part, parameters in whole.kept.items():
        for name, values in parameters.items():
            assert torch.equal(resumed.kept[part][name], values)


def test_each_part_has_its_share_of_the_time() -> None:
    """At no time at all, a part ends with its first step, and the next one begins."""
    parts = [TrainingPart(SEQUENCES, USERS, name, epochs=1, keep=True, measured=False) for name in ("first", "second")]
    trainer = Trainer(fresh_model(), parts, replace(SETTINGS, time_limit_seconds=0.0))
    assert [point.step for point in trainer.run()] == [1, 2]
    assert set(trainer.kept) == {"first", "second"}
