"""A ranked snapshot of the habitual shop, with metadata of every kind; its trees have seen one day."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from habitual_shop import DAY, START, habitual_shop, metadata_of

from hrnn.blend.item_statistics import ItemStatistics
from hrnn.blend.snapshots import BlendedModel, ServingSnapshot
from hrnn.blend.weights import FEATURES as BLEND
from hrnn.blend.weights import BlendWeights
from hrnn.data.metadata import Metadata
from hrnn.evaluation.settings.next_period import cut_at
from hrnn.models.contract import DataSpec
from hrnn.models.hrnn import Hrnn
from hrnn.ranker.candidates import CandidateSources
from hrnn.ranker.features import features_of, names_of
from hrnn.ranker.knowledge import Knowledge
from hrnn.ranker.snapshot import RankedSnapshot
from hrnn.ranker.trees import OBJECTIVES, Examples, Growing, Ranker
from hrnn.training.settings import TrainingSettings

_SHOP = habitual_shop()
SHOP = replace(_SHOP, event_types=(_SHOP.timestamps // 60 % 2).astype(np.int32))
METADATA = metadata_of(SHOP)
END = START + 30 * DAY


def weights_of_the_shop() -> BlendWeights:
    """Some of every path, others for the next session than for the same."""
    random = np.random.default_rng(4)
    return BlendWeights(*(random.normal(0, 0.1, len(BLEND)).astype(np.float32) for _ in range(2)))


def model_of_the_shop() -> Hrnn:
    """Untrained."""
    return Hrnn.build({"hidden_dimension": 4}, TrainingSettings(), DataSpec(np.ones(SHOP.num_items, dtype=np.int64), 1))


def knowledge_at(moment: int, metadata: Metadata = METADATA) -> Knowledge:
    """Of the shop."""
    known = SHOP.before(moment)
    blended = BlendedModel(model_of_the_shop(), weights_of_the_shop(), ItemStatistics.of(known))
    return Knowledge.of(known, ServingSnapshot(blended, moment, 1_800), metadata)


def ranked_shop(metadata: Metadata = METADATA) -> RankedSnapshot:
    """At the end of the data, by forty trees of each objective that have seen the day before."""
    earlier = knowledge_at(END - DAY, metadata)
    night = cut_at(SHOP, END - DAY - 1, DAY)
    candidates = CandidateSources(earlier).of(earlier.sequences, night.user_rows)
    keys = candidates.items.row_ids() * SHOP.num_items + candidates.items.values
    true = night.truth.row_ids() * SHOP.num_items + night.truth.values
    features = features_of(earlier, earlier.sequences, night.user_rows, candidates)
    growing = Growing([Examples(features, np.isin(keys, true), candidates.items.lengths)])
    trees = tuple(replace(growing.trees(objective, 40, seed=1), scale=0.7) for objective in OBJECTIVES)
    return RankedSnapshot(knowledge_at(END, metadata), Ranker(names_of(metadata), trees))
