"""report.html: what it says, that it loads nothing, and that odd data does it no harm."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import pytest
from dataset_report import insight, sample_report, statistics_of_events, statistics_of_items

from jobs.reports.charts import Plot
from jobs.reports.dataset import dataset_page
from jobs.reports.dataset_plots import BarList, category_bars, dataset_plots

LINKS = {"rejected/rejected.csv", "data_docs/index.html", "data_docs/own.html"}
NASTY = '<script>alert("x")</script>&amp;'


class Page(HTMLParser):
    """What a browser would show, load or follow; it also checks that elements are closed in turn."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.text = ""
        self.pieces: list[str] = []
        self.links: list[str | None] = []
        self.loads: list[str | None] = []
        self.tags: list[str] = []
        self.open: list[str] = []
        self.feed(page.decode())
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name == "href"]
        self.loads += [value for name, value in attrs if name in {"src", "srcset", "data", "action"} or name.startswith("on")]
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data
            self.pieces.append(data)

    def after(self, heading: str) -> str:
        """The text from a heading on, with single spaces, also between cells."""
        text = re.sub(r"\s+", " ", " ".join(self.pieces))
        return text[text.index(heading) :]


def test_the_page_loads_nothing_and_runs_nothing() -> None:
    page = Page(html := dataset_page(sample_report()))
    assert page.loads == []
    assert set(page.links) <= LINKS
    assert not {"script", "link", "iframe", "img", "object"} & set(page.tags)
    assert not re.search(rb"url\(|@import|https?://", html)
    assert len(html) < 40_000


def test_every_section_is_there_and_the_verdict_comes_first() -> None:
    text = Page(dataset_page(sample_report())).text
    told = [line.strip() for line in text.splitlines() if line.strip()]
    assert told[1:3] == [
        "Interactions · FULL import · s3://shop/interactions",
        "Imported, but not fit to train on. 1,200 rows were read: 1,190 accepted, 4 rejected, 6 left out as duplicates.",
    ]
    assert told[3] == (
        "1 insight would stop the training in Personalize, 1 other thing may hurt. "
        "Begin here: Title of incomplete_columns. Mend incomplete_columns."
    )
    places = [text.index(heading) for heading in ("Insights", "What is in it", "Rejected rows", "Files", "Expectations")]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("changed", "word", "detail"),
    [
        ({"problem": "too few rows are right."}, "Not imported.", "too few rows are right."),
        ({"insights": [insight("a")]}, "Good to go.", "Nothing stands out. Train on it."),
        ({"insights": []}, "Good to go.", "Nothing stands out."),
        ({"insights": [insight("a", "warn"), insight("b", "warn")]}, "Imported; look first.",
         "2 insights may hurt the results. Begin here: Title of a. Mend a."),
        ({"insights": [insight("a", "fail")]}, "Imported, but not fit to train on.", "1 insight would stop the training in "
         "Personalize. Begin here: Title of a."),
    ],
)  # fmt: skip
def test_the_verdict_follows_from_the_worst_insight(changed: dict[str, Any], word: str, detail: str) -> None:
    text = Page(dataset_page(sample_report(**changed))).text
    assert word in text
    assert detail in text


@pytest.mark.parametrize(
    ("read", "accepted", "sentence"),
    [(0, 0, "No row was read."), (1, 1, "The one row that was read was accepted."),
     (7, 7, "All 7 rows that were read were accepted."), (1, 0, "1 row was read: 0 accepted, 1 rejected.")],
)  # fmt: skip
def test_what_was_read_is_one_sentence(read: int, accepted: int, sentence: str) -> None:
    counts: dict[str, Any] = {
        "rows_read": read,
        "rows_accepted": accepted,
        "rows_rejected": read - accepted,
        "rows_duplicate": 0,
    }
    assert sentence in Page(dataset_page(sample_report(**counts))).text


def test_insights_are_told_whole_and_those_that_pass_are_folded() -> None:
    html = dataset_page(sample_report()).decode()
    shown, folded = html.split("<details>")
    for text in (
        "Title of incomplete_columns.",
        "4 of 1,200 rows",
        "warn from one row",
        "Models learn little",
        "Mend rejected_rows.",
    ):
        assert text in shown
    assert shown.index("Title of incomplete_columns.", shown.index("<h2>")) < shown.rindex("Title of rejected_rows.")
    assert "Title of few_interactions." in folded
    assert "Personalize's console reports this too" in html


def test_a_plot_stands_beside_the_insight_it_shows_and_only_there() -> None:
    html = dataset_page(sample_report()).decode()
    article = html[html.index('<article class="insight fail paired">') : html.index("</article>")]
    assert "Missing values" in article
    assert html.count("Missing values") == 1


def test_rejected_rows_are_shown_with_reason_place_and_value() -> None:
    told = Page(dataset_page(sample_report())).after("Rejected rows")
    assert "TIMESTAMP not a whole number 4" in told
    assert "events.csv, line 7 yesterday" in told
    assert "events.csv, line 1,009 (empty)" in told


def test_files_add_up_or_say_that_they_do_not() -> None:
    file = sample_report()["files"][0]
    broken = {**file, "file": "other.csv", "rows_accepted": 1189, "warnings": ["Odd."]}
    told = Page(dataset_page(sample_report(files=[file, broken]))).after("blank lines")
    assert "events.csv 1,200 1,190 4 6 2 ✓" in told
    assert "other.csv Odd. 1,200 1,189 4 6 2 ✗" in told
    assert "2 files 2,400 2,379 8 12 4" in told


def test_expectations_are_told_with_their_data_docs() -> None:
    own = {"name": "shop", "checked": 4, "failed": ["a: 3 unexpected"], "warned": ["b: odd"], "data_docs": "data_docs/own.html"}
    page = Page(dataset_page(sample_report(expectations={"checked": 23, "failed": [], "own": own})))
    told = page.after("Expectations")
    assert "The schema's promises, checked on the files that were written: all 23 hold." in told
    assert "Your own expectations (shop): 2 of 4 do not hold." in told
    assert "a: 3 unexpected" in told
    assert "b: odd" in told
    assert page.links == ["rejected/rejected.csv", "data_docs/index.html", "data_docs/own.html"]


def test_what_users_wrote_is_shown_and_never_run() -> None:
    nasty = {
        "column": NASTY, "reason": NASTY, "rows": 1, "examples": [{"file": NASTY, "line": 1, "value": NASTY}],
    }  # fmt: skip
    statistics = statistics_of_items()
    statistics["columns"]["GENRE"]["values"] = {NASTY: 3}
    own = {"name": NASTY, "checked": 1, "failed": [NASTY], "warned": [], "data_docs": "data_docs/own.html"}
    html = dataset_page(
        sample_report(
            statistics,
            data=NASTY,
            reasons=[nasty],
            warnings=[NASTY],
            files=[{**sample_report()["files"][0], "file": NASTY, "warnings": [NASTY]}],
            insights=[insight("a", "warn", title=NASTY, value=NASTY, consequence=NASTY)],
            expectations={"checked": 1, "failed": [NASTY], "own": own},
            problem=NASTY,
        )
    )
    assert b"<script" not in html
    assert Page(html).text.count(NASTY) >= 14


def test_a_long_value_is_cut_and_a_long_list_counted() -> None:
    reason = {"column": "", "reason": "r", "rows": 1, "examples": [{"file": "f", "line": 1, "value": "x" * 5000}]}
    files = [{**sample_report()["files"][0], "file": f"{number}.csv"} for number in range(1000)]
    html = dataset_page(sample_report(reasons=[reason] * 100, num_reasons=5000, files=files))
    text = Page(html).text
    assert "4,950 more reasons are not shown." in text
    assert "800 more files are in report.json." in text
    assert "1,000 files" in text
    assert "x" * 119 + "…" in text
    assert len(html) < 200_000


def without(*names: str) -> dict[str, Any]:
    return {name: value for name, value in statistics_of_events().items() if name not in names}


HUGE = 10**15
EVENTS = statistics_of_events()
ODD: dict[str, dict[str, Any]] = {
    "nothing": {},
    "no rows": {"layout": 1, "dataset_type": "Interactions", "rows": 0, "rows_with_missing": 0, "columns": {}},
    "empty tables": {**EVENTS, "rows": 0, "events_per_day": {}, "items": {"count": 0, "events": {}},
                     "sessions": {"count": 0, "lengths": {}}, "users": {"count": 0, "events": {}, "sessions": {}}},
    "one row": {**EVENTS, "rows": 1, "events_per_day": {"2024-03-01": 1}, "items": {"count": 1, "events": {"1": 1}},
                "sessions": {"count": 1, "lengths": {"1": 1}}, "users": {"count": 1, "events": {"1": 1}, "sessions": {"1": 1}},
                "columns": {"EVENT_TYPE": {"kind": "category", "missing": 1, "values": {}, "num_values": 0, "complete": True}}},
    "no times": without("first_timestamp", "last_timestamp", "events_per_day", "sessions", "ties"),
    "no ties": {**EVENTS, "ties": None, "first_timestamp": None, "last_timestamp": None},
    "huge": {**EVENTS, "rows": HUGE, "events_per_day": {"1970-01-01": HUGE, "5138-11-16": 1}, "last_timestamp": HUGE,
             "items": {"count": HUGE, "events": {"1": HUGE, str(HUGE): 1}},
             "sessions": {"gap_seconds": 1, "count": HUGE, "lengths": {"1": HUGE, str(HUGE): 1}},
             "columns": {"C": {"kind": "category", "missing": HUGE, "values": {"": HUGE}, "num_values": HUGE}}},
    "many columns": {**EVENTS, "columns": {f"C{n}": {"kind": "category", "missing": n, "values": {"a": 5}, "num_values": 1}
                                           for n in range(100)}},
    "odd numbers": {**EVENTS, "columns": {
        "A": {"kind": "number", "missing": 0, "min": 0.0, "max": 0.0, "histogram": [[0, 0, 5]]},
        "B": {"kind": "number", "missing": 0, "min": -1e300, "max": 1e300,
              "histogram": [[-1e300, -9e299, 1], [1e-300, 1.1e-300, 1], [1e300, 1.1e300, 1]]}}},
    "items": statistics_of_items(),
}  # fmt: skip


@pytest.mark.parametrize("statistics", ODD.values(), ids=ODD.keys())
def test_odd_data_makes_a_page(statistics: dict[str, Any]) -> None:
    page = Page(dataset_page(sample_report(statistics, insights=[insight("event_volume", "warn")])))
    assert "nan" not in page.text.lower().split()


def test_a_report_of_a_failed_import_may_lack_most() -> None:
    report = {"dataset_type": "Users", "data": "users.csv", "problem": "the file is empty."}
    told = Page(dataset_page(report)).text
    for text in (
        "Not imported.",
        "No row was read.",
        "None could be drawn.",
        "None were checked.",
        "every row follows the schema",
    ):
        assert text in told


def test_items_show_missing_values_and_commonest_categories() -> None:
    plots, bars = dataset_plots(statistics_of_items()), category_bars(statistics_of_items())
    assert list(plots) == ["missing"]
    missing = plots["missing"]
    assert isinstance(missing, BarList)
    assert [(row.label, row.text) for row in missing.rows] == [("DESCRIPTION", "80 %"), ("GENRE", "10 %")]
    assert bars["GENRE"].note == "900 values or more, the commonest first"
    assert [(row.label, row.percent, row.text) for row in bars["GENRE"].rows[:2]] == [
        ("drama", 100.0, "30 · 66.7 %"),
        ("comedy|", 40.0, "12 · 26.7 %"),
    ]


def test_columns_whose_values_are_all_rare_are_named_only() -> None:
    rare = {
        "kind": "category",
        "missing": 0,
        "values": {f"s{number}": 1 for number in range(1000)},
        "num_values": 1000,
        "complete": False,
    }
    statistics = {**EVENTS, "columns": {"SESSION_ID": rare}}  # fmt: skip
    assert category_bars(statistics) == {}
    assert "Without common values: SESSION_ID (1,000 values or more)." in Page(dataset_page(sample_report(statistics))).text


def test_plots_speak_for_themselves() -> None:
    plots = dataset_plots(EVENTS)
    assert [plot.title for plot in plots.values()] == [
        "1 Mar to 29 Apr 2024",
        "Half of the sessions have 3 events or fewer",
        "The most frequent item: 12 % of events",
        "Half of the users have 9 sessions or fewer",
        "Missing values",
        "PRICE: 0.5 to 99",
    ]
    sessions = plots["sessions"]
    assert isinstance(sessions, Plot)
    assert sessions.y_label == "sessions, ended by 30 minutes without an event"
    assert [bar.title for bar in sessions.bars] == ["1: 100", "2: 0", "4: 200", "8: 70"]


def test_item_popularity_falls_over_ranks() -> None:
    many = dataset_plots({"items": {"count": 1000, "events": {"1": 900, "10": 90, "1000": 10}}})["items"]
    assert isinstance(many, Plot)
    assert many.title == "Top 1 % of items: 85 % of events"
    ends = [float(point.split(",")[1]) for point in many.lines[0].removeprefix("M").split(" L")]
    assert ends == sorted(ends)


def test_numbers_are_drawn_by_doublings_around_zero() -> None:
    histogram = [[-5.0, -4.2, 1], [0.0, 0.0, 7], [0.25, 0.27, 2], [0.4, 0.45, 1], [1.0, 1.09, 4]]
    column = {"kind": "number", "missing": 0, "min": -5.0, "max": 1.0, "histogram": histogram}
    plot = dataset_plots({"rows": 15, "columns": {"PRICE": column}})["PRICE"]
    assert isinstance(plot, Plot)
    assert [bar.title for bar in plot.bars] == ["-4: 1", "0: 7", "0.25: 3", "0.5: 0", "1: 4"]


def test_outliers_stand_beside_the_numbers_of_the_first_column_they_name() -> None:
    found = insight("numeric_outliers", "warn", title="Numbers lie far from the rest: PRICE.")
    html = dataset_page(sample_report(insights=[found])).decode()
    assert "PRICE: 0.5 to 99" in html[: html.index("What is in it")]
