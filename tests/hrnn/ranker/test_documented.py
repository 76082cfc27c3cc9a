from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from hrnn.blend import cooccurrence
from hrnn.data.metadata import ItemValues, Metadata
from hrnn.data.ragged import Ragged
from hrnn.ranker.candidates import MOST
from hrnn.ranker.features import FEATURES
from hrnn.ranker.knowledge import HALF_LIVES
from hrnn.ranker.metadata import feature_names

PAGE = (Path(__file__).parents[3] / "docs" / "models" / "ranker.md").read_text()


def test_every_feature_stands_on_the_page() -> None:
    """By name, or within a family that is named by its first and last: `own`, … `one_session`."""
    table = PAGE[PAGE.index("## Features") : PAGE.index("### What the datasets say")]
    named = set(re.findall(r"`([a-z0-9_]+)`", table))
    families = {"own", "symmetric"} | {"one_session", cooccurrence.FEATURES[-1]}
    assert families <= named
    for feature in FEATURES:
        stem = re.sub(r"_(5min|20min|1h|4h|12h|2d|1w|4w|16w|1d|7d|28d)$", "", feature)
        in_family = feature in FEATURES[: FEATURES.index(cooccurrence.FEATURES[-1]) + 1]
        assert in_family or feature in named or any(name.startswith(stem) for name in named) or feature.endswith("_rank"), (
            feature
        )
    unknown = {name for name in named if not name.startswith("_") and name not in FEATURES}
    assert unknown <= {"_16w"}, unknown


def test_everything_that_is_said_of_columns_stands_on_the_page() -> None:
    section = PAGE[PAGE.index("### What the datasets say") : PAGE.index("## Why an item is listed")]
    one_each = Ragged(np.arange(2), np.zeros(1, np.int64))
    values = {name: ItemValues(one_each, np.ones(1, np.float32), 1, words=name == "T") for name in ("X", "T")}
    codes, numbers = {"X": np.zeros(1, np.int32)}, {"X": np.zeros(1, np.float32)}
    for name in feature_names(Metadata(values, numbers, codes, codes, numbers, ("T", "U"))):
        column, _, kind = name.partition(" ")
        assert f"`{kind}`" in section or f" {kind}`" in section or name in section, name
        assert f"`{column} ".replace(".T", ".X").replace("=U", "=T") in section or column == "fits", name


def test_the_page_counts_candidates_as_the_code_does() -> None:
    for source, most in MOST.items():
        assert f" {most} " in PAGE, source
    assert len(HALF_LIVES) == 9
