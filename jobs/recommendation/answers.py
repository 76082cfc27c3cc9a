"""What the lines of a split get: entries and scores, of as many as each line asks for."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from hrnn.splits import ranges

Items = npt.NDArray[np.int32]
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Answers:
    """Answers to n lines.

    Attributes:
        offsets: int64 [n + 1]; line i's are [offsets[i], offsets[i + 1]) of the other two.
        entries: int32, best first: item rows, or places in the line's list; -1 behind the last one.
        scores: int32, in ten-millionths, falling.
    """

    offsets: Rows
    entries: Items
    scores: Items

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @classmethod
    def none(cls, widths: Rows) -> Answers:
        """Answers without entries, to be filled in.

        Args:
            widths: int64 [n], most entries of each line.
        """
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(widths, dtype=np.int64)])
        return cls(offsets, np.full(offsets[-1], -1, np.int32), np.zeros(offsets[-1], np.int32))

    @classmethod
    def of_rows(cls, entries: Items, scores: Items) -> Answers:
        """Answers of one width, int32 [n, K] each."""
        return cls(np.arange(len(entries) + 1, dtype=np.int64) * entries.shape[1], entries.reshape(-1), scores.reshape(-1))

    def part(self, start: int, end: int) -> Answers:
        """The answers to lines [start, end)."""
        offsets = self.offsets[start : end + 1]
        return Answers(offsets - offsets[0], self.entries[offsets[0] : offsets[-1]], self.scores[offsets[0] : offsets[-1]])

    def put(self, places: Rows, others: Answers) -> None:
        """Fill in the answers to some lines, of the same widths."""
        if (width := self._width()) is not None:
            self.entries.reshape(-1, width)[places] = others.entries.reshape(-1, width)
            self.scores.reshape(-1, width)[places] = others.scores.reshape(-1, width)
        else:
            at = ranges(self.offsets[places], np.diff(self.offsets)[places])
            self.entries[at], self.scores[at] = others.entries, others.scores

    def take(self, places: Rows) -> Answers:
        """The answers to some lines."""
        taken = Answers.none(np.diff(self.offsets)[places])
        at = ranges(self.offsets[places], np.diff(taken.offsets))
        taken.entries[:], taken.scores[:] = self.entries[at], self.scores[at]
        return taken

    def as_lists(self, plain_score: int, unit: int) -> tuple[list[list[int]], list[list[int]], list[list[float]], list[int]]:
        """Of every line, without those of -1: entries, scores, scores as fractions, how many of them come to `plain_score`."""
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
        """What all lines have in common, where they do."""
        widths = np.diff(self.offsets)
        return int(widths[0]) if len(widths) and widths[0] > 0 and (widths == widths[0]).all() else None
