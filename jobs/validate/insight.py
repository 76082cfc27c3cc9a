"""What an insight is, what it is drawn from, and how a row of the table of insights becomes one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sized
from dataclasses import dataclass, field
from functools import partial
from string import Formatter
from types import SimpleNamespace
from typing import Any, Final, Literal, get_args

from schemas.dataset_rules import DatasetType
from schemas.datasets import DatasetSchema
from schemas.quotas import PUBLISHED, Quotas

Status = Literal["pass", "warn", "fail"]
Source = Literal["console", "platform"]
Measured = SimpleNamespace  # what a rule measured, its limits, and what was common to all rules
Figures = Mapping[str, Any]
Measure = Callable[["InsightContext"], Figures | None]

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
    source: Source


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
        table = self.statistics.get(name)
        return table if isinstance(table, dict) else {}

    def count(self, name: str) -> int:
        """One of this import's counts; 0 where it is unknown."""
        return self.counts.get(name, 0)

    def columns(self, *kinds: str) -> dict[str, dict[str, Any]]:
        """The figures of the schema's columns of some kinds, in the schema's order."""
        figures = self.part("columns")
        return {name: figures[name] for name in self.schema.names if figures.get(name, {}).get("kind") in kinds}


@dataclass(frozen=True, kw_only=True)
class InsightRule:
    """One row of the table of insights. Names and texts are templates over what was measured, in the format of `Words`.

    Attributes:
        name: Of the insight.
        measure: What is measured; None where the dataset does not apply or lacks the figures.
        limits: Thresholds by name: numbers, or names of quotas.
        breach: Truthy where the limits are exceeded; a list is what exceeds them, and texts may list it as `breach`.
        title, sound: The finding as a sentence; `sound` where there is nothing to tell, "": the title always.
        over: What the title says more, before its full stop, where the limits are exceeded.
        finding: Truthy where there is something to tell; by default what `breach` gives.
        value, threshold, consequence, remedy, source: As in Insight; of an insight that passes, the middle two are not used.
        status: Where the limits are exceeded.
        of: Dataset types that it is about.
    """

    name: str
    measure: Measure
    limits: Mapping[str, float | str] = field(default_factory=dict)
    breach: Callable[[Measured], Any]
    title: str
    sound: str = ""
    over: str = ""
    finding: Callable[[Measured], Any] | None = None
    value: str
    threshold: str
    consequence: str
    remedy: str
    status: Status = "warn"
    source: Source = "platform"
    of: tuple[DatasetType, ...] = get_args(DatasetType)

    def insight(self, context: InsightContext) -> Insight | None:
        """The insight into a dataset; None where it does not apply, or figures are missing."""
        figures = self.measure(context) if context.schema.dataset_type in self.of else None
        if figures is None:
            return None
        measured = SimpleNamespace(
            rows=context.rows, read=context.count("rows_read"), target=context.target, mode=context.import_mode
        )
        for name, limit in self.limits.items():
            setattr(measured, name, getattr(context.quotas, limit) if isinstance(limit, str) else limit)
        vars(measured).update(figures)
        measured.breach = self.breach(measured)
        tells = measured.breach if self.finding is None else self.finding(measured)
        title = self.title if tells or not self.sound else self.sound
        written = partial(WORDS.vformat, args=(), kwargs=vars(measured))
        return Insight(
            name=written(self.name),
            title=written(title.removesuffix(".") + self.over + "." if measured.breach and self.over else title),
            status=self.status if measured.breach else "pass",
            value=written(self.value),
            threshold=written(self.threshold),
            consequence=written(self.consequence) if measured.breach else NOTHING,
            remedy=written(self.remedy) if measured.breach else NO_REMEDY,
            source=self.source,
        )


class Words(Formatter):
    """Templates whose format specifications know how insights write numbers.

    `{x:%}` a percentage, `{x:-%}` that of the rest; `{x:times}`; `{x:#row}` a number with its noun, of a list its length;
    `{x:is|are}` by the number; `{x:list}` the first few, `{x:;}` all, "none" of none; else as in Python.
    """

    def format_field(self, value: Any, format_spec: str) -> str:
        """The text of one value."""
        number = len(value) if isinstance(value, Sized) and not isinstance(value, str) else value
        if format_spec in {"%", "-%"}:
            return percent(value if format_spec == "%" else 1 - value)
        if format_spec == "times":
            return f"{value:.2f} times" if value < 10 else f"{value:,.0f} times"
        if format_spec in {"list", ";"}:
            return (listed(value) if format_spec == "list" else "; ".join(value)) or "none"
        if format_spec.startswith("#"):
            return counted(number, format_spec[1:])
        if "|" in format_spec:
            return format_spec.split("|")[number != 1]
        return str(super().format_field(number, format_spec))


WORDS: Final = Words()


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
