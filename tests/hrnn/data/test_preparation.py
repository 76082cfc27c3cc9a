"""Which events are learnt from, as sets of places in the sequences: nothing that is measured by leaks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_sequences import random_histories, sequences_of

from hrnn.data.sequences import Sequences
from hrnn.data.splits import Prepared, prepare

some_sequences = st.builds(
    lambda users, seed: sequences_of(random_histories(users, 9, seed), num_items=9), st.integers(2, 60), st.integers(0, 1000)
)


def places(sequences: Sequences, users: np.ndarray | None = None) -> set[int]:
    """Where the events of some users lie; None: of all."""
    rows = np.arange(sequences.num_users) if users is None else users
    return set(sequences.event_positions(rows).values.tolist())


def hidden_places(sequences: Sequences, prepared: Prepared) -> set[int]:
    ends = sequences.user_offsets[1:][prepared.split.user_rows]
    return {
        int(end - back)
        for end, count in zip(ends, prepared.split.truth_counts, strict=True)
        for back in range(1, int(count) + 1)
    }


@given(some_sequences)
def test_by_personalizes_split_nothing_of_a_test_user_is_learnt_from(sequences: Sequences) -> None:
    prepared = prepare(sequences, 0)
    tested, lengths = prepared.split.user_rows, sequences.history_lengths
    everything, hidden, kept = places(sequences), hidden_places(sequences, prepared), places(prepared.kept)
    fit_and_calibration, fit = places(prepared.fit_and_calibration), places(prepared.fit)
    assert hidden | kept == everything
    assert not hidden & kept
    assert fit <= fit_and_calibration <= kept
    with_two = int(np.count_nonzero(lengths >= 2))
    assert len(tested) == min(with_two, max(1, with_two // 10))
    assert prepared.split.truth_counts.tolist() == [max(1, length // 10) for length in lengths[tested].tolist()]
    if len(tested) < with_two:
        assert not fit_and_calibration & places(sequences, tested)
        assert fit_and_calibration == places(sequences, np.setdiff1d(np.arange(sequences.num_users), tested))
    else:
        assert fit_and_calibration == kept  # one user has two events: there is nobody else


@given(some_sequences)
def test_of_all_users_everything_is_learnt_from_but_what_is_hidden(sequences: Sequences) -> None:
    prepared = prepare(sequences, 0, split="all_users")
    assert (
        places(prepared.fit_and_calibration) == places(prepared.kept) == places(sequences) - hidden_places(sequences, prepared)
    )
    assert np.array_equal(prepared.split.user_rows, prepare(sequences, 0).split.user_rows)


@pytest.mark.parametrize("split", ["personalize", "all_users"])
@given(sequences=some_sequences)
def test_segments_hide_the_newest_fifth_of_everybody(split: str, sequences: Sequences) -> None:
    prepared = prepare(sequences, 0, holdout="everyone", split="all_users" if split == "all_users" else "personalize")
    lengths = sequences.history_lengths
    assert prepared.split.user_rows.tolist() == np.flatnonzero(lengths >= 2).tolist()
    hidden = np.where(lengths >= 2, np.maximum(1, lengths // 5), 0)
    assert (prepared.fit_and_calibration.history_lengths + hidden).tolist() == lengths.tolist()
    assert (
        places(prepared.kept) == places(prepared.fit_and_calibration) == places(sequences) - hidden_places(sequences, prepared)
    )
