from __future__ import annotations

import io
import json
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.cli import main
from jobs.filter.job import check
from jobs.platform.storage.folders import StepFolder
from schemas import columns
from schemas.errors import StorageError

ITEMS = {
    "type": "record",
    "name": "Items",
    "fields": [
        {"name": "ITEM_ID", "type": "string"},
        {"name": "GENRES", "type": ["null", "string"], "categorical": True},
        {"name": "PLOT", "type": "string", "textual": True},
        {"name": "PRICE", "type": "float"},
    ],
    "version": "1.0",
}
USERS = {
    "type": "record",
    "name": "Users",
    "fields": [{"name": "USER_ID", "type": "string"}, {"name": "AGE", "type": ["null", "int"]}],
    "version": "1.0",
}
INTERACTIONS = {
    "type": "record",
    "name": "Interactions",
    "fields": [
        {"name": "USER_ID", "type": "string"},
        {"name": "ITEM_ID", "type": "string"},
        {"name": "TIMESTAMP", "type": "long"},
        {"name": "EVENT_TYPE", "type": "string"},
    ],
    "version": "1.0",
}
PURCHASED = 'EXCLUDE ItemID WHERE Interactions.EVENT_TYPE IN ("purchase")'


def publish(uri: str, recipe: str = "aws-hrnn", past: bool = True, attributes: bool = True) -> str:
    """A solution version as far as filters look at it: 40 items, of which 30 have events, and four users in two shards."""
    folder = StepFolder(uri)

    def put(table: pa.Table, path: str) -> Any:
        with tempfile.TemporaryDirectory() as scratch:
            local = Path(scratch) / "file.parquet"
            pq.write_table(table, local)
            return folder.put_file(local, folder.attempt_path(path), rows=table.num_rows)

    catalogue = pa.table(
        {
            "ITEM_ID": [f"item-{row}" for row in range(40)],
            "num_events": [max(0, 30 - row) for row in range(40)],
            "GENRES": pa.array(["drama|war" if row < 10 else "comedy" if row < 20 else None for row in range(40)]),
            "PRICE": pa.array([float(row) for row in range(40)], pa.float32()),
        }
    )
    # What each user did, as pairs of item and type, the newest first: the rank is the place.
    users = {"ann": [(0, 1), (1, 1), (2, 0)], "bob": [], "eve": [(29, 1)], "zoe": [(5, 0)]}
    ages = {"ann": 20, "bob": None, "eve": 50}
    files, shards, told = [put(catalogue, "catalogue.parquet")], [], []
    for number, names in enumerate((["ann", "bob"], ["eve", "zoe"])):
        lists = {
            columns.PAST_ITEM_ROWS: [[item for item, _ in users[name]] for name in names],
            columns.PAST_EVENT_TYPES: [[code for _, code in users[name]] for name in names],
            columns.PAST_RANKS: [list(range(len(users[name]))) for name in names],
        }
        states = pa.table({columns.USER_ID: names})
        for name, values in lists.items() if past else []:
            states = states.append_column(name, pa.array(values, pa.list_(pa.int32())))
        files.append(put(states, f"states/part-{number:05d}.parquet"))
        shards.append({"states": files[-1].path})
        if attributes:
            known = [name for name in names if name in ages]
            files.append(
                put(
                    pa.table({"USER_ID": known, "AGE": pa.array([ages[name] for name in known], pa.int32())}),
                    f"attributes/part-{number:05d}.parquet",
                )
            )
            told.append(files[-1].path)
    schemas = {"Items": ITEMS, "Interactions": INTERACTIONS, **({"Users": USERS} if attributes else {})}
    facts = {
        "recipe": recipe,
        "catalogue": files[0].path,
        "shards": shards,
        "attributes": told,
        "event_types": ["view", "purchase"],
        "schemas": schemas,
    }
    folder.publish("solution_version", "0" * 64, {}, [], files, metadata=facts)
    return folder.uri


def printed(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> tuple[dict[str, Any], str]:
    with pytest.raises(SystemExit) as end:
        main(["filter", "check", *arguments])
    streams = capsys.readouterr()
    assert end.value.code == status, streams.err
    lines = streams.out.splitlines()
    assert len(lines) == 1
    return json.loads(lines[0]), streams.err


def test_a_filter_is_said_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    summary, said = printed(capsys, "INCLUDE ItemID WHERE Items.GENRES IN ($GENRES)")
    assert summary == {
        "job": "filter",
        "checked": 1,
        "refused": 0,
        "filters": [
            {
                "expression": "INCLUDE ItemID WHERE Items.GENRES IN ($GENRES)",
                "accepted": True,
                "words": "Recommends only items whose GENRES is any of $GENRES. A line without $GENRES is refused.",
                "subject": "ItemID",
                "parameters": ["GENRES"],
                "unchecked": ["Items"],
            }
        ],
    }
    assert "Recommends only items whose GENRES" in said
    assert "Not checked, for want of a schema: fields of Items." in said


def test_a_mistake_is_pointed_at_and_the_status_is_1(capsys: pytest.CaptureFixture[str]) -> None:
    expression = "INCLUDE ItemID WHERE Items.GENRES IN (drama)"
    summary, said = printed(capsys, expression, status=1)
    assert summary["refused"] == 1
    assert summary["filters"][0]["character"] == 39
    assert "\n" not in summary["filters"][0]["error"]
    assert said == (
        "hrnn: Could not create filter. Invalid Expression: filter, character 39: a value is missing (met drama). "
        'Allowed: a text in quotes, a number, $NAME, "*", CurrentItem.NAME. '
        'Texts stand in quotes: "drama". Fields stand first.\n'
        f"    {expression}\n{' ' * 42}^^^^^\n"
    )


def test_a_schema_may_be_given_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    summary, _ = printed(capsys, "INCLUDE ItemID WHERE Items.PRICE < 5", "--schema", json.dumps(ITEMS))
    assert summary["filters"][0]["unchecked"] == []
    with pytest.raises(SystemExit):
        main(["filter", "check", "INCLUDE ItemID WHERE Items.PRICE < 5", "--schema", '{"type": '])
    assert "--schema: the schema is not JSON" in capsys.readouterr().err


def test_schemas_are_files_of_any_dataset(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, schema in (("items", ITEMS), ("users", USERS)):
        (tmp_path / f"{name}.json").write_text(json.dumps(schema))
    options = [option for name in ("items", "users") for option in ("--schema", str(tmp_path / f"{name}.json"))]
    good = "INCLUDE ItemID WHERE Items.PRICE < 5 IF CurrentUser.AGE > 18"
    summary, _ = printed(capsys, good, *options)
    assert summary["filters"][0]["unchecked"] == []
    _, said = printed(capsys, "INCLUDE ItemID WHERE Items.PLOT IN ('war')", *options, status=1)
    assert "PLOT is textual" in said
    _, said = printed(capsys, "INCLUDE ItemID WHERE Items.PRICES < 5", *options, status=1)
    assert "Did you mean PRICE?" in said


def test_many_expressions_come_from_standard_input(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{PURCHASED}\n\nEXCLUDE\n"))
    summary, _ = printed(capsys, "--stdin", status=1)
    assert (summary["checked"], summary["refused"]) == (2, 1)
    assert [told["accepted"] for told in summary["filters"]] == [True, False]


@pytest.mark.parametrize("arguments", [[], [PURCHASED, "--stdin"]])
def test_one_expression_or_standard_input(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["filter", "check", *arguments])
    assert end.value.code == 2
    assert "give one expression, or --stdin" in capsys.readouterr().err


def test_extensions_the_historic_rule_and_counts_are_options(capsys: pytest.CaptureFixture[str]) -> None:
    recent = "INCLUDE ItemID WHERE Items.CREATION_TIMESTAMP > now() - 30d"
    _, said = printed(capsys, recent, status=1)
    assert "Allow extensions: --extended-filters" in said
    assert printed(capsys, recent, "--extended-filters")[0]["refused"] == 0
    ranged = "INCLUDE ItemID WHERE Items.PRICE < $P"
    assert printed(capsys, ranged)[0]["refused"] == 0
    assert printed(capsys, ranged, "--historic", status=1)[0]["refused"] == 1
    two = "INCLUDE ItemID WHERE Items.A = 1 AND Items.B = 1"
    assert printed(capsys, two, "--most-fields", "1", status=1)[0]["refused"] == 1


def trial(uri: str, expression: str, **options: Any) -> dict[str, Any]:
    summary = check([expression], solution_uri=uri, **options)
    assert summary["filters"][0]["accepted"], summary
    told: dict[str, Any] = summary["filters"][0]["trial"]
    return {name: value for name, value in told.items() if name not in ("solution", "recipe", "unknown_event_types")}


def test_a_trial_counts_items_and_users(tmp_path: Path) -> None:
    uri = publish(str(tmp_path / "solution"))
    assert trial(uri, "INCLUDE ItemID WHERE Items.GENRES IN ('war')") == {
        "items": 30,
        "surviving_items": 10,
        "users": 4,
        "least": 10,
        "median": 10.0,
        "most": 10,
        "fewer_than_25": 4,
    }
    # ann has bought two items and eve one; nobody has bought item 5.
    bought = trial(uri, PURCHASED)
    assert (bought["least"], bought["median"], bought["most"], bought["surviving_items"]) == (28, 29.5, 30, 30)
    aged = trial(uri, "INCLUDE ItemID WHERE Items.PRICE < $MOST IF CurrentUser.AGE < 30", values={"MOST": ("3",)})
    assert (aged["least"], aged["most"], aged["fewer_than_25"]) == (3, 30, 1)
    own = trial(uri, "INCLUDE ItemID WHERE Interactions.EVENT_TYPE IN ('*')")
    assert (own["surviving_items"], own["least"], own["most"]) == (5, 0, 3)


def test_a_trial_looks_at_as_many_events_as_the_policy_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    uri = publish(str(tmp_path / "solution"))
    summary, said = printed(capsys, PURCHASED, "--solution", uri, "--past-events", "1")
    assert summary["filters"][0]["trial"]["least"] == 29
    assert "30 of 30 items survive for one at least of 4 users. Each may get 29 at least, 30 in the middle, 30 at most" in said
    assert "Not checked" not in said
    assert "warning" not in said
    _, said = printed(capsys, 'EXCLUDE ItemID WHERE Interactions.EVENT_TYPE IN ("View", "purchased")', "--solution", uri)
    assert 'hrnn: warning: no event is of type "purchased"\n' in said
    assert '"View"\n' not in said


def test_a_trial_of_a_segment_counts_users(tmp_path: Path) -> None:
    uri = publish(str(tmp_path / "solution"), recipe="aws-item-affinity")
    assert trial(uri, "INCLUDE UserID WHERE Users.AGE > 18") == {"users": 4, "kept": 2}
    assert trial(uri, "EXCLUDE UserID WHERE Interactions.EVENT_TYPE IN ('PURCHASE')") == {"users": 4, "kept": 2}


def test_a_trial_of_related_items_takes_current_items(tmp_path: Path) -> None:
    uri = publish(str(tmp_path / "solution"), recipe="aws-sims")
    cheaper = trial(uri, "INCLUDE ItemID WHERE Items.PRICE < CurrentItem.PRICE")
    assert (cheaper["current_items"], cheaper["least"], cheaper["most"], cheaper["surviving_items"]) == (30, 0, 29, 29)


def test_a_trial_that_cannot_be_made_says_why(tmp_path: Path) -> None:
    uri = publish(str(tmp_path / "solution"))
    missing = "INCLUDE ItemID WHERE Items.GENRES IN ($G)"
    refused = check([missing, PURCHASED], solution_uri=uri)  # the next ones go on
    assert "placeholder $G has no value" in refused["filters"][0]["error"]
    assert "Give values with --values" in refused["filters"][0]["error"]
    assert (refused["checked"], refused["refused"], refused["filters"][1]["trial"]["least"]) == (2, 1, 28)
    refused = check(["INCLUDE ItemID WHERE Items.COLOUR IN ('red')"], solution_uri=uri)
    assert "Items have no field COLOUR" in refused["filters"][0]["error"]
    refused = check(["INCLUDE UserID WHERE Users.AGE > 1"], solution_uri=uri)
    assert "does not fit aws-hrnn" in refused["filters"][0]["error"]
    with pytest.raises(StorageError, match="no finished step lies here"):
        check([missing], solution_uri=str(tmp_path / "nowhere"))
    old = publish(str(tmp_path / "old"), past=False, attributes=False)
    refused = check([PURCHASED, "INCLUDE ItemID WHERE Items.PRICE > 1"], solution_uri=old)
    assert "train it again" in refused["filters"][0]["error"]
    assert refused["refused"] == 1
    refused = check(["INCLUDE ItemID WHERE Items.PRICE > 1 IF CurrentUser.AGE > 1"], solution_uri=old)
    assert "the dataset group has no Users dataset" in refused["filters"][0]["error"]


def test_values_are_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    uri = publish(str(tmp_path / "solution"))
    text = "INCLUDE ItemID WHERE Items.GENRES IN ($G)"
    summary, _ = printed(capsys, text, "--solution", uri, "--values", r'{"G": "\"war\",\"comedy\""}')
    assert summary["filters"][0]["trial"]["surviving_items"] == 20
    for wrong in ("G=1", '{"G": 1}', "[]"):
        with pytest.raises(SystemExit) as end:
            main(["filter", "check", text, "--solution", uri, "--values", wrong])
        assert end.value.code == 1
        assert "this is no JSON object of texts" in capsys.readouterr().err


def test_a_solution_version_may_lie_on_s3(s3: str) -> None:
    uri = publish(f"{s3}/solution")
    assert trial(uri, PURCHASED)["least"] == 28
