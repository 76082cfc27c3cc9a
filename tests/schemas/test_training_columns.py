from __future__ import annotations

from typing import Any

import pytest
from small_shop import INTERACTIONS, ITEMS

from schemas.datasets import parse_schema_document
from schemas.errors import ConfigError
from schemas.solutions import TrainSettings
from schemas.training_columns import TrainingColumns

SCHEMAS = {"Interactions": parse_schema_document(INTERACTIONS), "Items": parse_schema_document(ITEMS)}


def columns(**given: Any) -> TrainingColumns:
    return TrainSettings.read(given).training_columns


def test_all_metadata_are_learnt_from_unless_they_are_named() -> None:
    assert [field.name for field in columns().fields("Items", SCHEMAS["Items"])] == ["GENRES"]
    assert columns(excluded_dataset_columns={"ITEMS": ["GENRES"]}).fields("Items", SCHEMAS["Items"]) == []
    only = columns(included_dataset_columns={"items": ["CREATION_TIMESTAMP"]})
    assert only.fields("Items", SCHEMAS["Items"]) == []
    assert only.takes("Interactions", "EVENT_TYPE")
    assert not columns(excluded_dataset_columns={"Interactions": ["EVENT_TYPE"]}).takes("Interactions", "EVENT_TYPE")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"excluded_dataset_columns": {"Films": ["X"]}}, "excluded_dataset_columns"),
        ({"excluded_dataset_columns": {"Items": []}}, "excluded_dataset_columns"),
        ({"excluded_dataset_columns": {"Items": "GENRES"}}, "excluded_dataset_columns"),
        ({"excluded_dataset_columns": ["GENRES"]}, "excluded_dataset_columns"),
        ({"included_dataset_columns": {"Items": [f"C{n}" for n in range(51)]}}, "included_dataset_columns"),
    ],
)
def test_what_names_no_columns_is_refused_by_name(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        columns(**given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"excluded_dataset_columns": {"Items": ["GENRE"]}},
            r"excluded_dataset_columns\.Items: the Items schema has no such column \(got 'GENRE'\)\. Allowed: GENRES",
        ),
        (
            {"excluded_dataset_columns": {"Interactions": ["USER_ID"]}},
            r"Interactions: this column is always read \(got 'USER_ID'\)\. Allowed: EVENT_TYPE",
        ),
        (
            {"included_dataset_columns": {"Users": ["AGE"]}},
            r"there is no such dataset \(got 'Users'\)\. Allowed: Interactions, Items",
        ),
        (
            {"included_dataset_columns": {"Items": ["GENRES"]}, "excluded_dataset_columns": {"Items": ["GENRES"]}},
            r"training\.included_dataset_columns: a dataset's columns are included or excluded, not both \(got 'Items'\)",
        ),
    ],
)
def test_columns_must_be_there(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        columns(**given).check(SCHEMAS, "training")
