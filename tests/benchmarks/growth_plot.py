"""The plot of bench_scale.py: events a CPU second by items, units, lanes and ranks, in one SVG file."""

from __future__ import annotations

from pathlib import Path

from jobs.reports.axes import short_number
from jobs.reports.charts import HEIGHT, WIDTH, bar_plot
from jobs.reports.html import template_module

TITLE, GAP = 24, 16  # SVG units
STYLE = """
svg { font: 11px sans-serif; --ink: #1f2328; --muted: #59636e; --grid: #d1d9e0; --accent: #2a6fb0; }
@media (prefers-color-scheme: dark) { svg { --ink: #f0f6fc; --muted: #9198a1; --grid: #3d444d; --accent: #6cb2ee; } }
.title { font-size: 13px; font-weight: 600; fill: var(--ink); } .tick, .label { fill: var(--muted); }
.grid { stroke: var(--grid); } .base { stroke: var(--muted); } .bar { fill: var(--accent); }
"""


def growth_svg(found: dict[str, dict[int, float]]) -> str:
    """One panel a growing thing, two beside one another.

    Args:
        found: What grows -> its size -> events a CPU second.
    """
    panels = []
    for number, (what, speeds) in enumerate(found.items()):
        plot = bar_plot(what, [(short_number(size), speed) for size, speed in speeds.items()], what, "events a CPU second")
        x, y = number % 2 * (WIDTH + GAP), number // 2 * (HEIGHT + TITLE + GAP)
        drawn = str(template_module("plot.svg.j2").draw(plot))
        panels.append(f'<text class="title" x="{x}" y="{y + 14}">Events a CPU second, by {what}</text>')
        panels.append(drawn.replace("<svg ", f'<svg x="{x}" y="{y + TITLE}" width="{WIDTH}" height="{HEIGHT}" ', 1))
    width, height = 2 * WIDTH + GAP, -(-len(found) // 2) * (HEIGHT + TITLE + GAP)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">'
    return "\n".join([head, f"<style>{STYLE}</style>", *panels, "</svg>\n"])


def write_growth(path: Path, found: dict[str, dict[int, float]]) -> None:
    """Write the plot, and say where."""
    path.write_text(growth_svg(found))
    print(f"\nPlot: {path}", flush=True)
