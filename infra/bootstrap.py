"""Make `.venv` with all that the platform needs, from nothing but Python 3.11 or newer: `python3 infra/bootstrap.py`.

Versions come from requirements.lock. A machine without an NVIDIA device gets torch's CPU build, never gigabytes of CUDA;
a machine with one gets the CUDA build. Where no Java 17 or 21 is found, a runtime from PyPI is added. Every failure is one
message that says what to do. Standard library only: this runs before anything is installed.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = ROOT / ".venv"
LOCK = ROOT / "requirements.lock"
CPU_INDEX = "https://download.pytorch.org/whl/cpu"


def main() -> None:
    """Bring `.venv` up to date; does nothing where it is."""
    if sys.version_info < (3, 11):  # noqa: UP036 - run by whatever python3 the user has
        stop(f"Python 3.11 or newer is needed; this is {platform.python_version()}. Run with a newer python3.")
    groups = ["dev", "demo"] + ([] if has_java() else ["jre"])
    stamp = ENVIRONMENT / "installed"
    wanted = hashlib.sha256(
        b"\0".join([LOCK.read_bytes(), (ROOT / "pyproject.toml").read_bytes(), str(groups).encode(), sys.version.encode()])
    ).hexdigest()
    if stamp.is_file() and stamp.read_text() == wanted:
        return
    say(f"making {ENVIRONMENT} (two to five minutes the first time)")
    if not python().is_file():
        make_environment()
    install_torch()
    pip("install", "--constraint", str(LOCK), "--editable", f"{ROOT}[{','.join(groups)}]", failure="an install failed")
    stamp.write_text(wanted)
    say("done; `.venv/bin/hrnn doctor` says what this machine has")


def python() -> Path:
    """The environment's Python."""
    return ENVIRONMENT / "bin" / "python"


def make_environment() -> None:
    """An empty virtual environment with pip."""
    answer = subprocess.run([sys.executable, "-m", "venv", str(ENVIRONMENT)], capture_output=True, text=True, check=False)
    if answer.returncode:
        shutil.rmtree(ENVIRONMENT, ignore_errors=True)
        stop(
            "Python's venv module does not work here. On Debian and Ubuntu: apt install python3-venv.\n"
            + (answer.stderr or answer.stdout).strip()
        )


def install_torch() -> None:
    """The pinned torch: CUDA where there is an NVIDIA device, else the CPU build."""
    version = re.findall(r"^torch==(\S+)", LOCK.read_text(), re.M)[0]
    if installed_torch(version):
        return
    if has_gpu() or sys.platform == "darwin":
        pip("install", "--constraint", str(LOCK), f"torch=={version}", failure="torch could not be installed")
        return
    say("no NVIDIA device: torch's CPU build")
    cpu = [f"torch=={version}+cpu", "--constraint", str(LOCK)]
    if try_pip("install", *cpu) or try_pip("install", *cpu, "--extra-index-url", CPU_INDEX):
        return
    stop(
        f"torch {version}'s CPU build was not found, neither where pip looks nor at {CPU_INDEX}.\n"
        f"Give pip a place that has it (PIP_FIND_LINKS or PIP_EXTRA_INDEX_URL), or install any build of torch=={version} "
        f"into {ENVIRONMENT} yourself and run again."
    )


def has_gpu() -> bool:
    """True where an NVIDIA device answers."""
    if shutil.which("nvidia-smi") is None:
        return False
    answer = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    return answer.returncode == 0 and "GPU" in answer.stdout


def has_java() -> bool:
    """True where $JAVA_HOME or PATH has a Java that Spark runs on."""
    home = os.environ.get("JAVA_HOME")
    for java in filter(None, [home and f"{home}/bin/java", shutil.which("java")]):
        try:
            answer = subprocess.run([java, "-version"], capture_output=True, text=True, check=False)
        except OSError:
            continue
        if re.search(r'version "(17|21)[."]', answer.stderr):
            return True
    return False


def installed_torch(version: str) -> bool:
    """True where the environment holds this version already, of whatever build."""
    code = f"import importlib.metadata as m; raise SystemExit(m.version('torch').split('+')[0] != '{version}')"
    return subprocess.run([python(), "-c", code], capture_output=True, check=False).returncode == 0


def pip(*arguments: str, failure: str) -> None:
    """Run pip in the environment; stop with its last lines where it fails."""
    answer = run_pip(*arguments)
    if answer.returncode:
        stop(f"{failure}: pip {' '.join(arguments)}\n" + "\n".join((answer.stdout + answer.stderr).strip().splitlines()[-15:]))


def try_pip(*arguments: str) -> bool:
    """Run pip in the environment; False where it fails."""
    return run_pip("--retries", "1", *arguments).returncode == 0


def run_pip(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run pip in the environment, quietly."""
    command = [str(python()), "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def say(text: str) -> None:
    """One line on stderr."""
    print(f"set-up: {text}", file=sys.stderr, flush=True)


def stop(text: str) -> NoReturn:
    """End with a message."""
    raise SystemExit(f"set-up: {text}")


if __name__ == "__main__":
    main()
