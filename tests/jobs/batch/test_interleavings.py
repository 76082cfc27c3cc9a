"""Of runs that publish to one folder, in any order of their steps, one's answers are visible, whole, and the others know it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test
from interleaved import Run
from publishing_runs import FAULTS, Begun, Shop, answers, answers_without, shop

from jobs.batch.output_record import OutputRecord
from jobs.batch.publication import Publication
from jobs.delete_users.folders import PlaceScan, clean_output
from jobs.delete_users.users import Users
from jobs.platform.storage import store_for
from jobs.platform.storage.folders import StepFolder
from jobs.platform.storage.local import LocalStore
from jobs.platform.storage.s3 import S3Store
from schemas.errors import CommitLost, StorageError
from schemas.manifest import Manifest

PLACES = ("s3", "local")
MOST_RUNS = 3
MOMENTS = {  # before which something may have happened that a run does not know
    "s3": ["put_object", "delete_object", "create_multipart", "complete_multipart", "abort_multipart"],
    "local": ["link", "flock", "replace", "unlink", "stat"],
}


def machine_of(place: str) -> type[RuleBasedStateMachine]:
    """A machine whose runs publish to such a place."""

    class Publishing(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.stack = ExitStack()
            self.shop: Shop = self.stack.enter_context(shop(place))

        @initialize(calm=st.booleans(), of_yesterday=st.booleans())
        def open(self, calm: bool, of_yesterday: bool) -> None:
            """Half of the schedules have neither kills nor faults; half begin where somebody has published before."""
            self.calm, self.first = calm, int(of_yesterday)
            if of_yesterday:
                self.shop.begin(0).run.finish()

        @precondition(lambda self: len(self.shop.begun) < self.first + MOST_RUNS)
        @rule(identity=st.integers(0, 2), steps=st.integers(0, 120))
        def begin(self, identity: int, steps: int) -> None:
            self.shop.begin(identity).run.advance(steps)

        @precondition(lambda self: len(self.shop.begun) > self.first)
        @rule(number=st.integers(0, MOST_RUNS - 1), steps=st.integers(1, 30))
        def go_on(self, number: int, steps: int) -> None:
            for _ in range(steps):
                self._run(number).advance(1)
                self.shop.check()

        @precondition(lambda self: len(self.shop.begun) > self.first)
        @rule(number=st.integers(0, MOST_RUNS - 1), step=st.sampled_from(MOMENTS[place]))
        def come_near(self, number: int, step: str) -> None:
            self._run(number).advance_to(step)

        @precondition(lambda self: len(self.shop.begun) > self.first)
        @rule(number=st.integers(0, MOST_RUNS - 1))
        def come_to_an_end(self, number: int) -> None:
            self._run(number).finish()

        @precondition(lambda self: len(self.shop.begun) > self.first and not self.calm)
        @rule(number=st.integers(0, MOST_RUNS - 1))
        def be_killed(self, number: int) -> None:
            if not self._run(number).ended:
                self._run(number).kill()

        @precondition(lambda self: len(self.shop.begun) > self.first and not self.calm)
        @rule(number=st.integers(0, MOST_RUNS - 1), fault=st.sampled_from(FAULTS))
        def fail(self, number: int, fault: str) -> None:
            begun = self._begun(number)
            begun.run.fault = fault
            begun.faults += 1

        @invariant()
        def check(self) -> None:
            self.shop.check()

        def teardown(self) -> None:
            with self.stack:
                self.shop.settle()

        def _run(self, number: int) -> Run:
            return self._begun(number).run

        def _begun(self, number: int) -> Begun:
            begun = self.shop.begun[self.first :]
            return begun[number % len(begun)]

    return Publishing


def explore(place: str, schedules: int) -> None:
    """Let the machine try so many schedules."""
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        machine_of(place),
        settings=settings(
            max_examples=schedules,
            stateful_step_count=12,
            deadline=None,
            derandomize=True,
            phases=[Phase.generate, Phase.shrink],
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )


def stop_everywhere(place: str) -> int:
    """A run stops before one of its steps, another comes to its end, the first goes on; for each step. Gives their number."""
    for stop in itertools.count():
        with shop(place) as here:
            here.begin(0).run.finish()
            here.check()
            late = here.begin(1)
            late.run.advance(stop)
            if late.run.ended:
                return stop
            is_older = late.token != ""  # it has begun to compute
            other = here.begin(2).run
            other.finish()
            here.check()
            late.run.finish()
            here.check()
            if is_older and other.error is None:  # else the first one held the lock
                assert here.visible()["a.json.out"] == answers(2, "a.json"), "an older run's answers stand"
            here.settle()
    raise AssertionError


@pytest.mark.parametrize("place", PLACES)
def test_a_run_that_stops_anywhere_while_another_publishes_does_no_harm(place: str) -> None:
    assert stop_everywhere(place) > 50


def _step(folder_uri: str, content: bytes) -> Manifest:
    folder = StepFolder(folder_uri)
    entry = folder.put(folder.attempt_path("data/part-0.parquet"), content)
    return folder.publish("dataset", content.decode(), {}, [], [entry])


@pytest.mark.parametrize("place", PLACES)
def test_a_step_that_stops_anywhere_while_another_publishes_does_no_harm(place: str) -> None:
    """The same of folders with a manifest, whose files have names of their own."""
    for stop in itertools.count():
        with shop(place) as here:
            _step(here.output, b"yesterday")
            late = Run(lambda output=here.output: _step(output, b"late"))  # type: ignore[misc]
            late.advance(stop)
            if late.ended:
                break
            other = Run(lambda output=here.output: _step(output, b"other"))  # type: ignore[misc]
            other.finish()
            late.finish()
            folder = StepFolder(here.output)
            manifest = folder.require("dataset")
            assert folder.read(manifest.files[0]) == manifest.fingerprint.encode()
            told = {each.fingerprint: run.error for each, run in [(run.result, run) for run in (late, other) if run.result]}
            assert manifest.fingerprint in told, "who is there was told that it lost"
            assert all(isinstance(run.error, CommitLost | StorageError | None) for run in (late, other))
            there = [file.name for file in store_for(here.output).list(here.output + "/data/")]
            if not isinstance(other.error, StorageError):  # the first one held the lock; what the other left goes another day
                assert there == [manifest.files[0].path.removeprefix("data/")]
    assert stop > 5


def _told(folder_uri: str, content: bytes) -> Manifest:
    folder = StepFolder(folder_uri)
    done = folder.manifest()
    if done is not None and done.fingerprint == content.decode():
        folder.show()
        return done
    return folder.publish("comparison", content.decode(), {}, [], [folder.put_page("report.html", content)])


@pytest.mark.parametrize("is_killed", [False, True])
@pytest.mark.parametrize("place", PLACES)
def test_the_page_is_that_of_the_run_that_published_wherever_another_stops(place: str, is_killed: bool) -> None:
    """And where one is killed between its publication and its page, the next run shows it, though there is nothing to do."""
    for stop in itertools.count():
        with shop(place) as here:
            _told(here.output, b"yesterday")
            late = Run(lambda output=here.output: _told(output, b"late"))  # type: ignore[misc]
            late.advance(stop)
            if late.ended:
                break
            other = Run(lambda output=here.output: _told(output, b"other"))  # type: ignore[misc]
            if is_killed:
                late.kill()
            other.finish()
            late.finish()
            assert all(run.is_killed or isinstance(run.error, CommitLost | StorageError | None) for run in (late, other))
            folder = StepFolder(here.output)
            manifest = folder.require("comparison")
            assert folder.read(manifest.file("report.html")) == manifest.fingerprint.encode()
            shown = f"{here.output}/report.html"
            if is_killed:
                _told(here.output, manifest.fingerprint.encode())
            assert store_for(shown).read(shown) == manifest.fingerprint.encode()
    assert stop > 5


@pytest.mark.parametrize("place", PLACES)
def test_a_run_that_is_killed_before_its_page_is_shown_has_it_shown_by_the_next(place: str) -> None:
    with shop(place) as here:
        _told(here.output, b"yesterday")
        killed = Run(lambda: _told(here.output, b"killed"))
        while StepFolder(here.output).require("comparison").fingerprint == "yesterday":
            killed.advance(1)
        killed.kill()
        shown = f"{here.output}/report.html"
        assert store_for(shown).read(shown) == b"yesterday"
        _told(here.output, b"killed")
        assert store_for(shown).read(shown) == b"killed"


def test_a_copy_of_a_page_that_a_kill_cut_short_goes_with_the_next_run() -> None:
    for stop in itertools.count():
        with shop("s3") as here:
            _told(here.output, b"yesterday")
            killed = Run(lambda output=here.output: _told(output, b"killed"))  # type: ignore[misc]
            while StepFolder(here.output).require("comparison").fingerprint == "yesterday":
                killed.advance(1)
            killed.advance(stop)
            if killed.ended:
                break
            killed.kill()
            _told(here.output, b"killed")
            assert here.memory is not None
            assert not here.memory.pending
    assert stop > 2


@pytest.mark.parametrize("place", PLACES)
def test_a_page_that_leaves_while_it_is_shown_is_not_shown(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a deletion takes a user out of a folder, and a rerun that finds nothing to do stands somewhere in between."""
    monkeypatch.setattr(S3Store, "abort_uploads", lambda *_: 0)  # it drops what was staged before the other run began, only
    for stop in itertools.count():
        with shop(place) as here:
            _told(here.output, b"named")
            shown = f"{here.output}/report.html"
            store_for(shown).delete([shown])
            late = Run(lambda output=here.output: StepFolder(output).show())  # type: ignore[misc]
            late.advance(stop)
            if late.ended:
                break
            other = Run(lambda output=here.output: StepFolder(output).publish("comparison", "without", {}, [], []))  # type: ignore[misc]
            other.finish()
            is_published = other.error is None
            store_for(shown).delete([shown] if is_published else [])
            late.finish()
            assert late.error is None
            assert (store_for(shown).stat(shown) is None) == is_published
    assert stop > 5


def test_users_are_not_deleted_from_answers_that_are_being_published() -> None:
    with shop("local") as here:
        killed = here.begin(0).run
        killed.advance_to("replace", 40)
        while here.record() is None:
            killed.advance(1)
        killed.kill()
        with pytest.raises(StorageError, match=r"a batch job is publishing here, or was killed .*Wait for its end"):
            clean_output(PlaceScan(here.output, "batch output"), Users.of(["1"]))


@pytest.mark.parametrize("place", PLACES)
def test_a_run_that_is_interrupted_anywhere_leaves_nothing(place: str) -> None:
    """Ctrl-C and SIGTERM are no SIGKILL: parts and what was staged go, but for what it was just removing."""
    for stop in itertools.count(1, 3):
        with shop(place) as here:
            here.begin(0).run.finish()
            run = here.begin(1).run
            run.advance(stop)
            if run.ended:
                break
            run.fault, at = "interrupted", run.next
            run.finish()
            here.check()
            assert isinstance(run.error, KeyboardInterrupt)
            assert not here.leftovers() or at.startswith("unlink"), (at, here.leftovers())
    assert stop > 50


@pytest.mark.parametrize("fault", ["lost answer", "repeated"])
def test_a_run_whose_request_is_done_twice_leaves_nothing(fault: str) -> None:
    """As where the answer to the beginning of an upload gets lost: it has no name then, and must go all the same."""
    finished = 0
    for stop in itertools.count(1):
        with shop("s3") as here:
            run = here.begin(0).run
            run.advance(stop)
            if run.ended:
                break
            run.fault, at = fault, run.next
            run.finish()
            here.check()
            if run.error is None:
                finished += 1
                assert not here.leftovers(), (at, here.leftovers())
    assert finished > 20


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("first", ["the deletion", "the batch job"])
def test_a_deletion_of_users_and_a_batch_job_that_stop_anywhere_do_each_other_no_harm(place: str, first: str) -> None:
    """A deletion that read yesterday's lists must not write them over today's."""
    for stop in itertools.count():
        with shop(place) as here:
            here.begin(0).run.finish()
            here.check()
            here.leaving = Users.of(["1"])
            found = PlaceScan(here.output, "batch output")

            def deletion(found: PlaceScan = found, users: Users = here.leaving) -> Run:
                return Run(lambda: clean_output(found, users))

            late = deletion() if first == "the deletion" else here.begin(1).run
            late.advance(stop)
            if late.ended:
                break
            other = here.begin(1).run if first == "the deletion" else deletion()
            other.finish()
            here.check()
            late.finish()
            here.check()
            job, cleaning = (other, late) if first == "the deletion" else (late, other)
            assert isinstance(cleaning.error, CommitLost | StorageError | None), repr(cleaning.error)
            if job.error is None:
                assert here.visible()["a.json.out"] in (answers(1, "a.json"), answers_without(1, "a.json", here.leaving))
            here.settle()
    assert stop > 10


@pytest.mark.parametrize("place", PLACES)
def test_of_runs_in_any_order_ones_answers_are_whole(place: str, pytestconfig: pytest.Config) -> None:
    explore(place, pytestconfig.getoption("schedules"))


@contextmanager
def _whoever_holds_it(*_: object) -> Iterator[None]:
    yield


def _unconditional(record: OutputRecord) -> Manifest | None:
    record.found = record.folder.versioned()
    record.write(record.claim_of([]))
    return record.found and record.found[1]


WITHOUT: dict[str, tuple[str, dict[str, Callable[..., object]], type]] = {
    "the fence on S3": ("s3", {"_fence": lambda *_: None, "_uploads": lambda *_, **__: []}, Publication),
    "the lock of local files": ("local", {"_holding": _whoever_holds_it}, LocalStore),
    "the condition of the claim": ("s3", {"claim": _unconditional}, OutputRecord),
    "putting back what a late run took away": ("s3", {"_put_check_back": lambda *_: None}, Publication),
}


@pytest.mark.parametrize("missing", WITHOUT)
def test_what_goes_wrong_without_it_is_seen(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    place, replacements, owner = WITHOUT[missing]
    for name, replacement in replacements.items():
        monkeypatch.setattr(owner, name, replacement)
    with pytest.raises(AssertionError):
        stop_everywhere(place)
