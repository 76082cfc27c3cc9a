"""The page of a comparison and the lines that stand on the terminal, both made of its document."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from hrnn.data.arrays import Rows
from jobs.reports.charts import Plot, bar_plot, line_plot
from jobs.reports.html import render
from jobs.reports.metric_names import percent_text
from jobs.reports.parts import Verdict
from schemas.version import VERSION

_WORDS = (  # from this overlap on
    (0.8, "good", "Nearly the same lists"),
    (0.5, "good", "Much alike"),
    (0.2, "even", "Partly alike"),
    (0.0, "even", "Mostly different"),
)


def comparison_html(document: dict[str, Any], listed: pa.Table) -> str:
    """The page as one HTML document that loads nothing.

    Args:
        document: As `compare.json` holds it.
        listed: Columns old and new: how often each id stands in the lists of either side.
    """
    times = {side: listed[side].to_numpy() for side in ("old", "new")}
    page = {
        "document": document,
        "verdict": verdict(document),
        "figures": list(_figures(document)),
        "plots": list(_plots(document, times)),
        "software": VERSION,
    }
    return render("comparison.html.j2", page)


def verdict(document: dict[str, Any]) -> Verdict:
    """How alike the two sides are, in words."""
    compared, length = document["lines"]["compared"], document["longest_list"]
    if not compared or not length:
        reason = "no list stands in either" if compared else "no input was answered on both sides"
        return Verdict(state="bad", word="Nothing to compare", sentence=f"The two have no list in common: {reason}.", detail="")
    share = document["overlap"][str(length)]
    state, word = next((state, word) for least, state, word in _WORDS if share >= least)
    same = f"{share * length:.1f} of {length:,}" if length > 1 else percent_text(share)
    shuffled = document["overlap_if_lists_were_shuffled"]
    lines = document["lines"]
    left = sum(lines.values()) - lines["matched"] - compared
    left_out = f"; {left:,} were not, for an error or for want of a partner" if left else ""
    return Verdict(
        state=state,
        word=word,
        sentence=f"On average the two lists of an input share {same} {document['listed']['what']}.",
        detail=(
            f"{compared:,} lines were compared{left_out}. Lists that are dealt to the wrong lines at random would share "
            f"{percent_text(shuffled)}, since both sides list what is popular; the true ones share {percent_text(share)}. "
            "This says how alike the lists are, not which are better: hrnn evaluate measures that on hidden events, a test "
            "with users decides it."
        ),
    )


def comparison_lines(document: dict[str, Any]) -> list[str]:
    """What stands on the terminal."""
    judged = verdict(document)
    rows = [(name, value) for name, value, _ in _figures(document)]
    width = max(len(name) for name, _ in rows)
    return [f"{judged.word}. {judged.sentence}", *(f"  {name.ljust(width)}  {value:>8}" for name, value in rows)]


def _figures(document: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """(what, value, how to read it) of the figures of both sides together."""
    lines, what = document["lines"], document["listed"]["what"]
    yield "lines matched", f"{lines['matched']:,}", "inputs that both sides hold, errors included"
    yield "lines compared", f"{lines['compared']:,}", "of them, those that have a list on both sides"
    if not lines["compared"]:
        return
    for depth, share in document["overlap"].items():
        yield (
            f"overlap@{depth}",
            percent_text(share),
            f"share of the first {depth} {what} that stand among the other's first {depth}",
        )
    yield (
        "overlap by chance",
        percent_text(document["overlap_if_lists_were_shuffled"]),
        "of whole lists that belong to different inputs",
    )
    p = document["rank_biased_overlap"]["p"]
    mean = document["rank_biased_overlap"]["mean"]
    yield "rank-biased overlap", f"{mean:.4f}", f"1 where the lists are equal; the top counts most (p = {p:g}, extrapolated)"
    yield "same first", percent_text(document["same_first"]), "lines whose lists begin alike"
    yield "equal lists", percent_text(document["identical_lists"]), "lines whose lists are equal in all places"
    correlation = document["score_correlation"]
    if correlation is not None:
        pairs = f"Pearson's, over the {document['scored_pairs']:,} scores of what stands in both lists of a line"
        yield "correlation of scores", f"{correlation:.4f}", pairs
    yield f"{what} listed by old only", percent_text(document["share_only_in_old"]), f"of all {what} that either side lists"
    yield f"{what} listed by new only", percent_text(document["share_only_in_new"]), f"of all {what} that either side lists"


def _plots(document: dict[str, Any], times: dict[str, Rows]) -> Iterator[Plot]:
    if not document["lines"]["compared"] or not document["longest_list"]:
        return
    length, spread = document["longest_list"], document["distribution"]
    overlaps = spread["lines_by_overlap"]
    whole = len(overlaps) == length + 1
    bars = [(str(step) if whole else f"{float(share):.0%}", count) for step, (share, count) in enumerate(overlaps.items())]
    what = document["listed"]["what"]
    yield bar_plot("How many lists share how much", bars, f"{what} that both lists hold" if whole else "overlap", "lines")
    ranked = [(share, count) for share, count in spread["lines_by_rank_biased_overlap"].items()]
    yield bar_plot("Rank-biased overlap", ranked, "rank-biased overlap (the top counts most)", "lines")
    if len(spread["overlap_by_depth"]) > 1:
        points = [(float(depth), 100 * share) for depth, share in enumerate(spread["overlap_by_depth"], 1)]
        yield line_plot("Overlap by depth", points, f"first {what} that count", "mean overlap, %", from_zero=True)
    for side, counts in times.items():
        ordered = np.sort(counts[counts > 0])[::-1]
        if len(ordered) > 1:
            ranks = np.unique(np.geomspace(1, len(ordered), 200).round().astype(np.int64))  # even on a logarithmic axis
            curve = [(float(rank), float(ordered[rank - 1])) for rank in ranks]
            label = f"rank among the side's {what}"
            yield line_plot(f"{side.title()}: how often {what} are listed", curve, label, "times listed", logarithmic=True)
