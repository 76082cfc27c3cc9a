"""The page of a comparison, made of its document; and the lines that stand on the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from hrnn.data.arrays import Rows
from jobs.reports.charts import Plot, bar_plot, line_plot
from jobs.reports.comparison import ComparisonPage, DifferingLine, ListedEntry
from jobs.reports.night import Verdict
from schemas.version import VERSION

_SHOWN_ENTRIES = 10  # of each list
_SHOWN_ALONE = 20
_WORDS = (  # from this overlap on
    (0.8, "good", "Nearly the same lists"),
    (0.5, "good", "Much alike"),
    (0.2, "even", "Partly alike"),
    (0.0, "even", "Mostly different"),
)


def comparison_page(document: dict[str, Any], old_counts: Rows, new_counts: Rows) -> ComparisonPage:
    """Everything the page says.

    Args:
        document: As `compare.json` holds it.
        old_counts: How often each listed id stands in the old lists.
        new_counts: The same of the new ones.
    """
    return ComparisonPage(
        old=document["old"],
        new=document["new"],
        verdict=verdict(document),
        tiles=tuple(_tiles(document)),
        figures=tuple(_figures(document)),
        sides=tuple(_sides(document)),
        plots=tuple(_plots(document, old_counts, new_counts)),
        differing=tuple(map(_differing, document["differ_most"])),
        alone=tuple(_alone(document)),
        software=VERSION,
    )


def verdict(document: dict[str, Any]) -> Verdict:
    """How alike the two sides are, in words."""
    compared, length = document["lines"]["compared"], document["longest_list"]
    if not compared or not length:
        reason = "no list stands in either" if compared else "no input was answered on both sides"
        return Verdict(state="bad", word="Nothing to compare", sentence=f"The two have no list in common: {reason}.", detail="")
    share = document["overlap"][str(length)]
    state, word = next((state, word) for least, state, word in _WORDS if share >= least)
    same = f"{share * length:.1f} of {length:,}" if length > 1 else _percent(share)
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
            f"{_percent(shuffled)}, since both sides list what is popular; the true ones share {_percent(share)}. This says "
            "how alike the lists are, not which are better: hrnn evaluate measures that on hidden events, a test with users "
            "decides it."
        ),
    )


def comparison_lines(document: dict[str, Any]) -> list[str]:
    """What stands on the terminal."""
    found = verdict(document)
    rows = [(name, value) for name, value, _ in _figures(document)]
    width = max(len(name) for name, _ in rows)
    return [f"{found.word}. {found.sentence}", *(f"  {name.ljust(width)}  {value:>8}" for name, value in rows)]


def _tiles(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    lines = document["lines"]
    yield "lines compared", f"{lines['compared']:,}"
    if lines["compared"]:
        for depth, share in document["overlap"].items():
            yield f"overlap@{depth}", _percent(share)
        yield "rank-biased overlap", f"{document['rank_biased_overlap']['mean']:.3f}"
        yield "same first", _percent(document["same_first"])
        yield "equal lists", _percent(document["identical_lists"])


def _figures(document: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    lines, what = document["lines"], document["listed"]["what"]
    yield "lines matched", f"{lines['matched']:,}", "inputs that both sides hold, errors included"
    yield "lines compared", f"{lines['compared']:,}", "of them, those that have a list on both sides"
    if not lines["compared"]:
        return
    for depth, share in document["overlap"].items():
        yield (
            f"overlap@{depth}",
            _percent(share),
            f"share of the first {depth} {what} that stand among the other's first {depth}",
        )
    yield (
        "overlap by chance",
        _percent(document["overlap_if_lists_were_shuffled"]),
        "of whole lists that belong to different inputs",
    )
    p = document["rank_biased_overlap"]["p"]
    mean = document["rank_biased_overlap"]["mean"]
    yield "rank-biased overlap", f"{mean:.4f}", f"1 where the lists are equal; the top counts most (p = {p:g}, extrapolated)"
    yield "same first", _percent(document["same_first"]), "lines whose lists begin alike"
    yield "equal lists", _percent(document["identical_lists"]), "lines whose lists are equal in all places"
    correlation = document["score_correlation"]
    if correlation is not None:
        pairs = f"Pearson's, over the {document['scored_pairs']:,} scores of what stands in both lists of a line"
        yield "correlation of scores", f"{correlation:.4f}", pairs
    yield f"{what} listed by old only", _percent(document["share_only_in_old"]), f"of all {what} that either side lists"
    yield f"{what} listed by new only", _percent(document["share_only_in_new"]), f"of all {what} that either side lists"


def _sides(document: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    lines, listed, counts = document["lines"], document["listed"], document["counts"]
    old, new, what = listed["old"], listed["new"], listed["what"]
    yield "lines", f"{counts['old']['lines']:,}", f"{counts['new']['lines']:,}"
    yield "error lines", f"{counts['old']['errors']:,}", f"{counts['new']['errors']:,}"
    yield "lines the other side lacks", f"{lines['only_in_old']:,}", f"{lines['only_in_new']:,}"
    if lines["compared"]:
        yield f"distinct {what} in the compared lists", f"{old['distinct']:,}", f"{new['distinct']:,}"
        coverage = f"share of the {listed['either']:,} {what} that either lists"
        yield coverage, _percent(old["coverage"]), _percent(new["coverage"])
        yield "Gini (0: all listed alike, 1: few fill all lists)", f"{old['gini']:.3f}", f"{new['gini']:.3f}"


def _plots(document: dict[str, Any], old_counts: Rows, new_counts: Rows) -> Iterator[Plot]:
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
    for side, counts in (("Old", old_counts), ("New", new_counts)):
        if len(counts) > 1:
            ordered = np.sort(counts)[::-1].tolist()
            ranks = [(float(rank), float(count)) for rank, count in _spaced(ordered)]
            label = f"rank among the side's {what}"
            yield line_plot(f"{side}: how often {what} are listed", ranks, label, "times listed", logarithmic=True)


def _spaced(counts: Sequence[int]) -> Iterator[tuple[int, int]]:
    """(rank, count) at ranks that are evenly spaced on a logarithmic axis, first and last included."""
    ranks = np.unique(np.geomspace(1, len(counts), 200).round().astype(np.int64))
    return ((rank, counts[rank - 1]) for rank in ranks.tolist())


def _differing(line: dict[str, Any]) -> DifferingLine:
    old, new = line["old"], line["new"]
    return DifferingLine(
        asked=line["input"],
        value=f"{line['rank_biased_overlap']:.3f}",
        old=_entries(old, new),
        new=_entries(new, old),
        more=(max(0, len(old) - _SHOWN_ENTRIES), max(0, len(new) - _SHOWN_ENTRIES)),
    )


def _entries(listed: list[str], other: list[str]) -> tuple[ListedEntry, ...]:
    ranks = {text: rank for rank, text in enumerate(other, 1)}
    return tuple(ListedEntry(text=text, other_rank=ranks.get(text, 0)) for text in listed[:_SHOWN_ENTRIES])


def _alone(document: dict[str, Any]) -> Iterator[tuple[str, tuple[str, ...], int]]:
    for side, other in (("old", "new"), ("new", "old")):
        files = document["files_only_in"][side]
        if files:
            heading = f"{len(files):,} files of {side} have no partner of that name"
            yield heading, tuple(files[:_SHOWN_ALONE]), max(0, len(files) - _SHOWN_ALONE)
        inputs, count = document["lines_only_in"][side], document["lines"][f"only_in_{side}"]
        if count:
            yield f"{count:,} lines of {side} whose input {other} does not hold", tuple(inputs), count - len(inputs)


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.1%}"
