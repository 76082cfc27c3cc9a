from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from night_double import Jobs, sample_page, write_shop

from jobs.batch.tally import COUNTED
from jobs.nightly.configs import load_config
from jobs.nightly.decisions import plan_document
from jobs.nightly.job import brief, nightly
from jobs.nightly.plan import plan_night
from jobs.nightly.running import Runtime
from jobs.platform.storage.records import write_record
from schemas.errors import CommitLost, ConfigError, DataError, IntegrityError, StorageError

ALL = ["validate", "sessionize", "train", "evaluate", "recommend"]


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> Jobs:
    """Doubles in the place of the jobs, and of the page."""
    double = Jobs()
    monkeypatch.setattr("jobs.nightly.running.job_function", double.function)
    monkeypatch.setattr("jobs.nightly.job.night_page", lambda document, lists: sample_page())
    return double


def night(config: str) -> dict[str, Any]:
    """Run the night of a config file."""
    return nightly(config=load_config(config)[0], runtime=Runtime())


def plan(config: str) -> dict[str, tuple[bool, str]]:
    """Job -> (whether it would run, why)."""
    return {step["job"]: (step["runs"], "; ".join(step["why"])) for step in plan_document(load_config(config)[0])["steps"]}


def test_a_first_night_runs_every_step_in_order(jobs: Jobs, tmp_path: Path) -> None:
    summary = night(write_shop(tmp_path))
    assert jobs.ran == ALL
    assert (summary["state"], summary["generation"], summary["skipped"]) == ("finished", 1, False)
    folder = tmp_path / "workspace" / "nights" / "gen-000001"
    assert json.loads((folder / "summary.json").read_text())["night"] == summary["night"]
    assert (folder / "report.html").read_text().startswith("<!doctype html>")
    assert (tmp_path / "out" / "users.json.out").is_file()


def test_the_same_night_again_does_nothing(jobs: Jobs, tmp_path: Path) -> None:
    config = write_shop(tmp_path)
    first = night(config)
    jobs.ran.clear()
    again = night(config)
    assert jobs.ran == []
    assert (again["skipped"], again["generation"]) == (True, 1)
    assert again["finished"] == first["finished"]


def test_events_of_wrong_clocks_are_rejected_unless_the_night_keeps_them(jobs: Jobs, tmp_path: Path) -> None:
    config = write_shop(tmp_path)
    [step] = plan_night(load_config(config)[0]).of("validate")
    assert (step.arguments["settings"].future, step.arguments["settings"].long_categories) == ("reject", "fail")
    night(config)
    Path(config).write_text(Path(config).read_text() + '\n[validation]\nfuture = "keep"\n')
    [step] = plan_night(load_config(config)[0]).of("validate")
    assert step.arguments["settings"].future == "keep"
    assert plan(config)["validate"] == (True, 'future: "reject" → "keep"')


def with_actions(tmp_path: Path) -> str:
    """A shop with users, actions and what users did with them."""
    config = write_shop(tmp_path)
    names = {"users": "Users", "actions": "Actions", "action_interactions": "Action_Interactions"}
    for name, record in names.items():
        ids = [{"name": key, "type": "string"} for key in ("USER_ID", "ACTION_ID") if key[0] == "U" or record[0] == "A"]
        more = [{"name": "EVENT_TYPE", "type": "string"}, {"name": "TIMESTAMP", "type": "long"}]
        fields = {"Users": [ids[0], {"name": "AGE", "type": "int"}], "Actions": [ids[-1], {"name": "VALUE", "type": "long"}]}
        schema = {"type": "record", "name": record, "fields": fields.get(record, [*ids, *more])}
        (tmp_path / f"{name}.json").write_text(json.dumps(schema))
        (tmp_path / f"{name}.csv").write_text("header\n")
        with Path(config).open("a") as file:
            file.write(f'\n[datasets.{name}]\nschema = "{tmp_path}/{name}.json"\ndata = "{tmp_path}/{name}.csv"\n')
    return config


def test_a_night_imports_actions_and_action_interactions(jobs: Jobs, tmp_path: Path) -> None:
    config = with_actions(tmp_path)
    steps = {step.name: step for step in plan_night(load_config(config)[0]).of("validate")}
    assert list(steps) == ["users", "actions", "action_interactions", "interactions"]
    assert steps["action_interactions"].arguments["users_uri"] == steps["users"].folder
    assert "users_uri" in steps["interactions"].arguments
    assert "gap_seconds" in steps["interactions"].settings
    assert "items_uri" not in steps["interactions"].arguments
    assert set(steps["interactions"].inputs) & {"validate actions", "validate action_interactions"} == set()
    assert "users_uri" not in steps["actions"].arguments
    [sequences] = plan_night(load_config(config)[0]).of("sessionize")
    assert set(sequences.inputs) == {"validate users", "validate interactions"}
    summary = night(config)
    assert [step["name"] for step in summary["steps"] if step["job"] == "validate"] == list(steps)


def test_a_schema_of_another_type_is_no_schema_of_actions(jobs: Jobs, tmp_path: Path) -> None:
    config = with_actions(tmp_path)
    (tmp_path / "actions.json").write_text((tmp_path / "users.json").read_text())
    with pytest.raises(
        ConfigError, match=r"datasets\.actions\.schema: this is the schema of another dataset \(got 'Users'\). Allowed: Actions"
    ):
        night(config)


def test_new_data_make_new_folders_and_a_new_generation(jobs: Jobs, tmp_path: Path) -> None:
    config = write_shop(tmp_path)
    first = night(config)
    (tmp_path / "raw" / "more.csv").write_text("USER_ID,ITEM_ID,TIMESTAMP\n1,2,3\n")
    second = night(config)
    assert jobs.ran == ALL * 2
    assert second["generation"] == 2
    for before, after in zip(first["steps"], second["steps"], strict=True):
        assert (before["folder"] == after["folder"]) == (before["job"] == "recommend")


def test_a_changed_setting_runs_only_what_follows_it(jobs: Jobs, tmp_path: Path) -> None:
    config = write_shop(tmp_path)
    night(config)
    jobs.ran.clear()
    Path(config).write_text(Path(config).read_text().replace('"aws-hrnn"', '"aws-popularity-count"'))
    assert [job for job, (runs, _) in plan(config).items() if runs] == ["train", "evaluate", "recommend"]
    night(config)
    assert jobs.ran[0] == "train"


def test_lists_that_are_to_be_explained_are_made_again_and_told_so(jobs: Jobs, tmp_path: Path) -> None:
    config = write_shop(tmp_path)
    night(config)
    before = plan_night(load_config(config)[0]).of("recommend")[0]
    Path(config).write_text(Path(config).read_text() + "explain = true\n")
    after = plan_night(load_config(config)[0]).of("recommend")[0]
    assert "explain" not in before.settings
    assert after.settings == before.settings | {"explain": True}
    assert after.arguments["settings"] == before.arguments["settings"].model_copy(update={"explain": True})
    assert [job for job, (runs, _) in plan(config).items() if runs] == ["recommend"]
    assert "explain" in plan(config)["recommend"][1]


@pytest.mark.parametrize("job", ALL)
def test_a_failed_step_is_named_and_the_rerun_goes_on_there(jobs: Jobs, tmp_path: Path, job: str) -> None:
    config = write_shop(tmp_path)
    jobs.failing = {job}
    with pytest.raises(DataError, match="told to fail") as told:
        night(config)
    failed = tmp_path / "workspace" / "nights" / "failed.json"
    record = json.loads(failed.read_text())
    assert record["step"].split()[0] == job
    assert [step["job"] for step in record["steps"]] == ALL[: ALL.index(job)]
    assert told.value.facts == {key: record[key] for key in ("job", "output", "group", "step")}
    assert not (tmp_path / "out" / "users.json.out").exists()
    jobs.failing = set()
    summary = night(config)
    assert jobs.ran == ALL
    assert summary["generation"] == 1
    assert not failed.exists()


def test_error_lines_beyond_the_nights_bound_fail_it_and_others_are_in_its_summary(jobs: Jobs, tmp_path: Path) -> None:
    jobs.errors = 1
    config = write_shop(tmp_path)
    bounded = tmp_path / "bounded.toml"
    bounded.write_text(Path(config).read_text() + "max_error_fraction = 0.3\n")
    with pytest.raises(DataError, match=r"1 of 3 lines are error lines \(got 'no such user'\)\. Allowed: a fraction of 0\.3\."):
        night(str(bounded))
    assert not (tmp_path / "out" / "users.json.out").exists()
    generation = night(config)["generation"]
    summary = json.loads((tmp_path / f"workspace/nights/gen-{generation:06d}/summary.json").read_text())
    [lists] = [step["result"] for step in summary["steps"] if step["job"] == "recommend"]
    assert {name: lists[name] for name in COUNTED} == dict.fromkeys(COUNTED, 0) | {"lines": 3, "errors": 1}


def test_of_two_overlapping_nights_the_second_to_publish_says_that_it_lost(jobs: Jobs, tmp_path: Path) -> None:
    slow = write_shop(tmp_path)
    (tmp_path / "other").mkdir()
    fast = write_shop(tmp_path / "other", workspace=str(tmp_path / "workspace"))
    (tmp_path / "other" / "raw" / "interactions.csv").write_text("USER_ID,ITEM_ID,TIMESTAMP\n1,1,1\n")
    started: list[str] = []

    def overtaken(job: str) -> None:
        if job == "train" and not started:
            started.append(job)
            assert night(fast)["generation"] == 1

    jobs.before = overtaken
    with pytest.raises(CommitLost, match="another night of this dataset group has published"):
        night(slow)
    assert not (tmp_path / "out" / "users.json.out").exists()
    assert (tmp_path / "other" / "out" / "users.json.out").exists()
    assert night(slow)["generation"] == 2


def test_a_night_that_stood_still_after_its_claim_does_not_publish_over_a_later_one(jobs: Jobs, tmp_path: Path) -> None:
    slow = write_shop(tmp_path)
    (tmp_path / "other").mkdir()
    fast = write_shop(tmp_path / "other", workspace=str(tmp_path / "workspace"))
    (tmp_path / "other" / "raw" / "interactions.csv").write_text("USER_ID,ITEM_ID,TIMESTAMP\n1,1,1\n")
    started: list[str] = []

    def overtaken(job: str) -> None:
        if job == "recommend" and not started:
            started.append(job)
            assert night(fast)["generation"] == 2

    jobs.before = overtaken
    with pytest.raises(CommitLost):
        night(slow)
    assert not (tmp_path / "out" / "users.json.out").exists()


def test_two_runs_of_the_same_night_at_once_publish_once(jobs: Jobs, tmp_path: Path) -> None:
    config = write_shop(tmp_path)
    started: list[str] = []

    def overtaken(job: str) -> None:
        if job == "sessionize" and not started:
            started.append(job)
            night(config)

    jobs.before = overtaken
    with pytest.raises(CommitLost):
        night(config)
    assert jobs.ran.count("recommend") == 1


def test_a_night_killed_while_publishing_goes_on_under_its_number(jobs: Jobs, tmp_path: Path) -> None:
    config = write_shop(tmp_path)

    def killed(job: str) -> None:
        if job == "recommend":
            raise KeyboardInterrupt

    jobs.before = killed
    with pytest.raises(KeyboardInterrupt):
        night(config)
    jobs.before = lambda job: None
    assert night(config)["generation"] == 1


def test_the_plan_of_a_first_night_runs_all(jobs: Jobs, tmp_path: Path) -> None:
    config = write_shop(tmp_path)
    assert plan(config) == dict.fromkeys(ALL, (True, "never run"))
    assert jobs.ran == []
    assert not (tmp_path / "workspace").exists()


def test_the_plan_says_why_a_step_runs(jobs: Jobs, tmp_path: Path) -> None:
    config = write_shop(tmp_path)
    night(config)
    assert {runs for runs, _ in plan(config).values()} == {False}
    (tmp_path / "raw" / "more.csv").write_text("x")
    (tmp_path / "raw" / "interactions.csv").write_text("USER_ID,ITEM_ID,TIMESTAMP\n1,1,1\n")
    Path(config).write_text(Path(config).read_text() + "\n[sessions]\ngap_seconds = 60\n")
    why = plan(config)
    assert why["validate"] == (True, "interactions.csv changed; more.csv is new; gap_seconds: 1800 → 60")
    assert why["sessionize"] == (True, "validate interactions runs again; gap_seconds: 1800 → 60")
    assert why["train"] == (True, "sessionize sequences runs again")
    assert why["recommend"] == (True, "train for-you runs again")


def test_the_plan_sees_lists_that_somebody_removed(jobs: Jobs, tmp_path: Path) -> None:
    config = write_shop(tmp_path)
    night(config)
    (tmp_path / "out" / "_CHECK").unlink()
    assert plan(config)["recommend"] == (False, "")
    night(config)
    assert (tmp_path / "out" / "_CHECK").exists()
    (tmp_path / "out" / "users.json.out").unlink()
    assert plan(config)["recommend"] == (True, "lists are missing, or are not as they were written")


@pytest.mark.parametrize("planted", ["gen-999999999999.json", "gen-999999999999/summary.json"])
@pytest.mark.parametrize("content", [b"", b'{"generation": 999999999999, "night": "x"}', b'{"steps": []}'])
def test_a_planted_generation_is_damage_not_a_night(jobs: Jobs, tmp_path: Path, planted: str, content: bytes) -> None:
    config = write_shop(tmp_path)
    night(config)
    path = tmp_path / "workspace" / "nights" / planted
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    with pytest.raises(IntegrityError, match=rf"{planted}: damaged record of a night .*move it away, then run again"):
        night(config)


def test_the_plan_does_not_count_down_from_a_planted_generation(jobs: Jobs, tmp_path: Path) -> None:
    config = write_shop(tmp_path)
    night(config)
    nights = tmp_path / "workspace" / "nights"
    write_record(str(nights / "gen-999999999999.json"), {"generation": 999_999_999_999, "night": "x"})
    assert {runs for runs, _ in plan(config).values()} == {False}


def test_the_claim_of_another_number_is_damage(jobs: Jobs, tmp_path: Path) -> None:
    config = write_shop(tmp_path)
    night(config)
    nights = tmp_path / "workspace" / "nights"
    (nights / "gen-000007.json").write_bytes((nights / "gen-000001.json").read_bytes())
    with pytest.raises(IntegrityError, match=r"gen-000007\.json: damaged .*it is the claim of night 1"):
        night(config)


@pytest.mark.parametrize("name", ["gen-0000007.json", "gen-7.json", "gen-000007.json.bak", "gen-٠٠٠٠٠٧.json"])
def test_other_names_are_no_generations(jobs: Jobs, tmp_path: Path, name: str) -> None:
    config = write_shop(tmp_path)
    night(config)
    (tmp_path / "workspace" / "nights" / name).write_text("{}")
    assert night(config)["generation"] == 1


def test_missing_input_stops_the_night_before_anything_runs(jobs: Jobs, tmp_path: Path) -> None:
    config = write_shop(tmp_path)
    (tmp_path / "users.json").unlink()
    with pytest.raises(StorageError, match=r"users\.json"):
        night(config)
    assert jobs.ran == []


def test_lists_may_not_go_to_where_their_input_lies(jobs: Jobs, tmp_path: Path) -> None:
    config = write_shop(tmp_path)
    Path(config).write_text(Path(config).read_text().replace(f"{tmp_path}/out/", f"{tmp_path}/"))
    with pytest.raises(ConfigError, match="the output lies where the input is"):
        night(config)


def test_the_last_line_is_short_and_whole(jobs: Jobs, tmp_path: Path) -> None:
    line = brief(night(write_shop(tmp_path)))
    assert line["metrics"]["for-you"]["coverage"] == 0.3
    assert [step["name"] for step in line["steps"]] == ["interactions", "sequences", "for-you", "for-you", "users"]
    assert "\n" not in json.dumps(line)


def test_the_same_on_s3(jobs: Jobs, tmp_path: Path, s3: str) -> None:
    config = write_shop(tmp_path, workspace=f"{s3}/work")
    assert night(config)["generation"] == 1
    assert night(config)["skipped"] is True
    (tmp_path / "raw" / "more.csv").write_text("x")
    assert night(config)["generation"] == 2


def automation(folder: Path) -> Path:
    """AWS's JSON in the layout of its bucket."""
    train = folder / "train" / "shop"
    train.mkdir(parents=True)
    fields = [
        {"name": "USER_ID", "type": "string"},
        {"name": "ITEM_ID", "type": "string"},
        {"name": "TIMESTAMP", "type": "long"},
    ]
    schema = {"type": "record", "name": "Interactions", "namespace": "com.amazonaws.personalize.schema", "fields": fields}
    solution = {
        "serviceConfig": {"name": "for-you", "recipeArn": "arn:aws:personalize:::recipe/aws-hrnn"},
        "batchInferenceJobs": [{"serviceConfig": {}}],
    }
    document = {
        "datasetGroup": {"serviceConfig": {"name": "shop"}},
        "datasets": {"interactions": {"schema": {"serviceConfig": {"name": "s", "schema": schema}}}},
        "solutions": [solution],
    }
    (train / "config.json").write_text(json.dumps(document))
    (train / "interactions").mkdir()
    (train / "interactions" / "part-1.csv").write_text("USER_ID,ITEM_ID,TIMESTAMP\n")
    batch = folder / "batch" / "shop" / "for-you"
    batch.mkdir(parents=True)
    (batch / "job_config.json").write_text('{"userId": "1"}\n')
    return train / "config.json"


def test_awss_config_runs_in_its_own_layout(jobs: Jobs, tmp_path: Path) -> None:
    path = automation(tmp_path)
    config, warnings = load_config(str(path), workspace=str(tmp_path / "workspace"))
    summary = nightly(config=config, runtime=Runtime())
    assert warnings == []
    assert jobs.ran == ALL
    assert (tmp_path / "batch" / "shop" / "for-you" / "out" / "job_config.json.out").is_file()
    assert len(list((tmp_path / "workspace" / "schemas").iterdir())) == 1
    assert summary["group"] == "shop"


def test_a_folder_with_nothing_but_marks_holds_no_data(tmp_path: Path) -> None:
    path = automation(tmp_path)
    document = json.loads(path.read_text())
    document["datasets"]["users"] = document["datasets"]["interactions"]
    path.write_text(json.dumps(document))
    (path.parent / "users").mkdir()
    (path.parent / "users" / "_SUCCESS").write_text("")
    config, warnings = load_config(str(path), workspace=str(tmp_path / "workspace"))
    assert config.datasets.users is None
    assert any("datasets.users" in warning and "no data were found" in warning for warning in warnings)


def test_awss_config_needs_a_workspace(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--workspace"):
        load_config(str(automation(tmp_path)))


def test_options_for_awss_config_are_refused_with_another(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^data: this option is for AWS's JSON only"):
        load_config(write_shop(tmp_path), data="/somewhere")
