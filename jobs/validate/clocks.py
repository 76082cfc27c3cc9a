"""Events whose time cannot be true: of a wrong device clock, or with a null that was written as a number.

One of them would decide when "now" is, and so what is recent, what trends and which items are new. Each part sends its events
by day to all receivers; so each receiver knows where the data end (hrnn/data/plausible.py), and finds those of its own events
that lie beyond.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from hrnn.data.arrays import Rows
from hrnn.data.plausible import DAY, LAST_SECOND, DayCounts
from jobs.platform.process.scratch import scratch_folder
from jobs.platform.storage.folders import StepFolder
from jobs.validate.figures import History
from jobs.validate.keys import Message, encode
from jobs.validate.plan import FILE_SHIFT, ImportPlan
from jobs.validate.rows import REJECTED
from schemas.columns import TIMESTAMP
from schemas.manifest import FileEntry

DAYS = "days"  # kind of a message
EXAMPLES = 3  # of each kind
CLOCKS_DIFFER_BY = 300  # seconds, as docs/operations.md asks of machines

_LINE = (1 << FILE_SHIFT) - 1


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Between which seconds events can be true, both included.

    Attributes:
        earliest: What is before it is a null written as a number.
        latest: What is after it is far from the rest.
        now: The time of the import.
    """

    earliest: int
    latest: int
    now: int | None

    @classmethod
    def of(cls, messages: Iterable[Message], now: int | None) -> Limits:
        """The limits that follow from the days of all parts' events."""
        # One message a part: only all of them together say where the data end.
        tables = [tables[0] for tables in messages]
        counts = [DayCounts(table.column("day").to_numpy(), table.column("events").to_numpy()) for table in tables]
        bounds = counts[0].with_others(counts[1:]).bounds() if counts else DayCounts.of(np.empty(0, np.int64)).bounds()
        return cls(earliest=bounds.earliest, latest=bounds.latest, now=now)

    def wrong(self, times: Rows) -> Iterator[tuple[str, NDArray[np.bool_]]]:
        """Each reason why times cannot be true, with the mask of those it is for; masks do not overlap."""
        is_future = in_future(times, self.now)
        if self.now is not None:
            yield f"after the time of the import, {_shown(self.now)}: a wrong clock, see --future", is_future
        last = _shown(self.latest - DAY)[:10]
        end = f"more than a day after all but a few events, which end on {last}: a wrong clock, see --future"
        yield end, (times > self.latest) & ~is_future
        yield "0 or 1 second after 1970 began: a null written as a number, see --future", times < self.earliest


def in_future(times: Rows, now: int | None) -> NDArray[np.bool_]:
    """Which times lie after that of the import, by more than clocks differ; None: there is no such time."""
    return times > (LAST_SECOND if now is None else now + CLOCKS_DIFFER_BY)


@dataclass(frozen=True, kw_only=True)
class Wrong:
    """Events of one receiver whose times cannot be true.

    Attributes:
        positions: In the history, rising.
        summaries: For the driver: reason, rows, examples, and where they were left out the rows of each file.
        entry: File of the rejected rows; None where there are none, or they were kept.
    """

    positions: Rows
    summaries: list[dict[str, Any]]
    entry: FileEntry | None


def day_messages(plan: ImportPlan, times: Iterable[Rows]) -> Iterator[tuple[int, bytes]]:
    """A part's message to every receiver: events by day, the future left out; `times` come in blocks."""
    none = DayCounts.of(np.empty(0, np.int64))
    counts = none.with_others([DayCounts.of(block[~in_future(block, plan.now)]) for block in times]).telling()
    message = encode(DAYS, [pa.table({"day": counts.days, "events": counts.events})])
    for receiver in range(plan.num_receivers):
        yield receiver, message


def find_wrong(history: History, limits: Limits, plan: ImportPlan, receiver: int) -> Wrong:
    """The new events of a receiver whose times cannot be true; unless they are kept, written as rejected rows."""
    # Rows of earlier imports were accepted then, and stay; so only new ones are looked at.
    groups = []
    for reason, mask in limits.wrong(history.times):
        at = np.flatnonzero(mask & (history.input_order >= plan.first_new_order))
        if len(at):
            groups.append((reason, at[np.argsort(history.input_order[at])]))
    summaries = [_summary(reason, history.times[at], history.input_order[at]) for reason, at in groups]
    positions = np.sort(np.concatenate([np.empty(0, np.int64), *(at for _, at in groups)]))
    return Wrong(
        positions=positions,
        summaries=summaries,
        entry=_write(history, groups, plan, receiver) if plan.rejects_wrong_times else None,
    )


def gathered(plan: ImportPlan, owners: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """All receivers' reasons merged, with rows and first examples (file, line, value), ordered by their first examples."""
    merged: dict[str, dict[str, Any]] = {}
    for summary in (summary for owner in owners for summary in owner.get("wrong_times", ())):
        entry = merged.setdefault(
            summary["reason"], {"column": TIMESTAMP, "reason": summary["reason"], "rows": 0, "examples": []}
        )
        entry["rows"] += summary["rows"]
        entry["examples"] = sorted([*entry["examples"], *summary["examples"]])[:EXAMPLES]
    reasons = sorted(merged.values(), key=lambda entry: entry["examples"][0])
    for entry in reasons:
        entry["examples"] = [
            {"file": plan.file_names[order >> FILE_SHIFT], "line": order & _LINE, "value": str(time)}
            for order, time in entry["examples"]
        ]
    return reasons


def _summary(reason: str, times: Rows, input_order: Rows) -> dict[str, Any]:
    files, rows = np.unique(input_order >> FILE_SHIFT, return_counts=True)
    examples = zip(input_order[:EXAMPLES].tolist(), times[:EXAMPLES].tolist(), strict=True)
    return {
        "reason": reason,
        "rows": len(times),
        "files": list(zip(files.tolist(), rows.tolist(), strict=True)),
        "examples": list(examples),
    }


def _write(history: History, groups: Sequence[tuple[str, Rows]], plan: ImportPlan, receiver: int) -> FileEntry | None:
    if not groups:
        return None
    # All groups together in the input's order, as rejected rows of other reasons are written.
    at = np.concatenate([at for _, at in groups])
    reasons = np.repeat(np.arange(len(groups)), [len(at) for _, at in groups])
    order = np.argsort(history.input_order[at])
    at, reasons = at[order], reasons[order]
    places = history.input_order[at]
    columns = {
        "file": pa.array(plan.file_names, pa.string()).take(pa.array(places >> FILE_SHIFT)),
        "line": places & _LINE,
        "column": pa.array([TIMESTAMP] * len(at), pa.string()),
        "value": pa.array(history.times[at]).cast(pa.string()),
        "reason": pa.array([reason for reason, _ in groups], pa.string()).take(pa.array(reasons)),
    }
    folder = StepFolder(plan.output_uri)
    with scratch_folder("rejected") as scratch:
        local = Path(scratch) / "rejected.parquet"
        pq.write_table(pa.table(columns).cast(REJECTED), local, compression="zstd")
        return folder.put_file(local, folder.attempt_path(f"rejected/times-{receiver:05}.parquet"), len(at))


def _shown(second: int) -> str:
    """`2024-05-01 09:30 UTC`; far away moments as they are."""
    try:
        return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%d %H:%M UTC")
    except (OverflowError, ValueError, OSError):
        return f"second {second}"
