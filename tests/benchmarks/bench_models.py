"""Every neural model inside sessions: the session-aware protocol on the working data, with a configuration tuned for each.

    python tests/benchmarks/bench_models.py --data globo_a35 --recipes hrnn-gru4rec hrnn-stamp

Of each recipe's CANDIDATES the one with the best MRR@20 on the sessions before the hidden ones is measured on the hidden ones
(`--first` takes the first without a choice). Prints Markdown tables, of the choice and of what was chosen.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from working_data import SETS, find

from hrnn.data.arrays import Floats, Rows
from hrnn.evaluation.baselines.neural import NeuralBaseline
from hrnn.evaluation.settings.last_session import LastSession, condensed, hide_last_session, metrics_of, ranks_of
from hrnn.models.registry import model_for
from hrnn.training.settings import TrainingSettings
from schemas.recipes import RECIPES


@dataclass(frozen=True)
class Candidate:
    """A configuration.

    Attributes:
        config: Hyperparameters that are not the recipe's defaults.
        settings: Fields of TrainingSettings.
    """

    config: dict[str, Any]
    settings: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return ", ".join(f"{name} {value}" for name, value in (self.config | self.settings).items())


def _candidates(*of_settings: dict[str, Any]) -> tuple[Candidate, ...]:
    return tuple(Candidate({"hidden_dimension": 100}, settings) for settings in of_settings)


CANDIDATES: dict[str, tuple[Candidate, ...]] = {
    "aws-hrnn": _candidates({"epochs": 4}),
    "hrnn-gru4rec": _candidates({"epochs": 4}, {"epochs": 8}, {"epochs": 4, "state_dropout": 0.0}),
    "hrnn-stamp": _candidates(
        {"epochs": 4, "num_steps": 15},
        {"epochs": 8, "num_steps": 15},
        {"epochs": 4, "num_steps": 30},
        {"epochs": 4, "num_steps": 15, "num_negatives": 2048},
    ),
    "hrnn-stmp": _candidates({"epochs": 4, "num_steps": 15}),
    "hrnn-stmo": _candidates({"epochs": 4, "num_steps": 1}),
    "hrnn-sasrec": _candidates(
        {"epochs": 4, "num_steps": 20, "state_dropout": 0.1},
        {"epochs": 8, "num_steps": 20, "state_dropout": 0.1},
        {"epochs": 4, "num_steps": 20, "state_dropout": 0.25},
    ),
}


def measured(hidden: LastSession, recipe: str, candidate: Candidate, seed: int) -> tuple[float, float, float]:
    """R@20 and MRR@20 inside the hidden sessions, and the CPU seconds of the training."""
    began = time.process_time()
    config = RECIPES[recipe].hyperparameters().model_dump() | candidate.config
    settings = TrainingSettings(seed=seed, **candidate.settings)
    baseline = NeuralBaseline(hidden.training, settings, model_for(recipe), config)
    seconds = time.process_time() - began
    known = hidden.training.item_counts() > 0

    def score(numbers: Rows) -> Floats:
        return baseline.scores(hidden.points[numbers])

    found = metrics_of(ranks_of(score, hidden.target_items, hidden.sequences.num_items, known))
    return found["recall_at_20"], found["mean_reciprocal_rank_at_20"], seconds


def chosen(earlier: LastSession, name: str, recipe: str) -> Candidate:
    """The candidate with the best MRR@20 on earlier sessions; prints a row for each."""
    candidates = CANDIDATES[recipe]
    if len(candidates) == 1:
        return candidates[0]
    found = [measured(earlier, recipe, candidate, 0) for candidate in candidates]
    for candidate, (recall, reciprocal, seconds) in zip(candidates, found, strict=True):
        print(f"| {name} | `{recipe}` | choice: {candidate} | {recall:.4f} | {reciprocal:.4f} | {seconds:.0f} |", flush=True)
    return max(zip(candidates, found, strict=True), key=lambda each: each[1][1])[0]


def main() -> None:
    """Measure the chosen candidates."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="*", default=["globo_a35", "online_retail"], choices=list(SETS))
    parser.add_argument("--recipes", nargs="*", default=list(CANDIDATES), choices=list(CANDIDATES))
    parser.add_argument("--first", action="store_true", help="take each recipe's first candidate, without a choice")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0])
    parser.add_argument("--folder", type=Path, help="of the unpacked data; default: a new one, removed in the end")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as new:
        print("| data | recipe | settings | R@20 | MRR@20 | CPU seconds of a training |\n|---|---|---|---|---|---|", flush=True)
        for name in options.data:
            load = find(name, options.folder or Path(new))
            if load is None:
                sys.exit(f"{name}: there is no such data beside the project")
            sequences = condensed(load(SETS[name].session_gap_seconds))[0]
            hidden, earlier = hide_last_session(sequences), hide_last_session(sequences, back=1)
            for recipe in options.recipes:
                candidate = CANDIDATES[recipe][0] if options.first else chosen(earlier, name, recipe)
                for seed in options.seeds:
                    recall, reciprocal, seconds = measured(hidden, recipe, candidate, seed)
                    row = f"{candidate}, seed {seed} | {recall:.4f} | {reciprocal:.4f} | {seconds:.0f}"
                    print(f"| {name} | `{recipe}` | {row} |", flush=True)


if __name__ == "__main__":
    main()
