"""All insights into a dataset. A new one is a function from an InsightContext to an Insight or None, and a line in INSIGHTS."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from jobs.validate import console_insights as console
from jobs.validate import drift
from jobs.validate import platform_insights as platform
from jobs.validate import quota_insights as quota
from jobs.validate import suspect_insights as suspect
from jobs.validate.insight import Insight, InsightContext, Status
from jobs.validate.platform_insights import TieOrder, tie_order

__all__ = ["INSIGHTS", "Insight", "InsightContext", "Status", "TieOrder", "insights", "tie_order", "verdict"]

INSIGHTS: Final[tuple[Callable[[InsightContext], Insight | None], ...]] = (
    console.few_interactions,
    console.users_with_two_interactions,
    console.items_without_interactions,
    console.users_without_interactions,
    console.rows_with_missing_values,
    console.incomplete_columns,
    console.incomplete_texts,
    console.numeric_outliers,
    console.many_categories,
    console.many_event_types,
    console.equal_timestamps,
    platform.rejected_rows,
    suspect.wrong_times,
    suspect.odd_ids,
    platform.duplicate_rows,
    platform.items_without_metadata,
    platform.users_without_metadata,
    platform.order_of_ties,
    platform.suspected_bots,
    platform.changed_texts,
    platform.reserved_values,
    drift.dataset_size,
    drift.changed_past,
    drift.event_volume,
    drift.new_items,
    drift.column_drift,
    quota.schema_warnings,
    quota.rows_per_import,
    quota.import_size,
    quota.considered_interactions,
    quota.considered_items,
    quota.event_types_and_metadata,
    quota.advised_size,
)

_ORDER: Final[tuple[Status, ...]] = ("pass", "warn", "fail")


def insights(context: InsightContext) -> list[Insight]:
    """Every insight that applies to the dataset and whose figures are there, in the order of INSIGHTS."""
    found = (insight(context) for insight in INSIGHTS)
    return [insight.settled() for insight in found if insight is not None]


def verdict(found: Iterable[Insight]) -> Status:
    """The worst status; `pass` of no insights."""
    return max((insight.status for insight in found), key=_ORDER.index, default="pass")
