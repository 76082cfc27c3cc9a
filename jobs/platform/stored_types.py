"""How values of each field type are stored: in Arrow, in Parquet, in Spark."""

from __future__ import annotations

from typing import Any, NamedTuple

import pyarrow as pa

from schemas.dataset_rules import FieldType


class Stored(NamedTuple):
    """How values of a type are stored, and the words for it in messages."""

    arrow: Any
    parquet: tuple[str, str]  # physical and logical type
    spark: str
    words: str


STORED: dict[FieldType, Stored] = {
    "string": Stored(pa.string(), ("BYTE_ARRAY", "STRING"), "string", "text"),
    "int": Stored(pa.int32(), ("INT32", "NONE"), "int", "32-bit whole numbers"),
    "long": Stored(pa.int64(), ("INT64", "NONE"), "bigint", "64-bit whole numbers"),
    "float": Stored(pa.float32(), ("FLOAT", "NONE"), "float", "32-bit numbers"),
    "double": Stored(pa.float64(), ("DOUBLE", "NONE"), "double", "64-bit numbers"),
    "boolean": Stored(pa.bool_(), ("BOOLEAN", "NONE"), "boolean", "true or false"),
}
ARROW_TYPES = {name: stored.arrow for name, stored in STORED.items()}
