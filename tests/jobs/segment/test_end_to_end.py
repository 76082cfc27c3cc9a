"""From CSV files to segments: the commands, as people run them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from commands import hrnn
from small_shop import write_shop

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.slow


@pytest.mark.timeout(900)
def test_users_of_items_with_an_attribute(spark: SparkSession, tmp_path: Path) -> None:
    write_shop(tmp_path / "data")
    data = tmp_path / "data"
    for dataset, source in (("interactions", "raw/interactions"), ("items", "raw/items.csv")):
        schema = str(data / f"schemas/{dataset}.json")
        hrnn("validate", "--schema", schema, "--data", str(data / source), "--output", str(tmp_path / dataset))
    sequences, solution, output = (str(tmp_path / name) for name in ("sequences", "solution", "out"))
    typed = ["--interactions", str(tmp_path / "interactions"), "--items", str(tmp_path / "items")]
    hrnn("sessionize", *typed, "--output", sequences)
    small = ["--hyperparameters", '{"hidden_dimension": "32"}', "--epochs", "1"]
    trained = hrnn("train", "--sequences", sequences, "--recipe", "aws-item-attribute-affinity", "--output", solution, *small)
    assert list(trained["metrics"]) == ["coverage", "hits_at_1_percent", "recall_at_1_percent"]

    asked = [{"itemAttributes": f'ITEMS.GENRES = "{genre}"'} for genre in ("b", "z")]
    (tmp_path / "asked.json").write_text("".join(json.dumps(line) + "\n" for line in asked))
    places = ["--solution", solution, "--input", str(tmp_path / "asked.json"), "--output", output]
    summary = hrnn("segment", *places, "--num-results", "400")
    assert (summary["lines"], summary["errors"]) == (2, 1)
    good, bad = (json.loads(line) for line in (tmp_path / "out" / "asked.json.out").read_text().splitlines())
    assert (good["input"], good["error"]) == (asked[0], None)
    assert bad["output"] is None
    rows = [row.split(",") for part in (data / "raw/interactions").iterdir() for row in part.read_text().splitlines()[1:]]
    assert sorted(good["output"]["usersList"]) == sorted({row[0] for row in rows})
    # Nobody goes from a "b" to another one (small_shop: steps of 1, 2 and 5), so those who have just had one come last.
    had_one = {row[0]: int(row[1].removeprefix("item-")) % 3 == 1 for row in sorted(rows, key=lambda row: int(row[2]))}
    users = good["output"]["usersList"]
    assert sum(had_one[user] for user in users[:60]) < sum(had_one[user] for user in users[-60:])
