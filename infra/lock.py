"""Write infra/locks/ anew from pyproject.toml: `make lock`. uv resolves for all platforms at once and gives files' hashes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import tomllib
from collections.abc import Iterable
from functools import cache
from itertools import chain
from pathlib import Path

from infra.bootstrap import CPU_INDEX, ENVIRONMENT, LOCKS, ROOT, pip_config, say, stop, uv_settings

# torch names its own CUDA packages; in a lock of everything they would come to machines without a GPU too.
_OF_TORCH = re.compile(r"(nvidia-.*|cuda-.*|triton|torch)")
# Beside the build system of pyproject.toml: what builds packages that come as sources (pyspark).
_BUILDS_SOURCES = ["setuptools", "wheel"]
_HEADS = {
    "installer": "uv, which installs all the rest.",
    "build": "What builds the platform and the packages that come as sources.",
    "platform": "What the platform needs, without torch.",
    "torch": "torch as PyPI has it: for CUDA on Linux, with its packages of CUDA; for the CPU on macOS.",
    "torch-cpu": "torch's build for the CPU, as its own index has it.",
    "dev": "What tests, lint and the demo need besides.",
    "jre": "A Java, where the machine has none.",
}

Lines = dict[str, str]


def main() -> None:
    """Resolve everything together, then write one lock for each part."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = settings["project"]["optional-dependencies"]
    platform = settings["project"]["dependencies"]
    build = [*settings["build-system"]["requires"], *_BUILDS_SOURCES]
    everything = _compile([*platform, *chain(*extras.values()), *build, "uv"], "--generate-hashes")

    def names(requirements: list[str]) -> set[str]:
        return set(_compile(requirements, constraints=everything.values()))

    of_torch = {name for name in everything if _OF_TORCH.fullmatch(name)}
    of_platform = names(platform) - of_torch
    parts = {
        "installer": {"uv"},
        "build": names(build),
        "platform": of_platform,
        "torch": of_torch,
        "dev": names([*platform, *extras["dev"], *extras["demo"], *extras["hpo"]]) - of_platform - of_torch,
        "jre": names(extras["jre"]),
    }
    locks = {part: [everything[name] for name in sorted(chosen)] for part, chosen in parts.items()}
    locks["torch-cpu"] = _torch_cpu(re.findall(r"^torch==([\w.]+)", everything["torch"])[0])
    for part, lines in locks.items():
        (LOCKS / f"{part}.lock").write_text(f"# {_HEADS[part]} Made by 'make lock'.\n" + "".join(lines))
    say(f"{LOCKS}: {len(everything)} packages")


def _torch_cpu(version: str) -> list[str]:
    """The CPU build's line, from its index; the line that is there where the index can't be reached and the version stayed."""
    wanted = f"torch=={version}+cpu"
    lock = LOCKS / "torch-cpu.lock"
    there = lock.read_text().partition("\n")[2] if lock.is_file() else ""
    try:
        return list(_compile([wanted], "--generate-hashes", "--no-deps", "--default-index", CPU_INDEX).values())
    except _NoVersionsError as error:
        if not there.startswith(f"{wanted} "):
            stop(f"{CPU_INDEX} could not be asked for {wanted}: run where it can, or write its hashes to {lock}.\n{error}")
        say(f"{CPU_INDEX} could not be asked: {lock.name} stays as it is")
        return [there]


class _NoVersionsError(Exception):
    """uv found no set of versions, or could not ask."""


@cache
def _settings() -> dict[str, str]:
    """pip's, less the places beside its index: they may hold a part of a version's files, so a part of the hashes."""
    return {name: value for name, value in uv_settings(pip_config()).items() if name not in {"UV_INDEX", "UV_FIND_LINKS"}}


def _compile(requirements: list[str], *options: str, constraints: Iterable[str] = ()) -> Lines:
    """Name -> its lines of a lock (several where versions differ by Python)."""
    uv = shutil.which("uv", path=f"{ENVIRONMENT / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}")
    if uv is None:
        stop("uv is needed to write the locks: run make setup, or pip install uv.")
    with tempfile.TemporaryDirectory() as folder:
        wanted, fixed = Path(folder, "wanted"), Path(folder, "fixed")
        wanted.write_text("\n".join(requirements))
        fixed.write_text("".join(constraints))
        shown = ["--universal", "--python-version", "3.11", "--no-header", "--no-annotate", "--constraint", str(fixed)]
        command = [uv, "pip", "compile", *shown, *options, str(wanted)]
        answer = subprocess.run(command, env=os.environ | _settings(), capture_output=True, text=True, check=False)
    if answer.returncode:
        raise _NoVersionsError(answer.stderr.strip())
    lines: Lines = {}
    for block in re.findall(r"^\S.*\n(?:[ \t].*\n)*", answer.stdout, re.M):
        name = re.split(r"==", block, maxsplit=1)[0]
        lines[name] = lines.get(name, "") + block
    return lines


if __name__ == "__main__":
    try:
        main()
    except _NoVersionsError as error:
        stop(f"uv found no set of versions:\n{error}")
