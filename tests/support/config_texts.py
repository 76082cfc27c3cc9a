"""Configs of nights from texts."""

from __future__ import annotations

from schemas.config import NightlyConfig, build_config, parse_document


def parse_config(text: str, where: str) -> NightlyConfig:
    """The config that a TOML or JSON text states; `where` names it in messages."""
    return build_config(parse_document(text, where), where)
