"""Import modes: FULL replaces a dataset, INCREMENTAL adds to what earlier imports left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from jobs.platform.storage.folders import StepFolder
from jobs.validate.inputs import InputFile
from jobs.validate.plan import OldPart, ReferencePart
from schemas.columns import ITEM_ID, USER_ID
from schemas.data_settings import ImportMode
from schemas.dataset_rules import DATASET_RULES
from schemas.datasets import DatasetSchema, parse_schema_document
from schemas.errors import ConfigError, DataError, SchemaError
from schemas.manifest import FileEntry, InputRef, Manifest

_REFERENCE_KEYS = {"items": ("Items", ITEM_ID), "users": ("Users", USER_ID)}


@dataclass(frozen=True, kw_only=True)
class Base:
    """The dataset that an INCREMENTAL import adds to; empty where it is FULL.

    Attributes:
        parts: Of earlier imports.
        input_files: What they read, by file number, as facts of the manifest.
        imports: What they were, oldest first, as facts of the manifest.
        fingerprint: Of the dataset as they left it; empty where there is nothing.
        inputs: What they read, as inputs of the manifest.
    """

    parts: tuple[OldPart, ...] = ()
    input_files: tuple[dict[str, Any], ...] = ()
    imports: tuple[dict[str, Any], ...] = ()
    fingerprint: str = ""
    inputs: tuple[InputRef, ...] = ()

    def numbered(self, files: Sequence[InputFile]) -> list[InputFile]:
        """New files, numbered on from those of earlier imports."""
        return [replace(file, number=file.number + len(self.input_files)) for file in files]

    @property
    def entries(self) -> set[str]:
        """Paths of its part files."""
        return {part.entry.path for part in self.parts}


def base_of(manifest: Manifest | None, mode: ImportMode, schema: DatasetSchema, uri: str) -> Base:
    """The dataset that an import adds to.

    Raises:
        DataError: The first import of a dataset is INCREMENTAL.
        SchemaError: The dataset has other fields.
    """
    if mode == "FULL":
        return Base()
    if manifest is None:
        raise DataError(
            "the first import of a dataset must be FULL",
            where=uri,
            value=mode,
            remedy="Import all rows with --import-mode FULL; later ones may be INCREMENTAL.",
        )
    if manifest.kind != "dataset" or "parts" not in manifest.metadata:
        raise DataError(
            "what lies there cannot be added to",
            where=uri,
            value=manifest.kind,
            remedy="Import all rows with --import-mode FULL.",
        )
    before = parse_schema_document(manifest.metadata["schema"])
    if (before.dataset_type, before.fields) != (schema.dataset_type, schema.fields):
        raise SchemaError(
            "the dataset there has other fields",
            where=uri,
            value=[f"{field.name} {field.type}" for field in before.fields],
            allowed="the schema of the earlier imports",
            remedy="Import all rows anew with --import-mode FULL.",
        )
    firsts: dict[str, int] = dict(manifest.metadata["parts"])
    entries = sorted(manifest.files_below("data"), key=lambda entry: firsts[entry.path])
    return Base(
        parts=tuple(
            OldPart(number=number, entry=entry, first_order=firsts[entry.path]) for number, entry in enumerate(entries)
        ),
        input_files=tuple(manifest.metadata["input_files"]),
        imports=tuple(manifest.metadata["imports"]),
        fingerprint=manifest.fingerprint,
        inputs=manifest.inputs,
    )


@dataclass(frozen=True, kw_only=True)
class References:
    """Datasets that describe the items and users of events.

    Attributes:
        uris: "items", "users" -> folder.
        parts: Their part files.
        versions: Fingerprints, for the identity of the import.
        inputs: The same as inputs of the manifest.
    """

    uris: dict[str, str]
    parts: tuple[ReferencePart, ...]
    versions: tuple[str, ...]
    inputs: tuple[InputRef, ...]


def references_of(schema: DatasetSchema, folder_uris: dict[str, str | None]) -> References:
    """The datasets that events are compared with.

    Args:
        schema: Of the dataset that is imported.
        folder_uris: "items", "users" -> folder that `hrnn validate` wrote, or None.

    Raises:
        ConfigError: The dataset has no such ids.
        DataError: A folder holds a dataset of another type.
        StorageError: A folder holds no dataset.
    """
    uris, parts, versions, inputs = {}, [], [], []
    rules = DATASET_RULES[schema.dataset_type]
    for name, uri in folder_uris.items():
        if uri is None:
            continue
        dataset_type, column = _REFERENCE_KEYS[name]
        if rules.target is None or column not in schema.names:
            raise ConfigError(
                f"{schema.dataset_type} are not compared with {name}", where=name, value=uri, remedy="Leave it out."
            )
        folder = StepFolder(uri)
        manifest = folder.require("dataset")
        if (stored_type := manifest.metadata["dataset_type"]) != dataset_type:
            raise DataError("the folder holds another dataset", where=folder.uri, value=stored_type, allowed=dataset_type)
        uris[name] = folder.uri
        parts += [ReferencePart(uri=folder.uri, entry=entry, column=column) for entry in manifest.files_below("data")]
        versions.append(f"{name} {manifest.fingerprint}")
        inputs.append(folder.reference(manifest))
    return References(uris=uris, parts=tuple(parts), versions=tuple(versions), inputs=tuple(inputs))


def new_entries(data: dict[int, FileEntry], base: Base) -> list[FileEntry]:
    """The part files that this import wrote."""
    return [entry for entry in data.values() if entry.path not in base.entries]
