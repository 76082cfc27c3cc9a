"""What every neural model of the registry keeps to, on data whose answer is obvious (hrnn/models/contract.py)."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pretended_gpu import pretended_gpu
from small_sequences import circular_histories, random_histories, sequences_of
from thread_ranks import together
from torch import Tensor

from hrnn.blend.snapshots import PlainSnapshot
from hrnn.data.arrays import Floats, Rows
from hrnn.data.ragged import Ragged
from hrnn.data.sequences import Sequences, unknown_user
from hrnn.data.sparse_scores import SparseScores
from hrnn.explain.engine import Explainer, Lists
from hrnn.models.contract import DataSpec, Queries, SequenceModel
from hrnn.models.registry import document, model_for, registry
from hrnn.training.batching import BATCHINGS
from hrnn.training.distributed import Ranks
from hrnn.training.negatives import NegativeSampler
from hrnn.training.parts import TrainingPart
from hrnn.training.settings import TrainingSettings
from hrnn.training.step import TrainingStep, with_targets
from hrnn.training.trainer import Stopped, Trainer
from jobs.train.checkpoints import WorkspaceCheckpoints
from schemas.recipes import RECIPES, _own_recipe

NEURAL = sorted(name for name, entry in registry().items() if entry.neural is not None)
CLOSED_FORM = sorted(name for name, entry in registry().items() if entry.fit is not None)
SEQUENCES = sequences_of(random_histories(40, 20))
TYPES = np.random.default_rng(0).integers(0, 3, len(SEQUENCES.item_rows)).astype(np.int32)
SEQUENCES = replace(SEQUENCES, event_types=TYPES)
USERS = np.arange(SEQUENCES.num_users)
SETTINGS = TrainingSettings(
    num_lanes=8, num_steps=5, epochs=2, num_negatives=8, exact_below=0, gap_inputs=True, type_inputs=True
)


def config_of(recipe: str, width: int = 6) -> dict[str, Any]:
    """The recipe's defaults, with a small model."""
    return RECIPES[recipe].hyperparameters().model_dump() | {"hidden_dimension": width}


def fresh(
    recipe: str, settings: TrainingSettings = SETTINGS, sequences: Sequences = SEQUENCES, width: int = 6
) -> SequenceModel:
    neural = model_for(recipe).neural
    assert neural is not None
    return neural.build(config_of(recipe, width), settings, DataSpec.of(sequences, sequences))


def trainer_of(
    recipe: str, model: SequenceModel, settings: TrainingSettings = SETTINGS, **others: Any
) -> Trainer[SequenceModel]:
    return Trainer(model, [TrainingPart(SEQUENCES, USERS)], settings, phases=model_for(recipe).phases(settings), **others)


def assert_same(one: SequenceModel, other: SequenceModel) -> None:
    for (name, values), (_, others) in zip(one.named_parameters(), other.named_parameters(), strict=True):
        assert torch.equal(values, others), name


def assert_close(one: Queries, other: Queries) -> None:
    torch.testing.assert_close(one.same_session, other.same_session, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(one.next_session, other.next_session, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("recipe", NEURAL)
def test_it_learns_which_item_comes_next(recipe: str) -> None:
    sequences = sequences_of(circular_histories(80, 12))
    settings = TrainingSettings(num_lanes=4, num_steps=8, epochs=8, num_negatives=64)
    model = fresh(recipe, settings, sequences, width=16)
    entry, users = model_for(recipe), np.arange(80)
    Trainer(model, [TrainingPart(sequences, users)], settings, phases=entry.phases(settings)).run()
    items = model.items()
    scores = items.bias + model.queries(sequences, users).same_session @ items.vectors.t()
    last = sequences.item_rows[sequences.user_offsets[1:] - 1]
    assert (scores.argmax(dim=1).numpy() == (last + 1) % 12).mean() > 0.9


@pytest.mark.parametrize("recipe", NEURAL)
def test_the_same_seed_gives_the_same_bits_and_another_seed_others(recipe: str) -> None:
    one, again, other = (fresh(recipe, replace(SETTINGS, seed=seed)) for seed in (0, 0, 1))
    assert_same(one, again)
    assert not torch.equal(one.item_table, other.item_table)
    for model in (one, again):
        trainer_of(recipe, model).run()
    assert_same(one, again)


@pytest.mark.parametrize("recipe", NEURAL)
def test_a_stored_model_answers_as_the_one_that_was_trained(recipe: str) -> None:
    model = fresh(recipe)
    trainer_of(recipe, model).run()
    sizes = json.loads(json.dumps(model.sizes))
    again = type(model).restored(sizes, {name: values.detach().clone() for name, values in model.named_parameters()})
    assert_same(model, again)
    for one, other in zip(model.queries(SEQUENCES, USERS), again.queries(SEQUENCES, USERS), strict=True):
        assert torch.equal(one, other)
    assert all(map(torch.equal, model.items(), again.items()))


@pytest.mark.parametrize("recipe", NEURAL)
def test_what_comes_later_changes_no_earlier_query(recipe: str) -> None:
    settings = replace(SETTINGS, within_session_only=False)
    model = fresh(recipe, settings)
    batching = BATCHINGS[model_for(recipe).phases(settings)[0].batching](SEQUENCES, USERS, settings, Ranks.alone())
    batch = with_targets(batching.batch(0, 0), None, within_session_only=False)
    carry = model.initial_carry(batching.num_lanes)
    vectors = model.items().vectors
    whole, _ = model.encode(vectors[torch.from_numpy(batch.items)], replace(batch, target_places=None), carry)
    whole = whole.view(*batch.items.shape, -1)
    for step in range(len(batch.items)):
        changed = batch.items.copy()
        changed[step:] = (changed[step:] + 7) % SEQUENCES.num_items  # a query must not see the event that it predicts, either
        other, _ = model.encode(vectors[torch.from_numpy(changed)], replace(batch, target_places=None), carry)
        assert torch.equal(other.view_as(whole)[: step + 1], whole[: step + 1])


@pytest.mark.parametrize("recipe", NEURAL)
def test_users_are_asked_together_as_they_are_alone_and_in_any_order(recipe: str) -> None:
    model = fresh(recipe)
    trainer_of(recipe, model).run()
    together_, order = model.queries(SEQUENCES, USERS), np.random.default_rng(0).permutation(USERS)
    assert_close(Queries(*(each[torch.from_numpy(np.argsort(order))] for each in model.queries(SEQUENCES, order))), together_)
    for user in (0, 7, 39):
        assert_close(model.queries(SEQUENCES, np.asarray([user])), Queries(*(each[[user]] for each in together_)))


@pytest.mark.parametrize("recipe", NEURAL)
def test_hidden_events_and_other_users_change_nothing(recipe: str) -> None:
    model, keep = fresh(recipe), np.minimum(SEQUENCES.history_lengths, 2)
    cut = model.queries(SEQUENCES.truncate(USERS, keep), USERS)
    items = SEQUENCES.item_rows.copy()
    hidden = np.ones(len(items), dtype=np.bool_)
    hidden[SEQUENCES.truncate(USERS, keep).event_positions(USERS).values] = False
    items[hidden] = (items[hidden] + 5) % SEQUENCES.num_items
    assert_close(model.queries(replace(SEQUENCES, item_rows=items).truncate(USERS, keep), USERS), cut)


@pytest.mark.parametrize("recipe", NEURAL)
def test_one_event_no_event_and_nobody_are_answered(recipe: str) -> None:
    model = fresh(recipe)
    nobody = model.queries(unknown_user(SEQUENCES.num_items), np.zeros(1, dtype=np.int64))
    empty = model.queries(SEQUENCES.truncate(USERS, np.zeros_like(USERS)), USERS)
    assert_close(Queries(*(each[[3]] for each in empty)), nobody)
    one = model.queries(SEQUENCES.truncate(USERS, np.ones_like(USERS)), USERS)
    none: Rows = np.zeros(0, dtype=np.int64)
    assert all(bool(torch.isfinite(each).all()) for each in (*nobody, *one))
    assert [len(each) for each in model.queries(SEQUENCES, none)] == [0, 0]
    assert one.same_session.shape == one.next_session.shape == (len(USERS), model.items().vectors.shape[1])


@pytest.mark.parametrize("recipe", NEURAL)
def test_gradients_agree_with_finite_differences(recipe: str) -> None:
    settings = replace(SETTINGS, num_lanes=3, num_steps=4, num_negatives=5)
    model = fresh(recipe, settings, width=2).double()
    batching = BATCHINGS[model_for(recipe).phases(settings)[0].batching](SEQUENCES, USERS[:8], settings, Ranks.alone())
    batch = replace(with_targets(batching.batch(0, 0), None, within_session_only=False), dropout_seed=(0, 0, 0))
    negatives = NegativeSampler(SEQUENCES.item_counts(), alpha=0.75, num_samples=5, seed=0).draw(0, 0)
    rows = np.unique(np.concatenate([batch.items.reshape(-1), negatives.item_rows]))
    step = TrainingStep(model, settings)
    dense = {name: values for name, values in step.named_parameters() if name != "model.item_table"}

    def cost(table: Tensor, *values: Tensor) -> Tensor:
        carry = {name: of_lanes.double() for name, of_lanes in model.initial_carry(batching.num_lanes).items()}
        replaced = dict(zip(dense, values, strict=True))
        loss: Tensor = torch.func.functional_call(step, replaced, (table, rows, batch, negatives, carry))[0]
        return loss

    learnt = [model.item_table[torch.from_numpy(rows)], *dense.values()]
    assert torch.autograd.gradcheck(cost, [values.detach().clone().requires_grad_() for values in learnt])


@pytest.mark.parametrize("recipe", NEURAL)
def test_any_number_of_ranks_learns_what_one_learns(recipe: str) -> None:
    settings = replace(SETTINGS, state_dropout=0.0, in_batch_negatives=True)

    def work(ranks: Ranks) -> SequenceModel:
        trainer = trainer_of(recipe, fresh(recipe, settings).double(), settings, ranks=ranks)
        trainer.run()
        return trainer.model

    alone, (first, second) = together(1, work)[0], together(2, work)
    assert_same(first, second)
    for (name, values), (_, others) in zip(alone.named_parameters(), first.named_parameters(), strict=True):
        torch.testing.assert_close(values, others, atol=1e-9, rtol=0, msg=name)


@pytest.mark.parametrize("recipe", NEURAL)
def test_a_stopped_training_ends_with_the_bits_of_an_uninterrupted_one(recipe: str, tmp_path: Path) -> None:
    settings, whole = replace(SETTINGS, input_dropout=0.1), fresh(recipe)
    whole = fresh(recipe, settings)
    trainer_of(recipe, whole, settings).run()
    asked, store, model = iter(range(100)), WorkspaceCheckpoints(str(tmp_path / "checkpoints")), fresh(recipe, settings)
    with pytest.raises(Stopped):
        trainer_of(recipe, model, settings, store=store, should_stop=lambda: next(asked) >= 5).run()
    assert not torch.equal(model.item_table, whole.item_table)
    resumed = fresh(recipe, settings)
    trainer_of(recipe, resumed, settings, store=store).run()
    assert_same(resumed, whole)


@pytest.mark.parametrize("recipe", NEURAL)
def test_items_that_nobody_had_keep_their_first_row(recipe: str) -> None:
    more = replace(SEQUENCES, num_items=25)
    model = fresh(recipe, sequences=more)
    before = model.item_table.detach().clone()
    Trainer(model, [TrainingPart(more, USERS)], SETTINGS, phases=model_for(recipe).phases(SETTINGS)).run()
    assert torch.equal(model.item_table[20:], before[20:])
    assert not torch.equal(model.item_table[:20], before[:20])


@pytest.mark.parametrize("recipe", CLOSED_FORM)
def test_models_in_closed_form_answer_for_everybody(recipe: str) -> None:
    fit = model_for(recipe).fit
    assert fit is not None
    model = fit(SEQUENCES, RECIPES[recipe].hyperparameters())
    vectors, bias = model.items()
    assert len(vectors) == len(bias) == SEQUENCES.num_items
    for sequences in (SEQUENCES, SEQUENCES.truncate(USERS, np.zeros_like(USERS))):
        states = PlainSnapshot(model).user_states(sequences, USERS)
        assert states.query.shape == (len(USERS), vectors.shape[1])
        assert states.sparse.offsets[-1] == len(states.sparse.item_rows) == len(states.sparse.scores)
        assert np.isfinite((states.query @ vectors.t() + bias).numpy()).all()
        assert ((states.sparse.item_rows >= 0) & (states.sparse.item_rows < SEQUENCES.num_items)).all()


@pytest.mark.parametrize("recipe", [*NEURAL, *CLOSED_FORM])
def test_past_items_contribute_by_how_much_scores_fall_without_them(recipe: str) -> None:
    fit, user = model_for(recipe).fit, np.asarray([7])
    model = fit(SEQUENCES, RECIPES[recipe].hyperparameters()) if fit is not None else fresh(recipe)
    vectors, bias = model.items()

    def centred_scores(sequences: Sequences) -> Floats:
        query, sparse = PlainSnapshot(model).user_states(sequences, user)
        scores: Floats = (query @ vectors.t() + bias)[0].numpy() + sparse.dense(0, SEQUENCES.num_items)
        return scores - scores.mean()

    def sparse_scores(histories: Sequences, user_rows: Rows, queries: Queries) -> SparseScores:
        return model.sparse_scores(histories, user_rows) or SparseScores.none(len(user_rows))

    query, sparse = PlainSnapshot(model).user_states(SEQUENCES, user)
    features = torch.cat([vectors, bias[:, None]], dim=1).numpy()
    listed = Ragged.from_rows([np.arange(SEQUENCES.num_items)], np.int64)
    lists = Lists(user, np.zeros(1, dtype=np.bool_), np.append(query.numpy(), [[1.0]], axis=1), sparse, listed)
    reasons = Explainer(model, None, features, SEQUENCES.num_items).explain(SEQUENCES, lists, sparse_scores)
    np.testing.assert_allclose(reasons.total, centred_scores(SEQUENCES), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(reasons.paths.sum(axis=1), reasons.total)
    events = SEQUENCES.event_positions(user).values
    for past_item, contributions in zip(reasons.past_items[0], reasons.contributions.T, strict=True):
        kept = np.ones(len(SEQUENCES.item_rows), dtype=np.bool_)
        kept[events[SEQUENCES.item_rows[events] == past_item]] = False
        falls = centred_scores(SEQUENCES) - centred_scores(SEQUENCES.only(kept))
        np.testing.assert_allclose(contributions, falls, rtol=1e-5, atol=1e-5 * max(1.0, np.abs(falls).max()))
    assert set(reasons.past_items[0]) == set(SEQUENCES.item_rows[events])


def test_what_models_say_of_their_recipes_is_stored_for_who_cannot_import_them() -> None:
    stored = json.loads((Path(__file__).parents[2] / "schemas" / "models.json").read_text())
    assert stored == json.loads(json.dumps(document())), "run: python -m hrnn.models.registry > schemas/models.json"
    for entry in registry().values():
        for recipe in entry.described:
            assert RECIPES[recipe.name].hyperparameters.parameters() == recipe.hyperparameters.parameters()


@pytest.mark.parametrize("recipe", [name for name, recipe in RECIPES.items() if recipe.available])
def test_a_recipe_says_whether_it_is_fitted_in_closed_form(recipe: str) -> None:
    assert RECIPES[recipe].closed_form == (model_for(recipe).fit is not None)


@pytest.mark.parametrize("recipe", NEURAL)
@pytest.mark.parametrize("world_size", [1, 3])
def test_an_epoch_is_about_every_event_once(recipe: str, world_size: int) -> None:
    users = USERS[3:30]
    made_by = BATCHINGS[model_for(recipe).phases(SETTINGS)[0].batching]
    ranks = [made_by(SEQUENCES, users, SETTINGS, Ranks(rank, world_size, torch.device("cpu"))) for rank in range(world_size)]
    events, targets, shapes = 0, list[int](), set[tuple[int, ...]]()
    for epoch in (0, 1):
        for number in range(ranks[0].num_batches(epoch)):
            batches = [each.batch(epoch, number) for each in ranks]
            assert len({batch.items.shape for batch in batches}) == 1, "ranks must exchange arrays of one shape"
            shapes.add(batches[0].items.shape)
            for batch in batches:
                events += batch.num_events
                asked = with_targets(batch, None, within_session_only=True)
                at = np.arange(batch.items.size) if asked.target_places is None else asked.target_places
                targets += batch.positions.reshape(-1)[at].tolist()
    mine = SEQUENCES.event_positions(users).values
    assert events == 2 * len(mine)
    assert sorted(targets) == sorted([*mine[~SEQUENCES.session_starts[mine]]] * 2)
    assert len(shapes) < 20, "each new shape costs a compilation"


@pytest.mark.parametrize("recipe", NEURAL)
def test_it_is_trained_and_asked_on_a_gpu_as_on_the_cpu(recipe: str) -> None:
    settings = replace(SETTINGS, state_dropout=0.0, score_precision="float32", epochs=1)

    def trained(ranks: Ranks) -> Trainer[SequenceModel]:
        trainer = trainer_of(recipe, fresh(recipe, settings).double(), settings, ranks=ranks)
        trainer.run()
        return trainer

    with pretended_gpu() as gpu:
        there = trained(Ranks.alone()).model
        assert {values.device.type for values in there.parameters()} == {"cpu"}
        on_gpu = there.to(gpu).queries(SEQUENCES, USERS)
        there.to(torch.device("cpu"))
    here = trained(Ranks.alone()).model
    for (name, values), (_, others) in zip(there.named_parameters(), here.named_parameters(), strict=True):
        torch.testing.assert_close(values, others, atol=1e-9, rtol=0, msg=name)
    assert_close(on_gpu, here.queries(SEQUENCES, USERS))


def test_all_that_a_model_says_of_its_recipe_is_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    [said] = model_for("hrnn-gru4rec").described
    odd = replace(said, name="odd", line_kind="item", has_scores=False, auto_ml=True, reads_interactions=False, refusal="odd")
    entry = replace(model_for("hrnn-gru4rec"), recipes=("odd",), described=(odd,))
    monkeypatch.setattr("hrnn.models.registry.registry", lambda: {"odd": entry})
    stored = _own_recipe("odd", document()["odd"])
    assert replace(stored, hyperparameters=odd.hyperparameters) == odd
