"""The folders of steps below a workspace, `<job>/<name>/<fingerprint>/`, and which of them a run is still writing."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import get_args

from jobs.platform.storage import StoredFile, join
from schemas.errors import ConfigError
from schemas.nights import Job

STEP = re.compile(rf"(?:{'|'.join(get_args(Job))})/[^/]+/[0-9a-f]{{12}}(?=/)")
_AGE = re.compile(r"([0-9]{1,6})(m|h|d|w)")
_LONGEST = timedelta(days=36_525)  # no clock reaches back ten thousand years
_SECONDS = {"m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def files_of_steps(workspace: str, files: Iterable[StoredFile]) -> dict[str, list[StoredFile]]:
    """Folder of a step -> its files, of all files below a workspace."""
    by_folder: dict[str, list[StoredFile]] = {}
    for file in files:
        if match := STEP.match(file.uri.removeprefix(workspace + "/")):
            by_folder.setdefault(join(workspace, match[0]), []).append(file)
    return by_folder


def at_work(steps: Mapping[str, Sequence[StoredFile]], finished: Container[str], before: datetime) -> list[str]:
    """Folders that are not finished and hold a file younger than `before`: only its age tells a live run from a killed one."""
    return [folder for folder, files in steps.items() if folder not in finished and not all_old(files, before)]


def all_old(files: Iterable[StoredFile], before: datetime) -> bool:
    """Whether all of them were written before a moment."""
    return all(file.modified is not None and file.modified < before for file in files)


def parse_age(text: str) -> timedelta:
    """`30m`, `12h`, `7d` or `2w`.

    Raises:
        ConfigError: It is none.
    """
    match = _AGE.fullmatch(text.strip())
    age = None if match is None else timedelta(seconds=int(match[1]) * _SECONDS[match[2]])
    if age is None or age > _LONGEST:
        allowed = "a number and m, h, d or w, such as 7d; 100 years at most"
        raise ConfigError("this is no age", where="older_than", value=text, allowed=allowed)
    return age
