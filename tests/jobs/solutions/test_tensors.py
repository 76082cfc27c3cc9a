from __future__ import annotations

import shutil
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from called_jobs import train
from published_versions import publish_untrained, tensors_of
from safetensors.torch import load_file, save_file
from small_sequences import circular_histories, publish_sequences, sequences_of
from tiny_solution import publish_solution

from hrnn.data.ragged import Ragged
from jobs.batch.options import Options
from jobs.evaluate.job import evaluate
from jobs.platform.process import scratch
from jobs.platform.storage.folders import StepFolder
from jobs.platform.storage.s3 import S3Store
from jobs.recommend.line_kinds import open_solution
from jobs.recommend.user_data import load_states
from jobs.segment.users import Shard, load_model
from jobs.solutions.solution import Solution
from jobs.solutions.tensors import Purpose, read_tensors, tensor_file
from schemas.errors import IntegrityError
from schemas.manifest import Manifest

SEQUENCES = sequences_of(circular_histories(200, 20))


def published(uri: str) -> tuple[StepFolder, Manifest]:
    folder = StepFolder(uri)
    return folder, folder.require("solution_version")


def keep_only(uri: str, kept: Purpose) -> None:
    """Remove the files of all other purposes."""
    folder, manifest = published(uri)
    for purpose in set(get_args(Purpose)) - {kept}:
        (Path(folder.uri) / tensor_file(manifest, purpose).path).unlink()


@pytest.fixture(scope="module")
def neighbours(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A solution version that has tensors of several names."""
    tmp_path = tmp_path_factory.mktemp("neighbours")
    uri = publish_sequences(SEQUENCES, str(tmp_path / "sequences"), tmp_path)
    train(sequences_uri=uri, output_uri=str(tmp_path / "version"), recipe="aws-sims")
    return str(tmp_path / "version")


def test_every_purpose_has_a_file_of_its_own_tensors(neighbours: str, tmp_path: Path) -> None:
    folder, manifest = published(neighbours)
    names = {purpose: set(load_file(folder.fetch(tensor_file(manifest, purpose), tmp_path))) for purpose in get_args(Purpose)}
    related = {"related.offsets", "related.item_rows", "related.scores"}
    assert names == {
        "parameters": set(),
        "serving": {"scoring.item_vectors", "scoring.item_bias"} | related,
        "evaluation": {"evaluation.item_vectors", "evaluation.item_bias"},
    }
    version = publish_untrained(str(tmp_path / "untrained"), SEQUENCES, tmp_path, {})
    assert set(read_tensors(Path(version) / tensor_file(published(version)[1], "parameters").path, "parameters")) == {
        "item_table",
        "dense",
        "blend.same_session",
        "blend.next_session",
    }


def test_measuring_reads_nothing_but_what_is_measured(neighbours: str, tmp_path: Path) -> None:
    uri = shutil.copytree(neighbours, tmp_path / "version")
    keep_only(str(uri), "evaluation")
    assert evaluate(solution_uri=str(uri))["test_users"]


def test_lines_are_answered_from_nothing_but_what_is_served(tmp_path: Path) -> None:
    uri = publish_solution(str(tmp_path / "version")).uri
    keep_only(uri, "serving")
    assert open_solution(Solution.of(*published(uri)), Options(num_results=5)).num_results == 5


def test_workers_of_a_node_download_each_file_of_a_solution_version_once(
    tmp_path: Path, s3: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(scratch.RUN_FOLDER, str(tmp_path))
    folder = StepFolder(publish_solution(s3 + "/version").uri)
    solution = Solution.of(folder, folder.require("solution_version"))
    downloads: list[str] = []
    download = S3Store.download

    def watched(store: S3Store, uri: str, path: Path) -> None:
        downloads.append(uri)
        download(store, uri, path)

    monkeypatch.setattr(S3Store, "download", watched)
    for _ in range(2):  # what each worker does of batch inference, and of segments
        open_solution(solution, Options(num_results=5))
        load_states(solution, Options(num_results=5), range(len(solution.states)))
        Shard(solution, 0, None)
        load_model(solution, Ragged.from_rows([[0]], np.int64), 3)
    assert sorted(downloads) == sorted(
        folder.uri_of(entry.path) for entry in (solution.catalogue, solution.serving, *solution.states)
    )


def test_related_items_that_were_cut_short_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = publish_solution(str(tmp_path / "version"), recipe="aws-sims", dimension=0, neighbours={0: [5, 3]}).uri

    def cut_short(path: Path, purpose: Purpose) -> dict[str, torch.Tensor]:
        tensors = read_tensors(path, purpose)
        return tensors | {"related.item_rows": tensors["related.item_rows"][:-1]}

    monkeypatch.setattr("jobs.recommend.loaded_solution.read_tensors", cut_short)
    with pytest.raises(IntegrityError, match="offsets of some rows"):
        open_solution(Solution.of(*published(uri)), Options(num_results=5))


def test_the_one_file_of_an_older_release_is_read_for_every_purpose(neighbours: str, tmp_path: Path) -> None:
    tensors = tensors_of(neighbours, tmp_path)
    older = StepFolder(str(shutil.copytree(neighbours, tmp_path / "version")))
    save_file(tensors | {"dense": torch.ones(3)}, tmp_path / "model")
    one = older.put_file(tmp_path / "model", older.attempt_path("model.safetensors"))
    manifest = older.require("solution_version")
    kept = [entry for entry in manifest.files if not entry.path.endswith(".safetensors")]
    older.publish("solution_version", "0" * 64, {}, [], [one, *kept], metadata=manifest.metadata | {"model": one.path})
    manifest = older.require("solution_version")
    found = {purpose: set(read_tensors(tmp_path / "model", purpose)) for purpose in get_args(Purpose)}
    assert {tensor_file(manifest, purpose) for purpose in get_args(Purpose)} == {manifest.file(one.path)}
    assert found["parameters"] == {"dense"}
    assert sorted(name for names in found.values() for name in names) == sorted([*tensors, "dense"])
    assert evaluate(solution_uri=older.uri)["metrics"] == evaluate(solution_uri=neighbours)["metrics"]
