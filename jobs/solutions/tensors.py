"""Tensors of a solution version, a safetensors file a purpose: a job that needs one purpose downloads only its file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, get_args

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from jobs.platform.storage.folders import StepFolder
from schemas.manifest import FileEntry, Manifest

# Held-out queries are scored against these; lists are made with those of "scoring.".
ITEM_VECTORS, ITEM_BIAS = "evaluation.item_vectors", "evaluation.item_bias"

Purpose = Literal["parameters", "serving", "evaluation"]

# By the prefix of a tensor's name; all others are parameters.
_PREFIXES: dict[str, Purpose] = {"scoring.": "serving", "related.": "serving", "evaluation.": "evaluation"}


def write_tensors(folder: StepFolder, scratch: Path, tensors: Mapping[str, Tensor]) -> dict[Purpose, FileEntry]:
    """Write tensors into a folder that is about to be published.

    Args:
        folder: Of the solution version.
        scratch: A local folder.
        tensors: All of them, by name.

    Returns:
        A file a purpose, also for one without tensors; `model` in the manifest's metadata names their paths.
    """
    entries: dict[Purpose, FileEntry] = {}
    for purpose in get_args(Purpose):
        path = scratch / f"{purpose}.safetensors"
        save_file({name: tensor for name, tensor in tensors.items() if _purpose_of(name) == purpose}, path)
        entries[purpose] = folder.put_file(path, folder.attempt_path(path.name))
        path.unlink()
    return entries


def tensor_file(solution: Manifest, purpose: Purpose) -> FileEntry:
    """The file with the tensors of a purpose; a solution version of an older release has one for all."""
    paths = solution.metadata["model"]
    return solution.file(paths if isinstance(paths, str) else paths[purpose])


def read_tensors(path: Path, purpose: Purpose) -> dict[str, Tensor]:
    """The tensors of a purpose, by name, from a local copy of `tensor_file`."""
    with safe_open(path, "pt") as stored:
        return {name: stored.get_tensor(name) for name in stored.keys() if _purpose_of(name) == purpose}  # noqa: SIM118


def _purpose_of(name: str) -> Purpose:
    return _PREFIXES.get(name.partition(".")[0] + ".", "parameters")
