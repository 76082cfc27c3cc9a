"""Filters in batch inference, against plain computations."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from called_jobs import recommend
from tiny_solution import TinySolution, publish_solution

from jobs.batch import inputs
from jobs.cli import main
from jobs.platform.storage.folders import StepFolder
from jobs.recommend import pipeline
from schemas.errors import ConfigError

pytestmark = pytest.mark.usefixtures("spark")

COMEDIES = "INCLUDE ItemID WHERE Items.GENRES IN ($GENRES)"
NOT_BOUGHT = 'EXCLUDE ItemID WHERE Interactions.EVENT_TYPE IN ("BUY")'
FOR_ADULTS = 'EXCLUDE ItemID WHERE Items.GENRES IN ("horror") IF CurrentUser.AGE < 30'
ALL_OF_IT = f"{COMEDIES} | {NOT_BOUGHT} | {FOR_ADULTS}"

Run = Callable[..., list[Any]]


@pytest.fixture(scope="module")
def solution(tmp_path_factory: pytest.TempPathFactory) -> TinySolution:
    return publish_solution(str(tmp_path_factory.mktemp("solution")))


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def run(solution: TinySolution, lines: Sequence[bytes | dict[str, Any]], **options: Any) -> list[Any]:
        place = tmp_path / f"{len(list(tmp_path.iterdir()))}"
        place.mkdir()
        written = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
        (place / "in.json").write_bytes(b"".join(line + b"\n" for line in written))
        recommend(solution_uri=solution.uri, input_uri=str(place / "in.json"), output_uri=str(place / "out"), **options)
        return [json.loads(line) for line in (place / "out" / "in.json.out").read_bytes().splitlines()]

    return run


def categories(row: dict[str, Any]) -> set[str]:
    return set((row["GENRES"] or "").split("|")) - {""}


def allowed_items(solution: TinySolution, user_id: str, genres: set[str], newest: int = 100) -> set[str]:
    """What ALL_OF_IT leaves, item by item."""
    bought = {item for kind, item, rank in solution.past.get(user_id, []) if kind == "buy" and rank < newest}
    young = solution.ages.get(user_id, 99) < 30
    return {
        row["ITEM_ID"]
        for row in solution.items
        if categories(row) & genres and row["item_row"] not in bought and not (young and "horror" in categories(row))
    }


def user_lines(solution: TinySolution, count: int) -> list[dict[str, Any]]:
    random = np.random.default_rng(5)
    names = random.choice([*solution.user_ids, *solution.ages, "nobody"], count).tolist()
    values = random.choice(['"comedy"', '"horror", "comedy"', '"drama"', '"nothing"'], count).tolist()
    return [{"userId": name, "filterValues": {"GENRES": value}} for name, value in zip(names, values, strict=True)]


def test_every_line_gets_what_its_filter_leaves(solution: TinySolution, run: Run) -> None:
    lines = user_lines(solution, 300)
    strangers, known = 0, 0
    for line, answer in zip(lines, run(solution, lines, filter_expression=ALL_OF_IT), strict=True):
        assert answer["input"] == line
        assert answer["error"] is None
        genres = {value.strip(' "') for value in line["filterValues"]["GENRES"].split(",")}
        items, shares = solution.expected(line["userId"], 25, allowed_items(solution, line["userId"], genres))
        assert answer["output"]["recommendedItems"] == items
        np.testing.assert_allclose(answer["output"]["scores"], shares, rtol=3e-7, atol=0.6e-7)
        strangers += line["userId"].startswith("stranger")
        known += len(items) < 25 or line["userId"] in solution.past
    assert strangers > 3
    assert known > 100


def test_three_stages_filter_as_one_does(solution: TinySolution, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [*user_lines(solution, 200), b"bad", {"userId": "user 1"}]
    monkeypatch.setattr(inputs, "_LEAST_SPLIT_BYTES", 3000)
    monkeypatch.setattr(inputs, "_MOST_SPLIT_BYTES", 3000)
    once = run(solution, lines, filter_expression=ALL_OF_IT)
    monkeypatch.setattr(pipeline, "MOST_BYTES_IN_WORKER", 0)
    monkeypatch.setattr(pipeline, "_LINES_AT_ONCE", 40)
    assert run(solution, lines, filter_expression=ALL_OF_IT) == once
    assert once[-1]["output"] is None


def test_a_missing_or_bad_value_becomes_an_error_line(solution: TinySolution, run: Run) -> None:
    expression = "INCLUDE ItemID WHERE Items.PRICE <= $MOST"
    lines = [{"userId": "user 1", "filterValues": values} for values in ({"MOST": "5"}, {}, {"MOST": '"dear"'}, {"MOST": '"'})]
    good, missing, no_number, open_quote = run(solution, lines, filter_expression=expression)
    assert {row["PRICE"] <= 5 for row in solution.items if row["ITEM_ID"] in good["output"]["recommendedItems"]} == {True}
    assert [line["output"] for line in (missing, no_number, open_quote)] == [None] * 3
    assert "$MOST has no value" in missing["error"]
    assert "PRICE holds numbers" in no_number["error"]
    assert "quote" in open_quote["error"]


def test_only_the_newest_events_are_looked_at(solution: TinySolution, run: Run) -> None:
    user_id = max(solution.past, key=lambda user: sum(kind == "buy" for kind, _, _ in solution.past[user]))
    (few,) = run(solution, [{"userId": user_id}], filter_expression=NOT_BOUGHT, filter_events=2, num_results=118)
    (all_of_them,) = run(solution, [{"userId": user_id}], filter_expression=NOT_BOUGHT, num_results=118)
    bought = sum(kind == "buy" for kind, _, _ in solution.past[user_id])
    assert (len(few["output"]["recommendedItems"]), len(all_of_them["output"]["recommendedItems"])) == (116, 118 - bought)


def test_recipes_that_know_no_users_filter_by_their_past_too(tmp_path: Path, run: Run) -> None:
    popular = publish_solution(str(tmp_path / "0"), dimension=0)
    users = [*popular.user_ids[:20], "nobody"]
    (everything,) = run(popular, [{"userId": "anybody"}], num_results=118)
    for user_id, answer in zip(
        users, run(popular, [{"userId": user} for user in users], filter_expression=NOT_BOUGHT), strict=True
    ):
        bought = {popular.item_ids[item] for kind, item, _ in popular.past.get(user_id, []) if kind == "buy"}
        left = [item for item in everything["output"]["recommendedItems"] if item not in bought]
        assert answer["output"]["recommendedItems"] == left[:25]


def test_lists_to_be_ranked_lose_what_is_not_allowed(tmp_path: Path, run: Run) -> None:
    ranking = publish_solution(str(tmp_path / "0"), recipe="aws-personalized-ranking")
    listed = [*ranking.item_ids[60:], "unheard of"]
    lines = [{"userId": user, "itemList": listed, "filterValues": {"GENRES": '"comedy"'}} for user in ("user 1", "nobody")]
    for line, answer in zip(lines, run(ranking, lines, filter_expression=ALL_OF_IT), strict=True):
        kept = allowed_items(ranking, line["userId"], {"comedy"}) & set(listed)
        assert set(answer["output"]["recommendedItems"]) == kept
        assert sum(answer["output"]["scores"]) == pytest.approx(1, abs=1e-5)
    (without,) = run(ranking, [lines[0]], filter_expression='EXCLUDE ItemID WHERE Items.GENRES IN ("comedy")')
    assert without["output"]["recommendedItems"][-1] == "unheard of"  # of which nothing is known that would exclude it


@pytest.mark.parametrize("recipe", ["aws-sims", "aws-similar-items"])
def test_related_items_are_filtered_by_the_current_item(tmp_path: Path, run: Run, recipe: str) -> None:
    related = publish_solution(
        str(tmp_path / "0"), recipe=recipe, dimension=0 if recipe == "aws-sims" else 7, neighbours={0: [5, 3, 9]}
    )
    lines = [{"itemId": item} for item in [*related.item_ids[:30], related.item_ids[-1], "unheard of"]]
    found = run(related, lines, filter_expression="INCLUDE ItemID WHERE Items.GENRES IN (CurrentItem.GENRES)", num_results=200)
    of = {row["ITEM_ID"]: categories(row) for row in related.items if row["num_events"]}
    genres = {row["ITEM_ID"]: categories(row) for row in related.items}
    for line, answer in zip(lines, found, strict=True):
        own = genres.get(line["itemId"], set())
        assert set(answer["output"]["recommendedItems"]) == {item for item in of if of[item] & own} - {line["itemId"]}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"filter_expression": "INCLUDE ItemID WHERE Items.COLOUR = 1"}, "COLOUR"),
        ({"filter_expression": "INCLUDE ItemID"}, "WHERE"),
        ({"filter_expression": "INCLUDE UserID WHERE Users.AGE > 3"}, "UserID"),
        ({"filter_expression": "INCLUDE ItemID WHERE Items.PRICE > CurrentItem.PRICE"}, "CurrentItem"),
        ({"filter_expression": "INCLUDE ItemID WHERE Items.CREATION_TIMESTAMP > now() - 30d"}, "now"),
        ({"filter_expression": COMEDIES, "filter_events": 0}, "filter_events"),
        ({"filter_events": 5}, r"^filter_events: this says how a filter is read, and there is none \(got 5\)"),
        ({"extended_filters": True}, r"^extended_filters: this says how a filter is read, and there is none"),
        ({"item_exploration_config": {"explorationWeight": "0.3"}}, "does not explore"),
    ],
)
def test_a_bad_filter_is_refused_before_anything_starts(
    solution: TinySolution, tmp_path: Path, options: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.recommend.job.spark_session", None)
    (tmp_path / "in.json").write_text('{"userId": "1"}\n')
    with pytest.raises(ConfigError, match=message):
        recommend(solution_uri=solution.uri, input_uri=str(tmp_path / "in.json"), output_uri=str(tmp_path / "out"), **options)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--filter", "INCLUDE ItemID"], "Could not create filter. Invalid Expression: --filter, character "),
        (["--filter-events", "5"], "--filter-events: this says how a filter is read, and there is none (got 5)."),
        (["--item-exploration-config", '{"weight": 1}'], "--item-exploration-config: aws-hrnn does not explore"),
    ],
)
def test_the_command_names_what_was_typed(
    solution: TinySolution, tmp_path: Path, options: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in.json").write_text('{"userId": "1"}\n')
    places = ["--solution", solution.uri, "--input", str(tmp_path / "in.json"), "--output", str(tmp_path / "out")]
    with pytest.raises(SystemExit, match="1"):
        main(["recommend", *places, *options])
    assert capsys.readouterr().err.startswith(f"hrnn: {says}")


def test_a_solution_version_of_an_older_release_is_to_be_trained_again(tmp_path: Path) -> None:
    publish_solution(str(tmp_path / "solution"))
    folder = StepFolder(str(tmp_path / "solution"))
    manifest = folder.require("solution_version")
    older = {name: fact for name, fact in manifest.metadata.items() if name not in ("event_types", "schemas", "attributes")}
    folder.publish("solution_version", "1" * 64, {}, [], manifest.files, {}, older)
    (tmp_path / "in.json").write_text('{"userId": "1"}\n')
    with pytest.raises(ConfigError, match="Train it again"):
        recommend(
            solution_uri=folder.uri,
            input_uri=str(tmp_path / "in.json"),
            output_uri=str(tmp_path / "out"),
            filter_expression=NOT_BOUGHT,
        )
