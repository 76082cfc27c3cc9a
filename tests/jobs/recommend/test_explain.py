from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from called_jobs import recommend, train
from one_rank import one_rank_here
from published_versions import tensors_of
from small_sequences import names_of_two_shards, publish_sequences, random_histories, sequences_of
from tiny_solution import publish_solution

from hrnn.blend.item_statistics import ItemStatistics
from hrnn.blend.snapshots import BlendedModel, ServingSnapshot
from hrnn.blend.weights import BlendWeights
from hrnn.data.ragged import Ragged
from hrnn.explain.serving import ServingExplainer
from hrnn.models.hrnn import Hrnn, HrnnShape
from jobs.platform.storage import join, store_for
from jobs.recommend import pipeline
from schemas.checksums import verified, with_checksum
from schemas.errors import ConfigError, StorageError

pytestmark = pytest.mark.usefixtures("spark")

NUM_USERS, NUM_ITEMS, NEW = 60, 30, 4  # the last items are new; the very last one has no events
HISTORIES = random_histories(NUM_USERS, NUM_ITEMS - 1)
SEQUENCES = sequences_of(HISTORIES, num_items=NUM_ITEMS)
NEWEST = int(SEQUENCES.timestamps.max())
CREATED = [NEWEST - (1 if row >= NUM_ITEMS - NEW else 99) * 86_400 for row in range(NUM_ITEMS)]


USER_IDS = names_of_two_shards(NUM_USERS)


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Recipe -> folder of a solution version that learnt from two shards; one rank in this process, in place of torchrun."""
    folder = tmp_path_factory.mktemp("explained")
    (folder / "parts").mkdir()
    sequences = publish_sequences(SEQUENCES, str(folder / "sequences"), folder / "parts", created=CREATED, user_ids=USER_IDS)
    found = {}
    with one_rank_here():
        for recipe in ("aws-user-personalization", "aws-personalized-ranking", "aws-popularity-count"):
            found[recipe] = str(folder / recipe)
            learnt = {} if recipe == "aws-popularity-count" else {"hyperparameters": {"hidden_dimension": "32"}, "epochs": 2}
            train(sequences_uri=sequences, recipe=recipe, output_uri=found[recipe], gru_baseline=False, **learnt)
        yield found


def answered(version: str, place: Path, lines: list[Any], **options: Any) -> bytes:
    place.mkdir(exist_ok=True)
    (place / "in.json").write_text("".join(json.dumps(line) + "\n" for line in lines))
    recommend(solution_uri=version, input_uri=str(place / "in.json"), output_uri=str(place / "out"), **options)
    return (place / "out" / "in.json.out").read_bytes()


def lines_of_users() -> list[Any]:
    return [*({"userId": user} for user in [*USER_IDS, USER_IDS[3], "nobody"]), {"user": 1}]


def assert_form(output: dict[str, Any], num_results: int) -> None:
    """What the documentation says of every explained line."""
    assert list(output) == ["recommendedItems", "scores", "explanations"]
    assert len(output["explanations"]) == len(output["recommendedItems"]) == num_results
    for each in output["explanations"]:
        assert list(each) == ["popularityShare", "explored", "because"]
        assert 0 <= each["popularityShare"] <= 1
        assert each["explored"] in (True, False)
        shares = [reason["share"] for reason in each["because"]]
        assert shares == sorted(shares, reverse=True)
        assert len(shares) <= 3
        assert all(share > 0 for share in shares)
        assert each["popularityShare"] + sum(shares) <= 1.0003  # each number is rounded to four decimals


def test_without_explanations_the_lines_are_the_same(versions: dict[str, str], tmp_path: Path) -> None:
    version = versions["aws-user-personalization"]
    plain = answered(version, tmp_path / "plain", lines_of_users(), num_results=7)
    told = answered(version, tmp_path / "told", lines_of_users(), num_results=7, explain=True)
    rest = []
    for line in told.splitlines():
        before, mark, after = line.partition(b',"explanations":')
        assert bool(mark) == (b'"output":null' not in line)
        rest.append(before + (b'},"error":null}' if mark else b"") + b"\n")
        if mark:
            assert after.endswith(b']},"error":null}')
            assert_form(json.loads(line)["output"], 7)
    assert b"".join(rest) == plain
    configs = [json.loads((tmp_path / name / "out/_hrnn/manifest.json").read_text())["config"] for name in ("plain", "told")]
    assert configs[1] == configs[0] | {"explain": True}


def test_the_same_run_gives_the_same_bytes_and_the_flag_is_part_of_what_it_is(
    versions: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = versions["aws-user-personalization"]
    first = answered(version, tmp_path / "one", lines_of_users(), explain=True)
    assert answered(version, tmp_path / "two", lines_of_users(), explain=True) == first
    asked = {"solution_uri": version, "input_uri": str(tmp_path / "one/in.json"), "output_uri": str(tmp_path / "one/out")}
    assert recommend(**asked, explain=True)["skipped"]
    assert not recommend(**asked)["skipped"]
    assert not recommend(**asked, explain=True)["skipped"]
    monkeypatch.setattr(pipeline, "_EXPLAINED_AT_ONCE", 5)  # other histories are run together
    told = [json.loads(line) for line in answered(version, tmp_path / "few", lines_of_users(), explain=True).splitlines()]
    for line, other in zip(map(json.loads, first.splitlines()), told, strict=True):
        if line["output"] is not None:
            assert line["output"]["recommendedItems"] == other["output"]["recommendedItems"]
            shares = [[each["popularityShare"] for each in found["output"]["explanations"]] for found in (line, other)]
            np.testing.assert_allclose(*shares, atol=2e-4)


@pytest.fixture(scope="module")
def expected(versions: dict[str, str]) -> tuple[ServingExplainer, ServingSnapshot, BlendedModel]:
    """What the sequences themselves say, with nothing read from the version but its parameters."""
    stored = tensors_of(versions["aws-personalized-ranking"], Path("unused"))
    model = Hrnn(HrnnShape(num_items=NUM_ITEMS, hidden_dimension=32), stored["item_table"], stored["dense"])
    weights = BlendWeights(stored["blend.same_session"].numpy(), stored["blend.next_session"].numpy())
    fitted = BlendedModel(model, weights, ItemStatistics.of(SEQUENCES))
    view = ServingSnapshot(fitted, NEWEST + 1, 1_800)
    return ServingExplainer(model, weights, view.items().vectors.numpy(), NUM_ITEMS - 1, NEWEST + 1, 1_800), view, fitted


def test_lists_to_be_ranked_are_explained_as_their_histories_say(
    versions: dict[str, str], expected: tuple[ServingExplainer, ServingSnapshot, BlendedModel], tmp_path: Path
) -> None:
    explainer, view, _ = expected
    random = np.random.default_rng(0)
    asked = [(int(user), random.permutation(NUM_ITEMS - 1)[:6].tolist()) for user in random.integers(0, NUM_USERS, 20)]
    lines = [{"userId": USER_IDS[user], "itemList": [f"item {row}" for row in rows]} for user, rows in asked]
    odd = [
        {"userId": USER_IDS[0], "itemList": [f"item {NUM_ITEMS - 1}", "what", "item 1", "item 1"]},
        {"userId": "nobody", "itemList": ["item 2", f"item {NUM_ITEMS - 1}", "what", "item 1"]},
    ]
    version = versions["aws-personalized-ranking"]
    told = [json.loads(line) for line in answered(version, tmp_path, lines + odd, explain=True).splitlines()]
    for (user, rows), line in zip(asked, told, strict=False):
        assert_form(line["output"], len(rows))
        states = view.user_states(SEQUENCES, np.asarray([user]))
        ranked = np.asarray([int(name.removeprefix("item ")) for name in line["output"]["recommendedItems"]])
        listed = Ragged.from_rows([ranked], np.int64)
        wanted = explainer.shares(SEQUENCES, np.asarray([user]), states.query.numpy(), states.sparse, listed, 3)
        for place, each in enumerate(line["output"]["explanations"]):
            assert each["popularityShare"] == pytest.approx(wanted.popularity[place], abs=1e-3)
            got = {reason["itemId"]: reason["share"] for reason in each["because"]}
            for row, share in zip(wanted.past_items[place], wanted.shares[place], strict=True):
                if share > 0.01 and (wanted.shares[place] - share == 0).sum() == 1:
                    assert got.get(f"item {row}", 0.0) == pytest.approx(share, abs=2e-3)
        assert {reason["itemId"] for each in line["output"]["explanations"] for reason in each["because"]} <= {
            f"item {row}" for session in HISTORIES[user] for row in session
        }
    of_odd, of_nobody = (line["output"] for line in told[-2:])
    assert of_odd["recommendedItems"][2:] == [f"item {NUM_ITEMS - 1}", "what"]  # nobody has taken them
    assert of_odd["explanations"][0] == of_odd["explanations"][1]
    assert of_odd["explanations"][2:] == [{"popularityShare": 0.0, "explored": False, "because": []}] * 2
    assert of_nobody["recommendedItems"][2:] == [f"item {NUM_ITEMS - 1}", "what"]
    assert of_nobody["explanations"][:2] == [{"popularityShare": 1.0, "explored": False, "because": []}] * 2
    assert of_nobody["explanations"][2:] == of_odd["explanations"][2:]  # whoever is asked for: nothing speaks for them


def unsealed(version: Path) -> dict[str, Any]:
    """What the manifest of a folder says."""
    return verified((version / "manifest.json").read_bytes(), where=str(version), what="manifest", remedy="")


def test_the_same_on_s3(versions: dict[str, str], tmp_path: Path, s3: str) -> None:
    version = Path(versions["aws-personalized-ranking"])
    manifest = unsealed(version)
    manifest["inputs"][0]["uri"] = join(s3, "sequences")
    for folder in (version, version.parent / "sequences"):
        for path in (path for path in folder.rglob("*") if path.is_file()):
            store_for(s3).upload(path, join(s3, str(path.relative_to(version.parent))))
    on_s3 = join(s3, version.name)
    store_for(s3).write(join(on_s3, "manifest.json"), with_checksum(manifest))
    lines = [{"userId": user, "itemList": [f"item {row}" for row in range(0, 30, 4)]} for user in USER_IDS[::5]]
    assert answered(on_s3, tmp_path / "s3", lines, explain=True) == answered(str(version), tmp_path, lines, explain=True)


def test_new_items_are_told_as_explored(versions: dict[str, str], tmp_path: Path) -> None:
    config = {"explorationWeight": "1", "explorationItemAgeCutOff": "20"}
    version, new = versions["aws-user-personalization"], {f"item {row}" for row in range(NUM_ITEMS - NEW, NUM_ITEMS)}
    told = answered(version, tmp_path / "1", lines_of_users()[:20], item_exploration_config=config, explain=True)
    found = 0
    for output in (json.loads(line)["output"] for line in told.splitlines()):
        for item, each in zip(output["recommendedItems"], output["explanations"], strict=True):
            assert each["explored"] == (item in new)
            found += each["explored"]
    assert found > 20
    config["explorationWeight"] = "0"
    assert b'"explored":true' not in answered(
        version, tmp_path / "0", lines_of_users()[:20], item_exploration_config=config, explain=True
    )


def test_where_everybody_gets_the_same_it_is_for_its_popularity(versions: dict[str, str], tmp_path: Path) -> None:
    lines = [{"userId": USER_IDS[0]}, {"userId": "nobody"}]
    version = versions["aws-popularity-count"]
    plain = answered(version, tmp_path / "plain", lines, num_results=2).decode()
    told = answered(version, tmp_path / "told", lines, num_results=2, explain=True).decode()
    why = '{"popularityShare":1.0,"explored":false,"because":[]}'
    assert told == plain.replace(']},"error"', f'],"explanations":[{why},{why}]}},"error"')
    assert told.count(why) == 4


def test_filtered_lists_are_explained_too(versions: dict[str, str], tmp_path: Path) -> None:
    expression = f"EXCLUDE ItemID WHERE Items.CREATION_TIMESTAMP > {NEWEST - 50 * 86_400}"
    told = answered(
        versions["aws-user-personalization"],
        tmp_path,
        lines_of_users(),
        num_results=3,
        filter_expression=expression,
        explain=True,
    )
    outputs = [json.loads(line)["output"] for line in told.splitlines()]
    assert outputs.pop() is None
    for output in outputs:
        assert_form(output, 3)
        assert not {f"item {row}" for row in range(NUM_ITEMS - NEW, NUM_ITEMS)} & set(output["recommendedItems"])
        assert not any(each["explored"] for each in output["explanations"])
    assert all(any(each["because"] for each in output["explanations"]) for output in outputs[:-1])
    assert outputs[-1]["explanations"] == [{"popularityShare": 1.0, "explored": False, "because": []}] * 3


def test_recipes_of_items_cannot_explain(tmp_path: Path) -> None:
    version = publish_solution(str(tmp_path / "version"), dimension=4, recipe="aws-similar-items")
    with pytest.raises(ConfigError, match="aws-similar-items can't explain"):
        answered(version.uri, tmp_path / "job", [{"itemId": "item-1"}], explain=True)


def test_an_older_version_is_refused(tmp_path: Path) -> None:
    version = publish_solution(str(tmp_path / "version"))
    with pytest.raises(ConfigError, match="older release"):
        answered(version.uri, tmp_path / "job", [{"userId": "user 1"}], explain=True)


def test_sequences_that_are_gone_are_asked_for(versions: dict[str, str], tmp_path: Path) -> None:
    version = Path(versions["aws-user-personalization"])
    copied = tmp_path / "copy"
    shutil.copytree(version, copied)
    manifest = unsealed(copied)
    manifest["inputs"][0]["uri"] = str(tmp_path / "gone")
    (copied / "manifest.json").write_bytes(with_checksum(manifest))
    with pytest.raises(StorageError, match=r"gone: the sequences .* not here any more.*sessionize"):
        answered(str(copied), tmp_path / "job", lines_of_users(), explain=True)
    manifest["inputs"][0] |= {"uri": str(version.parent / "sequences"), "version": "b" * 64}
    (copied / "manifest.json").write_bytes(with_checksum(manifest))
    with pytest.raises(StorageError, match="not here any more"):
        answered(str(copied), tmp_path / "job", lines_of_users(), explain=True)
    assert not (tmp_path / "job" / "out").exists()
