"""What an insight is, what it is drawn from, and the words that insights share."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from schemas.datasets import DatasetSchema
from schemas.quotas import PUBLISHED, Quotas

Status = Literal["pass", "warn", "fail"]
Source = Literal["console", "platform"]

SHOWN = 5  # columns, values or days that a sentence names
NOTHING: Final = "Nothing."
NO_REMEDY: Final = "Nothing is needed."


@dataclass(frozen=True, kw_only=True)
class Insight:
    """One finding about a dataset.

    Attributes:
        name: Stable id in snake case.
        title: The finding as a sentence.
        status: `fail`: Personalize would refuse to train, or no model can learn; `warn`: results suffer; else `pass`.
        value: What was measured, with its unit.
        threshold: From when it is no longer a pass.
        consequence: What happens if nothing is done.
        remedy: What to do about it.
        source: `console`: Personalize's console reports it too; `platform`: only this platform does.
    """

    name: str
    title: str
    status: Status
    value: str
    threshold: str
    consequence: str
    remedy: str
    source: Source = "platform"

    def settled(self) -> Insight:
        """The insight; one that passes has no consequence and needs no remedy."""
        return replace(self, consequence=NOTHING, remedy=NO_REMEDY) if self.status == "pass" else self


@dataclass(frozen=True, kw_only=True)
class InsightContext:
    """All that insights are drawn from.

    Attributes:
        schema: Of the dataset.
        statistics: As in statistics.json.
        previous: The statistics of the last import; None where this is the first.
        quotas: What is allowed and advised.
        counts: rows_read, rows_accepted, rows_rejected, rows_duplicate and blank_lines of this import.
        bytes_read: Size of this import's files.
        import_mode: FULL or INCREMENTAL.
        added: `columns` and `rows` of this import's rows alone, where `statistics` hold earlier rows too; else None.
    """

    schema: DatasetSchema
    statistics: dict[str, Any]
    previous: dict[str, Any] | None = None
    quotas: Quotas = PUBLISHED
    counts: dict[str, int] = field(default_factory=dict)
    bytes_read: int = 0
    import_mode: str = "FULL"
    added: dict[str, Any] | None = None

    @property
    def rows(self) -> int:
        """Accepted rows of the dataset."""
        return int(self.statistics.get("rows") or 0)

    @property
    def is_events(self) -> bool:
        """Whether rows are events rather than users, items or actions."""
        return self.schema.rules.target is not None

    @property
    def target(self) -> str:
        """What a user does something with: `item`, or `action`."""
        return "action" if self.schema.dataset_type == "Action_Interactions" else "item"

    def part(self, name: str) -> dict[str, Any]:
        """A table of the statistics; empty where they lack it."""
        found = self.statistics.get(name)
        return found if isinstance(found, dict) else {}

    def count(self, name: str) -> int:
        """One of this import's counts; 0 where it is not told."""
        return self.counts.get(name, 0)

    def columns(self, *kinds: str) -> dict[str, dict[str, Any]]:
        """The figures of the schema's columns of some kinds, in the schema's order."""
        told = self.part("columns")
        return {name: told[name] for name in self.schema.names if told.get(name, {}).get("kind") in kinds}


def share(part: float, whole: float) -> float:
    """The fraction that a part is; 0 of nothing."""
    return part / whole if whole else 0.0


def percent(fraction: float) -> str:
    """`12.3 %`; what is not quite nothing or not quite all is not rounded to it."""
    if 0 < fraction < 0.001:
        return "under 0.1 %"
    if 0.999 < fraction < 1:
        return "over 99.9 %"
    return f"{fraction * 100:.1f}".removesuffix(".0") + " %"


def counted(number: int, noun: str) -> str:
    """`1 user`, `2,000 users`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def listed(texts: Iterable[str]) -> str:
    """The first few, and how many more there are."""
    every = list(texts)
    more = f" and {len(every) - SHOWN:,} more" if len(every) > SHOWN else ""
    return ", ".join(every[:SHOWN]) + more


def filled_share(figures: dict[str, Any], rows: int) -> float:
    """The share of a column's cells that hold a value; all of no rows."""
    return 1.0 - share(figures.get("missing") or 0, rows)
