"""Measure a solution version beside its baselines, on the events that its training did not see."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from hrnn.data.ragged import Ragged
from hrnn.data.sequences import Sequences
from hrnn.data.splits import drawn_users, evaluation_split, segment_split
from hrnn.evaluation import evaluate as evaluation
from hrnn.evaluation.evaluate import Evaluation
from hrnn.evaluation.holdout import HeldOut
from hrnn.evaluation.segment_metrics import SEGMENT_METRICS
from jobs.platform.process.scratch import scratch_folder
from jobs.platform.storage.folders import StepFolder
from jobs.reports.metric_names import HEADLINE, METRIC_NAMES, MODEL, metric_name, metric_text
from jobs.solutions.segments import with_segments
from jobs.solutions.staging import stage
from jobs.solutions.tensors import ITEM_BIAS, ITEM_VECTORS, read_tensors, tensor_file
from jobs.versions import MEASURING_VERSION
from schemas import columns
from schemas.batch import SEGMENTS
from schemas.errors import DataError
from schemas.manifest import Manifest, fingerprint

_NARROW = METRIC_NAMES | {"precision": "P", "hit_rate": "hits"}


def evaluate(*, solution_uri: str, sequences_uri: str | None = None, output_uri: str | None = None) -> dict[str, Any]:
    """Rank the catalogue for the test users again, from what the solution version holds, and measure model and baselines.

    Args:
        solution_uri: Folder that `train` wrote.
        sequences_uri: Folder of the sequences it was trained on: checks that the hidden events are theirs. None: no such check.
        output_uri: Folder for `metrics.json` and a manifest. None: nothing is written.

    Returns:
        The summary: Personalize's metrics of the model, the table of model and baselines, intervals, slices, catalogue,
        test_users, truth_events.

    Raises:
        DataError: The solution version was not trained on these sequences, or what it holds back is not theirs.
        StorageError: There is no such solution version, or there are no such sequences.
    """
    began = time.monotonic()
    source = StepFolder(solution_uri)
    solution = source.require("solution_version")
    identity = fingerprint("evaluate", {"version": MEASURING_VERSION}, [solution.fingerprint])
    folder = None if output_uri is None else StepFolder(output_uri)
    done = folder.published("evaluation") if folder else None
    if folder and done and done.fingerprint == identity and folder.is_whole(done) and sequences_uri is None:
        return _summary(done.metadata["metrics"], began, output=folder.uri, skipped=True)
    with (folder or source).made_of(source.reference(solution)), scratch_folder("evaluate") as scratch_path:
        scratch = Path(scratch_path)
        held_out = HeldOut.from_table(
            pq.read_table(source.fetch(solution.file(solution.metadata["evaluation"]["held_out"]), scratch)),
            solution.metadata["evaluation"]["dimension"],
        )
        if sequences_uri is not None:
            check_held_out(held_out, solution, StepFolder(sequences_uri), scratch)
        document = _measured(source, solution, held_out, scratch).to_document()
    if folder:
        metrics = folder.put(folder.attempt_path("metrics.json"), (json.dumps(document, indent=1) + "\n").encode())
        config = {"version": MEASURING_VERSION}
        folder.publish("evaluation", identity, config, [source.reference(solution)], [metrics], metadata={"metrics": document})
    return _summary(document, began, output=folder.uri if folder else None, skipped=False)


def check_held_out(held_out: HeldOut, solution: Manifest, source: StepFolder, scratch: Path) -> None:
    """Compare what a solution version holds of its test users with the sequences that it was trained on.

    Raises:
        DataError: They differ.
    """
    manifest = source.require("sequences")
    if manifest.fingerprint not in {reference.version for reference in solution.inputs}:
        raise DataError(
            "the solution version was trained on other sequences",
            where=source.uri,
            allowed=", ".join(reference.uri for reference in solution.inputs),
        )
    sequences = Sequences.load(stage(source, manifest, scratch).arrays)
    lengths = sequences.history_lengths
    segments = solution.metadata.get("line_kind", "user") in SEGMENTS
    split = drawn_users(segment_split(lengths)) if segments else evaluation_split(lengths)
    starts = sequences.user_offsets[:-1][split.user_rows]
    kept = Ragged.expand(starts, split.keep_counts)
    hidden = Ragged.expand(starts + split.keep_counts, split.truth_counts)
    same = (
        np.array_equal(held_out.user_rows, split.user_rows)
        and np.array_equal(held_out.histories.values, sequences.item_rows[kept.values])
        and np.array_equal(held_out.truth.values, sequences.item_rows[hidden.values])
    )
    if not same:
        raise DataError(
            "the test users' events are not those of the sequences", where=source.uri, remedy="Train again with this release."
        )


def table_lines(document: dict[str, Any]) -> list[str]:
    """Lines for the terminal: the table of model and baselines, intervals of the gains, the slices, and catalogue metrics."""
    rows: dict[str, dict[str, float | None]] = document["table"]
    width = max(len(name) for name in [*rows, *document["slices"]])
    lines = [" " * width + "".join(f" {metric_name(metric, _NARROW):>10}" for metric in rows[MODEL])]
    lines += [name.ljust(width) + "".join(f"{metric_text(value):>11}" for value in row.values()) for name, row in rows.items()]
    for name, gain in document[f"gain_in_{HEADLINE}"].items():
        lines.append(f"NDCG@25, model less {name}: {gain['difference']:+.4f} (standard error {gain['standard_error']:.4f})")
    if MODEL in document["intervals"]:
        low, high = document["intervals"][MODEL][HEADLINE]
        lines.append(f"NDCG@25 of the model: {rows['model'][HEADLINE]:.4f}, 95 % interval {low:.4f} to {high:.4f}")
    if document["slices"]:
        lines += _slice_lines(document, width)
    lines.append(" " * width + f"{'coverage':>11}{'Gini':>11}{'novelty':>11}")
    for name, values in document["catalogue"].items():
        lines.append(name.ljust(width) + "".join(f"{values[key]:>11.4f}" for key in ("coverage", "gini", "novelty")))
    lines += [
        f"{name} was measured on {users:,} drawn users"
        for name, users in document["users"].items()
        if users < document["test_users"]
    ]
    lines += [
        f"{name} was fitted on {part['events']:,} of {part['of']:,} known events"
        for name, part in document["fitted_on"].items()
    ]
    if set(SEGMENT_METRICS) <= set(document["metrics"]):
        hits, recall = (document["metrics"][name] for name in SEGMENT_METRICS)
        lines.append(f"segments of one user in a hundred: {metric_text(hits)} hits, recall {metric_text(recall)}")
    lines.append(f"{document['test_users']:,} test users, {document['hidden_events']:,} hidden events")
    if document["truth_events"] < document["hidden_events"]:
        lines.append(f"{document['truth_events']:,} of them count by the solution's event rules, and alone were right answers")
    return lines


def _slice_lines(document: dict[str, Any], width: int) -> list[str]:
    """NDCG@25 of the model and of the best baseline in each slice."""
    lines = ["NDCG@25 by slice".ljust(width) + f"{'users':>11}{'model':>11}{'baseline':>11}  (the best)"]
    for name, rows in document["slices"].items():
        baseline = max((row for row in rows if row != MODEL), key=lambda row: float(rows[row][HEADLINE]))
        users, ours, theirs = rows[MODEL]["users"], rows[MODEL][HEADLINE], rows[baseline][HEADLINE]
        lines.append(name.ljust(width) + f"{users:>11,.0f}{ours:>11.4f}{theirs:>11.4f}  {baseline}")
    return lines


def _measured(source: StepFolder, solution: Manifest, held_out: HeldOut, scratch: Path) -> Evaluation:
    kind = solution.metadata.get("line_kind", "user")
    names = None if kind in SEGMENTS else [columns.NUM_EVENTS, columns.NUM_USERS]
    catalogue = pq.read_table(source.fetch(solution.file(solution.metadata["catalogue"]), scratch), columns=names)
    tensors = read_tensors(source.fetch(tensor_file(solution, "evaluation"), scratch), "evaluation")
    vectors, bias = tensors[ITEM_VECTORS], tensors[ITEM_BIAS]
    num_events, num_users = (catalogue[name].to_numpy() for name in (columns.NUM_EVENTS, columns.NUM_USERS))
    measured = evaluation.evaluate(held_out, vectors, bias, num_events, num_users)
    return (
        with_segments(measured, held_out, vectors, bias, catalogue, kind, solution.metadata) if kind in SEGMENTS else measured
    )


def _summary(document: dict[str, Any], began: float, *, output: str | None, skipped: bool) -> dict[str, Any]:
    return {"job": "evaluate", "output": output, "skipped": skipped, **document, "seconds": round(time.monotonic() - began, 1)}
