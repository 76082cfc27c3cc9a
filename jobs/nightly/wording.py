"""Texts about a night, for the terminal and its page: counts, metric tables, the verdict."""

from __future__ import annotations

from typing import Any

from jobs.nightly.terminal import terminal_table
from jobs.reports.metric_names import HEADLINE, MODEL, SURE, metric_name, metric_text
from jobs.reports.parts import MetricRow, Verdict
from schemas.recipes import RECIPES

POPULARITY, PERSONAL = "popularity", "personal popularity"
_SHOWN_METRICS = (
    *(f"normalized_discounted_cumulative_gain_at_{depth}" for depth in (25, 10, 5)),
    "mean_reciprocal_rank_at_25",
    *(f"precision_at_{depth}" for depth in (25, 10, 5)),
    "coverage",
)
_NOUNS = {  # count of a job's summary -> what it counts; the first that are there are shown
    "validate": {"rows_accepted": "rows accepted", "rows_rejected": "rejected", "rows_duplicate": "duplicates"},
    "sessionize": {"events": "events", "users": "users", "items": "items", "sessions": "sessions"},
    "train": {"events": "events", "users": "users", "items": "items"},
    "evaluate": {"test_users": "test users", "truth_events": "hidden events"},
    "recommend": {"lines": "lists", "unknown_users": "for unknown users", "errors": "error lines"},
    "segment": {"lines": "segments", "errors": "error lines"},
}
_IF_ANY = {  # of batch jobs: lines that need attention
    "empty_lists": "empty",
    "unused_filter_values": "with unused filter values",
    "missing_filter_values": "without a filter value",
}


def counts_text(job: str, counts: dict[str, Any]) -> str:
    """`404,909 rows accepted, 0 rejected`."""
    main_counts = [f"{counts[key]:,} {noun}" for key, noun in _NOUNS.get(job, {}).items() if key in counts]
    return ", ".join([*main_counts, *_counted(counts, _IF_ANY)])


def batch_note(name: str, counts: dict[str, Any]) -> str:
    """A sentence about a batch job's lines that need attention; empty where there are none."""
    odd = _counted(counts, {"errors": "error lines", **_IF_ANY})
    return f"Of the {counts['lines']:,} lines of {name} some want a look: {', '.join(odd)}." if odd else ""


def _counted(counts: dict[str, Any], nouns: dict[str, str]) -> list[str]:
    return [f"{counts[key]:,} {noun}" for key, noun in nouns.items() if counts.get(key)]


def metric_table(solutions: dict[str, dict[str, Any]]) -> tuple[tuple[str, ...], tuple[MetricRow, ...]]:
    """Columns (every solution that makes lists, popularity, personal popularity, the best other baseline) and their metrics.

    Args:
        solutions: Name -> its metrics.json and "recipe". The baselines shown are those of the solution that has most of them.
    """
    solutions = _of_lists(solutions)
    first = max(solutions.values(), key=lambda solution: len(solution["table"]))["table"]
    columns = {name: solution["table"][MODEL] for name, solution in solutions.items()}
    others = [name for name in _baselines(first) if name not in (POPULARITY, PERSONAL)]
    columns |= {f"{name} " if name in columns else name: first[name] for name in (POPULARITY, PERSONAL, *others[:1])}
    rows = []
    for key in _SHOWN_METRICS:
        values = tuple(column[key] for column in columns.values())
        best = max((value for value in values if value is not None), default=None)
        rows.append(MetricRow(name=metric_name(key), values=values, best=-1 if best is None else values.index(best)))
    return tuple(columns), tuple(rows)


def segment_sentences(solutions: dict[str, dict[str, Any]]) -> tuple[str, ...]:
    """A sentence on each solution that makes segments: its test users are others, so it stands in no table of lists."""
    sentences = []
    for name, solution in solutions.items():
        if _makes_segments(solution) and solution["metrics"].get("recall_at_1_percent") is not None:
            hits, recall = (solution["metrics"][f"{figure}_at_1_percent"] for figure in ("hits", "recall"))
            sentences.append(
                f"{name}: of the users who took an item next, {100 * recall:.1f} % are in the first hundredth of its segment; "
                f"{hits:.2f} users an item, on average."
            )
    return tuple(sentences)


def _makes_segments(solution: dict[str, Any]) -> bool:
    return RECIPES[solution["recipe"]].makes_segments


def _of_lists(solutions: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The solutions that make lists; all where none does."""
    return {name: solution for name, solution in solutions.items() if not _makes_segments(solution)} or solutions


def _baselines(table: dict[str, dict[str, float]]) -> list[str]:
    """Names of the baselines, the best one first."""
    return sorted((name for name in table if name != MODEL), key=lambda name: -(table[name][HEADLINE] or 0.0))


def verdict(solutions: dict[str, dict[str, Any]]) -> Verdict:
    """Whether the best solution's lists are worth publishing.

    Args:
        solutions: Name -> its metrics.json and "recipe".
    """
    solutions = _of_lists(solutions)
    name = max(solutions, key=lambda each: float(solutions[each]["table"][MODEL][HEADLINE] or 0.0))
    solution = solutions[name]
    if not solution["test_users"]:
        detail = "No user has two events or more, so none could be hidden and asked for."
        return Verdict(state="even", word="Not measured", sentence="There is too little history to measure.", detail=detail)
    values = {column: row[HEADLINE] for column, row in solution["table"].items()}
    rival, *others = _baselines(solution["table"])
    other = POPULARITY if rival != POPULARITY else PERSONAL
    gain = solution[f"gain_in_{HEADLINE}"][rival]
    difference, margin = gain["difference"], SURE * gain["standard_error"]
    detail = (
        f"NDCG@25 is {values[MODEL]:.4f} against {values[rival]:.4f} for {rival} ({difference:+.4f} ± {margin:.4f}) "
        f"and {values[other]:.4f} for {other}, on {solution['test_users']:,} users "
        "whose newest events were hidden from all of them."
    )
    if difference > margin:
        all_of_them = f"all {1 + len(others)} baselines" if len(others) > 1 else "both baselines"
        return Verdict(state="good", word="Publish", sentence=f"{name} is ahead of {all_of_them}.", detail=detail)
    if difference < -margin:
        return Verdict(state="bad", word="Look first", sentence=f"{name} is behind {rival}.", detail=detail)
    return Verdict(state="even", word="No clear gain", sentence=f"{name} and {rival} cannot be told apart.", detail=detail)


def night_lines(summary: dict[str, Any]) -> list[str]:
    """The night as plain text: verdict, steps, metrics, and where things lie."""
    steps = [("step", "seconds", "what came out", "where it lies")]
    steps += [step_row(step) for step in summary["steps"]]
    lines = ["", f"{summary['group']}, night {summary['generation']}", "", *terminal_table(steps, {1})]
    columns, rows = metric_table(summary["solutions"])
    table = [("metric", *columns), *((row.name, *map(metric_text, row.values)) for row in rows)]
    conclusion = verdict(summary["solutions"])
    segments = segment_sentences(summary["solutions"])
    closing = [f"{conclusion.word}. {conclusion.sentence}", conclusion.detail, *segments, f"Page: {summary['report']}"]
    return [*lines, "", *terminal_table(table, set(range(1, len(columns) + 1))), "", *closing, ""]


def step_row(step: dict[str, Any]) -> tuple[str, str, str, str]:
    """Step, seconds, what came out, and where it lies."""
    return f"{step['job']} {step['name']}", seconds_text(step), counts_text(step["job"], step["result"]), step["folder"]


def seconds_text(step: dict[str, Any]) -> str:
    """Seconds of a step record, or that it was done before."""
    return "done before" if step["skipped"] else f"{step['seconds']:.1f}"
