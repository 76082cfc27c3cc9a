"""Great Expectations, as this platform runs it: in memory, silent, without a cache of its own, nothing sent anywhere."""

from __future__ import annotations

import logging
import os
import threading
import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

ResultFormat = Literal["BOOLEAN_ONLY", "BASIC", "SUMMARY"]


def great_expectations() -> Any:
    """The package. Its import takes seconds, and reads the environment."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    # For good, and not for the import only: what catch_warnings puts back is put back under other threads too.
    warnings.filterwarnings("ignore", module=r"great_expectations\b")
    import great_expectations as gx

    logging.getLogger("great_expectations.data_context.types.base").setLevel(logging.WARNING)  # the import sets it to INFO
    return gx


def preload() -> threading.Thread:
    """Import the package beside other work; call it when Spark is up, before the longest job.

    Returns:
        The thread that does it. Nobody need wait for it: whoever imports the package meanwhile waits by itself.
    """
    thread = threading.Thread(target=great_expectations, name="import great_expectations", daemon=True)
    thread.start()
    return thread


def run_suite(frame: DataFrame, name: str, expectations: Iterable[Any], result_format: ResultFormat) -> Any:
    """Run a suite on a frame; Great Expectations' result.

    Args:
        frame: What is checked. It is not kept in memory.
        name: Of the suite and of the data, as Data Docs show it.
        expectations: The suite; it must hold at least one.
        result_format: What is found out. Beyond BOOLEAN_ONLY, each expectation on single values scans the frame once more;
            those on whole columns (sum, longest …) cost the same in every format.
    """
    gx = great_expectations()
    from great_expectations.data_context.types.base import ProgressBarsConfig

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations of its own and of what it calls
        context = gx.get_context(mode="ephemeral")
        context.variables.progress_bars = ProgressBarsConfig(globally=False, metric_calculations=False)
        data = context.data_sources.add_spark("spark", persist=False).add_dataframe_asset(name)
        suite = context.suites.add(gx.ExpectationSuite(name, expectations=list(expectations)))
        definition = gx.ValidationDefinition(name=name, data=data.add_batch_definition_whole_dataframe("all rows"), suite=suite)
        return context.validation_definitions.add(definition).run(
            batch_parameters={"dataframe": frame}, result_format=result_format
        )
