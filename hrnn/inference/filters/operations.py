"""What the operators of filters mean: a function for each, which marks the cells that meet it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import ge, gt, le, lt
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hrnn.data.arrays import Flags
from schemas.filters.operators import Operator

Value = str | int | float | bool
# Gets n cells and at least one value of their kind, one unless the operator takes many: texts without null as an Arrow array,
# numbers and truth values as a NumPy array. Gives bool [n].
Operation = Callable[[Any, Sequence[Value]], Any]


def _listed(cells: Any, values: Sequence[Value]) -> Any:
    """Cells that are one of the values. NumPy compares whole numbers exactly, even those that don't fit the cells' type."""
    if isinstance(cells, pa.Array):
        return pc.is_in(cells, pa.array(values, pa.string()))
    mask = np.zeros(len(cells), np.bool_)
    for value in values:
        mask |= cells == value
    return mask


def _ordered(compare: Callable[[Any, Any], Any]) -> Operation:
    return lambda cells, values: compare(cells, values[0])


# Of a negated operator the function of what it negates: who calls it knows which cells are known.
OPERATIONS: dict[str, Operation] = {
    "IN": _listed,
    "NOT IN": _listed,
    "=": _listed,
    "!=": _listed,
    "<": _ordered(lt),
    "<=": _ordered(le),
    ">": _ordered(gt),
    ">=": _ordered(ge),
}


def marked(operator: Operator, cells: Any, values: Sequence[Value]) -> Flags:
    """Cells that an operator's function marks, bool [n]; of a negated operator those that do not meet it."""
    return np.asarray(OPERATIONS[operator.spelling](cells, values))
