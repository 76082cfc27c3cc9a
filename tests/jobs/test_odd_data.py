"""Right data from which there is little to learn, all the way from CSV to lists."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from small_shop import INTERACTIONS

from jobs.cli import main

ODD_DATA = {
    "one user": [f"u1,i{n % 5},{1_700_000_000 + 3_000 * n},view" for n in range(40)],
    "one item": [f"u{n % 7},i1,{1_700_000_000 + 3_000 * n},view" for n in range(40)],
    "one event": ["u1,i1,1700000000,view"],
    "one timestamp": [f"u{n % 7},i{n % 5},1700000000,view" for n in range(40)],
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "recipe", "refusal"),
    [
        ("one event", "aws-popularity-count", None),
        ("one item", "aws-popularity-count", None),
        ("one item", "aws-hrnn", "hrnn: there are fewer than two items to learn from (got 1). Bring more interactions.\n"),
        ("one user", "aws-hrnn", None),
        ("one timestamp", "aws-hrnn", None),
    ],
)
def test_odd_data_give_lists_all_the_same_or_one_message(
    what: str,
    recipe: str,
    refusal: str | None,
    tmp_path: Path,
    spark: object,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Known and unknown users get what there is, each bad line its error line."""
    rows = ODD_DATA[what]
    (tmp_path / "schema.json").write_text(json.dumps(INTERACTIONS))
    (tmp_path / "odd.csv").write_text("\n".join(["USER_ID,ITEM_ID,TIMESTAMP,EVENT_TYPE", *rows, ""]))
    (tmp_path / "batch").mkdir()
    (tmp_path / "batch/users.json").write_text('{"userId": "u1"}\n{"userId": "nobody"}\n{"user": "u1"}\nno JSON\n')
    for command in (
        "validate --schema @/schema.json --data @/odd.csv --output @/typed",
        "sessionize --interactions @/typed --output @/sequences",
        f"train --sequences @/sequences --recipe {recipe} --output @/solution",
        "recommend --solution @/solution --input @/batch/users.json --output @/out --num-results 3",
    ):
        with pytest.raises(SystemExit) as ended:
            main(command.replace("@", str(tmp_path)).split())
        complained = capfd.readouterr().err
        if ended.value.code == 1 and refusal is not None:
            *warned, said = complained.splitlines(keepends=True)
            assert said == refusal
            assert all(line.startswith("train: Personalize would say: Create failed. ") for line in warned), complained
            return
        assert ended.value.code in (0, None), complained
    assert refusal is None
    lines = [json.loads(line) for line in (tmp_path / "out/users.json.out").read_text().splitlines()]
    num_items = min(3, len({row.split(",")[1] for row in rows}))
    for line in lines[:2]:
        assert len(set(line["output"]["recommendedItems"])) == num_items
        assert line["error"] is None
    assert [line["output"] for line in lines[2:]] == [None, None]
    assert all(line["error"] for line in lines[2:])
