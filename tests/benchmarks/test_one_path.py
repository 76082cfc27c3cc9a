"""The lists that the bench measures are those that `hrnn recommend` writes: a figure that the product does not give is none."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bench_quality import DEFAULT
from called_jobs import recommend, train
from habitual_shop import DAY, START, habitual_shop
from one_rank import one_rank_here
from product_lists import BLEND, OURS, events_before, our_lists
from small_sequences import publish_sequences
from working_data import WorkingSet

from hrnn.data.metadata import Metadata
from hrnn.data.sequences import Sequences
from hrnn.evaluation.settings.next_period import cut_at

CUT = START + 29 * DAY - 1


def _as_in_a_catalogue(sequences: Sequences) -> Sequences:
    """Items in falling order of the events up to the cut, as sessionize numbers them."""
    rows = np.empty(sequences.num_items, dtype=np.int32)
    counts = sequences.before(CUT + 1).item_counts()
    rows[np.argsort(-counts, kind="stable")] = np.arange(sequences.num_items, dtype=np.int32)
    return replace(sequences, item_rows=rows[sequences.item_rows])


SHOP = _as_in_a_catalogue(habitual_shop())


@pytest.fixture(autouse=True, scope="module")
def _trained_here() -> Iterator[None]:
    with one_rank_here():
        yield


def test_the_bench_and_the_night_make_the_same_lists(tmp_path: Path) -> None:
    lag_hours = 3
    night = cut_at(SHOP, CUT, DAY, lag_seconds=lag_hours * 3_600)
    measured = our_lists(night, WorkingSet(gap_seconds=1_800, horizon_days=1), DEFAULT, Metadata(event_types=("x",)))
    assert not np.array_equal(measured[OURS], measured[BLEND])  # the ranker serves

    known = replace(night.training, kept=None).only(events_before(night))
    (tmp_path / "parts").mkdir()
    sequences = publish_sequences(known, str(tmp_path / "sequences"), tmp_path / "parts")
    solution, asked, output = (str(tmp_path / name) for name in ("solution", "asked.json", "output"))
    train(sequences_uri=sequences, output_uri=solution, gru_baseline=False, horizon_days=1.0, lag_hours=float(lag_hours))
    Path(asked).write_text("".join(json.dumps({"userId": f"user {row}"}) + "\n" for row in night.user_rows))
    recommend(solution_uri=solution, input_uri=asked, output_uri=output, num_results=25)
    lines = [json.loads(line) for line in Path(output, "asked.json.out").read_text().splitlines()]
    written = [[int(item.removeprefix("item ")) for item in line["output"]["recommendedItems"]] for line in lines]
    assert [line["input"]["userId"] for line in lines] == [f"user {row}" for row in night.user_rows]
    same = np.asarray(written) == measured[OURS]
    # Items with the same score change places by the last bits of a product of another shape.
    assert same.mean() > 0.995
    assert [set(row) for row in written] == [set(row) for row in measured[OURS].tolist()] or same.all(axis=1).mean() > 0.98
