"""Options of a segment job: the number of users, a filter. Checked before Spark starts."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from jobs.batch.options import FilterOptions, read_filter
from schemas.batch_jobs import MOST_SEGMENT_USERS
from schemas.errors import ConfigError
from schemas.filters import PUBLISHED
from schemas.manifest import Manifest
from schemas.recipes import RECIPES


def segment_options(
    manifest: Manifest,
    *,
    num_results: int,
    filter_expression: str | None = None,
    extended_filters: bool = False,
    filter_events: int = PUBLISHED.past_events,
) -> tuple[dict[str, Any], FilterOptions | None]:
    """The settings that answers depend on, as the record holds them, and the filter; both are checked.

    Raises:
        ConfigError: An option is out of range, or the recipe makes no segments.
        FilterError: The filter is wrong.
    """
    _check(manifest, num_results)
    parsed = None if filter_expression is None else read_filter(filter_expression, extended_filters, filter_events, manifest)
    return {"num_results": num_results, "filter": None if parsed is None else asdict(parsed)}, parsed


def _check(manifest: Manifest, num_results: int) -> None:
    if not 1 <= num_results <= MOST_SEGMENT_USERS:
        allowed = f"1 to {MOST_SEGMENT_USERS:,}"
        raise ConfigError("this number of users is out of range", where="num_results", value=num_results, allowed=allowed)
    recipe = RECIPES[manifest.metadata["recipe"]]
    if recipe.recipe_type != "USER_SEGMENTATION":
        offered = ", ".join(name for name, known in RECIPES.items() if known.recipe_type == "USER_SEGMENTATION")
        raise ConfigError(
            "this solution version makes no segments of users",
            where="solution",
            value=recipe.name,
            allowed=f"one of {offered}",
            remedy="Run `hrnn recommend`, or train it with another recipe.",
        )
