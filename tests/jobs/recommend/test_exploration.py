"""Exploration in batch inference: weights 0 to 1, and which items are new."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from called_jobs import recommend
from tiny_solution import DAY, TinySolution, publish_solution

from jobs.platform.storage.folders import StepFolder
from jobs.solutions.solution import Solution, newest_event
from schemas.errors import ConfigError

pytestmark = pytest.mark.usefixtures("spark")


@pytest.fixture(scope="module")
def solution(tmp_path_factory: pytest.TempPathFactory) -> TinySolution:
    return publish_solution(str(tmp_path_factory.mktemp("solution")), recipe="aws-user-personalization")


def answered(solution: TinySolution, tmp_path: Path, weight: str | None, cut_off: str = "20") -> tuple[bytes, list[Any]]:
    """The output of all known users, as bytes and as JSON."""
    place = tmp_path / f"{len(list(tmp_path.iterdir()))}"
    place.mkdir()
    (place / "in.json").write_text("".join(json.dumps({"userId": user}) + "\n" for user in solution.user_ids))
    config = None if weight is None else {"explorationWeight": weight, "explorationItemAgeCutOff": cut_off}
    recommend(
        solution_uri=solution.uri,
        input_uri=str(place / "in.json"),
        output_uri=str(place / "out"),
        num_results=10,
        item_exploration_config=config,
    )
    written = (place / "out" / "in.json.out").read_bytes()
    return written, [json.loads(line)["output"] for line in written.splitlines()]


def share_of(solution: TinySolution, lists: list[Any], least_day: int) -> float:
    """How many of the recommended items were created after a day."""
    created = {row["ITEM_ID"]: row["CREATION_TIMESTAMP"] for row in solution.items}
    listed = [item for output in lists for item in output["recommendedItems"]]
    return sum(created[item] > least_day * DAY for item in listed) / len(listed)


def test_weight_0_is_pure_relevance_and_weight_1_gives_most_new_items(solution: TinySolution, tmp_path: Path) -> None:
    none, lists = answered(solution, tmp_path, "0")
    for user_id, output in zip(solution.user_ids, lists, strict=True):
        assert output["recommendedItems"] == solution.expected(user_id, 10)[0]
    some, explored = answered(solution, tmp_path, "0.3")
    most, most_explored = answered(solution, tmp_path, "1")
    shares = [share_of(solution, found, 980) for found in (lists, explored, most_explored)]
    assert shares[0] < shares[1] < shares[2]  # of 3,000 items each: some steps of the standard error, 0.01
    assert shares[2] > shares[0] + 0.03
    for output in most_explored:
        assert output["scores"] == sorted(output["scores"], reverse=True)
        assert sum(output["scores"]) <= 1
        assert len(set(output["recommendedItems"])) == 10
    assert answered(solution, tmp_path, "1")[0] == most
    assert len({none, some, most}) == 3


def test_the_cut_off_says_which_items_are_new(solution: TinySolution, tmp_path: Path) -> None:
    _, wide = answered(solution, tmp_path, "1", cut_off="99")
    _, narrow = answered(solution, tmp_path, "1", cut_off="5")
    assert share_of(solution, narrow, 995) > share_of(solution, wide, 995)
    nothing, _ = answered(solution, tmp_path, "1", cut_off="0.001")
    assert nothing == answered(solution, tmp_path, "0")[0]


def test_items_are_new_before_the_newest_event_that_can_be_true(solution: TinySolution) -> None:
    folder = StepFolder(solution.uri)
    manifest = folder.require("solution_version")
    told = manifest.model_copy(update={"metadata": manifest.metadata | {"newest_event": 1000 * DAY}})
    catalogue = pa.table({"last_timestamp": [999 * DAY, 4_102_444_800]})
    assert newest_event(Solution.of(folder, told), catalogue) == 1000 * DAY
    assert newest_event(Solution.of(folder, manifest), catalogue) == 4_102_444_800  # of an older release


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"explorationWeight": "1.5"}, "explorationWeight"),
        ({"explorationWeight": "nan"}, "explorationWeight"),
        ({"explorationWeight": "much"}, "is no number"),
        ({"explorationItemAgeCutOff": "0"}, "explorationItemAgeCutOff"),
        ({"weight": "1"}, "not known"),
    ],
)
def test_a_bad_config_is_refused(solution: TinySolution, tmp_path: Path, config: dict[str, str], message: str) -> None:
    (tmp_path / "in.json").write_text('{"userId": "1"}\n')
    with pytest.raises(ConfigError, match=message):
        recommend(
            solution_uri=solution.uri,
            input_uri=str(tmp_path / "in.json"),
            output_uri=str(tmp_path / "out"),
            item_exploration_config=config,
        )
