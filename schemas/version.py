"""The version of the platform, as its manifests carry it."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

try:
    VERSION = version("hrnn-platform")
except PackageNotFoundError:  # run from a source tree that is not installed
    VERSION = "0+source"
