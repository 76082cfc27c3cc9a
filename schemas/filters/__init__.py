"""Filter expressions: which items, users or actions a recommendation may hold, as Personalize writes it.

    parsed = parse_filter("INCLUDE ItemID WHERE Items.PRICE <= $MOST")
    check_filter(parsed, {"Items": items_schema, "Interactions": interactions_schema})
    in_words(parsed)        # Recommends only items whose PRICE is at most $MOST. …
    parsed.parameters       # ("MOST",)
    parse_filter_values({"MOST": "\\"12.5\\""})   # {"MOST": ("12.5",)}

What is wrong is a FilterError that points at the character. What a filter means stands in docs/filters.md;
hrnn/inference/filters/ works it out.
Source: developer guide, "Filter expressions", and AWS's samples.
"""

from __future__ import annotations

from schemas.filters.checks import check_filter, check_group, check_recipe
from schemas.filters.fault import FilterError
from schemas.filters.parser import parse_filter
from schemas.filters.policy import NO_LIMITS, PUBLISHED, FilterPolicy
from schemas.filters.tree import Filter
from schemas.filters.values import FilterValues, parse_filter_values
from schemas.filters.words import in_words

__all__ = [
    "NO_LIMITS",
    "PUBLISHED",
    "Filter",
    "FilterError",
    "FilterPolicy",
    "FilterValues",
    "check_filter",
    "check_group",
    "check_recipe",
    "in_words",
    "parse_filter",
    "parse_filter_values",
]
