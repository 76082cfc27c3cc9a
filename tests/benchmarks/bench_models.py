"""Every neural model inside sessions: the session-aware protocol on the working data, with a configuration tuned for each.

    python tests/benchmarks/bench_models.py --data globo_a35 --recipes hrnn-gru4rec hrnn-stamp

Settings were chosen on the sessions before the hidden ones (`--tuning` measures there). Prints a Markdown table.
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

from hrnn.evaluation.baselines.neural import NeuralBaseline
from hrnn.evaluation.settings.last_session import condensed, hide_last_session, metrics_of, ranks_of
from hrnn.models.registry import model_for
from hrnn.training.settings import TrainingSettings
from schemas.recipes import RECIPES


@dataclass(frozen=True)
class Tuned:
    """A configuration.

    Attributes:
        config: Hyperparameters that are not the recipe's defaults.
        settings: Fields of TrainingSettings.
    """

    config: dict[str, Any]
    settings: dict[str, Any] = field(default_factory=dict)


CONFIGURATIONS: dict[str, Tuned] = {
    "aws-hrnn": Tuned({"hidden_dimension": 100}, {"epochs": 4}),
    "hrnn-gru4rec": Tuned({"hidden_dimension": 100}, {"epochs": 4}),
    "hrnn-stamp": Tuned({"hidden_dimension": 100}, {"epochs": 4, "num_steps": 15}),
    "hrnn-stmp": Tuned({"hidden_dimension": 100}, {"epochs": 4, "num_steps": 15}),
    "hrnn-stmo": Tuned({"hidden_dimension": 100}, {"epochs": 4, "num_steps": 1}),
    "hrnn-sasrec": Tuned({"hidden_dimension": 100}, {"epochs": 4, "num_steps": 20, "state_dropout": 0.1}),
}


def measured(name: str, recipe: str, folder: Path, *, tuning: bool, seed: int) -> str:
    """A row of the table."""
    load = find(name, folder)
    if load is None:
        sys.exit(f"{name}: there is no such data beside the project")
    hidden = hide_last_session(condensed(load(SETS[name].session_gap_seconds))[0], back=int(tuning))
    tuned, began = CONFIGURATIONS[recipe], time.process_time()
    config = RECIPES[recipe].hyperparameters().model_dump() | tuned.config
    baseline = NeuralBaseline(hidden.training, TrainingSettings(seed=seed, **tuned.settings), model_for(recipe), config)
    seconds = time.process_time() - began
    known = hidden.training.item_counts() > 0
    found = metrics_of(
        ranks_of(
            lambda numbers: baseline.scores(hidden.moments[numbers]), hidden.target_items, hidden.sequences.num_items, known
        )
    )
    recall, rank = found["recall_at_20"], found["mean_reciprocal_rank_at_20"]
    return f"| {name} | `{recipe}` | {recall:.4f} | {rank:.4f} | {len(hidden.targets):,} | {seconds:.0f} |"


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="*", default=["globo_a35", "online_retail"], choices=list(SETS))
    parser.add_argument("--recipes", nargs="*", default=list(CONFIGURATIONS), choices=list(CONFIGURATIONS))
    parser.add_argument("--tuning", action="store_true", help="on the sessions before the hidden ones")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="of the unpacked data; default: a new one, removed in the end")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as new:
        print(
            "| data | recipe | R@20 | MRR@20 | targets | CPU seconds of the training |\n|---|---|---|---|---|---|", flush=True
        )
        for name in options.data:
            for recipe in options.recipes:
                row = measured(name, recipe, options.folder or Path(new), tuning=options.tuning, seed=options.seed)
                print(row, flush=True)


if __name__ == "__main__":
    main()
