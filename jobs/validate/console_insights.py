"""The eleven insights that Personalize's console reports on a dataset.

`consequence` and `remedy` are those of an insight that does not pass; jobs/validate/insights.py takes them out of the others.
Source: developer guide, "Analyzing quality and quantity of data in datasets".
"""

from __future__ import annotations

from typing import Any

from jobs.validate.insight import Insight, InsightContext, counted, filled_share, listed, percent, share
from jobs.validate.outliers import OUTER_FENCE, outliers
from schemas.columns import EVENT_TYPE
from schemas.minimums import few_interactions as few_interactions_text
from schemas.minimums import few_users

MOST_WITHOUT_INTERACTIONS = 0.5  # of items, or of users


def few_interactions(context: InsightContext) -> Insight | None:
    """Fewer unique interactions than Personalize trains on."""
    if context.schema.dataset_type != "Interactions":
        return None
    least = context.quotas.interactions
    is_enough = context.rows >= least
    found = counted(context.rows, "unique interaction")
    return Insight(
        name="few_interactions",
        title=f"{found}: enough to train on." if is_enough else f"Only {found}; training takes at least {least:,}.",
        status="pass" if is_enough else "fail",
        value=found,
        threshold=f"fail below {least:,}",
        consequence=f'Personalize creates no solution version ("{few_interactions_text(context.quotas)}."). A night stops, '
        'too, unless it says [training] minimums = "warn"; its lists are hardly better than chance.',
        remedy="Export a longer period, or more event types.",
        source="console",
    )


def users_with_two_interactions(context: InsightContext) -> Insight | None:
    """Too few users from whom a sequence can be learnt."""
    users = context.part("users")
    if context.schema.dataset_type != "Interactions" or not users:
        return None
    least, least_share = context.quotas.users_with_two_events, context.quotas.users_with_two_events_share
    with_two, total = int(users.get("with_two") or 0), int(users.get("count") or 0)
    fraction = share(with_two, total)
    are_few = with_two < least
    is_wrong = are_few or fraction < least_share
    found = f"{with_two:,} of {counted(total, 'user')} ({percent(fraction)})"
    needed = f"; training takes at least {f'{least:,}' if are_few else f'{percent(least_share)} of all users'}"
    quoted = f' ("{few_users(context.quotas)}.")' if are_few else ""
    return Insight(
        name="users_with_two_interactions",
        title=f"{found} have two interactions or more{needed if is_wrong else ''}.",
        status="fail" if is_wrong else "pass",
        value=found,
        threshold=f"fail below {least:,} users, or below {percent(least_share)} of all users",
        consequence=f"Personalize creates no solution version{quoted}, and a night stops, too: a model would see almost no "
        "event that follows another one of its user.",
        remedy="Export a longer period; check that a person keeps their USER_ID from one visit to the next.",
        source="console",
    )


def items_without_interactions(context: InsightContext) -> Insight | None:
    """Items that nobody has touched."""
    cold = f"Models know nothing of these {context.target}s: they are not recommended before they have events."
    return _without_interactions(context, "items", context.target, cold)


def users_without_interactions(context: InsightContext) -> Insight | None:
    """Users who have done nothing."""
    cold = "These users get the list of a new user: what is popular, not what they like."
    return _without_interactions(context, "users", "user", cold)


def rows_with_missing_values(context: InsightContext) -> Insight | None:
    """Rows that lack a value."""
    if not context.rows:
        return None
    lacking = int(context.statistics.get("rows_with_missing") or 0)
    complete, least = 1 - share(lacking, context.rows), context.quotas.row_completeness
    is_good = complete >= least
    return Insight(
        name="rows_with_missing_values",
        title=f"{percent(1 - complete)} of the rows lack a value{'' if is_good else f'; at most {percent(1 - least)} should'}.",
        status="pass" if is_good else "warn",
        value=f"{lacking:,} of {counted(context.rows, 'row')}",
        threshold=f"warn where less than {percent(least)} of the rows are complete",
        consequence="Models learn little from columns that are often empty; Personalize advises against them.",
        remedy="Fill the columns at their source, or leave the emptiest ones out of the schema.",
        source="console",
    )


def incomplete_columns(context: InsightContext) -> Insight | None:
    """Columns with too many empty cells, texts apart."""
    least = context.quotas.column_completeness
    return _emptiness(context, "column", False, least, "Models learn little from them.")


def incomplete_texts(context: InsightContext) -> Insight | None:
    """Textual columns with too many empty cells."""
    dropped = "Personalize leaves a textual column that is so empty out of training."
    return _emptiness(context, "textual column", True, context.quotas.textual_completeness, dropped)


def numeric_outliers(context: InsightContext) -> Insight | None:
    """Numbers far from the others of their column."""
    measured = {name: outliers(figures.get("histogram") or []) for name, figures in context.columns("number").items()}
    judged = {name: found for name, found in measured.items() if found is not None}
    if not judged:
        return None
    far = {name: found for name, found in judged.items() if found.count}
    told = listed(
        f"{name} ({counted(found.count, 'value')} outside {found.lowest:,.4g} to {found.highest:,.4g})"
        for name, found in far.items()
    )
    return Insight(
        name="numeric_outliers",
        title=f"Numbers lie far from the rest of their column: {told}."
        if far
        else "No number lies far from its column's rest.",
        status="warn" if far else "pass",
        value=f"{counted(sum(found.count for found in far.values()), 'value')} in {counted(len(far), 'column')}",
        threshold=f"warn from one value that is more than {OUTER_FENCE:g} interquartile ranges beyond a quartile",
        consequence="They stretch the column's scale, so that models see the other values as nearly equal.",
        remedy="Check the lowest and highest values for wrong units, placeholders such as 99999, and test records.",
        source="console",
    )


def many_categories(context: InsightContext) -> Insight | None:
    """Categorical columns with more values than a model can learn."""
    categorical = {field.name for field in context.schema.fields if field.categorical}
    figures = {name: column for name, column in context.columns("category").items() if name in categorical}
    if not figures:
        return None
    most = context.quotas.categories
    wide = {name: column for name, column in figures.items() if int(column.get("num_values") or 0) > most}
    told = listed(f"{name} ({_num_values(column)})" for name, column in wide.items())
    title = f"Columns with more than {most} categories: {told}." if wide else f"No column has more than {most} categories."
    return Insight(
        name="many_categories",
        title=title,
        status="warn" if wide else "pass",
        value=f"{len(wide)} of {counted(len(figures), 'categorical column')}",
        threshold=f"warn above {most} categories",
        consequence="Most of these categories are too rare to learn from: they add noise and cost memory.",
        remedy="Merge rare categories, or drop `categorical` from columns that are there for filters only.",
        source="console",
    )


def many_event_types(context: InsightContext) -> Insight | None:
    """More event types than Personalize trains with."""
    figures = context.part("columns").get(EVENT_TYPE)
    if not context.is_events or not figures:
        return None
    most, number = context.quotas.event_types, int(figures.get("num_values") or 0)
    is_good = number <= most
    return Insight(
        name="many_event_types",
        title=f"There {'is' if number == 1 else 'are'} {counted(number, 'event type')}"
        f"{'' if is_good else f'; training takes at most {most}'}.",
        status="pass" if is_good else "fail",
        value=listed(f"{name} ({rows:,})" for name, rows in (figures.get("values") or {}).items()) or "none",
        threshold=f"fail above {most}",
        consequence="Training fails in Personalize. Here all of them are taken, each as a kind of its own.",
        remedy="Merge event types, or export only those that tell what users want.",
        source="console",
    )


def equal_timestamps(context: InsightContext) -> Insight | None:
    """All events at one moment."""
    first, last = context.statistics.get("first_timestamp"), context.statistics.get("last_timestamp")
    if not context.is_events or first is None or last is None or context.rows < 2:
        return None
    return Insight(
        name="equal_timestamps",
        title=f"All events have the timestamp {first}." if first == last else "Events have different timestamps.",
        status="fail" if first == last else "pass",
        value=f"{first} to {last} (epoch seconds)",
        threshold="fail where the first timestamp is the last",
        consequence="There is no order to learn from; Personalize's USER_SEGMENTATION recipes fail to train.",
        remedy="Export the time of each event, in epoch seconds.",
        source="console",
    )


def _num_values(figures: dict[str, Any]) -> str:
    return f"{'' if figures.get('complete', True) else 'at least '}{figures['num_values']:,}"


def _without_interactions(context: InsightContext, reference: str, noun: str, cold: str) -> Insight | None:
    figures = context.part("references").get(reference)
    if not figures or not figures.get("count"):
        return None
    total, without = int(figures["count"]), int(figures.get("without_interactions") or 0)
    fraction = share(without, total)
    return Insight(
        name=f"{reference}_without_interactions",
        title=f"{percent(fraction)} of the {noun}s have no interaction.",
        status="warn" if fraction > MOST_WITHOUT_INTERACTIONS else "pass",
        value=f"{without:,} of {counted(total, noun)}",
        threshold=f"warn above {percent(MOST_WITHOUT_INTERACTIONS)}",
        consequence=cold,
        remedy=f"Check that both datasets write {noun} ids alike (case, leading zeros); leave out {noun}s that are gone.",
        source="console",
    )


def _emptiness(context: InsightContext, noun: str, textual: bool, least: float, consequence: str) -> Insight | None:
    told = context.part("columns")
    filled = {
        field.name: filled_share(told[field.name], context.rows)
        for field in context.schema.fields
        if field.textual == textual and field.name in told
    }
    if not filled or not context.rows:
        return None
    empty = sorted((name for name in filled if filled[name] < least), key=lambda name: filled[name])
    shown = listed(f"{name} ({percent(filled[name])})" for name in empty)
    return Insight(
        name="incomplete_texts" if textual else "incomplete_columns",
        title=f"{noun.capitalize()}s of which less than {percent(least)} is filled: {shown}."
        if empty
        else f"Every {noun} is at least {percent(least)} filled.",
        status="warn" if empty else "pass",
        value=f"{len(empty)} of {counted(len(filled), noun)}",
        threshold=f"warn where less than {percent(least)} of a column's cells hold a value",
        consequence=consequence,
        remedy="Fill them at their source, or leave them out of the schema.",
        source="console",
    )
