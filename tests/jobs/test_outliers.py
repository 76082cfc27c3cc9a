"""Tukey's outer fences from histograms."""

from __future__ import annotations

from typing import Any

import pytest

from jobs.validation.outliers import outliers


@pytest.mark.parametrize(
    ("histogram", "fences"),
    [
        ([], None),
        ([[5, 5, 100]], None),
        ([[0, 0, 90], [1, 1.1, 10]], None),
        ([[0, 4, 4]], (-5.0, 9.0, 0)),  # quartiles 1 and 3
        ([[0, 4, 400], [9, 10, 1]], (-5.0125, 9.0225, 0)),  # a bin that the fence cuts is not counted
        ([[0, 4, 400], [10, 11, 1]], (-5.0125, 9.0225, 1)),
        ([[-11, -10, 1], [0, 4, 400]], (-5.0225, 9.0125, 1)),
    ],
)
def test_outliers_lie_beyond_the_outer_fences(histogram: Any, fences: tuple[float, float, int] | None) -> None:
    found = outliers(histogram)
    if fences is None or found is None:
        assert found is fences
        return
    assert (found.lowest, found.highest) == pytest.approx(fences[:2], abs=1e-9)
    assert found.count == fences[2]
