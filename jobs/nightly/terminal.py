"""Plain tables on the terminal, and the plan of a night as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def plan_lines(document: dict[str, Any]) -> list[str]:
    """The plan of a night: every step, whether it runs, and why."""
    rows = [("step", "", "why")]
    rows += [(f"{s['job']} {s['name']}", "runs" if s["runs"] else "is done", "; ".join(s["why"])) for s in document["steps"]]
    return terminal_table(rows, set())


def terminal_table(rows: Sequence[tuple[str, ...]], numbers: set[int]) -> list[str]:
    """Lines of a plain table; columns in `numbers` are set to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if at in numbers else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines
