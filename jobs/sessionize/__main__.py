"""The command `hrnn sessionize`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from schemas.errors import ConfigError
from schemas.numbers import number_of


def run(
    interactions: Annotated[
        str, typer.Option(help="Folder of the Interactions dataset that `hrnn validate` wrote.", metavar="URI")
    ],
    output: Annotated[str, typer.Option(help="Folder to write sequences, users and the catalogue to.", metavar="URI")],
    items: Annotated[
        str | None,
        typer.Option(help="Folder of the validated Items dataset: metadata and items without events.", metavar="URI"),
    ] = None,
    users: Annotated[
        str | None,
        typer.Option(help="Folder of the validated Users dataset: attributes of users, for filters.", metavar="URI"),
    ] = None,
    gap_seconds: Annotated[
        str, typer.Option(help="A session ends after more idle seconds than this; none: a user's history is one session.")
    ] = "1800",
    tie_order: Annotated[
        str,
        typer.Option(
            help="Order of a user's events at one time: file keeps the input's, hash shuffles it, auto: as validate advises."
        ),
    ] = "auto",
    shards: Annotated[
        int | None, typer.Option(help="Shards that users are dealt to; by default as many as the events ask for.")
    ] = None,
    event_type: Annotated[list[str] | None, typer.Option(help="Keep events of this type only; may be repeated.")] = None,
    master: Annotated[
        str | None, typer.Option(help="Spark master URL; by default what spark-submit sets, else this machine.")
    ] = None,
) -> dict[str, Any]:
    """Cut validated interactions into sessions; write sequences and the catalogue."""
    from jobs.sessionize.job import sessionize

    return sessionize(
        interactions_uri=interactions,
        output_uri=output,
        items_uri=items,
        users_uri=users,
        gap_seconds=_parse_gap(gap_seconds),
        tie_order=tie_order,
        num_shards=shards,
        event_types=event_type or None,
        master=master,
    )


def _parse_gap(text: str) -> int | None:
    if text == "none":
        return None
    number = number_of(text)
    if number is None or not number.is_integer():
        raise ConfigError("this is no number of seconds", where="gap_seconds", value=text, allowed="1 or more, or none")
    return int(number)


if __name__ == "__main__":
    from jobs.cli import job_main

    job_main("sessionize")
