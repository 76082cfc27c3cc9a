"""The command `hrnn validate`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from jobs.options import SparkMaster, with_settings
from schemas.data_settings import ValidateSettings


@with_settings
def run(
    *,
    schema: Annotated[str, typer.Option(help="Avro schema: s3://…, file://…, a path, or the JSON itself.")],
    data: Annotated[str, typer.Option(help="A CSV file, plain or gzipped, or a folder of them.")],
    output: Annotated[str, typer.Option(help="Folder for the typed dataset, the rejected rows, the report and Data Docs.")],
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
    settings: ValidateSettings,
    master: SparkMaster = None,
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
        settings=settings,
        master=master,
        items_uri=items,
        users_uri=users,
        previous_uri=previous,
        expectations_uri=expectations,
    )


if __name__ == "__main__":
    from jobs.cli import job_main

    job_main("validate")
