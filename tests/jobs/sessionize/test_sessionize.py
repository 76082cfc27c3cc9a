"""The whole job in this process, against literal answers and a plain loop; Spark comes in in test_sessionize_spark.py."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from called_jobs import sessionize
from typed_datasets import publish_interactions, publish_items, publish_users

from hrnn.data.hashing import Hashes, hash64
from jobs.cli import main
from jobs.platform.spark.exchange import Receive, Send
from jobs.platform.storage.folders import StepFolder
from jobs.sessionize.plan import cut_tasks
from schemas.errors import ConfigError, DataError, IntegrityError, SchemaError, StorageError

HOUR = 3600


@pytest.fixture(autouse=True)
def exchange_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parcels go from partition to partition instead of through Spark, the last sender's first."""

    def exchange(spark: None, num_senders: int, num_receivers: int, send: Send, receive: Receive, label: str) -> list[bytes]:
        mail = defaultdict(list)
        for sender in reversed(range(num_senders)):
            for receiver, body in send(sender):
                mail[receiver].append(body)
        return [receive(receiver, iter(mail[receiver])) for receiver in range(num_receivers)]

    monkeypatch.setattr("jobs.sessionize.job.spark_session", lambda master: None)
    monkeypatch.setattr("jobs.sessionize.survey.exchange", exchange)
    monkeypatch.setattr("jobs.sessionize.passes.exchange", exchange)


def read_table(folder: StepFolder, path: str) -> pa.Table:
    entry = folder.require("sequences").file(path)
    table = pq.read_table(pa.BufferReader(folder.read(entry)))
    assert table.num_rows == entry.rows
    return table


def events_of(uri: str) -> pa.Table:
    folder = StepFolder(uri)
    return pa.concat_tables([read_table(folder, shard["events"]) for shard in folder.require("sequences").metadata["shards"]])


def users_of(uri: str) -> pa.Table:
    folder = StepFolder(uri)
    return pa.concat_tables([read_table(folder, shard["users"]) for shard in folder.require("sequences").metadata["shards"]])


def catalogue_of(uri: str) -> pa.Table:
    folder = StepFolder(uri)
    return read_table(folder, folder.require("sequences").metadata["catalogue"])


def histories(uri: str) -> dict[str, list[tuple[str, int, bool]]]:
    """Each user's (item, time, session start), oldest first, by the ids that the caller knows."""
    users, items = users_of(uri)["USER_ID"].to_pylist(), catalogue_of(uri)["ITEM_ID"].to_pylist()
    found = defaultdict(list)
    for row in events_of(uri).to_pylist():
        found[users[row["user_row"]]].append((items[row["item_row"]], row["timestamp"], row["session_start"]))
    return dict(found)


def random_events(count: int, users: int, items: int) -> list[tuple[str, str, int]]:
    chance = random.Random(7)
    return [
        (f"u{chance.randrange(users)}", f"i{int(chance.random() ** 2 * items)}", chance.randrange(400) * 600)
        for _ in range(count)
    ]


def plain_histories(rows: list[tuple[str, str, int]], gap: int) -> dict[str, list[tuple[str, int, bool]]]:
    by_user: dict[str, list[tuple[str, int, bool]]] = defaultdict(list)
    for user, item, time in sorted(rows, key=lambda row: row[2]):  # stable: the file's order decides ties
        history = by_user[user]
        history.append((item, time, not history or time - history[-1][1] > gap))
    return dict(by_user)


@pytest.mark.parametrize("wrong", [[], [4_102_444_800, 0]])
def test_the_newest_event_is_the_newest_that_can_be_true(tmp_path: Path, wrong: list[int]) -> None:
    start, newest = 1_600_000_000, 1_600_000_000 + 19_999 * 100
    rows = [(f"u{step % 50}", f"i{step % 7}", start + step * 100) for step in range(20_000)]
    interactions = publish_interactions(str(tmp_path / "events"), rows + [("u0", "i0", time) for time in wrong], parts=3)
    items = publish_items(str(tmp_path / "items"), [("new", None)], {"CREATION_TIMESTAMP": ["null", "long"]})
    out = str(tmp_path / "out")
    sessionize(interactions_uri=interactions, items_uri=items, output_uri=out)
    assert StepFolder(out).require("sequences").metadata["newest_event"] == newest
    created = dict(zip(*catalogue_of(out).select(["ITEM_ID", "CREATION_TIMESTAMP"]).to_pydict().values(), strict=True))
    assert created["new"] == newest


def test_events_become_sorted_sequences_with_sessions(tmp_path: Path) -> None:
    rows = [
        ("bob", "pen", 10 * HOUR),
        ("ann", "ink", 5 * HOUR),
        ("bob", "ink", 9 * HOUR),
        ("ann", "pen", 5 * HOUR + 1800),
        ("bob", "ink", 10 * HOUR),
        ("ann", "cup", 5 * HOUR + 3601),
    ]
    summary = sessionize(interactions_uri=publish_interactions(f"{tmp_path}/in", rows), output_uri=f"{tmp_path}/out")
    assert histories(f"{tmp_path}/out") == {
        "ann": [("ink", 5 * HOUR, True), ("pen", 5 * HOUR + 1800, False), ("cup", 5 * HOUR + 3601, True)],
        "bob": [("ink", 9 * HOUR, True), ("pen", 10 * HOUR, True), ("ink", 10 * HOUR, False)],
    }
    assert catalogue_of(f"{tmp_path}/out").select(["ITEM_ID", "item_row", "num_events", "num_users"]).to_pylist() == [
        {"ITEM_ID": "ink", "item_row": 0, "num_events": 3, "num_users": 2},
        {"ITEM_ID": "pen", "item_row": 1, "num_events": 2, "num_users": 2},
        {"ITEM_ID": "cup", "item_row": 2, "num_events": 1, "num_users": 1},
    ]
    users = {row.pop("USER_ID"): row for row in users_of(f"{tmp_path}/out").drop_columns(["user_row"]).to_pylist()}
    assert users == {
        "ann": {"num_events": 3, "num_sessions": 2, "last_timestamp": 5 * HOUR + 3601},
        "bob": {"num_events": 3, "num_sessions": 2, "last_timestamp": 10 * HOUR},
    }
    assert {name: summary[name] for name in ("job", "skipped", "events", "users", "items", "sessions", "warnings")} == {
        "job": "sessionize",
        "skipped": False,
        "events": 6,
        "users": 2,
        "items": 3,
        "sessions": 4,
        "warnings": [],
    }


def test_many_shards_and_parts_give_what_a_plain_loop_gives(tmp_path: Path) -> None:
    rows = random_events(20_000, users=500, items=80)
    publish_interactions(f"{tmp_path}/in", rows, parts=5)
    sessionize(interactions_uri=f"{tmp_path}/in", output_uri=f"{tmp_path}/out", num_shards=7)
    assert histories(f"{tmp_path}/out") == plain_histories(rows, 1800)
    catalogue = catalogue_of(f"{tmp_path}/out").to_pylist()
    for number, line in enumerate(catalogue):
        times = [time for _, item, time in rows if item == line["ITEM_ID"]]
        distinct = {user for user, item, _ in rows if item == line["ITEM_ID"]}
        expected = (number, len(times), len(distinct), min(times), max(times))
        assert (
            line["item_row"],
            line["num_events"],
            line["num_users"],
            line["first_timestamp"],
            line["last_timestamp"],
        ) == expected
    order = [(-line["num_events"], line["ITEM_ID"]) for line in catalogue]
    assert order == sorted(order)


def test_shards_hold_whole_users_by_hash_and_contiguous_rows(tmp_path: Path) -> None:
    publish_interactions(f"{tmp_path}/in", random_events(2000, users=90, items=9), parts=2)
    sessionize(interactions_uri=f"{tmp_path}/in", output_uri=f"{tmp_path}/out", num_shards=4)
    folder = StepFolder(f"{tmp_path}/out")
    facts = folder.require("sequences").metadata
    next_row = 0
    for number, shard in enumerate(facts["shards"]):
        users, events = read_table(folder, shard["users"]), read_table(folder, shard["events"])
        hashes = hash64(users["USER_ID"], facts["hash_seed"]).tolist()
        assert [value % 4 for value in hashes] == [number] * len(hashes)
        assert hashes == sorted(hashes)
        assert shard["first_user_row"] == next_row
        assert users["user_row"].to_pylist() == list(range(next_row, next_row + shard["num_users"]))
        assert sorted(set(events["user_row"].to_pylist())) == users["user_row"].to_pylist()
        assert (shard["num_events"], shard["num_sessions"]) == (len(events), sum(events["session_start"].to_pylist()))
        next_row += shard["num_users"]
    assert next_row == folder.require("sequences").counts["users"]


def test_more_shards_than_users_leave_some_empty(tmp_path: Path) -> None:
    publish_interactions(f"{tmp_path}/in", [("ann", "ink", 1, 2.5)], {"EVENT_VALUE": "float"})
    sessionize(interactions_uri=f"{tmp_path}/in", output_uri=f"{tmp_path}/out", num_shards=5)
    facts = StepFolder(f"{tmp_path}/out").require("sequences").metadata
    assert sorted(shard["num_users"] for shard in facts["shards"]) == [0, 0, 0, 0, 1]
    assert events_of(f"{tmp_path}/out").to_pylist() == [
        {"user_row": 0, "item_row": 0, "timestamp": 1, "session_start": True, "event_type": -1, "EVENT_VALUE": 2.5}
    ]


def test_attributes_of_all_users_lie_in_the_shards_of_their_users(tmp_path: Path) -> None:
    publish_interactions(f"{tmp_path}/in", random_events(500, users=40, items=9))
    given = [(f"u{number % 50}", 20 + number, None if number % 3 else "a|b") for number in range(120)]
    extra = {"AGE": "int", "CLUBS": {"type": ["null", "string"], "categorical": True}}
    publish_users(f"{tmp_path}/users", given, extra, parts=3)
    uris = {"interactions_uri": f"{tmp_path}/in", "users_uri": f"{tmp_path}/users"}
    sessionize(**uris, output_uri=f"{tmp_path}/out", num_shards=4)
    folder = StepFolder(f"{tmp_path}/out")
    facts = folder.require("sequences").metadata
    tables = [read_table(folder, path) for path in facts["attributes"]]
    assert len(tables) == 4
    for shard, table in enumerate(tables):
        assert table.column_names == ["USER_ID", "AGE", "CLUBS"]
        hashes = hash64(table["USER_ID"], facts["hash_seed"]).tolist()
        assert [value % 4 for value in hashes] == [shard] * len(hashes)
        assert hashes == sorted(hashes)
    last = {user: {"USER_ID": user, "AGE": age, "CLUBS": clubs} for user, age, clubs in given}
    rows = pa.concat_tables(tables).to_pylist()
    assert len(rows) == 50
    assert {row["USER_ID"]: row for row in rows} == last
    assert facts["schemas"]["Users"]["name"] == "Users"
    again = {**uris, "output_uri": f"{tmp_path}/again"}
    sessionize(**again, num_shards=4)
    assert [file.sha256 for file in StepFolder(f"{tmp_path}/again").require("sequences").files] == [
        file.sha256 for file in folder.require("sequences").files
    ]


def test_without_users_there_are_no_attributes_and_empty_users_are_refused(tmp_path: Path) -> None:
    publish_interactions(f"{tmp_path}/in", [("ann", "ink", 1)])
    sessionize(interactions_uri=f"{tmp_path}/in", output_uri=f"{tmp_path}/out")
    assert StepFolder(f"{tmp_path}/out").require("sequences").metadata["attributes"] == []
    publish_users(f"{tmp_path}/users", [], {"AGE": "int"})
    with pytest.raises(DataError, match="the dataset holds no users"):
        sessionize(interactions_uri=f"{tmp_path}/in", users_uri=f"{tmp_path}/users", output_uri=f"{tmp_path}/out")
    with pytest.raises(DataError, match="the folder holds another dataset"):
        sessionize(interactions_uri=f"{tmp_path}/in", users_uri=f"{tmp_path}/in", output_uri=f"{tmp_path}/out")


def test_without_a_gap_every_history_is_one_session(tmp_path: Path) -> None:
    rows = random_events(500, users=20, items=9)
    publish_interactions(f"{tmp_path}/in", rows)
    summary = sessionize(interactions_uri=f"{tmp_path}/in", output_uri=f"{tmp_path}/out", gap_seconds="none")
    assert summary["sessions"] == summary["users"] == 20
    assert histories(f"{tmp_path}/out") == plain_histories(rows, 10**9)


def test_metadata_become_codes_and_numbers(tmp_path: Path) -> None:
    extra = {
        "EVENT_TYPE": "string",
        "EVENT_VALUE": {"type": ["null", "float"]},
        "DEVICE": {"type": ["null", "string"], "categorical": True},
        "PRICE": "double",
        "SALE": "boolean",
        "NOTE": "string",
    }
    rows = [
        ("ann", "ink", 1, "view", None, "tv", 1.5, True, "x"),
        ("ann", "ink", 2, "buy", 3.5, None, 2.5, False, "y"),
        ("ann", "pen", 3, "view", 0.5, "phone", -1.0, True, "z"),
    ]
    publish_interactions(f"{tmp_path}/in", rows, extra)
    sessionize(interactions_uri=f"{tmp_path}/in", output_uri=f"{tmp_path}/out")
    table = events_of(f"{tmp_path}/out")
    assert [(field.name, str(field.type)) for field in table.schema] == [
        ("user_row", "int64"),
        ("item_row", "int64"),
        ("timestamp", "int64"),
        ("session_start", "bool"),
        ("event_type", "int32"),
        ("EVENT_VALUE", "float"),
        ("PRICE", "double"),
        ("SALE", "bool"),
        ("DEVICE", "int32"),
    ]
    columns = table.select(["event_type", "EVENT_VALUE", "PRICE", "SALE", "DEVICE"]).to_pydict()
    assert list(columns.values()) == [[1, 0, 1], [None, 3.5, 0.5], [1.5, 2.5, -1.0], [True, False, True], [1, -1, 0]]
    facts = StepFolder(f"{tmp_path}/out").require("sequences").metadata
    assert (facts["event_types"], facts["categories"]) == (["buy", "view"], {"DEVICE": ["phone", "tv"]})


def test_only_the_wanted_event_types_count(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [("ann", "ink", 1, "view"), ("ann", "pen", 2, "buy"), ("bob", "cup", 3, "view"), ("ann", "ink", 9, "buy")]
    publish_interactions(f"{tmp_path}/in", rows, {"EVENT_TYPE": "string"})
    summary = sessionize(interactions_uri=f"{tmp_path}/in", output_uri=f"{tmp_path}/out", event_types=["buy", "gift"])
    assert histories(f"{tmp_path}/out") == {"ann": [("pen", 2, True), ("ink", 9, False)]}
    assert StepFolder(f"{tmp_path}/out").require("sequences").metadata["event_types"] == ["buy"]
    assert summary["warnings"] == ['no event is of type "gift"']
    assert 'hrnn: warning: no event is of type "gift"' in capsys.readouterr().err


def test_items_add_metadata_and_items_nobody_met(tmp_path: Path) -> None:
    publish_interactions(f"{tmp_path}/in", [("ann", "ink", 70), ("bob", "ink", 80), ("ann", "pen", 90)])
    described = [("ink", 5, "old"), ("cup", 6, "cups"), ("ink", 7, "inks")]
    publish_items(
        f"{tmp_path}/items", described, {"CREATION_TIMESTAMP": "long", "GROUP": {"type": "string", "categorical": True}}
    )
    summary = sessionize(interactions_uri=f"{tmp_path}/in", items_uri=f"{tmp_path}/items", output_uri=f"{tmp_path}/out")
    names = [
        "ITEM_ID",
        "item_row",
        "num_events",
        "num_users",
        "first_timestamp",
        "last_timestamp",
        "CREATION_TIMESTAMP",
        "GROUP",
    ]
    assert [tuple(row[name] for name in names) for row in catalogue_of(f"{tmp_path}/out").to_pylist()] == [
        ("ink", 0, 2, 2, 70, 80, 7, "inks"),
        ("pen", 1, 1, 1, 90, 90, 90, None),
        ("cup", 2, 0, 0, None, None, 6, "cups"),
    ]
    assert summary["items"] == 3
    assert len(StepFolder(f"{tmp_path}/out").require("sequences").inputs) == 2


def test_hashed_ties_ignore_the_order_of_the_file_and_repeat(tmp_path: Path) -> None:
    rows = [(f"u{user}", f"{item:02d}", 7) for user in range(300) for item in range(10)]
    publish_interactions(f"{tmp_path}/in", rows, parts=3)
    in_file_order = sessionize(interactions_uri=f"{tmp_path}/in", output_uri=f"{tmp_path}/file")
    hashed = sessionize(interactions_uri=f"{tmp_path}/in", output_uri=f"{tmp_path}/hash", tie_order="hash")
    again = sessionize(interactions_uri=f"{tmp_path}/in", output_uri=f"{tmp_path}/again", tie_order="hash")
    assert "100% of 2,700 neighbouring events" in in_file_order["warnings"][0]
    assert hashed["warnings"] == again["warnings"] == []
    facts = StepFolder(f"{tmp_path}/hash").require("sequences").metadata
    assert facts["tied_pairs"] == 2700
    assert 0.45 < facts["tied_pairs_ascending"] / facts["tied_pairs"] < 0.55
    assert histories(f"{tmp_path}/hash") == histories(f"{tmp_path}/again") != histories(f"{tmp_path}/file")
    assert len({tuple(item for item, _, _ in history) for history in histories(f"{tmp_path}/hash").values()}) == 300


def test_the_same_events_give_the_same_bytes_however_they_arrive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = random_events(3000, users=60, items=30)
    digests = []
    for parts, rows_a_task in ((1, 10**6), (4, 10**6), (4, 300), (1, 700)):
        place = f"{tmp_path}/{parts}-{rows_a_task}"
        monkeypatch.setattr("jobs.sessionize.job.cut_tasks", partial(cut_tasks, rows_a_task=rows_a_task))
        publish_interactions(f"{place}/in", rows, parts=parts)
        sessionize(interactions_uri=f"{place}/in", output_uri=f"{place}/out", num_shards=3)
        digests.append([file.sha256 for file in StepFolder(f"{place}/out").require("sequences").files])
    assert digests[0] == digests[1] == digests[2] == digests[3]


def test_a_rerun_does_nothing_and_a_new_setting_does_all(tmp_path: Path) -> None:
    publish_interactions(f"{tmp_path}/in", random_events(50, users=5, items=5))
    places = {"interactions_uri": f"{tmp_path}/in", "output_uri": f"{tmp_path}/out"}
    first = sessionize(**places)
    before = sorted(Path(tmp_path, "out").rglob("*.*"))
    second = sessionize(**places, master="a master that does not exist")
    assert second["skipped"]
    assert {**first, "skipped": True, "seconds": 0} == {**second, "seconds": 0}
    assert sorted(Path(tmp_path, "out").rglob("*.*")) == before
    assert not sessionize(**places, gap_seconds=60)["skipped"]
    names = {file.path for file in StepFolder(f"{tmp_path}/out").require("sequences").files}
    left = {str(path.relative_to(tmp_path / "out")) for path in Path(tmp_path, "out").rglob("[!.]*") if path.is_file()}
    assert left == names | {"manifest.json"}


@pytest.mark.parametrize("modules", [["catalogue"], ["survey", "events"]], ids=["items", "users"])
def test_ids_that_collide_are_hashed_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, modules: list[str]) -> None:
    def poor_hash(ids: pa.Array, seed: int = 0) -> Hashes:
        return hash64(ids, seed) % np.uint64(10 if seed < 2 else 2**63)

    for module in modules:
        monkeypatch.setattr(f"jobs.sessionize.{module}.hash64", poor_hash)
    rows = random_events(300, users=20, items=20)
    publish_interactions(f"{tmp_path}/in", rows)
    sessionize(interactions_uri=f"{tmp_path}/in", output_uri=f"{tmp_path}/out")
    assert StepFolder(f"{tmp_path}/out").require("sequences").metadata["hash_seed"] == 2
    assert histories(f"{tmp_path}/out") == plain_histories(rows, 1800)


def test_one_user_may_have_most_of_the_events(tmp_path: Path) -> None:
    rows = [("heavy" if number % 10 else f"u{number}", f"i{number % 7}", number * 60) for number in range(30_000)]
    publish_interactions(f"{tmp_path}/in", rows, parts=3)
    sessionize(interactions_uri=f"{tmp_path}/in", output_uri=f"{tmp_path}/out", num_shards=4)
    assert histories(f"{tmp_path}/out") == plain_histories(rows, 1800)


def test_a_damaged_part_is_refused(tmp_path: Path) -> None:
    publish_interactions(f"{tmp_path}/in", random_events(50, users=5, items=5))
    (damaged,) = Path(tmp_path, "in", "data").iterdir()
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"!")
    with pytest.raises(IntegrityError, match="differ from its manifest"):
        sessionize(interactions_uri=f"{tmp_path}/in", output_uri=f"{tmp_path}/out")
    assert StepFolder(f"{tmp_path}/out").manifest() is None


TYPED = {"EVENT_TYPE": "string"}


@pytest.mark.parametrize(
    ("rows", "extra", "settings", "error", "message"),
    [
        ([("a", "b", 1, "view")], TYPED, {"event_types": ["buy"]}, DataError, r"no event is of these types \(got \['buy'\]\)"),
        ([("a", "b", 1)], None, {"event_types": ["buy"]}, ConfigError, "event_types: the interactions have no EVENT_TYPE"),
        ([], None, {}, DataError, "the dataset holds no interactions"),
        ([("a", "b", 1)], None, {"gap_seconds": 0}, ConfigError, r"gap_seconds: this gap is too short \(got 0\)"),
        ([("a", "b", 1)], None, {"tie_order": "random"}, ConfigError, r"tie_order: this order is not known \(got 'random'\)"),
        ([("a", "b", 1)], None, {"num_shards": 0}, ConfigError, "shards: this number of shards is out of range"),
        ([("a", "b", 1)], None, {"event_types": []}, ConfigError, "event_types: it is empty"),
        ([("a", "b", 1, 1)], {"user_row": "int"}, {}, SchemaError, "Interactions schema: the sequences have a column"),
        ([("a", "b", 1)], None, {"items_uri": "in"}, DataError, r"another dataset \(got 'Interactions'\). Allowed: Items"),
        ([("a", "b", 1)], None, {"items_uri": "nowhere"}, StorageError, "no finished step lies here"),
        ([("a", "b", 1)], None, {"interactions_uri": ""}, StorageError, "the path is empty"),
        ([("a", "b", 1)], None, {"items_uri": ""}, StorageError, "the path is empty"),
        ([("a", "b", 1)], None, {"users_uri": ""}, StorageError, "the path is empty"),
    ],
)
def test_what_cannot_work_is_refused_in_one_sentence(
    tmp_path: Path, rows: Any, extra: Any, settings: dict[str, Any], error: type[Exception], message: str
) -> None:
    publish_interactions(f"{tmp_path}/in", rows, extra)
    if settings.get("items_uri"):
        settings = {"items_uri": f"{tmp_path}/{settings['items_uri']}"}
    with pytest.raises(error, match=message):
        sessionize(**{"interactions_uri": f"{tmp_path}/in", "output_uri": f"{tmp_path}/out"} | settings)
    assert StepFolder(f"{tmp_path}/out").manifest() is None


def test_items_that_are_none_are_refused(tmp_path: Path) -> None:
    publish_interactions(f"{tmp_path}/in", [("a", "b", 1)])
    publish_items(f"{tmp_path}/items", [], {"GENRE": "string"})
    with pytest.raises(DataError, match="the dataset holds no items"):
        sessionize(interactions_uri=f"{tmp_path}/in", items_uri=f"{tmp_path}/items", output_uri=f"{tmp_path}/out")


def test_an_input_is_never_replaced(tmp_path: Path) -> None:
    publish_interactions(f"{tmp_path}/in", [("a", "b", 1)])
    with pytest.raises(
        StorageError, match=r"/in: another step's result lies here, .* \(got 'dataset'\)\. Allowed: sequences, or"
    ):
        sessionize(interactions_uri=f"{tmp_path}/in", output_uri=f"{tmp_path}/in/")
    assert StepFolder(f"{tmp_path}/in").require("dataset")


def test_an_item_column_must_not_take_a_name_of_the_catalogue(tmp_path: Path) -> None:
    publish_interactions(f"{tmp_path}/in", [("a", "b", 1)])
    publish_items(f"{tmp_path}/items", [("b", 1)], {"num_users": "long"})
    with pytest.raises(SchemaError, match=r"Items schema: the catalogue has a column of this name itself \(got 'num_users'\)"):
        sessionize(interactions_uri=f"{tmp_path}/in", items_uri=f"{tmp_path}/items", output_uri=f"{tmp_path}/out")


def test_the_command_line_takes_none_for_the_gap(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    publish_interactions(f"{tmp_path}/in", [("ann", "ink", 1), ("ann", "pen", 10**6)])
    places = ["--interactions", f"{tmp_path}/in", "--output", f"{tmp_path}/out"]
    with pytest.raises(SystemExit) as stopped:
        main(["sessionize", *places, "--gap-seconds", "none", "--shards", "2"])
    assert stopped.value.code == 0
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (summary["sessions"], summary["shards"]) == (1, 2)


def test_the_command_line_refuses_a_gap_that_is_no_number(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["sessionize", "--interactions", "in", "--output", "out", "--gap-seconds", "30m"])
    assert stopped.value.code == 1
    assert "--gap-seconds: this is no number of seconds (got '30m'). Allowed: 1 or more, or none." in capsys.readouterr().err
