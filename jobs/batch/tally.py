"""What is counted of a batch job's lines, and what is said of it: errors, empty lists, filter values that don't fit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from schemas.errors import DataError
from schemas.manifest import Manifest

_SHOWN_NAMES = 5


@dataclass(frozen=True, kw_only=True)
class Tally:
    """Counts of some lines.

    Attributes:
        lines: Output lines.
        errors: Error lines among them.
        unknown_users: Good lines whose user has no state, and got popular items.
        empty_lists: Good lines that got nobody and nothing: a filter left nothing, or nobody was found.
        unused_filter_values: Good lines with a value that the filter has no placeholder for.
        missing_filter_values: Good lines without a value for one of its placeholders: that expression is skipped for them.
        unused_names, missing_names: Of these values.
        first_error: What the first error line says.
    """

    lines: int
    errors: int = 0
    unknown_users: int = 0
    empty_lists: int = 0
    unused_filter_values: int = 0
    missing_filter_values: int = 0
    unused_names: Sequence[str] = ()
    missing_names: Sequence[str] = ()
    first_error: str = ""

    def counts(self) -> dict[str, int]:
        """The numbers, by name."""
        return {name: getattr(self, name) for name in COUNTED}

    def names(self) -> dict[str, Any]:
        """The rest, by name."""
        return {
            "unused_names": list(self.unused_names),
            "missing_names": list(self.missing_names),
            "first_error": self.first_error,
        }

    @classmethod
    def of_record(cls, record: Manifest) -> Tally:
        """What a batch job's record says; older ones say less."""
        counts: dict[str, Any] = {"lines": 0} | {name: record.counts[name] for name in COUNTED if name in record.counts}
        return cls(**counts, **record.facts.get("told", {}))

    def warnings(self) -> list[str]:
        """What somebody should look at, a sentence each."""
        told = []
        if self.errors:
            told.append(f"{self.errors:,} of {self.lines:,} lines are error lines; the first says: {self.first_error}")
        if self.empty_lists:
            told.append(f"{self.empty_lists:,} of {self.lines:,} lines got an empty list; look at the filter, or ask for less.")
        if self.unused_filter_values:
            told.append(
                f"{self.unused_filter_values:,} lines have filterValues that no placeholder of the filter takes "
                f"({_shown(self.unused_names)}); mind the spelling: case counts."
            )
        if self.missing_filter_values:
            told.append(
                f"{self.missing_filter_values:,} lines have no value for a placeholder of the filter "
                f"({_shown(self.missing_names)}); the EXCLUDE that names it was skipped for them."
            )
        return told

    def check(self, max_error_fraction: float, where: str) -> None:
        """See that not too many lines failed.

        Args:
            max_error_fraction: Error lines that are acceptable, of all lines; that all of them fail never is.
            where: The input.

        Raises:
            DataError: There are more.
        """
        if not self.errors or (self.errors < self.lines and self.errors <= max_error_fraction * self.lines):
            return
        what = "every line is" if self.errors == self.lines else f"{self.errors:,} of {self.lines:,} lines are"
        raise DataError(
            f"{what} an error line" if self.errors == self.lines else f"{what} error lines",
            where=where,
            value=self.first_error,
            allowed="fewer than all lines" if self.errors == self.lines else f"a fraction of {max_error_fraction:g}",
            remedy="Nothing was published. Mend the input, or see whether it belongs to another recipe.",
        )


COUNTED = ("lines", "errors", "unknown_users", "empty_lists", "unused_filter_values", "missing_filter_values")


def total(tallies: Iterable[Tally]) -> Tally:
    """Of all lines together."""
    given = list(tallies)
    return Tally(
        **{name: sum(getattr(each, name) for each in given) for name in COUNTED},
        unused_names=sorted({name for each in given for name in each.unused_names}),
        missing_names=sorted({name for each in given for name in each.missing_names}),
        first_error=next((each.first_error for each in given if each.first_error), ""),
    )


def values_told(given: Iterable[tuple[Mapping[str, str], int]], placeholders: Sequence[str]) -> dict[str, Any]:
    """The parts of a Tally that filter values make.

    Args:
        given: filterValues of good lines, and how many lines have them.
        placeholders: Of the filter; none where there is no filter.
    """
    wanted, unused, missing = set(placeholders), set[str](), set[str]()
    num_unused = num_missing = 0
    for values, count in given:
        own_unused, own_missing = set(values) - wanted, wanted - set(values)
        num_unused += count * bool(own_unused)
        num_missing += count * bool(own_missing)
        if count:
            unused |= own_unused
            missing |= own_missing
    return {
        "unused_filter_values": num_unused,
        "missing_filter_values": num_missing,
        "unused_names": sorted(unused)[:_SHOWN_NAMES],
        "missing_names": sorted(missing)[:_SHOWN_NAMES],
    }


def _shown(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN_NAMES]) + (", …" if len(names) > _SHOWN_NAMES else "")
