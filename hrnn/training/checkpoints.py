"""Checkpoints of a training: whole or absent, verified when read, and never unpickled.

A checkpoint is one safetensors file whose metadata holds a JSON document. Its name carries twelve hex digits of the training's
identity, the batches done, so that one training's names sort by age, and twelve hex digits of its SHA-256. A file whose
bytes don't match its name is passed over, loudly, for the one before it. Checkpoints of other trainings in the same folder are
neither read, counted nor removed.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from dataclasses import dataclass
from typing import Any, Protocol

from safetensors.torch import load, save
from torch import Tensor

logger = logging.getLogger(__name__)

_NAME = re.compile(r"^checkpoint-([0-9a-f]{12})-(\d{12})-([0-9a-f]{12})\.safetensors$")
_KEPT = 2


class CheckpointStore(Protocol):
    """A folder of small whole files."""

    def names(self) -> list[str]:
        """Names of all files."""

    def read(self, name: str) -> bytes:
        """Bytes of one file."""

    def write(self, name: str, data: bytes) -> None:
        """Write one file; it appears whole or not at all."""

    def delete(self, name: str) -> None:
        """Remove one file."""


@dataclass(frozen=True)
class Checkpoint:
    """Everything that a training is resumed from.

    Attributes:
        tensors: By name, on the CPU.
        document: Cursor, with the learning curve, and the number of ranks.
    """

    tensors: dict[str, Tensor]
    document: dict[str, Any]

    def under(self, prefix: str) -> dict[str, Tensor]:
        """The tensors called `<prefix>.…`, by what follows."""
        return {
            name.removeprefix(f"{prefix}."): tensor for name, tensor in self.tensors.items() if name.startswith(f"{prefix}.")
        }


def save_checkpoint(store: CheckpointStore, identity: str, number: int, checkpoint: Checkpoint) -> str:
    """Write a checkpoint after `number` batches, then remove all but the training's newest two; returns its name."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in checkpoint.tensors.items()}
    data = save(tensors, metadata={"document": json.dumps(checkpoint.document)})
    name = f"checkpoint-{_digits(identity.encode())}-{number:012d}-{_digits(data)}.safetensors"
    store.write(name, data)
    # Only now: a process that is killed in between leaves one checkpoint too many, never one too few.
    for old in checkpoint_names(store, identity)[_KEPT:]:
        store.delete(old)
    return name


def checkpoint_names(store: CheckpointStore, identity: str) -> list[str]:
    """Names of a training's checkpoints, newest first."""
    owner = _digits(identity.encode())
    return sorted((name for name in store.names() if (match := _NAME.match(name)) and match[1] == owner), reverse=True)


def newest_checkpoint(store: CheckpointStore, identity: str) -> Checkpoint | None:
    """A training's newest checkpoint that is whole, or None where there is none."""
    for name in checkpoint_names(store, identity):
        checkpoint = _read(store, name)
        if checkpoint is not None:
            return checkpoint
        logger.error(
            "checkpoint %s is damaged: its bytes are not those that were written; going on from the one before it", name
        )
    return None


def remove_checkpoints(store: CheckpointStore, identity: str) -> None:
    """Remove all of a training's checkpoints, and no other's."""
    for name in checkpoint_names(store, identity):
        store.delete(name)


def _digits(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:12]


def _read(store: CheckpointStore, name: str) -> Checkpoint | None:
    data = store.read(name)
    match = _NAME.match(name)
    if match is None or _digits(data) != match[3]:
        return None
    # The file's header is read by hand, for safetensors gives no metadata of bytes: its length in 8 bytes, then JSON.
    header_size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + header_size])
    return Checkpoint(load(data), json.loads(header["__metadata__"]["document"]))
