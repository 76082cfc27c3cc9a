"""The table of all insights: name, what is measured, threshold, texts. A new one is a row here and a function that measures.

The first eleven Personalize's console reports too (developer guide, "Analyzing quality and quantity of data in datasets").
Templates are those of `insight.Words`. Quotas are Personalize's; this platform has no such limits.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Final

from jobs.validate import drift
from jobs.validate import insight_measures as measure
from jobs.validate.insight import Insight, InsightContext, InsightRule, Measured, Status, percent
from jobs.validate.insight_measures import TieOrder, tie_order
from jobs.validate.outliers import OUTER_FENCE
from schemas.dataset_rules import DatasetType
from schemas.minimums import few_interactions

__all__ = ["INSIGHTS", "Insight", "InsightContext", "Status", "TieOrder", "insights", "tie_order", "verdict"]

_HERE = "Here it makes no difference."
_INTERACTIONS: Final[tuple[DatasetType, ...]] = ("Interactions",)
_EVENTS: Final[tuple[DatasetType, ...]] = ("Interactions", "Action_Interactions")
_DESCRIPTIONS: Final[tuple[DatasetType, ...]] = ("Users", "Items", "Actions")
_WITH_ITEMS: Final[tuple[DatasetType, ...]] = ("Interactions", "Items")


def _emptiest(measured: Measured) -> list[str]:
    """Columns of which less than the least share is filled, the emptiest first."""
    filled: dict[str, float] = measured.filled
    return [
        f"{name} ({percent(filled[name])})" for name in sorted(filled, key=filled.__getitem__) if filled[name] < measured.least
    ]


# fmt: off
INSIGHTS: Final[tuple[InsightRule, ...]] = (
    InsightRule(
        name="few_interactions", of=_INTERACTIONS, status="fail", source="console",
        measure=lambda c: {"quote": few_interactions(c.quotas)}, limits={"least": "interactions"},
        breach=lambda m: m.rows < m.least,
        title="Only {rows:#unique interaction}; training takes at least {least:,}.",
        sound="{rows:#unique interaction}: enough to train on.",
        value="{rows:#unique interaction}", threshold="fail below {least:,}",
        consequence='Personalize creates no solution version ("{quote}."). A night stops, too, unless it says [training] '
        'minimums = "warn"; its lists are hardly better than chance.',
        remedy="Export a longer period, or more event types.",
    ),
    InsightRule(
        name="users_with_two_interactions", of=_INTERACTIONS, measure=measure.users_with_two, status="fail", source="console",
        limits={"least": "users_with_two_events", "least_share": "users_with_two_events_share"},
        breach=lambda m: m.with_two < m.least or m.fraction < m.least_share,
        title="{with_two:,} of {total:#user} ({fraction:%}) have two interactions or more.",
        over="; training takes at least {needed}",
        value="{with_two:,} of {total:#user} ({fraction:%})",
        threshold="fail below {least:,} users, or below {least_share:%} of all users",
        consequence="Personalize creates no solution version{quote}, and a night stops, too: a model would see almost no "
        "event that follows another one of its user.",
        remedy="Export a longer period; check that a person keeps their USER_ID from one visit to the next.",
    ),
    *(
        InsightRule(
            name=f"{reference}_without_interactions", measure=partial(measure.without_interactions, reference=reference),
            source="console", limits={"most": 0.5}, breach=lambda m: m.fraction > m.most,
            title="{fraction:%} of the {noun}s have no interaction.",
            value="{without:,} of {total:#{noun}}", threshold="warn above {most:%}",
            consequence=consequence,
            remedy="Check that both datasets write {noun} ids alike (case, leading zeros); leave out {noun}s that are gone.",
        )
        for reference, consequence in (
            ("items", "Models know nothing of these {noun}s: they are not recommended before they have events."),
            ("users", "These users get the list of a new user: what is popular, not what they like."),
        )
    ),
    InsightRule(
        name="rows_with_missing_values", measure=measure.complete_rows, source="console",
        limits={"least": "row_completeness"}, breach=lambda m: not m.complete >= m.least,
        title="{complete:-%} of the rows lack a value.", over="; at most {least:-%} should",
        value="{lacking:,} of {rows:#row}", threshold="warn where less than {least:%} of the rows are complete",
        consequence="Models learn little from columns that are often empty; Personalize advises against them.",
        remedy="Fill the columns at their source, or leave the emptiest ones out of the schema.",
    ),
    *(
        InsightRule(
            name=name, measure=partial(measure.filled_columns, textual=name == "incomplete_texts"), source="console",
            limits={"least": quota}, breach=_emptiest,
            title=f"{noun.capitalize()}s of which less than {{least:%}} is filled: {{breach:list}}.",
            sound=f"Every {noun} is at least {{least:%}} filled.",
            value=f"{{breach}} of {{filled:#{noun}}}",
            threshold="warn where less than {least:%} of a column's cells hold a value",
            consequence=consequence,
            remedy="Fill them at their source, or leave them out of the schema.",
        )
        for name, noun, quota, consequence in (
            ("incomplete_columns", "column", "column_completeness", "Models learn little from them."),
            ("incomplete_texts", "textual column", "textual_completeness",
             "Personalize leaves a textual column that is so empty out of training."),
        )
    ),
    InsightRule(
        name="numeric_outliers", measure=measure.outlying_numbers, source="console",
        limits={"fence": OUTER_FENCE}, breach=lambda m: m.columns,
        title="Numbers lie far from the rest of their column: {columns:list}.",
        sound="No number lies far from its column's rest.",
        value="{values:#value} in {columns:#column}",
        threshold="warn from one value that is more than {fence:g} interquartile ranges beyond a quartile",
        consequence="They stretch the column's scale, so that models see the other values as nearly equal.",
        remedy="Check the lowest and highest values for wrong units, placeholders such as 99999, and test records.",
    ),
    InsightRule(
        name="many_categories", measure=measure.categories, source="console",
        limits={"most": "categories"}, breach=lambda m: [text for number, text in m.sizes.values() if number > m.most],
        title="Columns with more than {most} categories: {breach:list}.", sound="No column has more than {most} categories.",
        value="{breach} of {sizes:#categorical column}", threshold="warn above {most} categories",
        consequence="Most of these categories are too rare to learn from: they add noise and cost memory.",
        remedy="Merge rare categories, or drop `categorical` from columns that are there for filters only.",
    ),
    InsightRule(
        name="many_event_types", of=_EVENTS, measure=measure.event_types, status="fail", source="console",
        limits={"most": "event_types"}, breach=lambda m: m.number > m.most,
        title="There {number:is|are} {number:#event type}.", over="; training takes at most {most}",
        value="{values:list}", threshold="fail above {most}",
        consequence="Training fails in Personalize. Here all of them are taken, each as a kind of its own.",
        remedy="Merge event types, or export only those that tell what users want.",
    ),
    InsightRule(
        name="equal_timestamps", of=_EVENTS, measure=measure.timestamps, status="fail", source="console",
        breach=lambda m: m.first == m.last,
        title="All events have the timestamp {first}.", sound="Events have different timestamps.",
        value="{first} to {last} (epoch seconds)", threshold="fail where the first timestamp is the last",
        consequence="There is no order to learn from; Personalize's USER_SEGMENTATION recipes fail to train.",
        remedy="Export the time of each event, in epoch seconds.",
    ),
    InsightRule(
        name="rejected_rows", measure=measure.rejected_rows,
        breach=lambda m: m.rejected,
        title="{rejected:#row} ({fraction:%}) broke a rule and {rejected:was|were} left out.",
        sound="All of {read:#row} follow the schema.",
        value="{rejected:,} of {read:#row}", threshold="warn from one row",
        consequence="Nothing is learnt from them. Personalize tells of one fault at most, and may refuse the whole import.",
        remedy="See `reasons` and rejected/rejected.csv: file, line, column, value and reason of each.",
    ),
    *(
        InsightRule(
            name="wrong_times", of=_EVENTS, measure=partial(measure.wrong_times, kept=kept),
            breach=lambda m: m.total,
            title=f"{{total:#event}} with a time that cannot be true {done}{{at}}.", sound="All times can be true.",
            value="{reasons:;}", threshold="warn from one event",
            consequence=consequence,
            remedy="Mend the clock or the export: seconds since 1970 in UTC, no row where the time is not known. "
            '`--future keep` (a night: [validation] future = "keep") takes such events as they are.',
        )
        for kept, done, consequence in (
            (True, "{total:is|are} kept",
             "They come last in their users' histories; what is recent is reckoned without those far after the rest."),
            (False, "{total:was|were} left out",
             "Nothing is learnt from them. One such event would be taken for the present: what trends and which items are "
             "new would be noise for everybody."),
        )
    ),
    InsightRule(
        name="odd_ids", measure=measure.odd_ids,
        breach=lambda m: m.sentences,
        title="{sentences:;}.", sound="No id is a null or has blanks around it.",
        value="{sentences:;}", threshold="warn from one row",
        consequence='All rows of one such word count as one busy user, or item; " u1" and "u1" are two.',
        remedy="Leave rows without an id out of the export (pandas: dropna before to_csv; SQL: WHERE user_id IS NOT NULL), "
        "and trim ids there, in every dataset alike.",
    ),
    *(
        InsightRule(
            name="duplicate_rows", of=of, measure=measure.duplicate_rows,
            limits={"most": most}, breach=lambda m: m.fraction > m.most, finding=lambda m: m.duplicates,
            title=f"{{duplicates:#row}} ({{fraction:%}}) {{duplicates:repeats|repeat}} {what}.", sound="No row is there twice.",
            value="{duplicates:,} of {read:#row}", threshold=threshold,
            consequence=consequence,
            remedy="See duplicates/. Often a file was exported twice, or two exports overlap.",
        )
        for of, most, what, threshold, consequence in (
            (_EVENTS, 0.01, "an event in every field", "warn above {most:%}",
             "They are left out; Personalize too trains on unique interactions. Totals are lower than in the files."),
            (_DESCRIPTIONS, 0.0, "the {key} of another one; the last one counts", "warn from one row",
             "What earlier rows said of the same {key} is lost."),
        )
    ),
    *(
        InsightRule(
            name=f"{reference}_without_metadata", measure=partial(measure.without_metadata, reference=reference),
            limits={"most": 0.05}, breach=lambda m: m.fraction > m.most, finding=lambda m: m.orphans,
            title="{orphans:#{noun}} of the events {orphans:was|were} not in the {noun}s dataset: {fraction:%} of all events.",
            sound="Every {noun} of the events is in the {noun}s dataset.",
            value="{orphans:#{noun}} in {events:#event}{examples}", threshold="warn above {most:%} of all events",
            consequence="Models that use metadata know nothing of these {noun}s, and no filter on their columns holds for "
            "them.",
            remedy="Export {noun}s and events at the same time, and write ids alike (case, leading zeros, prefixes).",
        )
        for reference in ("items", "users")
    ),
    InsightRule(
        name="order_of_ties", measure=measure.ties,
        limits={"fewest": measure.FEWEST_PAIRS, "most": measure.SORTED_SHARE}, breach=lambda m: m.is_sorted,
        title="{tied:%} of the events in sessions share their user and timestamp with another one{order}.",
        value="{events:,} of {within:#event}; {pairs:#pair}, {ascending:%} ascending",
        threshold="warn where of {fewest:,} pairs or more over {most:%} lie in the order of their ids",
        consequence="The export sorted them: the next id is always a larger (or always a smaller) one, so that a model learns "
        "the alphabet. Offline metrics rise several times over, and lists get worse.",
        remedy='Order among equal timestamps is by hash (tie_order = "hash"), which hides it. Better: export the true times.',
    ),
    InsightRule(
        name="suspected_bots", measure=measure.busy_users,
        limits={"most": 0.05, "most_per_day": 1_000}, breach=lambda m: m.fraction > m.most or m.highest > m.most_per_day,
        title="{users:#user} above the {percentile}th percentile of events a day ({usual:,.0f}) {users:makes|make} "
        "{fraction:%} of all events.",
        value="{users:#user}, {events:#event}{busiest}",
        threshold="warn above {most:%} of all events, or from one user above {most_per_day:,} a day",
        consequence="Crawlers, tests and shared accounts weigh as much as many people: what they open becomes popular for all.",
        remedy="Look at the users named here; leave those that are no people out of the export.",
    ),
    InsightRule(
        name="changed_texts", measure=measure.changed_texts,
        breach=lambda m: m.is_cut, finding=lambda m: m.columns,
        title="Texts were {done}: {columns:list}.", sound="All texts were taken as they are.",
        value="{cleaned:#value} cleaned, {cut:,} cut", threshold="warn from one text that was cut",
        consequence="The end of these texts is lost to models; Personalize cuts them at the same place.",
        remedy="Put what matters first, or shorten the texts at their source.",
    ),
    InsightRule(
        name="reserved_values", measure=measure.keywords,
        breach=lambda m: m.columns,
        title="Keywords of Personalize stand among the values: {columns:list}.", sound="No value is a keyword of Personalize.",
        value="{columns:list}", threshold="warn from one value",
        consequence="Personalize forbids its keywords as values. Often it means that a header line stands amid the data.",
        remedy="Look for header lines within the files (files joined to one), or rename the value.",
    ),
    InsightRule(
        name="dataset_size", measure=drift.dataset_size,
        limits={"least": 1 / drift.VOLUME_RATIO, "most": drift.VOLUME_RATIO},
        breach=lambda m: not m.least <= m.ratio <= m.most,
        title="The dataset has {rows:#row}, {ratio:times} the {before:,} of the last import.",
        value="{rows:,} after {before:,}",
        threshold="warn below {least:g} times or above {most:g} times the rows of the last import",
        consequence="A FULL import replaces all earlier rows: what is not in it is forgotten.",
        remedy="Check that the export is whole, that it covers the same period, and that it ran once only.",
    ),
    InsightRule(
        name="changed_past", measure=drift.changed_past,
        limits={"most": 0.01}, breach=lambda m: m.fraction > m.most, finding=lambda m: m.changed,
        title="{changed:#day} of {days:,} that the last import had too changed: {changed:list}.",
        sound="{days:#day} that the last import had too {days:is|are} unchanged.",
        value="{change:+,} of {events:#event} on {days:#day}",
        threshold="warn where more than {most:%} of those days' events came or went",
        consequence="History was rewritten: lists and metrics of two nights cannot be compared, and lost events are forgotten.",
        remedy="Find out whether the export lost a source, filters otherwise, or counts its days in another time zone.",
    ),
    InsightRule(
        name="event_volume", measure=drift.no_later_day,
        breach=lambda m: not m.is_newer,
        title="There is no event that is newer than those of the last import.",
        sound="The newest events are of the last import's last day.",
        value="newest event on {newest}; in the last import on {last}", threshold="warn where no event is newer",
        consequence="Lists stay as they were, however users behave.",
        remedy="Check that the export ran, and that it covers the days since the last one.",
    ),
    InsightRule(
        name="event_volume", measure=drift.event_volume,
        limits={"least": 1 / drift.VOLUME_RATIO, "most": drift.VOLUME_RATIO, "days": drift.BASELINE_DAYS},
        breach=lambda m: not m.least <= m.ratio <= m.most,
        title="Since the last import there are {volume:,.0f} events a day, {ratio:times} the {usual:,.0f} of the {baseline} "
        "days before.",
        value="{volume:,.0f} a day over {length:,.1f} days; {usual:,.0f} before",
        threshold="warn below {least:g} times or above {most:g} times the mean of {days} days",
        consequence="Models follow the newest events: a day that lacks a source, or has it twice, moves every list.",
        remedy="Compare the days' files with their sources: is one missing, or there twice? Was there a sale, or an outage?",
    ),
    InsightRule(
        name="new_{noun}s", measure=drift.new_items,
        limits={"most": 0.5}, breach=lambda m: max(m.new, m.gone) > m.most,
        title="{new:%} of the {noun}s are new since the last import; {gone:%} of those it had are gone{about}.",
        value="{new:%} new, {gone:%} gone{about}", threshold="warn above {most:%} new or gone",
        consequence="What was learnt of the old {noun}s is of no use: most {noun}s begin anew.",
        remedy="Check that {noun} ids did not change (case, leading zeros, a new system), and that the export is whole.",
    ),
    InsightRule(
        name="column_drift", measure=drift.column_drift,
        limits={"small": drift.SMALL_SHIFT, "most": drift.LARGE_SHIFT}, breach=lambda m: m.largest > m.most,
        finding=lambda m: m.shifted,
        title="Since the last import the values of columns shifted{little}: {shifted:list}.",
        sound="The values of {indices:#column} are spread as in the last import.",
        value="PSI {indices:list}", threshold="warn above {most:g}; from {small:g} on it is a small shift",
        consequence="Models were made for other values: what they know of these columns holds no longer until they are trained "
        "anew, and if the change is a fault, they learn the fault.",
        remedy="Compare their values with those of the last report: a new unit, a renamed category, a source that is gone?",
    ),
    InsightRule(
        name="schema_warnings", measure=lambda c: {"warnings": c.schema.warnings},
        breach=lambda m: m.warnings,
        title="The schema has {warnings:#warning}: {warnings:list}", sound="The schema is as Personalize wants it.",
        value="{warnings:#warning}", threshold="warn from one",
        consequence=f"Personalize may refuse the schema, or ignore what it does not know. {_HERE}",
        remedy="Mend the schema, or raise the quota with --quota NAME=VALUE if yours is higher.",
    ),
    InsightRule(
        name="rows_per_import", of=_INTERACTIONS, measure=lambda c: {} if c.count("rows_read") else None, status="fail",
        limits={"least": "rows_per_import"}, breach=lambda m: m.read < m.least,
        title="This import has {read:#row}.", over="; an import takes at least {least:,}",
        value="{read:#row}", threshold="fail below {least:,} (quota rows_per_import)",
        consequence=f"Personalize refuses an import of fewer interactions, {{mode}} or not. {_HERE}",
        remedy="Gather several exports into one import.",
    ),
    InsightRule(
        name="import_size", measure=measure.import_size,
        breach=lambda m: m.bytes > m.most,
        title="The files of this import hold {size}.", over="; one {mode} import takes at most {most_size}",
        value="{bytes:,} bytes", threshold="warn above {most:,} bytes (quota {quota})",
        consequence=f"Personalize refuses the import. {_HERE}",
        remedy="Split it into several imports, or have the quota raised.",
    ),
    *(
        InsightRule(
            name=f"considered_{noun}s", of=of, measure=figures,
            limits={"most": f"considered_{noun}s", "most_v2": f"considered_{noun}s_v2"}, breach=lambda m: m.number > m.most,
            title=f"There {{number:is|are}} {{number:#{noun}}}.",
            over="; a recipe considers {most:,} at most, a -v2 recipe {most_v2:,}",
            value=f"{{number:#{noun}}}", threshold=f"warn above {{most:,}} (quota considered_{noun}s)",
            consequence=f"Personalize chooses which {noun}s it considers: new and recently active ones. Here all of them "
            "count.",
            remedy=f"Nothing here; for Personalize leave out old {noun}s, or take a -v2 recipe.",
        )
        for noun, of, figures in (
            ("interaction", _INTERACTIONS, lambda c: {"number": c.rows}),
            ("item", _WITH_ITEMS, measure.considered_items),
        )
    ),
    InsightRule(
        name="event_types_and_metadata", of=_INTERACTIONS, measure=measure.event_types_and_metadata,
        limits={"most": "event_types_and_metadata"}, breach=lambda m: m.number > m.most,
        title="{parts} make {number}.", over="; Personalize takes {most} together",
        value="{number} ({parts})", threshold="warn above {most} (quota event_types_and_metadata)",
        consequence=f"Personalize may refuse to train. {_HERE}",
        remedy="Merge event types, or leave columns out of the schema.",
    ),
    InsightRule(
        name="advised_size", of=_INTERACTIONS, measure=measure.num_users,
        limits={"interactions": "advised_interactions", "least": "advised_users"},
        breach=lambda m: not (m.rows >= m.interactions and m.users >= m.least),
        title="{rows:#interaction} of {users:#user}.", over="; {interactions:,} of {least:,} users are advised",
        value="{rows:#interaction} of {users:#user}",
        threshold="warn below {interactions:,} interactions, or below {least:,} users",
        consequence="Models can be trained, and their lists will be little better than those of what is popular.",
        remedy="Export a longer period, or more event types.",
    ),
)
# fmt: on

_ORDER: Final[tuple[Status, ...]] = ("pass", "warn", "fail")


def insights(context: InsightContext) -> list[Insight]:
    """Every insight that applies to the dataset and whose figures are there, in the order of INSIGHTS."""
    drawn = (rule.insight(context) for rule in INSIGHTS)
    return [insight for insight in drawn if insight is not None]


def verdict(drawn: Iterable[Insight]) -> Status:
    """The worst status; `pass` of no insights."""
    return max((insight.status for insight in drawn), key=_ORDER.index, default="pass")
