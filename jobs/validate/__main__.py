"""The command `hrnn validate`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from schemas.quotas import PUBLISHED


def run(
    schema: Annotated[str, typer.Option(help="Avro schema: s3://…, file://…, a path, or the JSON itself.")],
    data: Annotated[str, typer.Option(help="A CSV file, plain or gzipped, or a folder of them.")],
    output: Annotated[str, typer.Option(help="Folder for the typed dataset, the rejected rows, the report and Data Docs.")],
    import_mode: Annotated[
        str, typer.Option(help="FULL replaces what the output folder holds, INCREMENTAL adds to it; the first must be FULL.")
    ] = "FULL",
    items: Annotated[
        str | None, typer.Option(help="Folder of validated Items: tells which events are of unknown items.", metavar="URI")
    ] = None,
    users: Annotated[
        str | None, typer.Option(help="Folder of validated Users: tells which events are of unknown users.", metavar="URI")
    ] = None,
    previous: Annotated[
        str | None,
        typer.Option(help="Folder of the last import, to see drift.", show_default="what the output holds", metavar="URI"),
    ] = None,
    expectations: Annotated[
        str | None, typer.Option(help="JSON file of your own Great Expectations, run on the accepted rows.", metavar="URI")
    ] = None,
    max_rejected_fraction: Annotated[
        float, typer.Option(help="Share of rejected rows, 0 to 1, above which the import fails once its report is written.")
    ] = 0.01,
    strict: Annotated[
        bool, typer.Option("--strict", help="Fail where Personalize would: its quotas and minimums are errors, not findings.")
    ] = False,
    quota: Annotated[
        list[str] | None, typer.Option(help="Change a quota: NAME=VALUE; may be repeated.", metavar="NAME=VALUE")
    ] = None,
    gap_seconds: Annotated[int, typer.Option(help="Idle seconds that end a session in the report's figures.")] = 1800,
    future: Annotated[
        str,
        typer.Option(
            help="Events whose time cannot be true (after the import, far after all others, 0 or 1 for a null): reject or keep."
        ),
    ] = "reject",
    long_categories: Annotated[
        str, typer.Option(help="A categorical value above 1,000 characters: fail, as Personalize does, or reject its row.")
    ] = "fail",
    master: Annotated[str | None, typer.Option(help="Spark master URL; default: as configured, else this machine.")] = None,
) -> dict[str, Any]:
    """Check CSV files against their schema; write typed Parquet, rejected rows and a report.

    Columns are matched by header name. Every wrong row is told with file, line, column, value and reason; the right rows go on,
    once each. A rerun with the same schema and the same files does nothing.
    """
    from jobs.platform.storage import normalise
    from jobs.validate.job import validate

    if previous is not None and normalise(previous).rstrip("/") == normalise(output).rstrip("/"):
        previous = None  # it need not hold an import yet
    return validate(
        schema_uri=schema,
        data_uri=data,
        output_uri=output,
        master=master,
        max_rejected_fraction=max_rejected_fraction,
        import_mode=import_mode,
        items_uri=items,
        users_uri=users,
        previous_uri=previous,
        expectations_uri=expectations,
        gap_seconds=gap_seconds,
        quotas=PUBLISHED.with_changes(quota or []),
        strict=strict,
        future=future,
        long_categories=long_categories,
    )


if __name__ == "__main__":
    from jobs.cli import job_main

    job_main("validate")
