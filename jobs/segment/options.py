"""Options of a segment job: the number of users, a filter. Checked before Spark starts."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from jobs.batch.options import FilterOptions, read_filter
from schemas.batch_jobs import SegmentSettings
from schemas.errors import ConfigError
from schemas.manifest import Manifest
from schemas.recipes import RECIPES


def segment_options(manifest: Manifest, settings: SegmentSettings) -> tuple[dict[str, Any], FilterOptions | None]:
    """What of the settings of `segment` decides about the answers, and the filter, both checked.

    Raises:
        ConfigError: The recipe makes no segments.
        FilterError: The filter is wrong.
    """
    _check(manifest)
    wanted = read_filter(settings, manifest)
    return {"num_results": settings.num_results, "filter": None if wanted is None else asdict(wanted)}, wanted


def _check(manifest: Manifest) -> None:
    recipe = RECIPES[manifest.metadata["recipe"]]
    if not recipe.makes_segments:
        offered = ", ".join(name for name, known in RECIPES.items() if known.makes_segments)
        raise ConfigError(
            "this solution version makes no segments of users",
            where="solution",
            value=recipe.name,
            allowed=f"one of {offered}",
            remedy="Run `hrnn recommend`, or train it with another recipe.",
        )
