"""Insights into what of Personalize's quotas a schema and an import exceed. This platform has no such limits."""

from __future__ import annotations

from jobs.validate.insight import Insight, InsightContext, counted, listed
from schemas.columns import EVENT_TYPE
from schemas.datasets import OPTIONAL_COLUMNS
from schemas.quotas import GIGABYTE

_HERE = "Here it makes no difference."


def schema_warnings(context: InsightContext) -> Insight | None:
    """What the schema's own checks frown on."""
    warnings = context.schema.warnings
    return Insight(
        name="schema_warnings",
        title=f"The schema has {counted(len(warnings), 'warning')}: {listed(warnings)}"
        if warnings
        else "The schema is as Personalize wants it.",
        status="warn" if warnings else "pass",
        value=counted(len(warnings), "warning"),
        threshold="warn from one",
        consequence=f"Personalize may refuse the schema, or ignore what it does not know. {_HERE}",
        remedy="Mend the schema, or raise the quota with --quota NAME=VALUE if yours is higher.",
    )


def rows_per_import(context: InsightContext) -> Insight | None:
    """Fewer interactions in this import than one must have."""
    least, read = context.quotas.rows_per_import, context.count("rows_read")
    if context.schema.dataset_type != "Interactions" or not read:
        return None
    is_enough = read >= least
    return Insight(
        name="rows_per_import",
        title=f"This import has {counted(read, 'row')}{'' if is_enough else f'; an import takes at least {least:,}'}.",
        status="pass" if is_enough else "fail",
        value=counted(read, "row"),
        threshold=f"fail below {least:,} (quota rows_per_import)",
        consequence=f"Personalize refuses an import of fewer interactions, {context.import_mode} or not. {_HERE}",
        remedy="Gather several exports into one import.",
    )


def import_size(context: InsightContext) -> Insight | None:
    """More bytes than one import may have."""
    if not context.bytes_read:
        return None
    name = "incremental_import_bytes" if context.import_mode == "INCREMENTAL" else "full_import_bytes"
    most = int(getattr(context.quotas, name))
    is_good = context.bytes_read <= most
    over = f"; one {context.import_mode} import takes at most {_size(most)}"
    return Insight(
        name="import_size",
        title=f"The files of this import hold {_size(context.bytes_read)}{'' if is_good else over}.",
        status="pass" if is_good else "warn",
        value=f"{context.bytes_read:,} bytes",
        threshold=f"warn above {most:,} bytes (quota {name})",
        consequence=f"Personalize refuses the import. {_HERE}",
        remedy="Split it into several imports, or have the quota raised.",
    )


def considered_interactions(context: InsightContext) -> Insight | None:
    """More interactions than a recipe learns from."""
    if context.schema.dataset_type != "Interactions":
        return None
    most, most_v2 = context.quotas.considered_interactions, context.quotas.considered_interactions_v2
    return _considered("interaction", "considered_interactions", context.rows, most, most_v2)


def considered_items(context: InsightContext) -> Insight | None:
    """More items than a recipe considers."""
    number = context.part("items").get("count") if context.is_events else context.rows
    if context.schema.dataset_type not in {"Interactions", "Items"} or number is None:
        return None
    return _considered(
        "item", "considered_items", int(number), context.quotas.considered_items, context.quotas.considered_items_v2
    )


def event_types_and_metadata(context: InsightContext) -> Insight | None:
    """More event types and optional columns together than Personalize takes."""
    if context.schema.dataset_type != "Interactions":
        return None
    columns = [field.name for field in context.schema.metadata]
    columns += [name for name in context.schema.names if name in OPTIONAL_COLUMNS]
    types = int(context.part("columns").get(EVENT_TYPE, {}).get("num_values") or 0)
    most, found = context.quotas.event_types_and_metadata, types + len(columns)
    told = f"{counted(types, 'event type')} and {counted(len(columns), 'optional column')}"
    return Insight(
        name="event_types_and_metadata",
        title=f"{told} make {found}{'' if found <= most else f'; Personalize takes {most} together'}.",
        status="pass" if found <= most else "warn",
        value=f"{found} ({told})",
        threshold=f"warn above {most} (quota event_types_and_metadata)",
        consequence=f"Personalize may refuse to train. {_HERE}",
        remedy="Merge event types, or leave columns out of the schema.",
    )


def advised_size(context: InsightContext) -> Insight | None:
    """Fewer interactions or users than good recommendations take."""
    users = context.part("users").get("count")
    if context.schema.dataset_type != "Interactions" or users is None:
        return None
    interactions, least = context.quotas.advised_interactions, context.quotas.advised_users
    is_good = context.rows >= interactions and users >= least
    found = f"{counted(context.rows, 'interaction')} of {counted(users, 'user')}"
    return Insight(
        name="advised_size",
        title=f"{found}{'' if is_good else f'; {interactions:,} of {least:,} users are advised'}.",
        status="pass" if is_good else "warn",
        value=found,
        threshold=f"warn below {interactions:,} interactions, or below {least:,} users",
        consequence="Models can be trained, and their lists will be little better than those of what is popular.",
        remedy="Export a longer period, or more event types.",
    )


def _size(number: int) -> str:
    for unit, name in ((GIGABYTE, "GB"), (10**6, "MB"), (10**3, "kB")):
        if number >= unit:
            return f"{number / unit:,.3g} {name}" if number < 1000 * unit else f"{number / unit:,.0f} {name}"
    return counted(number, "byte")


def _considered(noun: str, quota: str, number: int, most: int, most_v2: int) -> Insight:
    is_good = number <= most
    return Insight(
        name=quota,
        title=f"There {'is' if number == 1 else 'are'} {counted(number, noun)}"
        f"{'' if is_good else f'; a recipe considers {most:,} at most, a -v2 recipe {most_v2:,}'}.",
        status="pass" if is_good else "warn",
        value=counted(number, noun),
        threshold=f"warn above {most:,} (quota {quota})",
        consequence=f"Personalize chooses which {noun}s it considers: new and recently active ones. Here all of them count.",
        remedy=f"Nothing here; for Personalize leave out old {noun}s, or take a -v2 recipe.",
    )
