from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from called_jobs import validate
from tiny_workspace import write_workspace
from typed_datasets import publish_action_interactions, publish_interactions

from jobs.delete_users.job import delete_users
from jobs.delete_users.users import Users
from jobs.export.job import export
from jobs.gc.job import gc
from jobs.platform.storage import store_for
from jobs.platform.storage.folders import StepFolder
from schemas.checksums import verified, with_checksum
from schemas.errors import ConfigError, DataError, IntegrityError, StorageError


@pytest.fixture
def users(tmp_path: Path) -> str:
    """A list of two users who are everywhere, and one who is nowhere."""
    path = tmp_path / "users.csv"
    path.write_text("USER_ID\nuser 7\nuser 8\nuser 700\n")
    return str(path)


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    write_workspace(tmp_path / "workspace")
    return tmp_path / "workspace"


def test_users_leave_every_place_and_the_others_stay(workspace: Path, users: str) -> None:
    dataset, solution = (
        StepFolder(str(workspace / "validate/interactions/aaaaaaaaaaaa")),
        StepFolder(str(workspace / "train/for-you/bbbbbbbbbbbb")),
    )
    before = [folder.require(kind) for folder, kind in ((dataset, "dataset"), (solution, "solution_version"))]  # type: ignore[arg-type]
    found = delete_users(users_uri=users, workspace_uri=str(workspace))
    assert (found["status"], found["users"], found["users_found"], found["numDeleted"]) == ("COMPLETED", 3, 2, 3 + 4)

    manifest = dataset.require("dataset")
    rows = pa.concat_tables([pq.read_table(dataset.fetch(entry, workspace)) for entry in manifest.files_below("data")])
    assert rows.num_rows == sum(number % 5 + 1 for number in range(30)) - 7
    assert not {"user 7", "user 8"} & set(rows["USER_ID"].to_pylist())
    assert [file.rows for file in manifest.files_below("data")] == [
        pq.read_metadata(dataset.uri_of(file.path)).num_rows for file in manifest.files_below("data")
    ]
    manifest = solution.require("solution_version")
    states = [pq.read_table(solution.fetch(manifest.file(shard["states"]), workspace)) for shard in manifest.metadata["shards"]]
    assert sum(table.num_rows for table in states) == 28
    assert [manifest.file(shard["states"]).rows for shard in manifest.metadata["shards"]] == [
        table.num_rows for table in states
    ]
    assert states[0].schema.field("query").type == pa.list_(pa.float32(), 7)
    after = [dataset.require("dataset"), manifest]
    assert all(old.fingerprint != new.fingerprint for old, new in zip(before, after, strict=True))

    assert not list((workspace / "sessionize").rglob("*.*"))
    assert not list((workspace / "exported").rglob("*.*"))
    assert not (workspace / "nights/gen-000001/report.html").exists()
    assert not list((workspace / "train" / "for-you" / "dddddddddddd").rglob("*.*"))
    answered = [json.loads(line) for line in (workspace / "out/users.json.out").read_text().splitlines()]
    assert [line["input"]["userId"] for line in answered] == [f"user {number}" for number in (*range(7), *range(9, 30))]
    segment = (workspace / "out/items.json.out").read_text()
    left = '["user 5","user 6","user 9","user 10","user 11"]'
    assert segment == f'{{"input": {{"itemId": "i1"}}, "output": {{"usersList": {left}}}, "error": null}}\n'
    record = StepFolder(str(workspace / "out/_hrnn")).require("batch_inference")
    assert [(each["name"], each["lines"]) for each in record.metadata["outputs"]] == [
        ("items.json.out", 1),
        ("users.json.out", 28),
    ]
    assert all(each["size"] == (workspace / "out" / each["name"]).stat().st_size for each in record.metadata["outputs"])


def test_a_ranker_s_neighbours_leave_too(workspace: Path, users: str) -> None:
    solution, sink = StepFolder(str(workspace / "train/for-you/bbbbbbbbbbbb")), pa.BufferOutputStream()
    manifest = solution.require("solution_version")
    states = [solution.fetch(manifest.file(shard["states"]), workspace) for shard in manifest.metadata["shards"]]
    row_of = {
        user: row
        for path in states
        for user, row in zip(*pq.read_table(path, columns=["USER_ID", "user_row"]).to_pydict().values(), strict=True)
    }
    pq.write_table(pa.table({"user_row": range(30), "item_rows": [[1]] * 30, "weights": [[0.5]] * 30}), sink)
    entry = solution.put(solution.attempt_path("ranker/neighbours.parquet"), sink.getvalue().to_pybytes(), 30)
    facts = manifest.metadata | {"ranker_neighbours": entry.path}
    files = [*manifest.files, entry]
    solution.publish("solution_version", "e" * 64, manifest.config, manifest.inputs, files, manifest.counts, facts)
    delete_users(users_uri=users, workspace_uri=str(workspace))
    manifest = solution.require("solution_version")
    left = pq.read_table(solution.fetch(manifest.file(manifest.metadata["ranker_neighbours"]), workspace))
    assert set(range(30)) - set(left["user_row"].to_pylist()) == {row_of["user 7"], row_of["user 8"]}


def test_what_users_did_with_actions_leaves_too(workspace: Path, users: str) -> None:
    rows = [(f"user {number}", "a1", "taken", 10 + number) for number in range(20)]
    taken = publish_action_interactions(str(workspace / "validate/action_interactions/eeeeeeeeeeee"), rows)
    assert delete_users(users_uri=users, workspace_uri=str(workspace))["numDeleted"] == 3 + 4 + 2
    written = export(dataset_uri=taken, output_uri=str(workspace.parent / "export"))
    [file] = store_for(written["data"]).list(written["data"])
    text = store_for(file.uri).read(file.uri).decode()
    left = [row for row in rows if row[0] not in ("user 7", "user 8")]
    assert text.splitlines() == ["USER_ID,ACTION_ID,EVENT_TYPE,TIMESTAMP", *(",".join(map(str, row)) for row in left)]


def test_the_report_proves_it_and_names_no_user(workspace: Path, users: str) -> None:
    found = delete_users(users_uri=users, workspace_uri=str(workspace))
    document = json.loads((Path(found["output"]) / "deletion.json").read_text())
    places = {Path(place["uri"]).relative_to(workspace).parts[0]: place for place in document["places"]}
    assert {name: place["state"] for name, place in places.items()} == {
        "validate": "rewritten",
        "train": "rewritten",
        "sessionize": "removed",
        "exported": "removed",
        "out": "rewritten",
    }
    assert (places["validate"]["rows_before"], places["validate"]["rows_of_users"]) == (90, 7)
    assert (places["validate"]["rows_after"], places["validate"]["rows_of_users_after"]) == (83, 0)
    assert (places["out"]["rows_of_users"], places["out"]["rows_of_users_after"]) == (3, 0)
    told = StepFolder(found["output"]).require("deletion")
    assert [entry.shown for entry in told.files] == ["deletion.json", "report.html"]
    page = (Path(found["output"]) / "report.html").read_text()
    assert page.index("<b>Deleted.</b>") < page.index("before and after")
    for text in (page, json.dumps(document)):
        assert "user 7" not in text
        assert "user 8" not in text


def test_a_second_run_finds_nothing_and_keeps_the_report(workspace: Path, users: str) -> None:
    first = delete_users(users_uri=users, workspace_uri=str(workspace))
    second = delete_users(users_uri=users, workspace_uri=str(workspace))
    assert (second["skipped"], second["numDeleted"], second["places"]) == (True, 7, first["places"])
    Path(users).write_text("USER_ID\nuser 9\n")
    third = delete_users(users_uri=users, workspace_uri=str(workspace))
    assert (third["skipped"], third["numDeleted"]) == (False, 5)


def test_a_user_who_comes_back_is_deleted_again(workspace: Path, users: str) -> None:
    delete_users(users_uri=users, workspace_uri=str(workspace))
    publish_interactions(str(workspace / "validate/interactions/aaaaaaaaaaaa"), [("user 8", "i", 1), ("user 9", "i", 1)])
    found = delete_users(users_uri=users, workspace_uri=str(workspace))
    assert (found["skipped"], found["numDeleted"], found["users_found"]) == (False, 1, 1)


@pytest.mark.usefixtures("spark")
def test_what_is_left_is_imported_into_and_exported_as_before(tmp_path: Path, users: str) -> None:
    fields = [{"name": name, "type": "string"} for name in ("USER_ID", "ITEM_ID")] + [{"name": "TIMESTAMP", "type": "long"}]
    schema = tmp_path / "schema.json"
    schema.write_text(json.dumps({"type": "record", "name": "Interactions", "fields": fields, "version": "1.0"}))
    typed = str(tmp_path / "typed")
    for number, mode in enumerate(("FULL", "INCREMENTAL")):
        data = tmp_path / "raw" / f"{number}.csv"
        data.parent.mkdir(exist_ok=True)
        data.write_text(
            "USER_ID,ITEM_ID,TIMESTAMP\n" + "".join(f"user {user},i{number},{user}\n" for user in range(6 + number, 12))
        )
        if mode == "INCREMENTAL":
            found = delete_users(users_uri=users, dataset_uris=[typed], output_uri=str(tmp_path / "deleted"))
            assert (found["numDeleted"], [each["state"] for each in found["inputs"]]) == (2, ["holds them"])
            assert (found["inputs"][0]["rows"], found["inputs"][0]["users"]) == (2, 2)
        validate(schema_uri=str(schema), data_uri=str(data), output_uri=typed, import_mode=mode, suite=False)
    export(dataset_uri=typed, output_uri=str(tmp_path / "export"))
    rows = [line for path in sorted((tmp_path / "export/data").iterdir()) for line in path.read_text().splitlines()[1:]]
    # The second import brought user 7 and user 8 back with item i1, as its file says.
    assert rows == [f"user {user},i0,{user}" for user in (6, 9, 10, 11)] + [f"user {user},i1,{user}" for user in range(7, 12)]
    page = (tmp_path / "deleted" / "report.html").read_text()
    assert "your CSV files still hold them (1 of 1)" in page


def test_documents_that_may_name_a_user_are_known_by_whole_words() -> None:
    users = Users.of(["u1", "a&b", "x.y"])
    assert users.may_be_named_in("<h3>User u1</h3>")
    assert users.may_be_named_in("<td>a&amp;b</td>")
    assert users.may_be_named_in('{"user": "x.y"}')
    assert not users.may_be_named_in("<p>u12 xu1 u1-3 xzy</p>")
    assert not users.may_be_named_in('<a class="u1">nobody</a>')


def test_s3(s3: str, users: str) -> None:
    publish_interactions(f"{s3}/typed", [("user 7", "i", 1), ("user 1", "i", 2)])
    store_for(s3).write(
        f"{s3}/out/a.json.out", b'{"input":{"userId":7},"output":null,"error":"x"}\n{"input":{"userId":"user 8"}}\n'
    )
    found = delete_users(
        users_uri=users, dataset_uris=[f"{s3}/typed"], batch_output_uris=[f"{s3}/out/"], output_uri=f"{s3}/deleted"
    )
    assert (found["numDeleted"], found["users_found"], found["status"]) == (1, 2, "COMPLETED")
    assert store_for(s3).read(f"{s3}/out/a.json.out") == b'{"input":{"userId":7},"output":null,"error":"x"}\n'
    assert [file.name.rpartition("-")[0] for file in store_for(s3).list(f"{s3}/typed/data/")] == ["part-00000"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("USER_ID,ITEM_ID\nu1,i1\n", "the list of users has another column"),
        ("ID\nu1\n", "USER_ID"),
        ("USER_ID\n", "no user is listed"),
        ("", "no user is listed"),
        ('USER_ID\nu1\n"  "\n', "line 3"),
        (f"USER_ID\n{'u' * 257}\n", "longer than 256 characters"),
    ],
)
def test_a_wrong_list_of_users_is_refused(tmp_path: Path, workspace: Path, text: str, says: str) -> None:
    path = tmp_path / "wrong.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=says):
        delete_users(users_uri=str(path), workspace_uri=str(workspace))


def test_wrong_places_are_told(tmp_path: Path, users: str) -> None:
    with pytest.raises(ConfigError, match="nothing to look through"):
        delete_users(users_uri=users)
    with pytest.raises(ConfigError, match=r"^output: "):
        delete_users(users_uri=users, dataset_uris=[str(tmp_path)])
    with pytest.raises(StorageError, match="nothing lies here"):
        delete_users(users_uri=users, workspace_uri=str(tmp_path / "none"))


def test_the_command_prints_one_line_of_json(workspace: Path, users: str) -> None:
    command = [sys.executable, "-c", "from jobs.cli import main; main()", "delete-users"]
    done = subprocess.run(
        [*command, "--users", users, "--workspace", str(workspace)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["status"] == "COMPLETED"
    assert done.stderr.startswith("Deleted. The users are gone")


def test_reports_that_name_a_user_go_and_statistics_lose_the_user(tmp_path: Path, users: str) -> None:
    uri = publish_interactions(str(tmp_path / "typed"), [("user 1", "i", 1), ("user 7", "i", 2)])
    folder = StepFolder(uri)
    manifest = folder.require("dataset")
    busiest = [{"user": user, "events_per_day": 9.5, "events": 19} for user in ("user 1", "user 7")]
    statistics = {"bots": {"worst": busiest}, "references": {"users": {"examples": ["user 8", "user 2"]}}, "rows": 2}
    told = [
        folder.put(folder.attempt_path("statistics.json"), json.dumps(statistics).encode()),
        folder.put_page("report.json", b'{"busiest": "user 7 with 9 events a day"}'),
        folder.put_page("report.html", b"<p>nobody is named</p>"),
        folder.put_page("data_docs/own.html", b"<td>user 8</td>"),
    ]
    facts = manifest.metadata | {"statistics": told[0].path, "parts": [[manifest.files_below("data")[0].path, 0]]}
    folder.publish("dataset", "3" * 64, {}, [], [*manifest.files, *told], {"rows": 2}, facts)

    delete_users(users_uri=users, dataset_uris=[uri], output_uri=str(tmp_path / "deleted"))
    left = folder.require("dataset")
    there = {file.uri.removeprefix(uri + "/") for file in store_for(uri).list(uri + "/")}
    assert there == {"manifest.json", "report.html", *(entry.path for entry in left.files)}
    assert {entry.path.rpartition("-")[0] for entry in left.files} == {"data/part-00000", "report", "statistics"}
    document = json.loads(folder.read(left.file(left.metadata["statistics"])))
    assert [each["user"] for each in document["bots"]["worst"]] == ["user 1"]
    assert document["references"]["users"]["examples"] == ["user 2"]
    assert left.metadata["parts"] == [[left.files_below("data")[0].path, 0]]
    assert left.counts["rows"] == 1


@pytest.mark.parametrize("path", ["../../../victim.parquet", "data/../../../../victim.parquet", "/victim.parquet", "", "."])
def test_a_manifest_leads_no_deletion_out_of_its_folder(workspace: Path, users: str, path: str) -> None:
    victim = workspace / "victim.parquet"
    victim.write_text("somebody's")
    sequences = workspace / "sessionize" / "sequences" / ("c" * 12) / "manifest.json"
    document = verified(sequences.read_bytes(), where="", what="", remedy="")
    document["files"].append({"path": path, "size": 10, "sha256": "0" * 64, "rows": None})
    sequences.write_bytes(with_checksum(document))
    with pytest.raises(IntegrityError, match=r"damaged manifest \(files\.1\.path"):
        delete_users(users_uri=users, workspace_uri=str(workspace))
    with pytest.raises(IntegrityError, match=r"damaged manifest \(files\.1\.path"):
        gc(workspace_uri=str(workspace))
    assert victim.read_text() == "somebody's"


@pytest.mark.parametrize("folder", ["{}/../victim/", "{}/./victim", "{}//victim", "victim", ""])
def test_a_summary_leads_no_deletion_to_another_folder(workspace: Path, users: str, folder: str) -> None:
    victim = workspace.parent / "victim" / "x.out"
    victim.parent.mkdir()
    victim.write_text('{"input": {"userId": "user 7"}, "output": {"recommendedItems": []}, "error": null}\n')
    summary = workspace / "nights" / "gen-000001" / "summary.json"
    document = verified(summary.read_bytes(), where="", what="", remedy="")
    document["steps"][0]["folder"] = folder.format(workspace)
    summary.write_bytes(with_checksum(document))
    for removing in (
        lambda: delete_users(users_uri=users, workspace_uri=str(workspace)),
        lambda: gc(workspace_uri=str(workspace)),
    ):
        with pytest.raises(IntegrityError, match=r"damaged record of a night \(steps\.0\.folder"):
            removing()
    assert "user 7" in victim.read_text()
