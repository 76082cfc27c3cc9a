"""Paths that records of the platform name: none of them may lead out of the folder that it is meant for."""

from __future__ import annotations


def below(path: str) -> str:
    """A path relative to a folder, as it was given.

    Raises:
        ValueError: It is empty or absolute, has an empty part, `.` or `..`, or holds a backslash or a NUL.
    """
    _refuse_bytes(path)
    if any(part in ("", ".", "..") for part in path.split("/")):
        raise ValueError("the path is no plain path below its folder")
    return path


def plain_folder(uri: str) -> str:
    """The normalised URI of a folder, as it was given; a slash at its end is allowed.

    Raises:
        ValueError: It has a part that leads elsewhere than it says, or is no normalised URI.
    """
    _refuse_bytes(uri)
    if uri.startswith("s3://"):
        if {".", ".."} & set(uri.split("/")) or not uri.removeprefix("s3://").strip("/"):
            raise ValueError("the place is no plain folder")
        return uri  # keys of S3 may hold empty parts
    if not uri.startswith("/"):
        raise ValueError("the place is neither s3://… nor an absolute path")
    below(uri.removeprefix("/").removesuffix("/"))
    return uri


def _refuse_bytes(path: str) -> None:
    if "\\" in path or "\0" in path:
        raise ValueError("the path holds a backslash or a NUL")
