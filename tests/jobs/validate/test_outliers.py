"""Tukey's outer fences from histograms."""

from __future__ import annotations

from typing import Any

import pytest

from jobs.validate.outliers import outliers


@pytest.mark.parametrize(
    ("histogram", "fences"),
    [
        ([], None),
        ([[5, 5, 100]], None),
        ([[0, 0, 90], [1, 1.1, 10]], None),
        # The typical size is 4, so quartiles lie at asinh(2/4) and asinh(8/4): 0.4812 and 1.4436.
        ([[1, 2, 100], [2, 4, 100], [4, 8, 100], [8, 16, 100]], (-22.0, 152.0, 0)),
        ([[1, 2, 250], [2, 4, 250], [4, 8, 250], [8, 16, 250], [100, 110, 1], [1000, 1100, 3]], (-22.4, 155.0, 3)),
        ([[-30, -29, 2], [1, 2, 250], [2, 4, 250], [4, 8, 250], [8, 16, 250]], (-22.4, 153.0, 2)),
        ([[-16, -8, 100], [-8, -4, 100], [-4, -2, 100], [-2, -1, 100]], (-152.0, 22.0, 0)),
        ([[1, 2, 100], [2, 4, 100], [4, 8, 100], [100, 200, 1]], (-6.83, 43.3, 1)),
    ],
)
def test_outliers_lie_beyond_the_outer_fences(histogram: Any, fences: tuple[float, float, int] | None) -> None:
    found = outliers(histogram)
    if fences is None or found is None:
        assert found is fences
        return
    assert (found.lowest, found.highest) == pytest.approx(fences[:2], rel=0.02)
    assert found.count == fences[2]
