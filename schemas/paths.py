"""Paths that records of the platform name: none of them may lead out of the folder that it is meant for."""

from __future__ import annotations

from schemas.uris import scheme_of


def below(path: str) -> str:
    """A path that stays below its folder, unchanged; for pydantic.

    Raises:
        ValueError: It is empty or absolute, has an empty part, `.` or `..`, or holds a backslash or a NUL.
    """
    if "\\" in path or "\0" in path:
        raise ValueError("the path holds a backslash or a NUL")
    if any(part in ("", ".", "..") for part in path.split("/")):
        raise ValueError("the path is no plain path below its folder")
    return path


def plain_folder(uri: str) -> str:
    """The normalised URI of a folder, unchanged; a slash at its end is allowed.

    Raises:
        ValueError: It has a part that leads elsewhere than it says, or is no normalised URI.
    """
    scheme = scheme_of(uri)
    parts = uri.removeprefix(f"{scheme}://" if scheme else "/").removesuffix("/").split("/")
    if not (scheme or uri.startswith("/")) or not parts[0] or "\0" in uri:
        raise ValueError("the place is neither s3://… nor an absolute path")
    if {".", ".."} & set(parts) or ("" in parts and not scheme):  # keys of objects may hold empty parts
        raise ValueError("the place is no plain folder")
    return uri
