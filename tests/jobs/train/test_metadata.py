"""Metadata from CSV files to features: validated and sessionized by Spark, staged by the training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from called_jobs import sessionize, train, validate

from hrnn.data.metadata import Metadata
from jobs.platform.storage.folders import StepFolder
from jobs.solutions.metadata import stage_metadata
from jobs.solutions.staging import METADATA, stage
from schemas.errors import ConfigError
from schemas.training_columns import TrainingColumns

DATASETS: dict[str, tuple[list[dict[str, Any]], list[str]]] = {
    "Interactions": (
        [
            {"name": "USER_ID", "type": "string"},
            {"name": "ITEM_ID", "type": "string"},
            {"name": "TIMESTAMP", "type": "long"},
            {"name": "EVENT_TYPE", "type": "string"},
            {"name": "EVENT_VALUE", "type": ["null", "float"]},
            {"name": "DEVICE", "type": "string", "categorical": True},
            {"name": "AGAIN", "type": "boolean"},
            {"name": "NOTE", "type": "string"},
        ],
        [
            f"u{n % 3},i{n % 2},{1_700_000_000 + n},{'buy' if n % 4 else 'view'},{n if n % 5 else ''},{'ab'[n % 2]},"
            f"{'true' if n % 3 else 'false'},x"
            for n in range(40)
        ],
    ),
    "Items": (
        [
            {"name": "ITEM_ID", "type": "string"},
            {"name": "GENRES", "type": ["null", "string"], "categorical": True},
            {"name": "TITLE", "type": "string", "textual": True},
            {"name": "PRICE", "type": ["null", "double"]},
        ],
        ["i0,drama|war,The war,1.5", "i1,drama,A peace,", "i2,,Nothing,2.5"],
    ),
    "Users": (
        [{"name": "USER_ID", "type": "string"}, {"name": "CITY", "type": ["null", "string"], "categorical": True}],
        ["u2,Rome", "u0,Bern", "stranger,Oslo", "u1,"],
    ),
}


@pytest.fixture(scope="module")
def sequences_uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder, uris = tmp_path_factory.mktemp("metadata"), {}
    for kind, (fields, rows) in DATASETS.items():
        schema = {
            "type": "record",
            "name": kind,
            "namespace": "com.amazonaws.personalize.schema",
            "fields": fields,
            "version": "1.0",
        }
        (folder / f"{kind}.json").write_text(json.dumps(schema))
        (folder / f"{kind}.csv").write_text("\n".join([",".join(field["name"] for field in fields), *rows, ""]))
        uris[kind] = str(folder / "typed" / kind)
        validate(schema_uri=str(folder / f"{kind}.json"), data_uri=str(folder / f"{kind}.csv"), output_uri=uris[kind])
    output = str(folder / "sequences")
    sessionize(
        interactions_uri=uris["Interactions"], items_uri=uris["Items"], users_uri=uris["Users"], output_uri=output, num_shards=2
    )
    return output


def staged(uri: str, folder: Path, chosen: TrainingColumns) -> Metadata:
    source = StepFolder(uri)
    found = stage(source, source.require("sequences"), folder)
    stage_metadata(source, found, chosen, folder)
    return Metadata.load(found.arrays / METADATA)


def test_every_column_arrives_beside_its_event_item_and_user(sequences_uri: str, tmp_path: Path) -> None:
    source = StepFolder(sequences_uri)
    found = stage(source, source.require("sequences"), tmp_path)
    stage_metadata(source, found, TrainingColumns(), tmp_path)
    metadata, times = Metadata.load(found.arrays / METADATA), np.load(found.arrays / "timestamps.npy") - 1_700_000_000
    assert set(metadata.event_numbers) == {"EVENT_VALUE", "AGAIN"}
    np.testing.assert_array_equal(metadata.event_numbers["EVENT_VALUE"], np.where(times % 5, times, np.nan).astype(np.float32))
    np.testing.assert_array_equal(metadata.event_numbers["AGAIN"], (times % 3 > 0).astype(np.float32))
    assert set(metadata.event_codes) == {"DEVICE"}
    assert len(set(zip(metadata.event_codes["DEVICE"].tolist(), (times % 2).tolist(), strict=True))) == 2
    assert metadata.event_types == ("buy", "view")
    catalogue = found.catalogue_table()["ITEM_ID"].to_pylist()
    genres, titles = metadata.item_values["GENRES"], metadata.item_values["TITLE"]
    assert {item: len(genres.codes.row(row)) for row, item in enumerate(catalogue)} == {"i0": 2, "i1": 1, "i2": 0}
    assert {item: len(titles.codes.row(row)) for row, item in enumerate(catalogue)} == {"i0": 2, "i1": 2, "i2": 1}
    prices = dict(zip(catalogue, metadata.item_numbers["PRICE"].tolist(), strict=True))
    assert (prices["i0"], prices["i2"]) == (1.5, 2.5)
    assert np.isnan(prices["i1"])
    users = [user for path in found.users for user in pq.read_table(path)["USER_ID"].to_pylist()]
    assert dict(zip(users, metadata.user_codes["CITY"].tolist(), strict=True)) == {"u0": 0, "u1": -1, "u2": 2}


def test_columns_that_are_left_out_are_not_staged(sequences_uri: str, tmp_path: Path) -> None:
    excluded = {"Items": ("TITLE", "PRICE"), "Interactions": ("EVENT_TYPE", "EVENT_VALUE"), "Users": ("CITY",)}
    metadata = staged(sequences_uri, tmp_path, TrainingColumns(excluded=excluded))
    assert list(metadata.item_values) == ["GENRES"]
    assert metadata.item_numbers == metadata.user_codes == {}
    assert list(metadata.event_numbers) == ["AGAIN"]
    assert metadata.event_types == ()


def test_a_column_that_is_not_there_is_refused_before_anything_is_learnt(sequences_uri: str, tmp_path: Path) -> None:
    columns = {"Items": ["COLOUR"]}
    with pytest.raises(ConfigError, match=r"excluded_dataset_columns\.Items: the Items schema has no such column"):
        train(sequences_uri=sequences_uri, output_uri=str(tmp_path / "version"), excluded_dataset_columns=columns)
