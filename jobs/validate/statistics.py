"""What the columns of accepted rows hold, in figures that can be added: of blocks, of parts, of the whole dataset."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from jobs.validate.cells import is_time
from jobs.validate.strings import null_words, spaced_texts
from schemas import columns
from schemas.dataset_rules import DATASET_RULES
from schemas.datasets import DatasetSchema, SchemaField

Kind = Literal["id", "time", "category", "list", "text", "number"]

MOST_VALUES = 1000  # of a category column that are kept, the commonest
_PRUNED_ABOVE = 4 * MOST_VALUES  # values held before the rarest go
MOST_DAYS = 4000  # listed one by one, the newest
_DAY = 86_400  # seconds
_BINS_AN_OCTAVE = 8
_LARGEST_POWER = 1024 - 1e-12  # of two, that is a finite double
_BIN_OF_ONE = 10_000  # bin of the value 1; 0 is the bin of 0, negative numbers have the negative of their magnitude's bin


def kind_of(entry: SchemaField, schema: DatasetSchema) -> Kind:
    """The kind of statistics that a field has."""
    rules = DATASET_RULES[schema.dataset_type]
    if is_time(entry):
        return "time"
    if entry.name in {columns.USER_ID, rules.key, rules.target}:
        return "id"
    if entry.name == columns.IMPRESSION:
        return "list"
    if entry.textual or entry.item_name:
        return "text"
    return "number" if entry.kind == "number" else "category"


@dataclass
class ColumnStatistics:
    """One column's figures.

    Attributes:
        kind: Which of them mean something.
        missing: Rows without a value.
        values: Categories with their rows; of ids the words for nulls.
        complete: No category was left out of `values`.
        lowest, highest, total: Of numbers; lowest and highest of times too.
        bins: Numbers by bin of a fixed logarithmic grid.
        elements: Elements of all lists.
        spaced: Ids with white space around them.
    """

    kind: Kind
    missing: int = 0
    values: Counter[str] = field(default_factory=Counter)
    complete: bool = True
    lowest: float | None = None
    highest: float | None = None
    total: float = 0.0
    bins: Counter[int] = field(default_factory=Counter)
    elements: int = 0
    spaced: int = 0

    def add(self, other: ColumnStatistics) -> None:
        """Take another's rows in."""
        self.missing += other.missing
        self.complete &= other.complete
        self.lowest = min((x for x in (self.lowest, other.lowest) if x is not None), default=None)
        self.highest = max((x for x in (self.highest, other.highest) if x is not None), default=None)
        self.total += other.total
        self.elements += other.elements
        self.spaced += other.spaced
        self.bins.update(other.bins)
        self.values.update(other.values)
        if len(self.values) > _PRUNED_ABOVE:
            self._prune()

    def document(self, rows: int) -> dict[str, Any]:
        """The column's entry of statistics.json, among so many rows."""
        document: dict[str, Any] = {"kind": self.kind, "missing": self.missing}
        present = rows - self.missing
        if self.kind == "id":
            document |= {"nulls": dict(_by_rows(self.values))} if self.values else {}
            document |= {"spaced": self.spaced} if self.spaced else {}
        if self.kind == "category":
            document["num_values"] = len(self.values)
            if len(self.values) > MOST_VALUES:
                self._prune()
            document |= {"values": dict(_by_rows(self.values)), "complete": self.complete}
        if self.kind in ("number", "time"):
            document |= {"min": self.lowest, "max": self.highest}
        if self.kind == "number":
            document["mean"] = self.total / present if present else None
            document["histogram"] = [[*bin_edges(number), count] for number, count in sorted(self.bins.items())]
        if self.kind == "list":
            document["mean_length"] = self.elements / present if present else None
        return document

    def _prune(self) -> None:
        self.values = Counter(dict(_by_rows(self.values)[:MOST_VALUES]))
        self.complete = False


@dataclass
class Statistics:
    """Figures of accepted rows.

    Attributes:
        rows: How many.
        rows_with_missing: Those that lack a value.
        columns: By name.
        days: Events by day since 1970, of event datasets.
    """

    rows: int = 0
    rows_with_missing: int = 0
    columns: dict[str, ColumnStatistics] = field(default_factory=dict)
    days: Counter[int] = field(default_factory=Counter)

    @classmethod
    def of(cls, table: pa.Table, schema: DatasetSchema) -> Statistics:
        """The figures of typed rows; strings may be dictionaries."""
        statistics = cls(rows=table.num_rows)
        is_missing: NDArray[np.bool_] | None = None
        for entry in schema.fields:
            values = _one_chunk(table.column(entry.name))
            statistics.columns[entry.name] = _column(values, kind_of(entry, schema), entry)
            if values.null_count:
                null = values.is_null().to_numpy(zero_copy_only=False)
                is_missing = null if is_missing is None else is_missing | null
        statistics.rows_with_missing = 0 if is_missing is None else int(is_missing.sum())
        if DATASET_RULES[schema.dataset_type].target and columns.TIMESTAMP in schema.names:
            statistics.days = _counts(_one_chunk(table.column(columns.TIMESTAMP)).to_numpy() // _DAY)
        return statistics

    def add(self, other: Statistics) -> None:
        """Take another's rows in."""
        self.rows += other.rows
        self.rows_with_missing += other.rows_with_missing
        self.days.update(other.days)
        for name, column in other.columns.items():
            self.columns.setdefault(name, ColumnStatistics(column.kind)).add(column)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON that `from_json` reads."""
        return {
            "rows": self.rows,
            "rows_with_missing": self.rows_with_missing,
            "days": list(self.days.items()),
            "columns": {name: {**vars(column), "bins": list(column.bins.items())} for name, column in self.columns.items()},
        }

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Statistics:
        """What `to_json` wrote."""
        read = {
            name: ColumnStatistics(**{**column, "values": Counter(column["values"]), "bins": Counter(dict(column["bins"]))})
            for name, column in document["columns"].items()
        }
        return cls(document["rows"], document["rows_with_missing"], read, Counter(dict(document["days"])))

    def document(self) -> dict[str, Any]:
        """The rows and columns of statistics.json."""
        document: dict[str, Any] = {
            "rows": self.rows,
            "rows_with_missing": self.rows_with_missing,
            "columns": {name: column.document(self.rows) for name, column in self.columns.items()},
        }
        if self.days:
            newest = sorted(self.days)[-MOST_DAYS:]
            document["events_per_day"] = {date.fromordinal(719_163 + day).isoformat(): self.days[day] for day in newest}
        return document


def bin_numbers(numbers: NDArray[np.float64]) -> NDArray[np.int64]:
    """The bin of each number: eight from a power of two to the next, mirrored for negative ones, one for 0."""
    magnitude = np.abs(numbers)
    is_zero = magnitude == 0
    octaves = np.log2(np.where(is_zero, 1.0, magnitude))
    bins: NDArray[np.int64] = np.floor(octaves * _BINS_AN_OCTAVE).astype(np.int64) + _BIN_OF_ONE
    bins[numbers < 0] *= -1
    bins[is_zero] = 0
    return bins


def bin_edges(number: int) -> tuple[float, float]:
    """Lower and upper edge of a bin; of the bin of 0 both are 0."""
    if number == 0:
        return 0.0, 0.0
    low, high = (2.0 ** min((abs(number) + step - _BIN_OF_ONE) / _BINS_AN_OCTAVE, _LARGEST_POWER) for step in (0, 1))
    return (low, high) if number > 0 else (-high, -low)


def _column(values: Any, kind: Kind, entry: SchemaField) -> ColumnStatistics:
    statistics = ColumnStatistics(kind, missing=values.null_count)
    if kind == "category":
        counts = _categories(values) if entry.kind == "text" else _booleans(values)
        statistics.values, statistics.complete = _split(counts) if entry.categorical else counts, len(counts) <= _PRUNED_ABOVE
        if not statistics.complete:
            statistics.values = Counter(dict(_by_rows(statistics.values)[:MOST_VALUES]))
    elif kind == "id":
        statistics.values, statistics.spaced = _odd_ids(values)
    elif kind in ("number", "time") and values.null_count < len(values):
        limits = pc.min_max(values).as_py()
        statistics.lowest, statistics.highest = limits["min"], limits["max"]
        if kind == "number":
            numbers = values.drop_null().to_numpy(zero_copy_only=False).astype(np.float64)
            statistics.total, statistics.bins = float(numbers.sum()), _counts(bin_numbers(numbers))
    elif kind == "list":
        for text, count in _categories(values).items():
            statistics.elements += count * (text.count("|") + 1)
    return statistics


def _categories(values: Any) -> Counter[str]:
    """How many rows have each string."""
    encoded = values if isinstance(values, pa.DictionaryArray) else values.dictionary_encode()
    codes = encoded.indices.drop_null().to_numpy(zero_copy_only=False)
    counts = np.bincount(codes, minlength=len(encoded.dictionary))
    occurring = np.flatnonzero(counts)
    words = encoded.dictionary.take(pa.array(occurring)).to_pylist()
    rows: Counter[str] = Counter()
    for word, count in zip(words, counts[occurring].tolist(), strict=True):
        rows[word] += count  # a dictionary may hold a word twice
    return rows


def _odd_ids(values: Any) -> tuple[Counter[str], int]:
    """Rows of each word for a null, and rows of ids with white space around them."""
    encoded = values if isinstance(values, pa.DictionaryArray) else values.dictionary_encode()
    is_null, is_spaced = null_words(encoded.dictionary), spaced_texts(encoded.dictionary)
    if not (is_null.any() or is_spaced.any()):
        return Counter(), 0
    counts = np.bincount(encoded.indices.drop_null().to_numpy(zero_copy_only=False), minlength=len(encoded.dictionary))
    words = encoded.dictionary.filter(pa.array(is_null)).to_pylist()
    rows: Counter[str] = Counter()
    for word, count in zip(words, counts[is_null].tolist(), strict=True):
        rows[word] += count
    return +rows, int(counts[is_spaced].sum())


def _booleans(values: Any) -> Counter[str]:
    true = pc.sum(values).as_py() or 0
    counts = {"true": true, "false": len(values) - values.null_count - true}
    return Counter({word: count for word, count in counts.items() if count})


def _split(counts: Counter[str]) -> Counter[str]:
    """Rows of each category where a value may join several by `|`."""
    if not any("|" in value for value in counts):
        return counts
    rows: Counter[str] = Counter()
    for value, count in counts.items():
        for category in set(value.split("|")):
            rows[category] += count
    return rows


def _counts(numbers: NDArray[np.int64]) -> Counter[int]:
    values, counts = np.unique(numbers, return_counts=True)
    return Counter(dict(zip(values.tolist(), counts.tolist(), strict=True)))


def _by_rows(values: Counter[str]) -> list[tuple[str, int]]:
    """The commonest first, ties by value."""
    return sorted(values.items(), key=lambda entry: (-entry[1], entry[0]))


def _one_chunk(column: pa.ChunkedArray) -> Any:
    return column.chunk(0) if column.num_chunks == 1 else pa.chunked_array(column.chunks, column.type).combine_chunks()
