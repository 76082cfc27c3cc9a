"""Nothing that happens after a moment has a part in what is known then: models, candidates and features are the same bits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from habitual_shop import DAY, START, habitual_shop, metadata_of, with_other_future

from hrnn.blend.item_statistics import ItemStatistics
from hrnn.blend.snapshots import BlendedModel, ServingSnapshot
from hrnn.blend.weights import BlendWeights
from hrnn.data.arrays import Rows
from hrnn.data.metadata import Metadata
from hrnn.data.sequences import Sequences
from hrnn.models.contract import DataSpec
from hrnn.models.hrnn import Hrnn
from hrnn.ranker.candidates import CandidateSources
from hrnn.ranker.features import FEATURES, features_of
from hrnn.ranker.knowledge import Knowledge
from hrnn.training.parts import TrainingPart, past_parts
from hrnn.training.settings import TrainingSettings
from hrnn.training.trainer import Trainer

SHOP = habitual_shop()
MOMENTS = tuple(START + day * DAY for day in (20, 22, 24))
SETTINGS = TrainingSettings(num_lanes=16, num_steps=8, epochs=1, exact_below=16, num_negatives=16)


def knowledge_of(sequences: Sequences, moment: int, model: Hrnn) -> Knowledge:
    blended = BlendedModel(model, BlendWeights.plain(), ItemStatistics.of(sequences.before(moment)))
    return Knowledge.of(sequences, ServingSnapshot(blended, moment, 1_800), metadata_of(sequences))


def untrained(num_items: int = SHOP.num_items) -> Hrnn:
    return Hrnn.build({"hidden_dimension": 8}, SETTINGS, DataSpec(np.ones(num_items, dtype=np.int64), 1))


def table_of(knowledge: Knowledge, users: Rows) -> tuple[np.ndarray, np.ndarray]:
    """Keys of candidates, and their features."""
    candidates = CandidateSources(knowledge).of(knowledge.sequences, users)
    keys = candidates.items.row_ids() * knowledge.sequences.num_items + candidates.items.values
    return keys, features_of(knowledge, knowledge.sequences, users, candidates)


@pytest.mark.parametrize("moment", MOMENTS)
def test_what_comes_after_a_moment_changes_no_candidate_and_no_feature(moment: int) -> None:
    model, users = untrained(), np.arange(0, SHOP.num_users, 5)
    tables = [table_of(knowledge_of(shop, moment, model), users) for shop in (SHOP, with_other_future(SHOP, moment))]
    np.testing.assert_array_equal(tables[0][0], tables[1][0])
    np.testing.assert_array_equal(tables[0][1], tables[1][1])
    # With a later moment they differ, so that the comparison can see a difference.
    later, _ = table_of(knowledge_of(SHOP, moment + DAY, model), users)
    assert not np.array_equal(later, tables[0][0])


def test_the_order_of_the_catalogue_which_the_future_decides_is_no_feature(monkeypatch: pytest.MonkeyPatch) -> None:
    model, users, moment = untrained(), np.arange(0, SHOP.num_users, 5), MOMENTS[0]
    monkeypatch.setitem(globals(), "metadata_of", lambda sequences: Metadata())  # that of items stands by their rows
    new_rows = np.random.default_rng(1).permutation(SHOP.num_items)
    renumbered = replace(SHOP, item_rows=new_rows[SHOP.item_rows].astype(np.int32))
    table = model.item_table.detach().clone()
    table[torch.from_numpy(new_rows)] = model.item_table.detach()
    other = Hrnn(model.shape, table, model.dense.detach())
    (keys, features), (other_keys, other_features) = (
        table_of(knowledge_of(shop, moment, of_shop), users) for shop, of_shop in ((SHOP, model), (renumbered, other))
    )
    mapped = keys // SHOP.num_items * SHOP.num_items + new_rows[keys % SHOP.num_items]
    order = np.argsort(mapped)
    # Sources that cut a run of equally good items cut it elsewhere: what both have is compared.
    both, here, there = np.intersect1d(mapped[order], other_keys, return_indices=True)
    assert len(both) > 0.9 * len(keys)
    ours, theirs = features[order[here]], other_features[there]
    ranks = [place for place, name in enumerate(FEATURES) if name.endswith("_rank")]
    for place in set(range(len(FEATURES))) - set(ranks):
        np.testing.assert_allclose(ours[:, place], theirs[:, place], rtol=2e-4, atol=2e-4, err_msg=FEATURES[place])


def kept_at_moments(shop: Sequences) -> dict[str, dict[str, torch.Tensor]]:
    first = shop.before(MOMENTS[0])
    parts = past_parts(first, shop, MOMENTS, None, epochs=1)
    model = Hrnn.build({"hidden_dimension": 8}, SETTINGS, DataSpec.of(shop, first))
    trainer = Trainer(model, parts, SETTINGS)
    trainer.run()
    return trainer.kept


@pytest.mark.parametrize("number", range(len(MOMENTS)))
def test_a_model_kept_at_a_moment_has_learnt_nothing_of_what_comes_after_it(number: int) -> None:
    ours, theirs = kept_at_moments(SHOP), kept_at_moments(with_other_future(SHOP, MOMENTS[number]))
    for earlier in range(number + 1):
        for name, values in ours[f"past_{earlier}"].items():
            assert torch.equal(values, theirs[f"past_{earlier}"][name]), (earlier, name)
    if number + 1 < len(MOMENTS):
        assert not torch.equal(ours[f"past_{number + 1}"]["item_table"], theirs[f"past_{number + 1}"]["item_table"])


def test_the_parts_of_the_past_learn_from_every_event_before_the_last_moment_once() -> None:
    learnt = SHOP.truncate(np.arange(0, 50), np.arange(0, 50))
    past = past_parts(learnt.before(MOMENTS[0]), learnt, MOMENTS, None, epochs=1)

    def targets(part: TrainingPart) -> list[tuple[int, int]]:
        sequences = part.sequences
        weights = np.ones(len(sequences.item_rows)) if part.event_weights is None else part.event_weights
        events = sequences.event_positions(part.user_rows)
        counted = weights[events.values] > 0
        users = part.user_rows[events.row_ids()]
        return sorted(zip(users[counted].tolist(), sequences.timestamps[events.values[counted]].tolist(), strict=True))

    of_all = learnt.before(MOMENTS[-1])
    found = [event for part in past for event in targets(part)]
    assert sorted(found) == targets(TrainingPart(of_all, np.flatnonzero(of_all.history_lengths)))
    assert [part.name for part in past] == ["past_0", "past_1", "past_2"]
    # A new event is read after those that it followed, which are no targets any more.
    assert past[1].event_weights is not None
    assert 0 < (past[1].event_weights == 0).sum() < len(past[1].event_weights)
