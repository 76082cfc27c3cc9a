"""The quality benchmark makes both of its tables, on histories that are random."""

from __future__ import annotations

import sys

import bench_quality
import pytest
import torch
import working_data
from small_sequences import random_histories, sequences_of

from hrnn.evaluation.baselines import NEXT_EVENT, NIGHTLY


def test_every_baseline_and_every_model_has_its_row(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sequences = sequences_of(random_histories(150, 30))
    monkeypatch.setattr(working_data, "SETS", {"random": working_data.WorkingSet(gap_seconds=1_800, horizon_days=0.5)})
    monkeypatch.setattr(working_data, "find", lambda name, folder: lambda gap: sequences)
    options = ["--epochs", "1", "--hidden-dimension", "8", "--score", "both", "--gru", "--curve", "--paths-off"]
    monkeypatch.setattr(sys, "argv", ["bench_quality.py", *options])
    threads = torch.get_num_threads()
    bench_quality.main()
    torch.set_num_threads(threads)
    rows = [line.split(" | ")[0].strip("|* ") for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    session, night = rows[1 : rows.index("list", 1)], rows[rows.index("list", 1) + 1 :]
    assert session == [*NEXT_EVENT, "aws-hrnn, sequence", "aws-hrnn, all paths", "GRU, sessions shuffled"]
    assert night == [*NIGHTLY, "aws-hrnn", "without own items", "without trends", "without the sequence"]
