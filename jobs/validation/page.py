"""Great Expectations' Data Docs page as one file that needs no network.

Its own pages load style sheets, scripts, fonts and images from six hosts. What is kept here is a short list of elements and
attributes, so that nothing of the page can point elsewhere, whatever a later version writes.
"""

from __future__ import annotations

from html import escape
from html.parser import HTMLParser
from typing import Any

_KEPT = frozenset(
    [
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "p",
        "div",
        "span",
        "strong",
        "em",
        "code",
        "pre",
        "i",
        "br",
        "hr",
        "ul",
        "ol",
        "li",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
    ]
)
_VOID = {"br", "hr"}
_ENDLESS = {"link", "meta", "img", "input", "area", "base", "col", "embed", "source", "track", "wbr"}
_DROPPED_WHOLE = {"head", "script", "style", "nav", "footer", "svg", "button", "form", "iframe", "object", "template"}
_ATTRIBUTES = {"id", "class", "colspan", "rowspan"}
_DROPPED_CLASSES = {"ge-walkthrough-modal", "sticky", "modal", "cooltip", "collapse"}

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1f2430; background: #fff }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
h1, h2, h3, h4, h5, h6 { margin: 1.4rem 0 .3rem; line-height: 1.2 }
h5 { font-size: 1.15rem; border-bottom: 1px solid #8886; padding-bottom: .2rem }
table { border-collapse: collapse; width: 100%; margin: .4rem 0 1rem }
th, td { text-align: left; vertical-align: top; padding: .3rem .6rem; border-bottom: 1px solid #8884 }
.badge { background: #8883; border-radius: .3rem; padding: 0 .35rem; font-family: ui-monospace, monospace; font-size: .92em }
.fa-check-circle::before { content: "✓ "; color: #1a7f37; font-weight: 700; font-style: normal }
.fa-times::before, .fa-exclamation-triangle::before { content: "✗ "; color: #c62828; font-weight: 700; font-style: normal }
@media (prefers-color-scheme: dark) { body { color: #e6e6e6; background: #16181d } }
"""


def offline_page(result: Any, column_names: list[str], num_rows: int) -> bytes:
    """The Data Docs page of a validation result.

    Args:
        result: Great Expectations' result of a whole suite, in the format BOOLEAN_ONLY; what that leaves out and the page
            shows is filled in.
        column_names: Columns of the rows that were checked.
        num_rows: How many rows were wanted.
    """
    from great_expectations.render.renderer.page_renderer import ValidationResultsPageRenderer
    from great_expectations.render.view.view import DefaultJinjaPageView

    for outcome in result.results:
        if outcome.expectation_config.type == "expect_table_columns_to_match_ordered_list":
            outcome.result["observed_value"] = column_names
        elif outcome.expectation_config.type == "expect_table_row_count_to_equal" and outcome.success:
            outcome.result["observed_value"] = num_rows
        elif outcome.success:
            outcome.result["unexpected_percent"] = 0.0
    view: Any = DefaultJinjaPageView()
    return whole_offline(view.render(ValidationResultsPageRenderer().render(result)))


def whole_offline(page: str) -> bytes:
    """A page with its text, tables and anchors, and nothing that is loaded or run."""
    keeper = _Keeper()
    keeper.feed(page)
    keeper.close()
    body = "".join(keeper.kept)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>Data Docs</title>'
        f"<style>{_STYLE}</style></head>\n<body>{body}</body></html>\n"
    ).encode()


class _Keeper(HTMLParser):
    """Writes the kept elements again, properly closed."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.kept: list[str] = []
        self._open: list[str] = []  # every open element that has an end tag, kept or not
        self._dropped_at: int | None = None  # depth of the dropped element we are in

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _VOID or tag in _ENDLESS:
            if tag in _VOID and self._dropped_at is None:
                self.kept.append(f"<{tag}>")
            return
        self._open.append(tag)
        if self._dropped_at is not None:
            return
        given = dict(attrs)
        classes = set((given.get("class") or "").split())
        if "data-toggle" in given and tag == "a":
            classes.add("collapse")  # it opens what is dropped
        if tag in _DROPPED_WHOLE or classes & _DROPPED_CLASSES:
            self._dropped_at = len(self._open)
        elif tag in _KEPT:
            shown = "".join(f' {name}="{escape(value or "")}"' for name, value in attrs if name in _ATTRIBUTES)
            self.kept.append(f"<{tag}{shown}>")

    def handle_endtag(self, tag: str) -> None:
        if tag not in self._open:
            return
        while self._open:
            closed = self._open.pop()
            if self._dropped_at is None and closed in _KEPT:
                self.kept.append(f"</{closed}>")
            if self._dropped_at is not None and len(self._open) < self._dropped_at:
                self._dropped_at = None
            if closed == tag:
                break

    def handle_data(self, data: str) -> None:
        if self._dropped_at is None:
            self.kept.append(escape(data) if data.strip() else " ")
