from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest
import warm_python
from commands import hrnn
from small_shop import night_config, write_shop
from tiny_workspace import write_workspace

from jobs.delete_users.job import delete_users
from jobs.platform.storage.folders import StepFolder

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.slow

GONE = ["user-3", "user-50"]


def files_that_name(folder: Path) -> list[Path]:
    """Files below a folder in which one of the users stands, Parquet read as tables."""
    named = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        text = (
            json.dumps(pq.read_table(path).to_pylist(), default=str) if path.suffix == ".parquet" else path.read_text("latin-1")
        )
        if any(f'"{user}"' in text or f">{user}<" in text or f" {user} " in text for user in GONE):
            named.append(path)
    return named


@pytest.mark.timeout(900)
def test_users_leave_a_night_and_the_next_night_learns_without_them(spark: SparkSession, tmp_path: Path) -> None:
    write_shop(tmp_path / "data", num_users=80, num_items=40, num_lines=100)
    config = tmp_path / "shop.toml"
    workspace, out = tmp_path / "workspace", tmp_path / "out"
    config.write_text(night_config(str(tmp_path / "data"), str(workspace), str(out), epochs=1))
    night = ("nightly", "--config", str(config))
    first = hrnn(*night)
    assert files_that_name(workspace)
    assert files_that_name(out)

    (tmp_path / "users.csv").write_text("\n".join(["USER_ID", *GONE, "nobody", ""]))
    told = hrnn("delete-users", "--users", str(tmp_path / "users.csv"), "--workspace", str(workspace))
    assert (told["status"], told["users"], told["users_found"]) == ("COMPLETED", 3, 2)
    rows = [row for path in (tmp_path / "data" / "raw" / "interactions").glob("*.csv") for row in path.read_text().splitlines()]
    assert told["numDeleted"] == sum(row.split(",")[0] in GONE for row in rows)
    assert files_that_name(workspace) == files_that_name(out) == []
    answered = [json.loads(line)["input"]["userId"] for line in (out / "users.json.out").read_text().splitlines()]
    asked = [json.loads(line)["userId"] for line in (tmp_path / "data/batch/users.json").read_text().splitlines()]
    assert answered == [user for user in asked if user not in GONE]
    for manifest in workspace.rglob("manifest.json"):
        folder = StepFolder(str(manifest.parent))
        published = folder.manifest()
        assert published is not None
        for entry in published.files:
            folder.read(entry)  # is there, and has the bytes that the manifest promises

    # What is left serves: lists of the others, and metrics from what was held back.
    train = next((workspace / "train" / "for-you").iterdir())
    (tmp_path / "one.json").write_text('{"userId":"user-1"}\n{"userId":"user-3"}\n')
    served = hrnn(
        *("recommend", "--solution", str(train), "--input", str(tmp_path / "one.json")),
        *("--output", str(tmp_path / "served")),
    )
    assert (served["lines"], served["unknown_users"]) == (2, 1)
    assert hrnn("evaluate", "--solution", str(train))["test_users"] > 0

    # The files have not changed, so the next night imports nothing and learns from what is left.
    planned = {step["job"]: step["runs"] for step in hrnn(*night, "--plan")["steps"]}
    assert planned == {"validate": False, "sessionize": True, "train": True, "evaluate": True, "recommend": True}
    second = hrnn(*night)
    steps = {step["job"]: step for step in second["steps"]}
    assert {job: not step["skipped"] for job, step in steps.items()} == planned
    assert (first["generation"], second["generation"]) == (1, 2)
    assert steps["sessionize"]["users"] == {step["job"]: step for step in first["steps"]}["sessionize"]["users"] - 2
    assert len((out / "users.json.out").read_text().splitlines()) == 100  # the batch input still asks for them
    assert [path for path in files_that_name(workspace) if path.suffix == ".parquet"] == []
    assert hrnn(*night)["skipped"] is True


@pytest.mark.timeout(600)
def test_a_run_that_is_killed_leaves_whole_folders_and_the_next_one_finishes(tmp_path: Path) -> None:
    write_workspace(tmp_path / "whole")
    (tmp_path / "users.csv").write_text("USER_ID\nuser 7\nuser 8\n")
    expected = delete_users(users_uri=str(tmp_path / "users.csv"), workspace_uri=str(tmp_path / "whole"))
    killed = 0
    for calls in range(1, 60, 3):
        workspace = tmp_path / f"w{calls}"
        write_workspace(workspace)
        code = (
            "import os, signal, sys; from jobs.platform.storage.local import LocalStore; left = [int(sys.argv[3])]\n"
            "def counted(method):\n"
            "    def call(*a, **k):\n"
            "        left[0] -= 1\n"
            "        if left[0] == 0: os.kill(os.getpid(), signal.SIGKILL)\n"
            "        return method(*a, **k)\n"
            "    return call\n"
            "for name in ('write', 'upload', 'create', 'replace', 'delete'):\n"
            "    setattr(LocalStore, name, counted(getattr(LocalStore, name)))\n"
            "from jobs.delete_users.job import delete_users\n"
            "delete_users(users_uri=sys.argv[1], workspace_uri=sys.argv[2])\n"
        )
        arguments = ["-c", code, str(tmp_path / "users.csv"), str(workspace), str(calls)]
        run = warm_python.start(arguments, ["jobs.delete_users.job"], dict(os.environ), tmp_path / "log")
        killed += run.wait() == -9
        for manifest in workspace.rglob("manifest.json"):
            folder = StepFolder(str(manifest.parent))
            published = folder.manifest()
            assert published is not None
            assert all((manifest.parent / entry.path).is_file() for entry in published.files)
        found = delete_users(users_uri=str(tmp_path / "users.csv"), workspace_uri=str(workspace))
        assert (found["status"], found["numDeleted"]) == ("COMPLETED", expected["numDeleted"])
        again = delete_users(users_uri=str(tmp_path / "users.csv"), workspace_uri=str(workspace))
        assert again["skipped"] is True
        shutil.rmtree(workspace)
        if run.returncode == 0:
            break
    assert killed >= 5
