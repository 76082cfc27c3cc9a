"""Helpers to read AWS's automation configs: tables, their `serviceConfig`, and keys that are not taken over."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from schemas.errors import ConfigError


def table_at(document: dict[str, Any], key: str, where: str) -> dict[str, Any]:
    """The table below a key.

    Raises:
        ConfigError: There is none.
    """
    value = document.get(key)
    if not isinstance(value, dict):
        raise ConfigError("this key is missing or no table", where=f"{where}: {key}")
    return value


def as_table(value: Any) -> dict[str, Any]:
    """The table that a value is; an empty one where it is something else."""
    return value if isinstance(value, dict) else {}


def as_list(value: Any) -> list[Any]:
    """The list that a value is; an empty one where it is something else."""
    return value if isinstance(value, list) else []


def service_of(table: dict[str, Any]) -> dict[str, Any]:
    """Parameters of the service call: `serviceConfig` in the one shape, the table in the other."""
    return as_table(table.get("serviceConfig", table))


def is_true(value: Any) -> bool:
    """Whether a value says true, as JSON or as text."""
    return str(value).lower() == "true"


def extras(table: dict[str, Any], taken: set[str]) -> list[str]:
    """Keys of a table and of its `serviceConfig` that are not taken over."""
    inner = [f"serviceConfig.{key}" for key in as_table(table.get("serviceConfig")) if key not in taken]
    return [key for key in table if key != "serviceConfig" and key not in taken] + inner


def refuse_twice(named: Iterable[tuple[str, Any]], where: str) -> None:
    """ConfigError where two parts of one kind have the same name: the service would refuse the second.

    Args:
        named: Key path and name of each.
        where: Name of the config file.
    """
    paths: dict[str, str] = {}
    for path, name in named:
        if isinstance(name, str) and (first := paths.setdefault(name, path)) != path:
            raise ConfigError(
                f"{first} has this name too", where=f"{where}: {path}", value=name, remedy="Rename or remove one of them."
            )
