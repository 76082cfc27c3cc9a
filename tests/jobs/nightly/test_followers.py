"""Other nodes join node 0's trainings, and end when it fails, is interrupted, or dies without a word."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from night_double import Jobs, sample_page, write_shop

from jobs.nightly import followers, heartbeat
from jobs.nightly.configs import load_config
from jobs.nightly.followers import _ending_with
from jobs.nightly.heartbeat import SILENT_SECONDS, Beat, Heartbeat, Watch
from jobs.nightly.job import follow, nightly
from jobs.nightly.running import Runtime
from jobs.platform.storage import join, store_for
from jobs.platform.storage.records import write_record
from jobs.train.launch import Launch
from schemas.config import NightlyConfig
from schemas.errors import DataError, MachineError

TWO_NODES = Runtime(launch=Launch(nnodes=2, rdzv_endpoint="nowhere:29500"))


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> Jobs:
    """Doubles in the place of the jobs and of the page, and nodes that look often."""
    double = Jobs()
    monkeypatch.setattr("jobs.nightly.running.job_function", double.function)
    monkeypatch.setattr("jobs.nightly.job.night_page", lambda document, lists: sample_page())
    monkeypatch.setattr(followers, "FOLLOW_SECONDS", 0.01)
    monkeypatch.setattr(heartbeat, "BEAT_SECONDS", 0.01)
    return double


@pytest.fixture
def config(tmp_path: Path) -> NightlyConfig:
    return load_config(write_shop(tmp_path))[0]


@contextmanager
def led(config: NightlyConfig) -> Iterator[list[BaseException]]:
    """Node 0, which begins a little later than the others."""
    told: list[BaseException] = []

    def lead() -> None:
        time.sleep(0.05)
        try:
            nightly(config=config, runtime=TWO_NODES)
        except BaseException as error:
            told.append(error)

    thread = threading.Thread(target=lead)
    thread.start()
    try:
        yield told
    finally:
        thread.join(60)


def test_another_node_joins_each_training_when_its_turn_has_come(jobs: Jobs, config: NightlyConfig) -> None:
    joined, main = threading.Event(), threading.current_thread()

    def meet(job: str) -> None:
        """As ranks do, node 0 waits in its training for the other node."""
        if job == "train" and threading.current_thread() is main:
            assert jobs.ran == ["validate", "sessionize"]
            joined.set()
        elif job == "train":
            assert joined.wait(60)

    jobs.before = meet
    with led(config) as told:
        assert follow(config=config, runtime=TWO_NODES)["followed"] == ["for-you"]
    assert told == []
    joined.clear()
    with led(config) as told:
        joined.set()
        assert follow(config=config, runtime=TWO_NODES)["followed"] == []  # nothing was left to train
    assert told == []


@pytest.mark.parametrize("job", ["validate", "sessionize"])
def test_another_node_ends_when_the_night_fails(jobs: Jobs, config: NightlyConfig, job: str) -> None:
    jobs.failing = {job}
    with (
        led(config) as told,
        pytest.raises(MachineError, match=rf"leader\.json: the night failed on node 0: {job}: the double was told to fail\."),
    ):
        follow(config=config, runtime=TWO_NODES)
    assert isinstance(told[0], DataError)


def test_another_node_ends_when_the_night_is_interrupted(jobs: Jobs, config: NightlyConfig) -> None:
    def interrupted(job: str) -> None:
        raise SystemExit(143)

    jobs.before = interrupted
    with led(config) as told, pytest.raises(MachineError, match="the night was interrupted on node 0"):
        follow(config=config, runtime=TWO_NODES)
    assert isinstance(told[0], SystemExit)


class Node:
    """Another node that looks at a workspace, with a clock of its own."""

    def __init__(self, workspace: str) -> None:
        self.now = 1e6  # far from everybody's
        self.watch = Watch(workspace, "tonight", clock=lambda: self.now)
        self.uri = join(workspace, "nights", "leader.json")

    def hear(self, number: int, **said: Any) -> None:
        write_record(self.uri, Beat(token="a" * 12, number=number, **{"night": "tonight", **said}).model_dump())

    def after(self, seconds: float) -> Beat | None:
        self.now += seconds
        return self.watch.look()


@pytest.fixture(params=["local", "moto"])
def node(request: pytest.FixtureRequest, tmp_path: Path) -> Node:
    return Node(request.getfixturevalue("s3") if request.param == "moto" else str(tmp_path))


def test_a_node_0_that_never_begins_is_not_waited_for_without_end(node: Node) -> None:
    assert node.after(SILENT_SECONDS - 1) is None
    with pytest.raises(MachineError, match=r"node 0 has not begun this night for 600 seconds\. .*start all nodes again"):
        node.after(2)


def test_a_node_0_that_was_killed_is_told_by_its_silence(node: Node) -> None:
    for number in range(5):
        node.hear(number, step="train for-you")
        found = node.after(SILENT_SECONDS - 1)
        assert found is not None
        assert found.step == "train for-you"
    with pytest.raises(MachineError, match="node 0 was not heard of for 600 seconds"):
        node.after(2 + SILENT_SECONDS)


@pytest.mark.parametrize("state", ["running", "failed", "ended", "finished"])
def test_what_an_earlier_run_said_is_not_this_nights(tmp_path: Path, state: str) -> None:
    before = Node(str(tmp_path))
    before.hear(7, state=state)
    node = Node(str(tmp_path))
    assert node.after(1) is None
    node.hear(1)
    assert node.after(1) is not None


def test_a_node_0_with_other_data_is_not_followed(node: Node) -> None:
    node.hear(1, night="another")
    with pytest.raises(MachineError, match="node 0 runs another night"):
        node.after(1)


def test_a_beat_that_cannot_be_read_is_silence(node: Node) -> None:
    node.hear(1)
    assert node.after(1) is not None
    store_for(node.uri).write(node.uri, b'{"state": "failed"}')
    assert node.after(1) is not None
    store_for(node.uri).delete([node.uri])
    with pytest.raises(MachineError, match="was not heard of"):
        node.after(SILENT_SECONDS)


def test_node_0_goes_on_where_it_cannot_say_that_it_is_alive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "BEAT_SECONDS", 0.001)
    (tmp_path / "nights").write_text("no folder")
    with Heartbeat(str(tmp_path), "tonight").beating():
        time.sleep(0.02)


def test_a_training_ends_when_node_0_dies(jobs: Jobs, node: Node) -> None:
    node.hear(1, step="train for-you")
    node.after(1)
    before = signal.signal(signal.SIGTERM, lambda *_: (_ for _ in ()).throw(SystemExit(143)))
    node.now += SILENT_SECONDS + 1
    try:
        with pytest.raises(MachineError, match="was not heard of"), _ending_with(node.watch):
            time.sleep(60)
    finally:
        signal.signal(signal.SIGTERM, before)
