"""Packages that a bare machine lacks and that training on local folders never uses: imports of them find something hollow.

The GPU's check puts this folder last on the path of itself and its ranks. What is installed is taken as it is.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
from types import ModuleType
from typing import Any

_MAY_LACK = {"boto3", "botocore", "jinja2", "orjson", "tqdm", "urllib3"}


class _Hollow(Exception):
    """Whatever is asked of it, it gives another; as text and as bytes it is empty."""

    def __init__(self, *_: Any, **__: Any) -> None:
        super().__init__()

    def __call__(self, *_: Any, **__: Any) -> _Hollow:
        return self

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __str__(self) -> str:
        return ""

    def encode(self, *_: Any) -> bytes:
        return b""


class _HollowModule(ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (_Hollow,), {})


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """The last to be asked."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        if name.split(".")[0] not in _MAY_LACK:
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return _HollowModule(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Nothing is in it."""


sys.meta_path.append(_Finder())
