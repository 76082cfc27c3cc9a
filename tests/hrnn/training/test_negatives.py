from __future__ import annotations

import numpy as np
import pytest

from hrnn.training.negatives import NegativeSampler

COUNTS = np.asarray([50, 30, 0, 20, 10, 5, 1, 1], dtype=np.int64)


def times_drawn(alpha: float, windows: int = 400, num_samples: int = 5) -> np.ndarray:
    """How often each item was drawn; weights give multiplicities back."""
    sampler = NegativeSampler(COUNTS, alpha=alpha, num_samples=num_samples, seed=1)
    share = np.where(COUNTS > 0, COUNTS.astype(float) ** alpha, 0.0)
    share /= share.sum()
    times = np.zeros(len(COUNTS))
    for window in range(windows):
        drawn = sampler.draw(0, window)
        times[drawn.item_rows] += np.exp(drawn.log_weight) * num_samples * share[drawn.item_rows]
    return times


@pytest.mark.parametrize("alpha", [0.0, 0.5, 0.75, 1.0])
def test_items_are_drawn_in_proportion_to_a_power_of_their_count(alpha: float) -> None:
    times, seen = times_drawn(alpha), COUNTS > 0
    expected = COUNTS[seen].astype(float) ** alpha
    expected *= times.sum() / expected.sum()
    chi_square = ((times[seen] - expected) ** 2 / expected).sum()
    assert times.sum() == pytest.approx(2_000)
    assert chi_square < 22.46  # 99.9 % of the distribution with 6 degrees of freedom
    assert times[~seen].sum() == 0


def test_the_correction_makes_the_sum_over_the_sample_an_unbiased_estimate_of_the_sum_over_the_catalogue() -> None:
    scores = np.linspace(-1, 1, len(COUNTS))
    sampler = NegativeSampler(COUNTS, alpha=0.75, num_samples=5, seed=0)
    estimates = []
    for window in range(4_000):
        drawn = sampler.draw(0, window)
        estimates.append(np.exp(scores[drawn.item_rows] + drawn.log_weight).sum())
    error = np.std(estimates) / np.sqrt(len(estimates))
    assert abs(np.mean(estimates) - np.exp(scores[COUNTS > 0]).sum()) < 4 * error


def test_draws_depend_on_seed_epoch_and_window_alone() -> None:
    counts = np.arange(1, 1_001)

    def draw(seed: int, epoch: int, window: int) -> list[int]:
        rows: list[int] = NegativeSampler(counts, alpha=0.5, num_samples=20, seed=seed).draw(epoch, window).item_rows.tolist()
        return rows

    assert draw(0, 1, 2) == draw(0, 1, 2)
    assert len({tuple(draw(*key)) for key in [(0, 1, 2), (1, 1, 2), (0, 2, 2), (0, 1, 3)]}) == 4


def test_a_catalogue_no_larger_than_the_sample_is_taken_whole() -> None:
    sampler = NegativeSampler(COUNTS, alpha=0.75, num_samples=7, seed=0)
    assert sampler.exact
    assert sampler.draw(0, 0).item_rows.tolist() == [0, 1, 3, 4, 5, 6, 7]
    assert not sampler.draw(0, 0).log_weight.any()


def test_negatives_are_distinct_and_rising() -> None:
    drawn = NegativeSampler(np.arange(1, 100), alpha=1.0, num_samples=50, seed=0).draw(0, 0).item_rows
    assert (np.diff(drawn) > 0).all()


def test_the_window_s_own_targets_can_be_negatives_too_and_the_estimate_stays_unbiased() -> None:
    scores, random = np.linspace(-1, 1, len(COUNTS)), np.random.default_rng(0)
    sampler = NegativeSampler(COUNTS, alpha=0.0, num_samples=3, seed=0)
    share = COUNTS / COUNTS.sum()
    estimates = []
    for window in range(4_000):
        targets = random.choice(len(COUNTS), 4, p=share)
        drawn = sampler.draw(0, window, targets)
        assert np.isin(targets, drawn.item_rows).all()
        estimates.append(np.exp(scores[drawn.item_rows] + drawn.log_weight).sum())
    error = np.std(estimates) / np.sqrt(len(estimates))
    assert abs(np.mean(estimates) - np.exp(scores[COUNTS > 0]).sum()) < 4 * error
