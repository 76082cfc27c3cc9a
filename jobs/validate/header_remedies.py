"""What to do about a header that lacks columns: the one sentence that helps, where it is known."""

from __future__ import annotations

from collections.abc import Sequence

from schemas.datasets import plain_name

_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "|"}


def header_remedy(header: Sequence[str], missing: Sequence[str], file_name: str) -> str:
    """A sentence on what the user most likely has to do; empty where nothing is likely.

    Args:
        header: The first row, cut at commas.
        missing: Columns that it lacks.
        file_name: Redshift calls its manifests `<prefix>manifest`.
    """
    text = ",".join(header)
    if _is_json(text):
        if '"entries"' in text or file_name.endswith("manifest"):
            return (
                "This is a manifest of Redshift's UNLOAD, not data: move it out of the folder, or leave MANIFEST out of UNLOAD."
            )
        return "This is JSON: export CSV."
    if text.lower().startswith("sep="):
        return "The first line tells a spreadsheet its separator: export without it."
    if renamed := _renamed(header, missing):
        return f"Rename {', '.join(renamed)}: case counts."
    for separator, name in _SEPARATORS.items():
        if _renamed([cell.strip(' "') for cell in text.split(separator)], missing, also_equal=True):
            return f"Columns are separated by {name} here: export with commas."
    if any(cell.isdecimal() for cell in header):
        return "The first row must name the columns; this looks like data: export with a header."
    return ""


def _is_json(text: str) -> bool:
    """Whether text begins like a JSON object or array."""
    begin = text.lstrip()
    return begin[:1] in ("{", "[") and begin[1:].lstrip()[:1] in ("", '"', "{", "[", "}", "]")


def _renamed(cells: Sequence[str], missing: Sequence[str], also_equal: bool = False) -> list[str]:
    """`user_id to USER_ID` for each missing column that is there in another spelling."""
    spellings = {plain_name(cell): cell for cell in reversed(cells) if also_equal or cell not in missing}
    return [f"{spellings[plain_name(name)]} to {name}" for name in missing if plain_name(name) in spellings]
