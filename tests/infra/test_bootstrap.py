"""Set-up chooses what the machine needs, and says what is wrong in one message."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from infra import bootstrap


def executable(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.fixture
def path_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder on PATH; no JAVA_HOME."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    return tmp_path


@pytest.mark.parametrize(
    ("version", "usable"), [("17.0.15", True), ("21.0.8", True), ("25.0.2", False), ("11.0.2", False), ("1.8.0_402", False)]
)
def test_only_java_17_and_21_count_as_java(path_folder: Path, version: str, usable: bool) -> None:
    executable(path_folder, "java", f"echo 'openjdk version \"{version}\"' >&2")
    assert bootstrap.has_java() is usable


def test_no_java_is_no_java(path_folder: Path) -> None:
    assert not bootstrap.has_java()


def test_a_driver_that_sees_no_device_is_no_gpu(path_folder: Path) -> None:
    assert not bootstrap.has_gpu()
    executable(path_folder, "nvidia-smi", "echo 'No devices were found'; exit 6")
    assert not bootstrap.has_gpu()
    executable(path_folder, "nvidia-smi", "echo 'GPU 0: NVIDIA H100'")
    assert bootstrap.has_gpu()


def test_a_machine_without_gpu_never_gets_the_cuda_build(path_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, ...]] = []

    def failing(*arguments: str) -> subprocess.CompletedProcess[str]:
        asked.append(arguments)
        return subprocess.CompletedProcess(arguments, 1, "", "no such build")

    monkeypatch.setattr(bootstrap, "run_pip", failing)
    monkeypatch.setattr(bootstrap, "installed_torch", lambda version: False)
    with pytest.raises(SystemExit, match="PIP_FIND_LINKS or PIP_EXTRA_INDEX_URL"):
        bootstrap.install_torch()
    assert all(any(argument.endswith("+cpu") for argument in arguments) for arguments in asked)


def test_a_machine_with_gpu_gets_the_plain_pin(path_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    executable(path_folder, "nvidia-smi", "echo 'GPU 0: NVIDIA H100'")
    asked: list[str] = []
    monkeypatch.setattr(bootstrap, "pip", lambda *arguments, failure: asked.extend(arguments))
    monkeypatch.setattr(bootstrap, "installed_torch", lambda version: False)
    bootstrap.install_torch()
    assert [argument for argument in asked if argument.startswith("torch")] == ["torch==2.13.0"]


def test_an_old_python_is_refused_in_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 9, 2))
    with pytest.raises(SystemExit, match=r"Python 3\.11 or newer is needed"):
        bootstrap.main()
