"""Answers to lines: entries and scores, a list for each line, in two flat arrays."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from hrnn.data.arrays import Rows
from hrnn.data.ragged import offsets_of, positions_of
from hrnn.explain.families import FAMILIES

Items = npt.NDArray[np.int32]

MOST_REASONS = 3  # past items in the explanation of an entry
REASON_UNITS = 10_000  # shares in reasons are whole numbers of ten-thousandths
LOG_ODDS_UNITS = 100  # those of families are whole numbers of hundredths
PAST_ITEMS, SHARES = slice(2, 2 + MOST_REASONS), slice(2 + MOST_REASONS, 2 + 2 * MOST_REASONS)
OF_FAMILIES = slice(SHARES.stop, SHARES.stop + len(FAMILIES))
REASON_NUMBERS = OF_FAMILIES.stop
# Of popular items that everybody gets: popularity's share, not explored, no past items (rows, then shares), no families.
POPULAR = np.array([REASON_UNITS, 0, *[-1] * MOST_REASONS, *[0] * (MOST_REASONS + len(FAMILIES))], np.int32)


@dataclass(frozen=True)
class Answers:
    """Answers to n lines.

    Attributes:
        offsets: int64 [n + 1]; line i's are [offsets[i], offsets[i + 1]) of the other two.
        entries: int32, best first: item rows, or places in the line's list; -1 behind the last one.
        scores: int32, in ten-millionths, falling.
        reasons: int32 [entries, REASON_NUMBERS], where answers are explained: the share of popularity, 1 where the entry was
            explored, catalogue rows of past items, the strongest first (-1 behind the last), their shares, and what each family
            adds to the log-odds of a ranked item; 0 of others.
    """

    offsets: Rows
    entries: Items
    scores: Items
    reasons: Items | None = None

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @classmethod
    def none(cls, widths: Rows) -> Answers:
        """Answers without entries, to be filled in.

        Args:
            widths: int64 [n], most entries of each line.
        """
        offsets = offsets_of(widths)
        return cls(offsets, np.full(offsets[-1], -1, np.int32), np.zeros(offsets[-1], np.int32))

    @classmethod
    def of_rows(cls, entries: Items, scores: Items) -> Answers:
        """Answers of one width, int32 [n, K] each."""
        return cls(np.arange(len(entries) + 1, dtype=np.int64) * entries.shape[1], entries.reshape(-1), scores.reshape(-1))

    def part(self, start: int, end: int) -> Answers:
        """The answers to lines [start, end)."""
        offsets = self.offsets[start : end + 1]
        entries = slice(offsets[0], offsets[-1])
        reasons = None if self.reasons is None else self.reasons[entries]
        return Answers(offsets - offsets[0], self.entries[entries], self.scores[entries], reasons)

    def as_popular(self, rows: Rows) -> Answers:
        """The same answers, each entry with the reason that popular items have; popularity has no part in one without a score.

        Args:
            rows: int64, one an entry: its row of the catalogue, -1 where it has no score.
        """
        reasons = np.tile(POPULAR, (len(self.entries), 1))
        reasons[rows < 0, 0] = 0
        return replace(self, reasons=reasons)

    def num_empty(self) -> int:
        """How many lines have no entry."""
        entries_before = offsets_of(self.entries >= 0)
        return int(np.count_nonzero(np.diff(entries_before[self.offsets]) == 0))

    def put(self, lines: Rows, others: Answers) -> None:
        """Fill in the answers to some lines, of the same widths; reasons where both have them."""
        if self.reasons is not None and others.reasons is not None:
            self.reasons[positions_of(self.offsets, lines).values] = others.reasons
        if (width := self._width()) is not None:
            self.entries.reshape(-1, width)[lines] = others.entries.reshape(-1, width)
            self.scores.reshape(-1, width)[lines] = others.scores.reshape(-1, width)
        else:
            at = positions_of(self.offsets, lines).values
            self.entries[at], self.scores[at] = others.entries, others.scores

    def take(self, lines: Rows) -> Answers:
        """The answers to some lines."""
        at = positions_of(self.offsets, lines)
        reasons = None if self.reasons is None else self.reasons[at.values]
        return Answers(at.offsets, self.entries[at.values], self.scores[at.values], reasons)

    def as_lists(self, plain_score: int, unit: int) -> tuple[list[list[int]], list[list[int]], list[list[float]], list[int]]:
        """Of every line, without entries of -1: entries, scores, scores as fractions, how many scores reach `plain_score`."""
        # Lists of one length, and all full: whole matrices are turned into lists at once.
        width = self._width()
        if width is not None and (not len(self.entries) or self.entries.min() >= 0):
            entries, units = self.entries.reshape(-1, width), self.scores.reshape(-1, width)
            plain = (units >= plain_score).sum(axis=1).tolist()
            return entries.tolist(), units.tolist(), (units / unit).tolist(), plain
        bounds = self.offsets.tolist()
        lists = list(pairwise(bounds))
        lengths = [int((self.entries[begin:end] >= 0).sum()) for begin, end in lists]  # those of -1 come last
        units_of = [self.scores[begin : begin + count] for (begin, _), count in zip(lists, lengths, strict=True)]
        return (
            [self.entries[begin : begin + count].tolist() for (begin, _), count in zip(lists, lengths, strict=True)],
            [units.tolist() for units in units_of],
            [(units / unit).tolist() for units in units_of],
            [int((units >= plain_score).sum()) for units in units_of],
        )

    def _width(self) -> int | None:
        """Entries of every line, where all have the same number."""
        widths = np.diff(self.offsets)
        return int(widths[0]) if len(widths) and widths[0] > 0 and (widths == widths[0]).all() else None
