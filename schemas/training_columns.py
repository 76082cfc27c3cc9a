"""Which columns of the datasets are learnt from: Personalize's includedDatasetColumns and excludedDatasetColumns.

A column that is left out stays in the data: filters see it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field

from schemas.datasets import DatasetSchema
from schemas.errors import ConfigError
from schemas.schema_fields import SchemaField

Learnt = Literal["Interactions", "Items", "Users"]
MOST_COLUMNS = 50  # of a dataset, Personalize's bound
_NAMES = {name.upper(): name for name in get_args(Learnt)}


def _in_any_case(value: Any) -> Any:
    return {_NAMES.get(str(key).upper(), key): names for key, names in value.items()} if isinstance(value, dict) else value


ColumnNames = Annotated[
    dict[Learnt, Annotated[tuple[str, ...], Field(min_length=1, max_length=MOST_COLUMNS)]], BeforeValidator(_in_any_case)
]


@dataclass(frozen=True)
class TrainingColumns:
    """The columns of each dataset that are learnt from.

    Attributes:
        included: Only these, of a dataset that is named here; ids and times are always read.
        excluded: All but these.
    """

    included: Mapping[Learnt, tuple[str, ...]] = field(default_factory=dict)
    excluded: Mapping[Learnt, tuple[str, ...]] = field(default_factory=dict)

    @property
    def names_any(self) -> bool:
        """Whether a column is named at all."""
        return bool(self.included or self.excluded)

    def takes(self, dataset: Learnt, column: str) -> bool:
        """Whether a column is learnt from."""
        return column in self.included.get(dataset, (column,)) and column not in self.excluded.get(dataset, ())

    def fields(self, dataset: Learnt, schema: DatasetSchema) -> list[SchemaField]:
        """The metadata of a dataset that are learnt from; a string without a mark never is."""
        return [each for each in schema.metadata if each.is_feature and self.takes(dataset, each.name)]

    def facts(self) -> dict[str, dict[str, list[str]]]:
        """As fingerprints have it."""
        named = {"included": self.included, "excluded": self.excluded}
        return {key: {kind: sorted(names) for kind, names in sorted(each.items())} for key, each in named.items()}

    def check(self, schemas: Mapping[Any, DatasetSchema], where: str = "") -> None:
        """Check that every column that is named is there.

        Args:
            schemas: Of the datasets at hand, by type.
            where: Key path of the settings, for messages; empty where they lie in no table.

        Raises:
            ConfigError: One is not, or its values are always read, or a dataset is named in both.
        """
        for key, named in (("included_dataset_columns", self.included), ("excluded_dataset_columns", self.excluded)):
            for dataset, names in named.items():
                at = f"{where}.{key}.{dataset}" if where else f"{key}.{dataset}"
                if dataset not in schemas:
                    allowed = ", ".join(sorted(set(get_args(Learnt)) & set(schemas)))
                    raise ConfigError("there is no such dataset", where=at, value=dataset, allowed=allowed)
                schema = schemas[dataset]
                columns = [each.name for each in schema.fields if each.name not in schema.rules.required]
                for name in names:
                    if name not in columns:
                        required = name in schema.rules.required
                        problem = "this column is always read" if required else f"the {dataset} schema has no such column"
                        raise ConfigError(problem, where=at, value=name, allowed=", ".join(columns))
        for dataset in sorted(set(self.included) & set(self.excluded)):
            at = f"{where}.included_dataset_columns" if where else "included_dataset_columns"
            raise ConfigError("a dataset's columns are included or excluded, not both", where=at, value=dataset)
