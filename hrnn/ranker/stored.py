"""A ranked snapshot as two files and the trees' texts, and back, bit for bit.

    tables      safetensors: tables of items, and of metadata; in the header's `facts`, as JSON, whatever is no array
    neighbours  Parquet: user_row, item_rows, weights of those whom neighbours are looked for among. A row a user, so that it
                can go when the user does

The model and its blend weights are stored with the solution version. Users' events have no part in it but in `neighbours`.
Nothing is pickled: the classes below say what arrays there are, and what becomes of them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import scipy.sparse as sp
from safetensors import safe_open
from safetensors.numpy import save_file

from hrnn.blend.cooccurrence import Cooccurrence
from hrnn.blend.item_statistics import ItemStatistics
from hrnn.blend.snapshots import BlendedModel
from hrnn.blend.trends import TrendsOfOneTime
from hrnn.blend.weights import BlendWeights
from hrnn.data.arrays import Floats, Rows
from hrnn.data.metadata import Metadata
from hrnn.data.ragged import Ragged
from hrnn.data.sequences import Sequences
from hrnn.models.contract import QueryModel
from hrnn.ranker.knowledge import ItemTable
from hrnn.ranker.metadata import MetadataTables
from hrnn.ranker.neighbours import Neighbourhoods
from hrnn.ranker.snapshot import RankedSnapshot
from hrnn.ranker.trees import Ranker, Trees
from schemas import columns

_ITEMS, _WEIGHTS = "item_rows", "weights"


@dataclass(frozen=True, eq=False)
class _Tables:
    """What is stored as arrays.

    Attributes:
        as_of: UTC epoch seconds.
        repeat_odds, trends: Of items, as of then.
        cooccurrence, items, metadata: As their classes have it.
        similarity, rarity: Of neighbourhoods.
    """

    as_of: int
    repeat_odds: Floats
    trends: Floats
    cooccurrence: Cooccurrence
    items: ItemTable
    metadata: MetadataTables
    similarity: sp.csr_matrix
    rarity: Floats


@dataclass(frozen=True, eq=False)
class StoredRanker:
    """A ranked snapshot without the model, the sequences and their metadata.

    Attributes:
        tables: Arrays.
        neighbours: Rows of users, and their items' weights.
        facts: Sessions' gap, names of features, scales of trees, names of metadata columns.
        trees: Objective -> LightGBM's text.
    """

    tables: _Tables
    neighbours: tuple[Rows, sp.csr_matrix]
    facts: dict[str, Any]
    trees: Mapping[str, str]

    @classmethod
    def of(cls, snapshot: RankedSnapshot) -> StoredRanker:
        """What a snapshot holds."""
        blended, as_of, gap_seconds, items, near, metadata, ranker = snapshot.parts
        statistics, named = blended.statistics, snapshot.knowledge.metadata
        trends = statistics.trends.at(as_of)
        tables = _Tables(
            as_of, statistics.item_repeat_odds, trends, statistics.cooccurrence, items, metadata, near.similarity, near.rarity
        )
        facts = {
            "gap_seconds": gap_seconds,
            "features": list(ranker.names),
            "scales": {each.objective: each.scale for each in ranker.trees},
            "metadata": {name: list(getattr(named, name)) for name in ("user_codes", "event_codes", "event_numbers")},
        }
        return cls(tables, (near.users, near.weights), facts, {each.objective: each.model for each in ranker.trees})

    def save(self, tables: Path, neighbours: Path) -> None:
        """Write both files; the trees have their own."""
        arrays: dict[str, npt.NDArray[Any]] = {}
        _flatten(self.tables, "", arrays)
        save_file(arrays, tables, {"facts": json.dumps(self.facts)})
        users, weights = self.neighbours
        of_users = {
            name: Ragged(weights.indptr, getattr(weights, part)).to_arrow()
            for name, part in ((_ITEMS, "indices"), (_WEIGHTS, "data"))
        }
        pq.write_table(pa.table({columns.USER_ROW: users, **of_users}), neighbours, compression="zstd")

    @classmethod
    def load(cls, tables: Path, neighbours: Path, trees: Sequence[str]) -> StoredRanker:
        """Read what `save` wrote.

        Args:
            tables: safetensors.
            neighbours: Parquet.
            trees: LightGBM's texts, in the order in which they were stored.
        """
        with safe_open(tables, "numpy") as stored:
            arrays = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
            facts = json.loads(stored.metadata()["facts"])
        found, table = _restored(_Tables, "", arrays), pq.read_table(neighbours)
        items = Ragged.from_arrow(table[_ITEMS])
        values = table[_WEIGHTS].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        weights = sp.csr_matrix((values, items.values, items.offsets), shape=(len(table), len(found.rarity)))
        return cls(found, (table[columns.USER_ROW].to_numpy(), weights), facts, dict(zip(facts["scales"], trees, strict=True)))

    def snapshot(
        self, model: QueryModel, weights: BlendWeights, sequences: Sequences, metadata: Metadata, first_user_row: int = 0
    ) -> RankedSnapshot:
        """The snapshot.

        Args:
            model: Of the solution version.
            weights: Of its blend.
            sequences: All histories, or those of neighbouring users.
            metadata: Of these, in the columns that `facts` names.
            first_user_row: Of them.
        """
        known, (users, of_users) = self.tables, self.neighbours
        statistics = ItemStatistics(known.repeat_odds, TrendsOfOneTime(known.as_of, known.trends), known.cooccurrence)
        near = Neighbourhoods.of_users(known.as_of, known.similarity, users - first_user_row, of_users, known.rarity)
        scales = self.facts["scales"]
        trees = tuple(Trees(objective, self.trees[objective], scale) for objective, scale in scales.items())
        ranker = Ranker(tuple(self.facts["features"]), trees)
        blended = BlendedModel(model, weights, statistics)
        parts = blended, known.as_of, self.facts["gap_seconds"], known.items, near, known.metadata, ranker
        return RankedSnapshot.of_parts(parts, sequences, metadata)


def _flatten(value: Any, name: str, arrays: dict[str, npt.NDArray[Any]]) -> None:
    """Put what a value holds among the arrays, under names that begin with its own; of None nothing."""
    if is_dataclass(value):
        for field in fields(value):
            _flatten(getattr(value, field.name), f"{name}.{field.name}".removeprefix("."), arrays)
    elif isinstance(value, tuple):
        arrays[f"{name}.length"] = np.asarray(len(value))
        for number, each in enumerate(value):
            _flatten(each, f"{name}.{number}", arrays)
    elif sp.issparse(value):
        arrays[f"{name}.shape"] = np.asarray(value.shape)
        arrays |= {f"{name}.{part}": getattr(value, part) for part in ("data", "indices", "indptr")}
    elif value is not None:
        arrays[name] = np.asarray(value, order="C")


def _restored(kind: Any, name: str, arrays: Mapping[str, npt.NDArray[Any]]) -> Any:
    """The value of a type whose arrays these are."""
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        names = [field.name for field in fields(kind)]
        return kind(**{each: _restored(hints[each], f"{name}.{each}".removeprefix("."), arrays) for each in names})  # type: ignore[operator]
    if get_origin(kind) is tuple:
        return tuple(
            _restored(get_args(kind)[0], f"{name}.{number}", arrays) for number in range(int(arrays[f"{name}.length"]))
        )
    if get_origin(kind) is UnionType:  # with None
        return _restored(get_args(kind)[0], name, arrays) if name in arrays else None
    if kind is sp.csr_matrix:
        data, indices, indptr = (arrays[f"{name}.{part}"] for part in ("data", "indices", "indptr"))
        return sp.csr_matrix((data, indices, indptr), shape=tuple(arrays[f"{name}.shape"].tolist()))
    return arrays[name].item() if kind in (int, bool) else arrays[name]
