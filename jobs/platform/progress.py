"""Progress on stderr: a bar on a terminal, a plain line about every ten seconds elsewhere, silence on all ranks but 0."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from tqdm import tqdm

LINE_SECONDS = 10.0  # between two lines where stderr is no terminal


class Progress:
    """How far a long piece of work is, how fast it goes, and when it will be done.

    Safe to make on every rank of a distributed job: only rank 0 (environment variable RANK, else a single process) writes.

    Args:
        total: Units of the whole work; None where nobody knows.
        unit: What is counted, plural: "events", "users".
        label: What is being done: "train for-you".
        clock: Seconds, rising; for tests.
    """

    def __init__(self, total: int | None, unit: str, label: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.total, self.unit, self.label = total, unit, label
        self.done = 0
        self._clock = clock
        self._began = self._printed = clock()
        self._closed = self._silent = os.environ.get("RANK", "0") != "0"
        self._bar: Any = None
        if not self._silent and sys.stderr.isatty():
            self._bar = tqdm(total=total, unit=f" {unit}", desc=label, file=sys.stderr, unit_scale=True, dynamic_ncols=True)

    def update(self, n: int = 1, note: str = "") -> None:
        """Count `n` more units.

        Args:
            n: Units done since the last call.
            note: A few words shown after the figures, such as the current loss.
        """
        self.done += n
        if self._silent or self._closed:
            return
        if self._bar is not None:
            if note:
                self._bar.set_postfix_str(note, refresh=False)
            self._bar.update(n)
        elif (now := self._clock()) - self._printed >= LINE_SECONDS:
            self._printed = now
            self._print(self._line(now - self._began, note))

    def close(self) -> None:
        """End the bar, or print the last line; harmless when called twice."""
        if self._closed:
            return
        self._closed = True
        if self._bar is not None:
            self._bar.close()
        elif self._clock() - self._began >= LINE_SECONDS:  # work too short for a line needs no last one either
            self._print(self._line(self._clock() - self._began, "done"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is not None and self._bar is None:
            self._closed = True  # "done" would be a lie
        self.close()

    def _line(self, elapsed: float, note: str) -> str:
        rate = self.done / elapsed if elapsed > 0 else 0.0
        parts = [f"{self.done:,} {self.unit}", f"{rate:,.0f} {self.unit}/s" if rate >= 10 else f"{rate:.1f} {self.unit}/s"]
        if self.total:
            parts[0] = f"{self.done:,}/{self.total:,} {self.unit} ({100 * self.done / self.total:.0f} %)"
            if rate > 0 and self.done < self.total:
                parts.append(f"{_clock_text((self.total - self.done) / rate)} left")
        parts += [note] if note else []
        return f"{self.label}: " + ", ".join(parts)

    @staticmethod
    def _print(line: str) -> None:
        print(line, file=sys.stderr, flush=True)


def _clock_text(seconds: float) -> str:
    """`0:42`, `12:05`, `1:02:05`."""
    minutes, rest = divmod(int(seconds + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
