"""Great Expectations' Data Docs page as one file that needs no network.

Its own pages load style sheets, scripts, fonts and images from six hosts. What is kept here is a short list of elements and
attributes, so that nothing of the page can point elsewhere, whatever a later version writes.
"""

from __future__ import annotations

import warnings
from html import escape
from html.parser import HTMLParser
from typing import Any

SECTION = "section"  # key of an expectation's meta

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
:root { color-scheme: light dark; --paper: #fcfcfb; --ink: #1d1d1b; --muted: #66655f; --rule: #e4e3de;
  --good: #1b7a48; --bad: #b3261e }
@media (prefers-color-scheme: dark) {
  :root { --paper: #171716; --ink: #ecebe6; --muted: #a3a19a; --rule: #34332f; --good: #6fc796; --bad: #f08a80 } }
body { margin: 0 auto; padding: 2.5rem 1.5rem 4rem; max-width: 60rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; font-variant-numeric: tabular-nums }
h1, h2, h3, h4, h5, h6 { margin: 1.6rem 0 .3rem; font-size: 1rem; line-height: 1.3 }
h1, h2, h3, h4 { font-size: 1.3rem }
h5 { font-size: 1.1rem; border-top: 1px solid var(--rule); padding-top: .8rem }
p { max-width: 46rem; margin: .4rem 0 }
.note, th { color: var(--muted) }
th { font-size: .82rem; font-weight: 600 }
table { border-collapse: collapse; width: 100%; margin: .2rem 0 .6rem }
th, td { text-align: left; vertical-align: top; padding: .35rem .8rem .35rem 0; border-bottom: 1px solid var(--rule);
  overflow-wrap: anywhere }
th:first-child { width: 4rem } th:last-child { width: 30% }
.badge { background: #8882; border-radius: .3rem; padding: 0 .35rem; font: .92em ui-monospace, monospace }
.fa-check-circle::before { content: "✓ "; color: var(--good); font-weight: 700; font-style: normal }
.fa-times::before, .fa-exclamation-triangle::before { content: "✗ "; color: var(--bad); font-weight: 700; font-style: normal }
"""


def offline_page(result: Any, note: str, link: tuple[str, str] | None = None) -> bytes:
    """The Data Docs page of a validation result.

    Args:
        result: Great Expectations' result of a whole suite. Expectations whose meta names a SECTION stand under that heading,
            all others under their column's name.
        note: What was checked, in a few sentences for people.
        link: Text and relative address of a page that belongs to this one.
    """
    from great_expectations.render.renderer.page_renderer import ValidationResultsPageRenderer
    from great_expectations.render.view.view import DefaultJinjaPageView

    result.meta["batch_kwargs"] = {"data_asset_name": "accepted rows"}
    for outcome in result.results:
        config = outcome.expectation_config
        if SECTION in config.meta:
            config.kwargs["column"] = config.meta[SECTION]
    view: Any = DefaultJinjaPageView()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of forms of expectations that it will not take for ever
        page = view.render(ValidationResultsPageRenderer().render(result))
    return whole_offline(page, note, link)


def whole_offline(page: str, note: str = "", link: tuple[str, str] | None = None) -> bytes:
    """A page reduced to text, tables and anchors, without external resources or scripts; below a note and a link of our own."""
    keeper = _Keeper()
    keeper.feed(page)
    keeper.close()
    body = "".join(keeper.kept)
    intro = f'<p class="note">{escape(note)}</p>' if note else ""
    intro += f'<p><a href="{escape(link[1])}">{escape(link[0])}</a></p>' if link else ""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><title>Data Docs</title>'
        f"<style>{_STYLE}</style></head>\n<body>{intro}{body}</body></html>\n"
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
        attributes = dict(attrs)
        classes = set((attributes.get("class") or "").split())
        if "data-toggle" in attributes and tag == "a":
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
