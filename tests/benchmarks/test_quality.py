"""The quality benchmark makes both of its tables, on histories that are random."""

from __future__ import annotations

import sys

import bench_quality
import pytest
import torch
import working_data
from one_rank import one_rank_here
from small_sequences import random_histories, sequences_of

from hrnn.data.metadata import Metadata
from hrnn.evaluation.baselines import NEXT_EVENT, NIGHTLY


def test_every_baseline_and_every_model_has_its_row(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sequences = sequences_of(random_histories(150, 30))
    monkeypatch.setattr(working_data, "SETS", {"random": working_data.WorkingSet(gap_seconds=1_800, horizon_days=0.5)})
    monkeypatch.setattr(working_data, "find", lambda name, folder: lambda gap: sequences)
    monkeypatch.setattr(working_data, "find_metadata", lambda name, folder: Metadata())
    options = ["--epochs", "1", "--hidden-dimension", "32", "--score", "both", "--gru", "--curve"]
    monkeypatch.setattr(sys, "argv", ["bench_quality.py", *options])
    threads = torch.get_num_threads()
    with one_rank_here():
        bench_quality.main()
    torch.set_num_threads(threads)
    rows = [line.split(" | ")[0].strip("|* ") for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    session, night = rows[1 : rows.index("list", 1)], rows[rows.index("list", 1) + 1 :]
    assert session == [*NEXT_EVENT, "aws-hrnn, sequence", "aws-hrnn, all paths", "GRU, sessions shuffled"]
    assert night == [*NIGHTLY, "aws-hrnn", "without the ranker"]


def test_several_nights_and_lags_have_a_table_a_lag_with_the_rivals_settings(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sequences = sequences_of(random_histories(150, 60))
    monkeypatch.setattr(working_data, "SETS", {"random": working_data.WorkingSet(gap_seconds=1_800, horizon_days=1)})
    monkeypatch.setattr(working_data, "find", lambda name, folder: lambda gap: sequences)
    monkeypatch.setattr(working_data, "find_metadata", lambda name, folder: Metadata())
    options = ["--epochs", "1", "--hidden-dimension", "32", "--protocols", "night", "--cuts", "2", "--lag-hours", "0", "0.02"]
    monkeypatch.setattr(sys, "argv", ["bench_quality.py", *options, "--seeds", "0", "1"])
    threads = torch.get_num_threads()
    with one_rank_here():
        bench_quality.main()
    torch.set_num_threads(threads)
    printed = capsys.readouterr().out.splitlines()
    names = [line.split(" | ")[0].strip("|* ") for line in printed if line.startswith("| ")]
    assert names == ["list", *NIGHTLY, "aws-hrnn", "without the ranker"] * 2
    settings = {
        line.split(" | ")[0].strip("| "): line.split(" | ")[-1].strip("| ") for line in printed if line.startswith("| ")
    }
    assert [name for name in NIGHTLY if settings[name]] == ["decayed popularity", "decayed own items", "TIFU-kNN", "blend3"]
    assert sum(" 2 cuts" in line for line in printed) == 2
    assert all(" ± " in line for line in printed if line.startswith("| **aws-hrnn"))
    compared = [line for line in printed if line.startswith(("NDCG@25: ", "recall@25: "))]
    assert len(compared) == 4
    assert all("from night to night" in line for line in compared)
