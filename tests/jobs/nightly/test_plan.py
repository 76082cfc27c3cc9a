"""`--plan` says what the night does, whatever became of the workspace; and a night that was finished stays as it was."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from called_jobs import train
from commands import heavy_modules
from night_double import Jobs, sample_page, write_shop
from small_sequences import publish_sequences, random_histories, sequences_of
from typed_datasets import publish_interactions

from jobs.evaluate.job import evaluate
from jobs.export.job import export
from jobs.nightly.configs import load_config
from jobs.nightly.decisions import plan_document
from jobs.nightly.job import nightly
from jobs.nightly.running import Runtime
from jobs.platform.storage.folders import StepFolder
from schemas.errors import DataError
from schemas.manifest import MANIFEST_NAME, USERS_DELETED, fingerprint

CHAIN = ("validate", "sessionize", "train", "evaluate", "recommend")


class Shop:
    """A group with a finished night, and what may become of it."""

    def __init__(self, folder: Path, jobs: Jobs) -> None:
        self.folder, self.jobs = folder, jobs
        self.config = Path(write_shop(folder))

    def night(self) -> dict[str, Any]:
        return nightly(config=load_config(str(self.config))[0], runtime=Runtime())

    def planned(self) -> dict[str, str]:
        """Job -> why it runs; empty where it is done."""
        steps = plan_document(load_config(str(self.config))[0])["steps"]
        assert all(step["runs"] == bool(step["why"]) for step in steps)
        return {step["job"]: "; ".join(step["why"]) for step in steps}

    def step(self, job: str) -> StepFolder:
        """The folder of the only step of a job."""
        (manifest,) = (self.folder / "workspace" / job).rglob(MANIFEST_NAME)
        return StepFolder(str(manifest.parent))

    def file(self, job: str) -> Path:
        """The file that a step wrote."""
        folder = self.step(job)
        manifest = folder.manifest()
        assert manifest is not None
        return Path(folder.uri_of(manifest.files[0].path))

    def rewrite(self, job: str) -> None:
        """Users leave a step's folder as `delete-users` takes them out."""
        folder = self.step(job)
        manifest = folder.manifest()
        assert manifest is not None
        made = {"deletion": "u" * 64, "rows": 1, "before": manifest.fingerprint}
        entry = folder.put(folder.attempt_path("data/part-0.parquet"), b"others")
        identity = fingerprint("delete-users", {}, [manifest.fingerprint])
        facts = manifest.metadata | {USERS_DELETED: [made]}
        folder.publish(manifest.kind, identity, {}, manifest.inputs, [entry], manifest.counts, facts)

    def edit(self, old: str, new: str) -> None:
        self.config.write_text(self.config.read_text().replace(old, new))


def unmake(job: str) -> Callable[[Shop], None]:
    return lambda shop: Path(shop.step(job).uri_of(MANIFEST_NAME)).unlink()


def lose(job: str) -> Callable[[Shop], None]:
    return lambda shop: shop.file(job).unlink()


def cut(job: str) -> Callable[[Shop], None]:
    return lambda shop: shop.file(job).write_bytes(b"cut")


def remove(path: str) -> Callable[[Shop], None]:
    return lambda shop: (shop.folder / path).unlink()


def add(path: str, text: str) -> Callable[[Shop], None]:
    return lambda shop: (shop.folder / path).write_text(text) and None  # type: ignore[func-returns-value]


def edited(old: str, new: str) -> Callable[[Shop], None]:
    return lambda shop: shop.edit(old, new)


def users_leave(shop: Shop) -> None:
    shop.rewrite("validate")
    unmake("sessionize")(shop)
    shop.rewrite("train")


def touch_lists(shop: Shop) -> None:
    os.utime(shop.folder / "out" / "users.json.out", (1, 1))


def move(shop: Shop) -> None:
    shutil.move(shop.folder / "workspace", shop.folder / "moved")
    shop.edit(f"{shop.folder}/workspace", f"{shop.folder}/moved")


def fail_on_new_data(shop: Shop) -> None:
    add("raw/more.csv", "USER_ID,ITEM_ID,TIMESTAMP\n1,2,3\n")(shop)
    shop.jobs.failing = {"train"}
    with pytest.raises(DataError):
        shop.night()
    shop.jobs.failing = set()


def there_and_back(shop: Shop) -> None:
    shop.edit('"aws-hrnn"', '"aws-popularity-count"')
    shop.night()
    shop.edit('"aws-popularity-count"', '"aws-hrnn"')


def both(*steps: Callable[[Shop], None]) -> Callable[[Shop], None]:
    def do(shop: Shop) -> None:
        for step in steps:
            step(shop)

    return do


STATES: dict[str, tuple[Callable[[Shop], None], str]] = {  # -> jobs that run, in order
    "as it was": (lambda shop: None, ""),
    "nothing but the page of the night is gone": (remove("workspace/nights/gen-000001/report.html"), ""),
    "the workspace is gone": (
        lambda shop: shutil.rmtree(shop.folder / "workspace"),
        "validate sessionize train evaluate recommend",
    ),
    "the sequences and the summary are gone": (
        lambda shop: both(unmake("sessionize"), remove("workspace/nights/gen-000001/summary.json"))(shop),
        "sessionize",
    ),
    "users have left, and the summary is gone": (
        lambda shop: both(users_leave, remove("workspace/nights/gen-000001/summary.json"))(shop),
        "sessionize train evaluate recommend",
    ),
    "the workspace and the lists are gone": (
        lambda shop: [shutil.rmtree(shop.folder / name) for name in ("workspace", "out")] and None,  # type: ignore[func-returns-value]
        "validate sessionize train evaluate recommend",
    ),
    "the import was never finished": (unmake("validate"), "validate"),
    "a file of the import is gone": (lose("validate"), "validate"),
    "the sequences were never finished": (unmake("sessionize"), "sessionize"),
    "a file of the sequences is gone": (lose("sessionize"), "sessionize"),
    "the training was never finished": (unmake("train"), "train"),
    "the model is gone": (lose("train"), "train"),
    "the model is cut": (cut("train"), "train"),
    "the evaluation was never finished": (unmake("evaluate"), "evaluate"),
    "the metrics are gone": (lose("evaluate"), "evaluate"),
    "lists are gone": (remove("out/users.json.out"), "recommend"),
    "lists are cut": (add("out/users.json.out", "cut"), "recommend"),
    "lists were written again": (touch_lists, "recommend"),
    "the sign that lists are whole is gone": (remove("out/_CHECK"), ""),  # it is put back
    "the record of the lists is gone": (remove("out/_hrnn/manifest.json"), "recommend"),
    "the summary is gone": (remove("workspace/nights/gen-000001/summary.json"), ""),
    "all that nights said is gone": (lambda shop: shutil.rmtree(shop.folder / "workspace" / "nights"), ""),
    "users have left": (users_leave, "sessionize train evaluate recommend"),
    "users have left the solution version only": (lambda shop: shop.rewrite("train"), "train"),
    "users have left, and a file of the import is gone": (  # which brings them back, and all is as it was
        lambda shop: both(users_leave, lose("validate"))(shop),
        "validate sessionize train",
    ),
    "users have left, it was trained since, and a file of the import is gone": (
        lambda shop: both(users_leave, lambda shop: shop.night() and None, lose("validate"))(shop),  # type: ignore[func-returns-value]
        "validate sessionize train evaluate recommend",
    ),
    "users have left, and it was trained since": (both(users_leave, lambda shop: shop.night() and None), ""),  # type: ignore[func-returns-value]
    "new data": (add("raw/more.csv", "USER_ID\n"), "validate sessionize train evaluate recommend"),
    "others are asked for": (add("users.json", '{"userId": "2"}\n'), "recommend"),
    "another recipe": (edited('"aws-hrnn"', '"aws-popularity-count"'), "train evaluate recommend"),
    "longer lists": (edited("[batch_inference.users]", "[batch_inference.users]\nnum_results = 7"), "recommend"),
    "another recipe, and back": (there_and_back, "recommend"),
    "a night of new data failed": (fail_on_new_data, "train evaluate recommend"),
    "the training and the lists are gone": (both(unmake("train"), remove("out/users.json.out")), "train recommend"),
    "the model and the import are gone": (both(lose("train"), lose("validate")), "validate train"),
    "the workspace was moved": (move, ""),
}


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    double = Jobs()
    monkeypatch.setattr("jobs.nightly.running.job_function", double.function)
    monkeypatch.setattr("jobs.nightly.job.night_page", lambda document, lists: sample_page())
    return Shop(tmp_path, double)


@pytest.mark.parametrize("state", STATES)
def test_the_plan_is_what_the_night_does(shop: Shop, state: str) -> None:
    shop.night()
    becomes, expected = STATES[state]
    becomes(shop)
    kept = {path: path.read_bytes() for path in shop.folder.rglob("gen-*/*")}
    planned = shop.planned()
    shop.jobs.ran.clear()
    summary = shop.night()
    assert [job for job in CHAIN if planned[job]] == shop.jobs.ran == expected.split()
    assert summary["skipped"] or [step["job"] for step in summary["steps"] if not step["skipped"]] == expected.split()
    assert not any(shop.planned().values())
    assert {path: path.read_bytes() for path in kept if path.exists()} == kept


def test_a_night_that_has_something_to_do_is_a_new_one(shop: Shop) -> None:
    assert shop.night()["generation"] == 1
    assert shop.night()["generation"] == 1
    users_leave(shop)
    again = shop.night()
    assert (again["generation"], again["skipped"]) == (2, False)
    nights = shop.folder / "workspace" / "nights"
    assert [json.loads((nights / f"gen-00000{n}" / "summary.json").read_text())["generation"] for n in (1, 2)] == [1, 2]
    assert shop.night()["generation"] == 2


def test_a_new_night_of_the_same_inputs_that_is_killed_goes_on_under_its_number(shop: Shop) -> None:
    shop.night()
    lose("train")(shop)
    (shop.folder / "out" / "users.json.out").unlink()

    def killed(job: str) -> None:
        if job == "recommend":
            raise KeyboardInterrupt

    shop.jobs.before = killed
    with pytest.raises(KeyboardInterrupt):
        shop.night()
    shop.jobs.before = lambda job: None
    assert shop.night()["generation"] == 2


@pytest.mark.parametrize(
    ("state", "job", "why"),
    [
        ("the model is gone", "train", "a file of it is missing"),
        ("lists are cut", "recommend", "lists are missing, or are not as they were written"),
        ("users have left", "sessionize", "not finished"),
        ("users have left", "evaluate", "train for-you runs again"),
        ("users have left the solution version only", "train", "users were deleted from it"),
        ("longer lists", "recommend", "num_results: 25 → 7"),
    ],
)
def test_the_plan_says_why(shop: Shop, state: str, job: str, why: str) -> None:
    shop.night()
    STATES[state][0](shop)
    assert shop.planned()[job] == why


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(path.read_bytes()[:-1])], ids=["gone", "cut"])
def test_the_jobs_themselves_make_again_what_is_not_whole(tmp_path: Path, damage: Callable[[Path], Any]) -> None:
    typed = publish_interactions(str(tmp_path / "typed"), [(f"user {n}", "i", n) for n in range(9)])
    sequences = publish_sequences(sequences_of(random_histories(40, 12)), str(tmp_path / "sequences"), tmp_path)
    model, measured, exported = (str(tmp_path / name) for name in ("model", "measured", "exported"))
    jobs: list[tuple[str, Callable[[], dict[str, Any]]]] = [
        (model, lambda: train(sequences_uri=sequences, recipe="aws-popularity-count", output_uri=model)),
        (measured, lambda: evaluate(solution_uri=model, output_uri=measured)),
        (exported, lambda: export(dataset_uri=typed, output_uri=exported)),
    ]
    for uri, job in jobs:
        assert job()["skipped"] is False
        assert job()["skipped"] is True
        manifest = StepFolder(uri).manifest()
        assert manifest is not None
        damage(Path(uri, manifest.files[0].path))
        assert job()["skipped"] is False
        again = StepFolder(uri).manifest()
        assert again is not None
        assert again.fingerprint == manifest.fingerprint
        assert StepFolder(uri).is_whole(again)


def test_a_plan_of_local_files_imports_nothing_heavy(shop: Shop) -> None:
    shop.night()
    assert heavy_modules(["nightly", "--config", str(shop.config), "--plan"]) == set()
