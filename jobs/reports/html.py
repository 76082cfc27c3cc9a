"""Templates to HTML."""

from __future__ import annotations

from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from jobs.reports.metric_names import percent_text


def render(template: str, page: Any) -> str:
    """The document that a template makes of a page; every value is escaped, and one that is missing is an error."""
    return _environment().get_template(template).render(page=page)


def template_module(template: str) -> Any:
    """A template's macros, as attributes to call."""
    return _environment().get_template(template).module


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("jobs.reports", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(thousands="{:,}".format, percent=percent_text)
    return environment
