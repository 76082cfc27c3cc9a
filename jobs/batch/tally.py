"""Counts of a batch job's lines and the warnings they give: errors, empty lists, filter values that don't fit."""

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
        unused_names, missing_names: Names of these values.
        first_error: Message of the first error line.
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

    def details(self) -> dict[str, Any]:
        """The fields that are no numbers, by name."""
        return {
            "unused_names": list(self.unused_names),
            "missing_names": list(self.missing_names),
            "first_error": self.first_error,
        }

    @classmethod
    def of_record(cls, record: Manifest) -> Tally:
        """The counts in a batch job's record; those of an older release lack some."""
        counts: dict[str, Any] = {"lines": 0} | {name: record.counts[name] for name in COUNTED if name in record.counts}
        return cls(**counts, **record.metadata.get("told", {}))

    def warnings(self) -> list[str]:
        """Warnings for people, a sentence each."""
        warnings = []
        if self.errors:
            warnings.append(f"{self.errors:,} of {self.lines:,} lines are error lines; the first says: {self.first_error}")
        if self.empty_lists:
            warnings.append(
                f"{self.empty_lists:,} of {self.lines:,} lines got an empty list; look at the filter, or ask for less."
            )
        if self.unused_filter_values:
            warnings.append(
                f"{self.unused_filter_values:,} lines have filterValues that no placeholder of the filter takes "
                f"({_shown(self.unused_names)}); mind the spelling: case counts."
            )
        if self.missing_filter_values:
            warnings.append(
                f"{self.missing_filter_values:,} lines have no value for a placeholder of the filter "
                f"({_shown(self.missing_names)}); the EXCLUDE that names it was skipped for them."
            )
        return warnings

    def check(self, max_error_fraction: float, where: str) -> None:
        """Refuse a batch in which too many lines failed.

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
    """The counts of all lines together."""
    parts = list(tallies)
    return Tally(
        **{name: sum(getattr(each, name) for each in parts) for name in COUNTED},
        unused_names=sorted({name for each in parts for name in each.unused_names}),
        missing_names=sorted({name for each in parts for name in each.missing_names}),
        first_error=next((each.first_error for each in parts if each.first_error), ""),
    )


def filter_value_counts(lines: Iterable[tuple[Mapping[str, str], int]], placeholders: Sequence[str]) -> dict[str, Any]:
    """The fields of a Tally that count filter values.

    Args:
        lines: filterValues of good lines, and how many lines have them.
        placeholders: The filter's; none where there is no filter.
    """
    expected, unused, missing = set(placeholders), set[str](), set[str]()
    num_unused = num_missing = 0
    for values, count in lines:
        unexpected, lacking = set(values) - expected, expected - set(values)
        num_unused += count * bool(unexpected)
        num_missing += count * bool(lacking)
        if count:
            unused |= unexpected
            missing |= lacking
    return {
        "unused_filter_values": num_unused,
        "missing_filter_values": num_missing,
        "unused_names": sorted(unused)[:_SHOWN_NAMES],
        "missing_names": sorted(missing)[:_SHOWN_NAMES],
    }


def _shown(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN_NAMES]) + (", …" if len(names) > _SHOWN_NAMES else "")
