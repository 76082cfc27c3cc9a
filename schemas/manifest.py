"""The manifest: the last file a step writes, and the only way the next step sees its folder."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from schemas.checksums import damaged, verified, with_checksum
from schemas.errors import IntegrityError
from schemas.paths import below

MANIFEST_NAME = "manifest.json"
_REMEDY = "delete it and run the step again"
USERS_DELETED = "users_deleted"  # in a manifest's metadata: each deletion that changed the folder since its step wrote it

Kind = Literal[
    "dataset",
    "sequences",
    "solution_version",
    "evaluation",
    "batch_inference",
    "batch_segment",
    "comparison",
    "export",
    "deletion",
]


class FileEntry(BaseModel):
    """One file of a step's folder."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Annotated[str, AfterValidator(below)] = Field(description="path relative to the folder, with forward slashes")
    size: int = Field(ge=0, description="bytes")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="hex digest of the bytes")
    rows: int | None = Field(default=None, ge=0, description="rows or lines, where the file has any")
    shown: Annotated[str, AfterValidator(below)] | None = Field(
        default=None, description="where a copy for people lies, under the same name after every run"
    )

    @property
    def places(self) -> tuple[str, ...]:
        """Paths at which its bytes lie."""
        return (self.path,) if self.shown is None else (self.path, self.shown)


class InputRef(BaseModel):
    """Something a step read."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    uri: str = Field(description="where it was read")
    version: str = Field(description="SHA-256 of a manifest, or ETag or size and time of a foreign file")


class Manifest(BaseModel):
    """What a step made, from what, and every byte of it."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_by_name=True, serialize_by_alias=True)

    kind: Kind = Field(description="what the folder holds")
    fingerprint: str = Field(description="fingerprint() of config and inputs: equal means nothing to do")
    software: str = Field(description="version of hrnn-platform that wrote it")
    config: dict[str, Any] = Field(description="the step's settings")
    inputs: tuple[InputRef, ...] = Field(description="what was read")
    files: tuple[FileEntry, ...] = Field(description="every file of the folder but this one")
    counts: dict[str, int] = Field(default_factory=dict, description="rows, events, users, items, sessions …")
    metadata: dict[str, Any] = Field(
        default_factory=dict, alias="facts", description="what the next step needs to know beyond files"
    )

    def to_bytes(self) -> bytes:
        """JSON with its digest, UTF-8, ending in a newline."""
        return with_checksum(json.loads(self.model_dump_json()))

    @classmethod
    def from_bytes(cls, data: bytes, where: str) -> Manifest:
        """What `to_bytes` gave.

        Args:
            data: The bytes of a manifest.json.
            where: Its URI.

        Raises:
            IntegrityError: They were damaged since, or name a path that leads out of the folder.
        """
        told = {"where": where, "what": "manifest", "remedy": _REMEDY}
        document = verified(data, **told)
        try:
            return cls.model_validate(document, by_alias=True, by_name=False)  # a stored file has the JSON key alone
        except ValidationError as error:
            key = ".".join(map(str, error.errors()[0]["loc"]))
            raise damaged(f"{key}: {error.errors()[0]['msg']}", **told) from None

    def files_below(self, folder: str) -> tuple[FileEntry, ...]:
        """Files whose path starts with `folder/`, in path order."""
        prefix = folder.rstrip("/") + "/"
        return tuple(sorted((f for f in self.files if f.path.startswith(prefix)), key=lambda f: f.path))

    def file(self, path: str) -> FileEntry:
        """The entry of one path, or of the file that is shown there.

        Raises:
            IntegrityError: The manifest does not name it.
        """
        for entry in self.files:
            if path in (entry.path, entry.shown):
                return entry
        raise IntegrityError(f"a manifest of kind {self.kind} names no file {path!r}; {_REMEDY}.")


def fingerprint(step: str, config: dict[str, Any], input_versions: list[str]) -> str:
    """Hex SHA-256 of a step's name, settings and input versions: the identity of its result.

    Input URIs are left out on purpose: the same bytes at another place give the same result.
    """
    document = json.dumps([step, config, input_versions], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(document.encode()).hexdigest()
