"""Whom to delete: a CSV file with the single column USER_ID, read as an import reads it; and which CSV files hold them."""

from __future__ import annotations

import hashlib
import html
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from jobs.platform.storage import StoredFile, list_input, normalise
from jobs.validate.inputs import SPLIT_BYTES, open_inputs
from jobs.validate.reading import record_blocks
from jobs.validate.rows import CheckedBlock, check_block
from jobs.validate.splits import plan_splits, quoting_of, scan
from schemas.columns import USER_ID
from schemas.datasets import DatasetSchema
from schemas.errors import DataError
from schemas.schema_fields import SchemaField

_SCHEMA = DatasetSchema(dataset_type="Users", fields=(SchemaField(name=USER_ID, type="string"),), document={})
_TAG = re.compile(r"<[^>]*>")


@dataclass(frozen=True)
class Users:
    """The users to delete: distinct ids.

    Attributes:
        ids: The ids.
        values: The same, ascending, as an array of strings.
    """

    ids: frozenset[str]
    values: Any

    @classmethod
    def of(cls, ids: Sequence[str]) -> Users:
        """From ids, repeated or not."""
        return cls(frozenset(ids), pa.array(sorted(set(ids)), pa.string()))

    @property
    def identity(self) -> str:
        """Hex SHA-256 of all ids together: names the deletion without naming a user."""
        return hashlib.sha256("\n".join(self.values.to_pylist()).encode()).hexdigest()

    def among(self, column: Any) -> Any:
        """Boolean mask of the strings in a column that are one of the ids; null is not."""
        return pc.fill_null(pc.is_in(column, self.values), False)

    def may_be_named_in(self, page: str) -> bool:
        """Whether the text of an HTML or JSON document holds one of the ids as a word of its own."""
        text = html.unescape(_TAG.sub("\n", page))
        return any(re.search(rf"(?<![\w-]){re.escape(each)}(?![\w-])", text) for each in self.ids if each in text)


def read_users(uri: str) -> Users:
    """The users that a CSV file, or a folder of them, lists in its single column USER_ID.

    Raises:
        DataError: There is another column, a row that is no id, or no row at all.
        StorageError: Nothing is there, or it cannot be read.
    """
    uri = normalise(uri)
    stored = list_input(uri)
    for file in open_inputs(stored, uri, _SCHEMA):
        if file.header not in ((USER_ID,), ()):
            raise DataError(
                "the list of users has another column",
                where=file.uri,
                value=list(file.header),
                allowed=f"the single column {USER_ID}",
            )
    ids: list[str] = []
    for block in _blocks(stored, uri):
        if block.rejected.num_rows:
            wrong = block.rejected.slice(0, 1).to_pylist()[0]
            raise DataError(wrong["reason"], where=f"{wrong['file']}, line {wrong['line']}", value=wrong["value"])
        ids += block.accepted[USER_ID].to_pylist()
    if not ids:
        raise DataError(
            "no user is listed", where=uri, remedy=f"Write {USER_ID} into the first line, and one id in each further one."
        )
    return Users.of(ids)


def rows_in_csv(files: Sequence[StoredFile], uri: str, users: Users) -> tuple[int, int, set[str]]:
    """Rows of CSV files with a USER_ID, those of the users among them, and which users these are.

    Raises:
        DataError: A file cannot be read as CSV with such a column.
        StorageError: A file cannot be read.
    """
    rows, ids = 0, list[str]()
    for block in _blocks(files, uri):
        column = block.accepted[USER_ID]
        rows += len(column)
        ids += column.filter(users.among(column)).to_pylist()
    return rows, len(ids), set(ids)


def _blocks(files: Sequence[StoredFile], uri: str) -> Iterator[CheckedBlock]:
    opened = open_inputs(list(files), uri, _SCHEMA)
    for split in plan_splits(opened, SPLIT_BYTES, lambda stretches: [scan(stretch) for stretch in stretches]):
        for block in record_blocks(replace(split, quoting=split.quoting or quoting_of(split))):
            yield check_block(block, split.file, _SCHEMA)
