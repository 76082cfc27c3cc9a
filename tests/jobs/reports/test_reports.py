from __future__ import annotations

import itertools
import posixpath
import re
from datetime import date, timedelta
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from night_double import NDCG, measured, sample_page
from published_versions import publish_untrained
from small_sequences import sequences_of

from jobs.nightly.report import _length_bars, _notes, night_html, page_link
from jobs.nightly.terminal import terminal_table
from jobs.nightly.wording import batch_note, counts_text, metric_table, segment_sentences, step_row, verdict
from jobs.platform.storage import store_for
from jobs.platform.storage.folders import StepFolder
from jobs.reports.axes import day_axis, linear_axis, log_axis, short_number
from jobs.reports.charts import MOST_POINTS, Plot, bar_plot, day_plot, line_plot
from jobs.reports.metric_names import metric_text

LOADING = {"src", "href", "srcset", "data", "action", "xlink:href"}


class Page(HTMLParser):
    """What a browser would load or run, and the texts it would show."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        loading = LOADING - {"href"} if tag == "a" else LOADING
        self.loads += [str(value) for name, value in attrs if name in loading or name.startswith("on")]
        self.links += [str(value) for name, value in attrs if tag == "a" and name == "href"]

    def handle_data(self, data: str) -> None:
        self.texts.append(data.strip())


def test_the_page_loads_nothing_and_runs_nothing() -> None:
    html = night_html(sample_page())
    page = Page(html)
    assert page.loads == []
    assert page.links == ["../../train/for-you/0123/report.html"]
    assert not {"script", "link", "iframe", "img", "object"} & set(page.tags)
    assert not re.search(r"url\(|@import|https?://", html)


@pytest.mark.parametrize("on_s3", [False, True])
def test_a_solution_links_to_its_own_page_wherever_the_workspace_lies(on_s3: bool, tmp_path: Path, s3: str) -> None:
    workspace = f"{s3}/shop" if on_s3 else str(tmp_path / "work space")
    sequences = sequences_of([[[0, 1], [1]], [[1, 0]]])
    folder = StepFolder(publish_untrained(f"{workspace}/train/for-you/0123", sequences, tmp_path, measured()))
    manifest = folder.require("solution_version")
    page = folder.put(folder.attempt_path("report.html"), b"a page")
    facts = manifest.metadata | {"report": page.path}
    folder.publish("solution_version", "c" * 64, {}, [], [*manifest.files, page], metadata=facts)
    night = f"{workspace}/nights/gen-000001"
    link = page_link(folder, folder.require("solution_version"), night)
    target = posixpath.normpath(posixpath.join(night.replace("://", ":/"), unquote(link))).replace(":/", "://")
    assert store_for(target).read(target) == b"a page"
    assert page_link(folder, manifest, night) == ""


def test_the_verdict_comes_first() -> None:
    texts = [text for text in Page(night_html(sample_page())).texts if text]
    body = texts[texts.index("shop · night 3 · 2026-11-21 02:10:00 UTC") + 1 :]
    assert body[:2] == ["Publish.", "for-you is ahead of both baselines."]


def test_what_users_wrote_is_shown_and_never_run() -> None:
    nasty = '<script>alert("x")</script>&amp;'
    html = night_html(sample_page(title=nasty))
    assert "<script" not in html
    assert nasty in Page(html).texts


def test_the_page_is_small() -> None:
    assert len(night_html(sample_page())) < 20_000


def inside(plot: Plot) -> bool:
    """Whether all that is drawn lies in the drawing."""
    numbers = [float(number) for path in plot.lines for number in re.findall(r"-?\d+\.\d+", path)]
    points = list(zip(numbers[::2], numbers[1::2], strict=True))
    points += [(bar.x, bar.y) for bar in plot.bars] + [(bar.x + bar.width, bar.y + bar.height) for bar in plot.bars]
    return all(-1 <= x <= plot.width + 1 and -1 <= y <= plot.height + 1 for x, y in points)


@pytest.mark.parametrize("values", [[0.0], [5.0, 5.0], [1e-9, 2e-9], [-3.0, 4.0], [1e12, 3e12]])
def test_any_values_fit_a_line_plot(values: list[float]) -> None:
    assert inside(line_plot("t", [(float(x), y) for x, y in enumerate(values)], "x", "y"))


def test_a_long_line_is_thinned_and_keeps_its_end() -> None:
    plot = line_plot("t", [(float(x), float(x)) for x in range(10_001)], "x", "y")
    assert plot.lines[0].count("L") <= 2 * MOST_POINTS
    assert plot.lines[0].endswith(f"{plot.right:.1f},10.0")


def test_bars_are_as_high_as_their_values() -> None:
    low, high = bar_plot("t", [("a", 5.0), ("b", 10.0)], "x", "y").bars
    assert high.height == pytest.approx(2 * low.height)


@pytest.mark.parametrize("label", ["1", "1,024", "a rather long label"])
def test_labels_of_bars_do_not_touch(label: str) -> None:
    ticks = bar_plot("t", [(label, 1.0)] * 30, "x", "y").x_ticks
    assert all(right - left > len(label) * 6 for (left, _), (right, _) in itertools.pairwise(ticks))
    assert len(ticks) >= 2


@pytest.mark.parametrize(("days", "unit"), [(1, "a day"), (100, "a day"), (300, "a week"), (3000, "in 4 weeks")])
def test_many_days_are_summed(days: int, unit: str) -> None:
    counts = {date(2017, 1, 1) + timedelta(days=day): 1 for day in range(days)}
    plot = day_plot("t", counts, "events")
    assert plot.y_label == f"events {unit}"
    assert inside(plot)
    assert sum(int(bar.title.rpartition(" ")[2]) for bar in plot.bars) == days


def test_ticks_are_round() -> None:
    assert [text for _, text in linear_axis([0.0, 0.93]).ticks] == ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]
    assert [text for _, text in linear_axis([9.1, 9.2], from_zero=False).ticks][:2] == ["9.10", "9.12"]
    assert [text for _, text in linear_axis([9.1, 9.22], from_zero=False).ticks][:2] == ["9.100", "9.125"]
    assert [text for _, text in log_axis([3.0, 4000.0]).ticks] == ["1", "10", "100", "1k", "10k"]
    assert [text for _, text in day_axis(date(2017, 1, 20), date(2017, 5, 2)).ticks] == [
        "Feb 2017",
        "Mar 2017",
        "Apr 2017",
        "May 2017",
    ]
    assert [short_number(value) for value in (950, 1200, 35_000, 1_500_000)] == ["950", "1.2k", "35k", "1.5M"]


def test_session_lengths_are_grouped_by_doubling() -> None:
    assert _length_bars(np.array([1, 2, 3, 4, 5, 8])) == [("1", 1.0), ("2", 1.0), ("4", 2.0), ("8", 2.0)]


@pytest.mark.parametrize(
    ("figures", "state", "sentence"),
    [
        (measured(0.3, 0.1, 0.2, 0.01), "good", "for-you is ahead of both baselines."),
        (measured(0.3, 0.1, 0.29, 0.01), "even", "for-you and personal popularity cannot be told apart."),
        (measured(0.1, 0.3, 0.2, 0.01), "bad", "for-you is behind popularity."),
        ({**measured(), "test_users": 0}, "even", "There is too little history to measure."),
    ],
)
def test_the_verdict_follows_from_the_interval(figures: dict[str, object], state: str, sentence: str) -> None:
    said = verdict({"for-you": figures})
    assert (said.state, said.sentence) == (state, sentence)


def test_the_best_solution_is_judged() -> None:
    said = verdict({"weak": measured(0.15), "strong": measured(0.4)})
    assert said.sentence.startswith("strong")
    assert "0.4000 against 0.2000 for personal popularity (+0.2000 ± 0.0196)" in said.detail


def test_solutions_stand_beside_the_baselines() -> None:
    columns, rows = metric_table({"a": measured(0.3), "b": measured(0.4)})
    assert columns == ("a", "b", "popularity", "personal popularity")
    assert rows[0].name == "NDCG@25"
    assert (rows[0].values, rows[0].best) == ((0.3, 0.4, 0.1, 0.2), 1)
    assert NDCG in measured()["metrics"]


def test_solutions_that_make_segments_stand_in_no_table_of_lists() -> None:
    fans = measured(0.9, recipe="aws-item-affinity")
    fans["metrics"] = {"coverage": 0.5, "hits_at_1_percent": 3.22, "recall_at_1_percent": 0.1958}
    solutions = {"fans": fans, "lists": measured(0.3)}
    assert metric_table(solutions)[0] == ("lists", "popularity", "personal popularity")
    assert verdict(solutions).sentence.startswith("lists")
    (sentence,) = segment_sentences(solutions)
    assert sentence.startswith("fans: of the users who took an item next, 19.6 %")
    assert metric_table({"fans": fans})[0] == ("fans", "popularity", "personal popularity")


def test_what_nobody_was_measured_on_has_dashes_and_no_best() -> None:
    unmeasured = measured() | {"test_users": 0}
    unmeasured["table"] = {name: dict.fromkeys(row) for name, row in unmeasured["table"].items()}
    columns, rows = metric_table({"a": unmeasured})
    assert columns[0] == "a"
    assert {row.best for row in rows} == {-1}
    assert verdict({"a": unmeasured}).word == "Not measured"
    both = {"a": unmeasured, "b": measured()}
    assert {(row.values[0], row.best) for row in metric_table(both)[1]} == {(None, 1)}
    assert verdict(both).sentence.startswith("b ")
    assert ">–</td>" in night_html(sample_page() | {"columns": columns, "metrics": rows})
    assert metric_text(None) == "–"


def test_a_nights_page_tells_of_lines_that_want_a_look() -> None:
    result = {
        "lines": 1_900,
        "unknown_users": 0,
        "errors": 1_500,
        "empty_lists": 12,
        "unused_filter_values": 7,
        "missing_filter_values": 1,
    }
    step = {"job": "recommend", "name": "users", "seconds": 2.0, "skipped": False, "folder": "s3://b/out/", "result": result}
    steps = {("recommend", "users"): step, ("sessionize", "sequences"): {"result": {}}}
    page = sample_page() | {"notes": _notes({"notes": []}, steps, share=1.0), "steps": [step_row(step)]}
    texts = Page(night_html(page)).texts
    odd = "12 empty, 7 with unused filter values, 1 without a filter value"
    note = f"Of the 1,900 lines of users some want a look: 1,500 error lines, {odd}."
    counts = f"1,900 lists, 0 for unknown users, 1,500 error lines, {odd}"
    assert texts.index(note) < texts.index("How good the lists are") < texts.index(counts)


@pytest.mark.parametrize("job", ["recommend", "segment"])
def test_what_is_well_is_not_told_of(job: str) -> None:
    result = {"lines": 3, "errors": 0, "empty_lists": 0, "unused_filter_values": 0, "missing_filter_values": 0}
    assert batch_note("users", result) == ""
    assert "empty" not in counts_text(job, result)


def test_a_terminal_table_lines_up() -> None:
    assert terminal_table([("a", "1"), ("long", "22")], {1}) == ["a      1", "long  22"]
