"""A night of several recipes with filters and a segment, on purchases; its answers are read with nothing but `json`.

The purchases are made up, and, where the working data lie beside the project, real ones too.
"""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from commands import hrnn
from small_purchases import write_purchases

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

DATA = Path(__file__).parents[4] / "shared" / "data"
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

CONFIG = """
[dataset_group]
name = "purchases"
workspace = "{folder}/workspace"

[datasets]
interactions = {{ schema = "{data}/interactions.schema.json", data = "{data}/interactions.csv" }}
items = {{ schema = "{data}/items.schema.json", data = "{data}/items.csv" }}
users = {{ schema = "{data}/users.schema.json", data = "{data}/users.csv" }}

[solutions.for-you]
recipe = "aws-hrnn"
training = {{ epochs = 1, gru_baseline = false }}

[solutions.also-bought]
recipe = "aws-sims"

[solutions.fans]
recipe = "aws-item-affinity"
hyperparameters = {{ hidden_dimension = "32" }}
training = {{ epochs = 1, gru_baseline = false }}

[batch_inference.cheap-and-new]
solution = "for-you"
input = "{folder}/batch/users.json"
output = "{folder}/out/users/"
filter = '''INCLUDE ItemID WHERE Items.PRICE <= $MOST
            | EXCLUDE ItemID WHERE Interactions.EVENT_TYPE IN ("purchase")'''

[batch_inference.similar]
solution = "also-bought"
input = "{folder}/batch/items.json"
output = "{folder}/out/items/"
num_results = 10

[batch_segment.german-fans]
solution = "fans"
input = "{folder}/batch/fans.json"
output = "{folder}/out/fans/"
num_results = 40
filter = 'INCLUDE UserID WHERE Users.COUNTRY IN ($COUNTRY)'
"""


@pytest.fixture(scope="module", params=["own", pytest.param("real", marks=pytest.mark.data)])
def purchases(request: pytest.FixtureRequest, spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the data, the batch inputs, and what a night made of them."""
    folder = tmp_path_factory.mktemp("purchases")
    data = folder / "online_retail"
    if request.param == "own":
        write_purchases(data)
    elif not DATA.is_dir():
        pytest.skip("the working data are not beside the project; the own ones have their shape")
    else:
        subprocess.run([sys.executable, DATA / "unpack", "online_retail", "--to", folder], check=True, capture_output=True)
    users, items = [row["USER_ID"] for row in rows(data / "users.csv")], [row["ITEM_ID"] for row in rows(data / "items.csv")]
    germans = sorted(row["USER_ID"] for row in rows(data / "users.csv") if row["COUNTRY"] == "Germany")
    bought = Counter(row["ITEM_ID"] for row in rows(data / "interactions.csv") if row["USER_ID"] in set(germans))
    liked = [item for item, _ in bought.most_common(2)]
    asked: dict[str, list[Any]] = {
        "users": [{"userId": user, "filterValues": {"MOST": "2.5"}} for user in users[:500]],
        "items": [{"itemId": item} for item in [*items[:200], "nobody's"]],
        "fans": [{"itemId": item, "filterValues": {"COUNTRY": '"Germany"'}} for item in liked],
    }
    asked["users"] += [{"userId": "a stranger", "filterValues": {"MOST": '"2.5"'}}, {"userId": users[0]}, "no object"]
    asked["fans"] += [{"itemId": "nobody's", "filterValues": {"COUNTRY": '"Germany"'}}]
    (folder / "batch").mkdir()
    for name, lines in asked.items():
        (folder / "batch" / f"{name}.json").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "night.toml").write_text(CONFIG.format(folder=folder, data=data))
    hrnn("nightly", "--config", str(folder / "night.toml"))
    return folder


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def answers(purchases: Path, name: str) -> tuple[list[Any], list[dict[str, Any]]]:
    """Input lines and output lines, which must be as many; every output line has its input's value, in order."""
    given = [json.loads(line) for line in (purchases / "batch" / f"{name}.json").read_text().splitlines()]
    out = purchases / "out" / name
    assert sorted(path.name for path in out.iterdir() if not path.name.startswith("_hrnn")) == ["_CHECK", f"{name}.json.out"]
    told = [json.loads(line) for line in (out / f"{name}.json.out").read_text().splitlines()]
    assert [line["input"] for line in told] == given
    assert all(list(line) == ["input", "output", "error"] for line in told)
    return given, told


def test_filtered_lists_hold_cheap_items_that_the_user_has_not_bought_of_late(purchases: Path) -> None:
    given, told = answers(purchases, "users")
    cheap = {row["ITEM_ID"] for row in rows(purchases / "online_retail" / "items.csv") if float(row["PRICE"] or "inf") <= 2.5}
    bought: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for row in rows(purchases / "online_retail" / "interactions.csv"):
        if row["EVENT_TYPE"] == "purchase":  # the others are returns
            bought[row["USER_ID"]].append((int(row["TIMESTAMP"]), row["ITEM_ID"]))
    for asked, line in zip(given[:501], told[:501], strict=True):
        items, scores = line["output"]["recommendedItems"], line["output"]["scores"]
        assert line["error"] is None
        assert len(items) == len(set(items)) == len(scores) == 25
        assert set(items) <= cheap
        assert scores == sorted(scores, reverse=True)
        assert 0 <= min(scores) <= sum(scores) <= 1.000001
        events = sorted(bought[asked["userId"]])
        oldest = events[-100][0] if len(events) > 100 else 0
        late = {item for time, item in events if time > oldest}  # of events at `oldest`, some are among the newest 100
        assert not late & set(items)
    without_value, no_object = told[501:]
    assert without_value["output"] is None
    assert "MOST" in without_value["error"]
    assert no_object["output"] is None


def test_some_filtered_lists_hold_what_was_bought_longer_ago(purchases: Path) -> None:
    bought = defaultdict(set)
    for row in rows(purchases / "online_retail" / "interactions.csv"):
        bought[row["USER_ID"]].add(row["ITEM_ID"])
    _, told = answers(purchases, "users")
    again = [set(line["output"]["recommendedItems"]) & bought[line["input"]["userId"]] for line in told[:500]]
    assert any(again), "a filter sees the newest 100 events of a type, no more"


def test_related_items_have_no_scores_and_strangers_get_popular_items(purchases: Path) -> None:
    _, told = answers(purchases, "items")
    for line in told:
        assert list(line["output"]) == ["recommendedItems"]
        items = line["output"]["recommendedItems"]
        assert len(items) == len(set(items)) == 10
        assert line["input"]["itemId"] not in items
    assert len({tuple(line["output"]["recommendedItems"]) for line in told}) > 100


def test_segments_hold_users_of_the_country(purchases: Path) -> None:
    _, told = answers(purchases, "fans")
    germans = {row["USER_ID"] for row in rows(purchases / "online_retail" / "users.csv") if row["COUNTRY"] == "Germany"}
    for line in told[:2]:
        users = line["output"]["usersList"]
        assert line["error"] is None
        assert len(users) == len(set(users)) == 40
        assert set(users) <= germans
    assert told[0]["output"] != told[1]["output"]
    assert told[2]["output"] is None
    assert "nobody's" in told[2]["error"]
