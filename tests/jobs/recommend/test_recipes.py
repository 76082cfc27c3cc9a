"""Batch inference of rankings and related items, against plain computations, and in the shapes of the service's samples."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from called_jobs import recommend
from tiny_solution import TinySolution, publish_solution

from jobs.batch import inputs
from jobs.recommend import pipeline
from schemas.errors import ConfigError

pytestmark = pytest.mark.usefixtures("spark")

# Lines of AWS's samples (aws-samples/amazon-personalize-samples, MIT-0), and the types of what answers them.
RANKING_SAMPLE = b'{"userId": "891", "itemList": ["27", "886", "101"]}'
RELATED_SAMPLE = b'{"itemId": "105"}'


def answers(tmp_path: Path, solution: TinySolution, lines: Sequence[bytes | dict[str, Any]], **options: Any) -> list[Any]:
    name = f"{len(list(tmp_path.iterdir()))}"
    path = tmp_path / name / "in.json"
    path.parent.mkdir()
    path.write_bytes(b"".join((line if isinstance(line, bytes) else json.dumps(line).encode()) + b"\n" for line in lines))
    recommend(solution_uri=solution.uri, input_uri=str(path), output_uri=str(tmp_path / name / "out"), **options)
    return [json.loads(line) for line in (tmp_path / name / "out" / "in.json.out").read_bytes().splitlines()]


@pytest.fixture(scope="module")
def ranking(tmp_path_factory: pytest.TempPathFactory) -> TinySolution:
    return publish_solution(str(tmp_path_factory.mktemp("ranking")), recipe="aws-personalized-ranking")


NEIGHBOURS = {0: [5, 3, 9], 1: [0], 4: []}


@pytest.fixture(scope="module")
def sims(tmp_path_factory: pytest.TempPathFactory) -> TinySolution:
    return publish_solution(str(tmp_path_factory.mktemp("sims")), recipe="aws-sims", dimension=0, neighbours=NEIGHBOURS)


def plain_ranking(solution: TinySolution, user_id: str, listed: list[str]) -> tuple[list[str], list[float]]:
    rows = [solution.item_ids.index(item) if item in solution.item_ids else -1 for item in listed]
    known = [place for place, row in enumerate(rows) if row >= 0 and solution.num_events[row]]
    if user_id in solution.user_ids:
        of = {place: solution.scores[solution.user_ids.index(user_id), rows[place]] for place in known}
    else:
        of = {place: float(np.log(solution.num_events[rows[place]])) for place in known}
    order = [*sorted(known, key=lambda place: (-of[place], place)), *(p for p in range(len(listed)) if p not in known)]
    total = sum(np.exp(value) for value in of.values())
    return [listed[place] for place in order], [np.exp(of[place]) / total if place in of else 0.0 for place in order]


def ranking_lines(solution: TinySolution, count: int) -> list[dict[str, Any]]:
    random = np.random.default_rng(3)
    names = random.choice([*solution.user_ids, "nobody", "stranger 1"], count).tolist()
    ids = [*solution.item_ids, "unheard of", "unseen"]
    return [{"userId": name, "itemList": random.choice(ids, random.integers(1, 30)).tolist()} for name in names]


def test_lists_are_ranked_and_their_scores_sum_to_one(ranking: TinySolution, tmp_path: Path) -> None:
    lines = ranking_lines(ranking, 200)
    for line, answer in zip(lines, answers(tmp_path, ranking, lines), strict=True):
        assert list(answer) == ["input", "output", "error"]
        assert answer["input"] == line
        assert answer["error"] is None
        items, shares = plain_ranking(ranking, line["userId"], line["itemList"])
        assert answer["output"]["recommendedItems"] == items
        np.testing.assert_allclose(answer["output"]["scores"], shares, rtol=0, atol=0.6e-7)


def test_rankings_are_the_same_in_three_stages(ranking: TinySolution, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "_LEAST_SPLIT_BYTES", 3000)
    monkeypatch.setattr(inputs, "_MOST_SPLIT_BYTES", 3000)
    lines = [*ranking_lines(ranking, 150), b"{", {"userId": "user 1", "itemList": []}]
    once = answers(tmp_path, ranking, lines)
    monkeypatch.setattr(pipeline, "MOST_BYTES_IN_WORKER", 0)
    monkeypatch.setattr(pipeline, "_LINES_AT_ONCE", 40)
    assert answers(tmp_path, ranking, lines) == once
    assert [answer["error"] is None for answer in once[-3:]] == [True, False, False]


def test_a_list_of_strangers_keeps_its_order_and_scores_nothing(ranking: TinySolution, tmp_path: Path) -> None:
    (answer,) = answers(tmp_path, ranking, [RANKING_SAMPLE])
    assert answer["output"] == {"recommendedItems": ["27", "886", "101"], "scores": [0.0, 0.0, 0.0]}


def test_related_items_come_from_the_table_and_popular_ones_fill_up(sims: TinySolution, tmp_path: Path) -> None:
    ids = sims.item_ids
    lines = [
        {"itemId": ids[0]},
        {"itemId": ids[1]},
        {"itemId": ids[4]},
        {"itemId": ids[119]},
        RELATED_SAMPLE,
        {"itemId": ids[0]},
    ]
    found = answers(tmp_path, sims, [*lines, b'{"userId": "1"}'], num_results=5)
    assert [list(answer["output"]) for answer in found[:-1]] == [["recommendedItems"]] * 6
    lists = [answer["output"]["recommendedItems"] for answer in found[:-1]]
    assert lists[0][:3] == [ids[5], ids[3], ids[9]]
    assert lists[5] == lists[0]
    assert lists[1][0] == ids[0]
    assert lists[3] == lists[4]  # without events, or unknown: popular items alone
    for line, listed in zip(lines, lists, strict=True):
        assert len(set(listed)) == 5
        assert line is RELATED_SAMPLE or line["itemId"] not in listed  # type: ignore[index]
    assert found[-1]["output"] is None
    assert found[-1]["error"].startswith("itemId is missing")


def test_related_items_by_vectors_are_the_nearest_by_cosine(tmp_path: Path) -> None:
    solution = publish_solution(str(tmp_path / "solution"), recipe="aws-similar-items")
    directions = solution.vectors[:-2] / np.maximum(np.linalg.norm(solution.vectors[:-2], axis=1, keepdims=True), 1e-12)
    (tmp_path / "runs").mkdir()
    found = answers(tmp_path / "runs", solution, [{"itemId": item} for item in solution.item_ids[:40]], num_results=118)
    for row, answer in enumerate(found):
        listed = [solution.item_ids.index(item) for item in answer["output"]["recommendedItems"]]
        assert sorted([*listed, row]) == list(range(118))  # all items with events but itself
        assert (np.diff((directions @ directions[row])[listed]) < 1e-6).all()
        assert list(answer["output"]) == ["recommendedItems"]


def test_a_segment_recipe_is_sent_to_its_own_job(tmp_path: Path) -> None:
    solution = publish_solution(str(tmp_path / "solution"), recipe="aws-item-affinity")
    (tmp_path / "in.json").write_text('{"itemId": "1"}\n')
    with pytest.raises(ConfigError, match="hrnn segment"):
        recommend(solution_uri=solution.uri, input_uri=str(tmp_path / "in.json"), output_uri=str(tmp_path / "out"))
