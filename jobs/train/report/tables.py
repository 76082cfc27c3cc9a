"""metrics.json and training.parquet as a reader of the page meets them: verdict, tables, curves."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from jobs.reports.charts import Plot, Point, line_plot
from jobs.reports.metric_names import HEADLINE, MODEL, SURE, metric_name
from jobs.reports.parts import Verdict
from jobs.reports.solution import Cell, Table, TableRow

_FIRST = (HEADLINE, "recall_at_25", "hit_rate_at_25", "mean_reciprocal_rank_at_25")  # columns; the others follow as they stand
_LAST = "coverage"  # says nothing of how good lists are
_GAINS_SHOWN = 12  # features
_CURVES = {"loss": ("Training loss", "mean over an epoch"), "validation": ("Cost of held-out events", "after an epoch")}

Rows = Mapping[str, Mapping[str, Any]]


def verdict(document: Mapping[str, Any]) -> Verdict:
    """Whether the model beats the best of what it was measured against.

    Args:
        document: metrics.json; empty where nothing was measured.
    """
    rows: Rows = document.get("table", {})
    values = {name: float(row[HEADLINE]) for name, row in rows.items() if row.get(HEADLINE) is not None}
    rivals = {name: value for name, value in values.items() if name != MODEL}
    if MODEL not in values or not rivals or not document.get("test_users"):
        detail = "No user has two events or more, so none could be hidden and asked for."
        if not rows:
            detail = "The solution version holds no metrics."
        return Verdict(state="even", word="Not measured", sentence="How good the lists are is not known.", detail=detail)
    # The verdict is about the closest rival: the one over which the gain is smallest.
    gains = {name: _gain(document, name, values[MODEL] - value) for name, value in rivals.items()}
    rival = min(gains, key=lambda name: gains[name][0])
    (difference, margin), theirs = gains[rival], rivals[rival]
    best = f"{rival}, the best of {len(rivals)} baselines" if len(rivals) > 1 else rival
    spread = f" ± {margin:.4f}" if margin else ""
    num_users = document.get("users", {}).get(rival, document["test_users"])
    detail = (
        f"NDCG@25 is {theirs + difference:.4f} against {theirs:.4f} ({difference:+.4f}{spread}), on {num_users:,} users whose "
        "newest events were hidden from all."
    )
    if difference > margin:
        ahead = (
            f"Its lists are {100 * difference / theirs:.0f}\u00a0% better than those"
            if theirs
            else "Its lists are better than those"
        )
        return Verdict(state="good", word="Ahead", sentence=f"{ahead} of {best}.", detail=detail)
    if difference < -margin:
        behind = f"Its lists are {-100 * difference / theirs:.0f}\u00a0% worse than those of {best}."
        return Verdict(state="bad", word="Behind", sentence=behind, detail=detail)
    same = (
        f"Its lists and those of {best}, cannot be told apart." if len(rivals) > 1 else f"It and {rival} cannot be told apart."
    )
    return Verdict(state="even", word="No clear gain", sentence=same, detail=detail)


def _gain(document: Mapping[str, Any], rival: str, plain: float) -> tuple[float, float]:
    """Difference to a rival and the half width of its interval, 0 where that is not known."""
    gain = document.get(f"gain_in_{HEADLINE}", {}).get(rival)
    return (float(gain["difference"]), SURE * float(gain["standard_error"])) if gain else (plain, 0.0)


def tables(document: Mapping[str, Any]) -> tuple[Table, ...]:
    """The comparison, each slice, and coverage, Gini and novelty: what of them the document has."""
    result: list[Table] = []
    if document.get("table") and document.get("test_users", True):
        without = "coverage" if document.get("catalogue") else ""  # it stands among its like, below
        rows = {name: {key: value for key, value in row.items() if key != without} for name, row in document["table"].items()}
        result.append(_comparison(rows, document.get("intervals", {}), document.get("users", {}), _parts(document)))
    result += [_slice(name, groups) for name, groups in _sliced(document.get("slices", {})).items()]
    if document.get("catalogue"):
        result.append(_catalogue(document["catalogue"]))
    return tuple(result)


def _parts(document: Mapping[str, Any]) -> str:
    """Which hidden events were right answers, and which baselines saw a part of the events, where it is not all."""
    note = ""
    right, hidden = document.get("truth_events", 0), document.get("hidden_events", 0)
    if right < hidden:
        note += f" {right:,} of {hidden:,} hidden events count by the solution's event rules, and alone were right answers."
    for name, part in document.get("fitted_on", {}).items():
        note += f" The {name} was fitted on {part['events']:,} of {part['of']:,} known events."
    return note


def _comparison(rows: Rows, intervals: Mapping[str, Any], users: Mapping[str, int], parts: str) -> Table:
    keys = _ordered(rows.values())
    best = {key: max((float(row[key]) for row in rows.values() if key in row), default=math.nan) for key in keys}
    note = (
        "How high the items that users took next stand in their lists: 1 would be perfect, and is never reached. "
        "Popularity lists what most users took; personal popularity what a user took most often before, then what is popular."
    )
    if intervals:
        note += " Below each value: the interval that holds it with 95 % confidence."
    sampled = len(set(users.values())) > 1
    if sampled:
        note += " Baselines that take long were asked for some of the users only."
    note += parts
    table_rows = []
    for name, row in rows.items():
        cells = tuple(_cell(row.get(key), best[key], intervals.get(name, {}).get(key)) for key in keys)
        num_users = (Cell(text=f"{users[name]:,}" if name in users else ""),) if sampled else ()
        table_rows.append(TableRow(name=name, own=name == MODEL, cells=num_users + cells))
    columns = ("", *(["users"] if sampled else []), *(metric_name(key) for key in keys))
    return Table(title="", note=note, columns=columns, rows=tuple(table_rows))


def _sliced(slices: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, dict[str, Any]]]:
    """Title -> group -> rows and "users". A slice that is one group alone becomes a row of a table with its like."""
    single: dict[str, dict[str, Any]] = {}
    several: dict[str, dict[str, dict[str, Any]]] = {}
    for name, groups in slices.items():
        if not groups:
            continue
        if all(
            isinstance(row, Mapping) and any(isinstance(value, Mapping) for value in row.values()) for row in groups.values()
        ):
            several[f"By {name.replace('_', ' ')}"] = {group: dict(rows) for group, rows in groups.items()}
        else:
            users = next((row["users"] for row in groups.values() if isinstance(row, Mapping) and "users" in row), None)
            rows = {row: {key: value for key, value in values.items() if key != "users"} for row, values in groups.items()}
            single[name] = rows if users is None else rows | {"users": int(users)}
    return ({"By part of what was hidden": single} if single else {}) | several


def _slice(name: str, groups: Mapping[str, Mapping[str, Any]]) -> Table:
    """Groups as rows, one column for each of model and baselines."""
    names = list(
        dict.fromkeys(row for group in groups.values() for row, values in group.items() if isinstance(values, Mapping))
    )
    keys = _ordered(group[row] for group in groups.values() for row in names if row in group)
    key = keys[0] if keys else HEADLINE
    rows = []
    for label, group in groups.items():
        values = [group.get(row, {}).get(key) for row in names]
        best = max((float(value) for value in values if value is not None), default=math.nan)
        users = group.get("users")
        cells = (Cell(text="" if users is None else f"{users:,}"), *(_cell(value, best) for value in values))
        rows.append(TableRow(name=label, own=False, cells=cells))
    return Table(title=f"{name}: {metric_name(key)}", note="", columns=("", "users", *names), rows=tuple(rows))


def _catalogue(catalogue: Mapping[str, Any]) -> Table:
    """How much of the catalogue the lists show; of the model and its baselines, or of the model alone."""
    rows: Rows = catalogue if all(isinstance(row, Mapping) for row in catalogue.values()) else {MODEL: catalogue}
    keys = list(dict.fromkeys(key for row in rows.values() for key in row))
    return Table(
        title="How much of the catalogue they show",
        note="Coverage: share of the catalogue in at least one list. Gini: 0 where all items are listed equally often, 1 where "
        "one item is all there is. Novelty: how rare the listed items are, the mean of -log2 of an item's share of all events.",
        columns=("", *(metric_name(key) for key in keys)),
        rows=tuple(
            TableRow(name=name, own=name == MODEL, cells=tuple(_cell(row.get(key), math.nan) for key in keys))
            for name, row in rows.items()
        ),
    )


def search_table(search: Mapping[str, Any]) -> Table:
    """The trainings of a search, in their order, the one that was kept set off.

    Args:
        search: `metric`, `best_trial` and `trials`, as the manifest has them.
    """
    trials: Sequence[Mapping[str, Any]] = search["trials"]
    names = list(dict.fromkeys(name for trial in trials for name in trial["hyperparameters"]))
    best = max(float(trial["objective"]) for trial in trials)
    rows = []
    for trial in trials:
        values = [trial["hyperparameters"].get(name) for name in names]
        shown = ("" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value) for value in values)
        cells = (
            *(Cell(text=text) for text in shown),
            Cell(text=str(trial["best_epoch"])),
            _cell(float(trial["objective"]), best),
        )
        rows.append(TableRow(name=trial["recipe"], own=trial["number"] == search["best_trial"], cells=cells))
    columns = ("", *(name.replace("_", " ") for name in names), "best epoch", metric_name(search["metric"]))
    note = "The one that is set off was kept. Measured on events that were neither learnt from nor measured above."
    return Table(title="Trainings of the search", note=note, columns=columns, rows=tuple(rows))


def ranker_tables(next_period: Mapping[str, Any]) -> tuple[Table, ...]:
    """Lists of the next days: ranker, blend and plain ones; where candidates came from, and what the trees went by.

    Args:
        next_period: As metrics.json has it.
    """
    days = next_period["horizon_days"]
    title = "Lists of the next day" if days == 1 else f"Lists of the next {days:g} days"
    if not next_period["users"]:
        note = "Too few users came back within the period for a ranker to learn from: the blend makes the lists."
        return (Table(title=title, note=note, columns=("",), rows=()),)
    sources = sorted(next_period["recall_of_sources"].items(), key=lambda pair: -pair[1])
    gains = list(next_period["largest_gains"].items())[:_GAINS_SHOWN]
    return (
        _next_period(title, next_period),
        Table(
            title="Where candidates come from",
            note="How much of what users took in the period each source alone would have offered.",
            columns=("", "recall"),
            rows=_shares(sources),
        ),
        Table(
            title="What the ranker goes by",
            note="Each feature's share in what all splits of the trees gained (docs/models/ranker.md says what they are).",
            columns=("", "share"),
            rows=_shares(gains),
        ),
    )


def _next_period(title: str, next_period: Mapping[str, Any]) -> Table:
    """The list that serves, the other one and the rivals, with how far the first is ahead of each."""
    served, other = ("ranker", "blend") if next_period["serves"] else ("blend", "ranker")
    rivals: Mapping[str, Mapping[str, Any]] = next_period["rivals"]
    own: Rows = {"ranker": next_period["ranked"], "blend": next_period["blended"]}
    rows = {served: own[served], other: own[other], **{name: rival["metrics"] for name, rival in rivals.items()}}
    difference, error = next_period["gain"]
    gains = {other: (abs(difference), error), **{name: rival["gain"] for name, rival in rivals.items()}}
    best_rival = max(rivals, key=lambda name: float(rows[name][HEADLINE]))
    difference, error = gains[best_rival]
    keys = _ordered(rows.values())
    best = {key: max(float(row[key]) for row in rows.values()) for key in keys}
    table_rows = []
    for name, row in rows.items():
        cells = (*(_cell(row[key], best[key]) for key in keys), _ahead(gains.get(name)))
        table_rows.append(TableRow(name=name, own=name == served, cells=cells))
    return Table(
        title=title,
        finding=f"The {served} makes the lists: their NDCG@25 is {abs(difference):.4f} ± {SURE * error:.4f} "
        f"{'above' if difference >= 0 else 'below'} that of the best plain list, {best_rival}.",
        note=_how_next_period(next_period),
        columns=("", *(metric_name(key) for key in keys), "ahead by"),
        rows=tuple(table_rows),
    )


def _how_next_period(next_period: Mapping[str, Any]) -> str:
    lag = f", from {next_period['lag_hours']:g} hours after the end of its data on" if next_period["lag_hours"] else ""
    trees = " and ".join(f"{number:,} of {name}" for name, number in next_period["num_trees"].items())
    return (
        f"At an earlier moment, of {next_period['users']:,} users: lists made from what was known then, measured by what they "
        f"took in the period after it{lag}. The ranker's trees ({trees}) had learnt from moments whose period was over; the "
        "plain lists' settings were chosen on the period before. Ahead by: NDCG@25 of the list that serves less the row's, "
        "± the half width of the 95 % interval. "
        f"{100 * next_period['candidate_recall']:.0f} % of what users took was among the candidates that the ranker orders."
    )


def _ahead(gain: Sequence[float] | None) -> Cell:
    return Cell(text="") if gain is None else Cell(text=f"{gain[0]:+.4f}", interval=f"± {SURE * gain[1]:.4f}")


def _shares(shares: Iterable[tuple[str, float]]) -> tuple[TableRow, ...]:
    return tuple(
        TableRow(name=name.replace("_", " "), own=False, cells=(Cell(text=f"{100 * share:.1f} %"),)) for name, share in shares
    )


def _ordered(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """The metrics of some rows, the most telling first."""
    there = list(dict.fromkeys(key for row in rows for key, value in row.items() if isinstance(value, int | float)))
    others = sorted((key for key in there if key not in _FIRST), key=lambda key: key == _LAST)
    return [key for key in _FIRST if key in there] + others


def _cell(value: float | None, best: float, interval: Sequence[float] | None = None) -> Cell:
    if value is None:
        return Cell(text="")
    text = f"{value:.4f}" if abs(value) <= 1 else f"{value:,.2f}"
    return Cell(text=text, interval="–".join(f"{end:.3f}" for end in interval or ()), best=value == best)


def curves(points: Sequence[Mapping[str, Any]], best_epoch: int | None = None) -> tuple[tuple[Plot, ...], str]:
    """Loss and the cost of held-out events over the epochs, the best epoch marked, and a sentence on it.

    Args:
        points: Rows of training.parquet.
        best_epoch: Whose parameters were kept; None: not known.
    """
    plots = []
    for column, (title, y_label) in _CURVES.items():
        pairs = [(float(point["epoch"]), float(point[column])) for point in points if _finite(point.get(column))]
        if len(pairs) < 2:
            continue
        plot = line_plot(title, pairs, "epoch", f"{y_label}, lower is better")
        kept = [place for place, (epoch, _) in enumerate(pairs) if epoch == best_epoch]
        if kept and plot.points:
            at = plot.points[kept[0]]
            plot = replace(plot, points=(Point(at.x, at.y, f"kept: {at.title}"),))
        plots.append(plot)
    note = (
        f"The parameters after epoch {best_epoch} of {len(points)} were kept; they are marked." if best_epoch and plots else ""
    )
    return tuple(plots), note


def _finite(value: Any) -> bool:
    return value is not None and math.isfinite(float(value))
