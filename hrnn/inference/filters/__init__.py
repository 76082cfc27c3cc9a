"""Filters worked out: which items each of some users may get, and which users a segment may hold.

    wanted = ItemFilter(parse_filter(text), catalogue, schemas=schemas, attributes=attributes.schema, event_types=event_types)
    wanted.fault(values)     # why a line with these values can't be answered, or None
    wanted.allowed(Asked(len(lines), attributes=attributes, past=past))

What a filter means stands in docs/filters.md. Nothing here loops over users or items.
"""

from __future__ import annotations

from hrnn.inference.filters.items import ItemFilter
from hrnn.inference.filters.query import Asked
from hrnn.inference.filters.users import UserFilter

__all__ = ["Asked", "ItemFilter", "UserFilter"]
