"""Read the config of a night from where it lies, in either shape."""

from __future__ import annotations

from jobs.platform.storage import input_below, join, normalise, read_text, store_for
from schemas.automation import from_automation, is_automation_config
from schemas.automation_batches import Places
from schemas.config import NightlyConfig, build_config, parse_document
from schemas.errors import ConfigError


def load_config(
    uri: str, *, workspace: str | None = None, data: str | None = None, batch: str | None = None
) -> tuple[NightlyConfig, list[str]]:
    """The config in a file, and a warning for each key that could not be taken over.

    Args:
        uri: TOML or JSON file.
        workspace: For configs of AWS's automation, which name no places: the folder for all that is written.
        data: Likewise: the folder of `interactions.csv` or `interactions/`, and so on. Default: where the config lies.
        batch: Likewise: the folder of `<solution>/job_config.json`. Default: `batch/<group>/` beside its `train/<group>/`.

    Raises:
        ConfigError: The file is wrong, or an option is missing or has no use.
        StorageError: It cannot be read.
    """
    document = parse_document(read_text(uri), uri)
    if not is_automation_config(document):
        for name, value in (("workspace", workspace), ("data", data), ("batch", batch)):
            if value is not None:
                raise ConfigError("this option is for AWS's JSON only; this config names its places", where=name, value=value)
        return build_config(document, uri), []
    if workspace is None:
        raise ConfigError("this config names no workspace", where=uri, remedy="Say where results go with --workspace URI.")
    own_folder = normalise(uri).rpartition("/")[0]
    data_folder = own_folder if data is None else normalise(data).rstrip("/")
    batch_folder = _batch_folder(own_folder) if batch is None else normalise(batch).rstrip("/")
    places = Places(
        workspace=workspace,
        data=lambda name: _first_there(join(data_folder, f"{name}.csv"), join(data_folder, name) + "/"),
        batch=lambda name: None if batch_folder is None else _first_there(join(batch_folder, name, "job_config.json")),
    )
    ours, warnings = from_automation(document, places, uri)
    return build_config(ours, uri), warnings


def _batch_folder(config_folder: str) -> str | None:
    """`…/batch/<group>` for a config in `…/train/<group>`, where that solution keeps it."""
    above, _, group = config_folder.rpartition("/")
    return join(above.removesuffix("/train"), "batch", group) if above.endswith("/train") else None


def _first_there(*uris: str) -> str | None:
    """The first file that is there, or folder that is not empty."""
    for uri in uris:
        if input_below(uri) if uri.endswith("/") else store_for(uri).stat(uri):
            return uri
    return None
