"""Write requirements.lock anew from pyproject.toml: `make lock`. Needs uv, which resolves for every platform at once."""

from __future__ import annotations

import os
import re
import shutil
import subprocess

from infra.bootstrap import LOCK, ROOT, say, stop

# torch brings its own CUDA packages where there is a GPU; a lock that named them would bring them everywhere.
_HEAD = (
    "# Every version that set-up, CI and the images install: pip's constraints file, made by 'make lock'.\n"
    "# torch pins its own CUDA packages, so they are not repeated here; infra/bootstrap.py chooses the CPU or the CUDA build.\n"
)
_OF_TORCH = re.compile(r"^(nvidia-|cuda-|triton|torch==)")


def main() -> None:
    """Resolve, drop what belongs to torch's builds, write."""
    if shutil.which("uv") is None:
        stop("uv is needed to write the lock: pip install uv.")
    command = [
        "uv",
        "pip",
        "compile",
        "--universal",
        "--python-version",
        "3.11",
        "--all-extras",
        "--no-header",
        "--no-annotate",
    ]
    if links := os.environ.get("PIP_FIND_LINKS"):
        command += ["--find-links", links]
    answer = subprocess.run([*command, str(ROOT / "pyproject.toml")], capture_output=True, text=True, check=False)
    if answer.returncode:
        stop(f"uv found no set of versions:\n{answer.stderr.strip()}")
    lines = answer.stdout.splitlines()
    torch = {line.split("+")[0].split(" ")[0] for line in lines if line.startswith("torch==")}
    kept = [line for line in lines if not _OF_TORCH.match(line)]
    LOCK.write_text(_HEAD + "\n".join(sorted([*kept, *torch], key=_name)) + "\n")
    say(f"{LOCK}: {len(kept) + len(torch)} packages")


def _name(line: str) -> str:
    return line.split("==")[0].lower()


if __name__ == "__main__":
    main()
