"""A place where other programs, an odd host and an unknown user id have left what misleads Python, Spark and torchrun."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

UNKNOWN_USER = 54321  # stands in no passwd
OF_ANOTHER_SPARK = {
    "SPARK_HOME": "/nowhere/spark",
    "PYSPARK_SUBMIT_ARGS": "--master spark://nowhere:7077",
    "PYSPARK_PYTHON": "/nowhere/python",
    "SPARK_LOCAL_DIRS": "/nowhere/scratch",
}
OF_ANOTHER_LAUNCHER = {"PET_NNODES": "2", "PET_RDZV_ENDPOINT": "nowhere:29500", "MASTER_ADDR": "nowhere", "MASTER_PORT": "1"}


def misleading_folder(folder: Path) -> Path:
    """A folder whose modules are called like ours and like Python's; whoever imports one leaves a file."""
    for name in ("jobs/__init__.py", "schemas/__init__.py", "random.py", "pyspark/__init__.py", "torch.py"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"open({str(folder / 'executed')!r}, 'a').write({name!r})\n1 / 0\n")
    return folder


def run_there(folder: Path, arguments: Sequence[str], seconds: float = 240.0) -> subprocess.CompletedProcess[str]:
    """Run `hrnn ARGUMENTS…` in a misleading folder, as a user without a name, on a host whose name means nothing.

    The host has 64 KiB of shared memory, as containers may.

    Skips the test where that takes rights or programs that are not there.
    """
    if os.getuid() != 0 or shutil.which("setpriv") is None or shutil.which("unshare") is None:
        pytest.skip("a host's name and an unknown user id take root, setpriv and unshare")
    rights = "+dac_override,+dac_read_search"  # the Python under test may lie where only root looks
    user = f"setpriv --reuid {UNKNOWN_USER} --regid {UNKNOWN_USER} --clear-groups --inh-caps {rights} --ambient-caps {rights}"
    host = "hostname no-such-host.invalid && mount -t tmpfs -o size=64k,mode=1777 tmpfs /dev/shm"
    command = ["unshare", "--uts", "--mount", "sh", "-c", f'{host} && exec {user} "$@"', "sh"]
    # A console script's first folder is its own, as with -P, not the one that it is called in.
    command += [sys.executable, "-P", "-c", "from jobs.cli import main; main()", *arguments]
    environment = os.environ | OF_ANOTHER_SPARK | OF_ANOTHER_LAUNCHER | {"HOME": "/", "HRNN_DRIVER_MEMORY": "1g"}
    return subprocess.run(
        command, cwd=misleading_folder(folder), env=environment, capture_output=True, text=True, timeout=seconds, check=False
    )
