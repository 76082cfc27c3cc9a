"""Filter evaluation: which items each of B users may get, and which users a segment may hold.

    item_filter = ItemFilter(parse_filter(text), catalogue, schemas=schemas, attributes=attributes.schema, event_types=types)
    item_filter.fault(values)     # why a line with these values can't be answered, or None
    item_filter.allowed(FilterQuery(len(lines), attributes=attributes, past=past))

What a filter means stands in docs/filters.md. Nothing here loops over users or items.
"""

from __future__ import annotations

from hrnn.inference.filters.items import ItemFilter
from hrnn.inference.filters.query import FilterQuery
from hrnn.inference.filters.users import UserFilter

__all__ = ["FilterQuery", "ItemFilter", "UserFilter"]
