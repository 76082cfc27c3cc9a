"""`make chaos-recommend`: kill batch inference and batch segments at random moments, and see that nothing but time was lost.

On a real S3 server (SeaweedFS), with outputs that are assembled of parts by the server. First a run that nobody disturbs; then
runs that lose their whole process group to SIGKILL at seeded random moments (after some time, after some request to S3, in the
midst of the assembly), again and again, until each has come to its end. Then, on a standalone cluster of two workers, a run
that loses an executor in the midst of a task which has just stored its part, and one whose straggling task Spark does twice.

At every moment each `.out` is absent or whole, and `_CHECK` means that all are there. In the end all runs have the same bytes
and the same files, no part is left, and no unfinished upload.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import re
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from fault_proxy import FaultProxy, Rule
from killed_run import BUCKET, Broken, KilledRun, Place, processes_with
from segment_solution import publish_segments
from standalone_cluster import Cluster, cluster_environment, standalone_cluster
from tiny_solution import publish_solution

from infra.local_s3 import local_s3

_PARTS = "_hrnn/parts/"
_BOUGHT = 'EXCLUDE ItemID WHERE Interactions.EVENT_TYPE IN ("buy")'
_FOR_ADULTS = 'EXCLUDE ItemID WHERE Items.GENRES IN ("horror") IF CurrentUser.AGE < 30'
_MOST_KILLS = 3  # of one run, before it may come to its end
_PROGRAM = """
import json, sys
from jobs.cli import main
from jobs.recommend import pipeline
from jobs.platform.spark import session
settings, stages = json.loads(sys.argv[1])
session._SETTINGS.update(settings)
if stages == 3:
    pipeline.MOST_BYTES_IN_WORKER = 0
main(sys.argv[2:])
"""
_SPECULATION = {
    "spark.speculation": "true",
    "spark.speculation.quantile": "0.5",
    "spark.speculation.multiplier": "1.2",
    "spark.speculation.interval": "200ms",
}


@dataclass(frozen=True)
class Work:
    """A job, and its input files.

    Attributes:
        job: "recommend" or "segment".
        options: Of the command, beside its places.
        files: Name of an input file -> its bytes.
    """

    job: str
    options: tuple[str, ...]
    files: dict[str, bytes]

    @property
    def outputs(self) -> list[str]:
        """Keys of what a run makes visible; `_CHECK` first, so that what it says is asked for after it was seen."""
        return ["out/_CHECK", *(f"out/{name}.out" for name in self.files)]


class Batch(KilledRun):
    """One run of a job, on this machine's two cores or on a cluster."""

    modules = ("jobs.cli", "jobs.recommend.job", "jobs.segment.job", "jobs.platform.storage.s3", "pyspark.sql")

    def __init__(
        self, place: Place, name: str, work: Work, *, stages: int = 1, cluster: Cluster | None = None, speculate: bool = False
    ) -> None:
        source, target = f"s3://{BUCKET}/{work.job}", f"s3://{BUCKET}/{name}/out"
        settings = json.dumps([_SPECULATION if speculate else {}, stages])
        master = "local[2]" if cluster is None else cluster.url
        places = ["--solution", f"{source}/solution", "--input", f"{source}/in/", "--output", target, "--master", master]
        super().__init__(
            place, name, [sys.executable, "-c", _PROGRAM, settings, work.job, *places, *work.options], work.outputs
        )
        self.work = work
        if cluster is not None:
            self.environment = cluster_environment(place.environment) | self.environment

    def check_output(self) -> None:
        """Every `.out` is absent or whole; where `_CHECK` is, all of them are."""
        super().check_output()
        seen = self.outputs()
        if "out/_CHECK" in seen and len(seen) < len(self.work.outputs):
            raise Broken(f"{self.name}: _CHECK is there, but of the answers only {sorted(seen)}")

    def parts(self) -> list[str]:
        """Keys of the parts that lie there now."""
        return self.place.keys(f"{self.name}/out/{_PARTS}")

    def compare(self, calm: Batch) -> None:
        """See that a finished run has left what the undisturbed one has."""
        if self.outputs() != calm.outputs():
            raise Broken(f"{self.name}: its answers differ from the undisturbed run's")
        if self.layout() != calm.layout():
            raise Broken(f"{self.name}: other files than after the undisturbed run: {self.layout()}")
        if uploads := [key for key in self.place.unfinished_uploads() if key.startswith(self.name + "/")]:
            raise Broken(f"{self.name}: unfinished uploads are left: {uploads}")


def recommend_work() -> Work:
    """Lines of known and unknown users in a large file, one of a bit more than a part, one of bad lines and an empty one."""
    lines = [json.dumps({"userId": f"user {n % 400}" if n % 10 else f"stranger {n % 400}"}) + "\n" for n in range(9000)]
    bad = b'{"userId": "user 1"}\n{"userId": 7}\nnot JSON\n\n{"userId": "user 2"}'
    return Work(
        "recommend",
        ("--num-results", "150", "--filter", f"{_BOUGHT} | {_FOR_ADULTS}"),
        {"users.json": "".join(lines).encode(), "more.json": "".join(lines[:3500]).encode(), "bad.json": bad, "none.json": b""},
    )


def segment_work() -> Work:
    """Lines of items in two files; the larger one's answers are two parts."""
    lines = [json.dumps({"itemId": f"item {n % 60}"}) + "\n" for n in range(450)]
    return Work(
        "segment",
        ("--num-results", "6000", "--filter", 'EXCLUDE UserID WHERE Users.COUNTRY IN ("Japan")'),
        {"items.json": "".join(lines).encode(), "more.json": "".join(lines[:40]).encode()},
    )


@contextmanager
def prepared(folder: Path, work: Work) -> Iterator[Place]:
    """An S3 server with a solution version and the input of a job."""
    with ExitStack() as stack:
        place = Place(stack.enter_context(local_s3(folder / "s3", [BUCKET])), folder)
        stack.callback(place.client.close)
        solution = folder / work.job / "solution"
        if work.job == "segment":
            publish_segments(str(solution), num_users=8000)
        else:
            publish_solution(str(solution), num_users=400, num_items=400)
        for path in (path for path in solution.rglob("*") if path.is_file()):
            place.client.upload_file(str(path), BUCKET, str(path.relative_to(folder)))
        for name, data in work.files.items():
            place.client.put_object(Bucket=BUCKET, Key=f"{work.job}/in/{name}", Body=data)
        yield place


def undisturbed(place: Place, work: Work, stack: ExitStack) -> tuple[Batch, float]:
    """The run that all others are compared with, and its seconds."""
    calm = stack.enter_context(Batch(place, f"{work.job}-calm", work))
    calm.begin()
    seconds = calm.finish()
    sizes = [len(data) for data in calm.outputs().values()]
    # What is sent must be read first; a PUT of a part without a GET before it is a copy by the server.
    log = calm.proxy.log
    copies = sum("partNumber" in seen.path and log[number - 1].method != "GET" for number, seen in enumerate(log))
    if len(sizes) != len(work.outputs) or copies < 2:
        raise Broken(f"{calm.name}: {len(sizes)} outputs, {copies} parts copied; too small to tell anything")
    print(
        f"{calm.name}: {seconds:.1f} s, {len(log)} requests, {sum(sizes):,} bytes, {copies} parts copied by the server",
        flush=True,
    )
    if calm.parts():
        raise Broken(f"{calm.name}: parts are left: {calm.parts()}")
    return calm, seconds


def killed_runs(place: Place, calm: Batch, seconds: float, kills: int, dice: random.Random, *, warm: bool = False) -> None:
    """Kill runs so often; each comes to its end after at most three kills. Warm: those that go on have imported all."""
    for number in itertools.count(1):
        if kills <= 0:
            return
        stages = dice.choice([1, 3]) if calm.work.job == "recommend" else 1
        with Batch(place, f"{calm.work.job}-{number}", calm.work, stages=stages) as batch:
            batch.whole = calm.outputs()
            kills -= _disturb(batch, calm, min(kills, _MOST_KILLS), seconds, dice, warm)


def _disturb(batch: Batch, calm: Batch, kills: int, seconds: float, dice: random.Random, warm: bool) -> int:
    """Kill a run up to so many times, then let it come to its end; gives how often it was killed."""
    done = 0
    while done < kills:
        batch.begin(warm=warm and done > 0)
        moment, status = _wait_for_moment(batch, calm, seconds, dice)
        if status == 0:
            break
        if status is not None:
            raise Broken(f"{batch.name}: ended with {status}; its last words:\n{batch.said()[-3000:]}")
        batch.kill()
        done += 1
        left = f"{len(batch.parts())} parts, {len(place_uploads(batch))} unfinished uploads"
        print(f"{batch.name}: killed after {moment}; {left}, {len(batch.outputs())} outputs", flush=True)
    batch.begin(warm=warm)
    print(f"{batch.name}: came to its end in {batch.finish():.1f} s", flush=True)
    batch.compare(calm)
    return done


def place_uploads(batch: Batch) -> list[str]:
    """Unfinished uploads of a run."""
    return [key for key in batch.place.unfinished_uploads() if key.startswith(batch.name + "/")]


def _wait_for_moment(batch: Batch, calm: Batch, seconds: float, dice: random.Random) -> tuple[str, int | None]:
    """Wait for a random moment; gives its name, and the status where the run ended before."""
    kind, share, first = (
        dice.choice(["time", "request", "request", "assembly", "assembly"]),
        dice.random(),
        len(batch.proxy.log),
    )
    if kind == "time":
        return f"{share * seconds:.1f} s", batch.wait(seconds=share * seconds)
    begins = next(number for number, seen in enumerate(calm.proxy.log) if seen.path.endswith("?uploads"))
    if kind == "request":
        number = int(share * len(calm.proxy.log))
        return f"request {number}", batch.wait(until=lambda: len(batch.proxy.log) >= first + number)
    number = int(share * (len(calm.proxy.log) - begins))

    def assembling() -> bool:
        log = batch.proxy.log[first:]
        began = next((position for position, seen in enumerate(log) if seen.path.endswith("?uploads")), None)
        return began is not None and len(log) > began + number

    return f"request {number} of the assembly", batch.wait(until=assembling)


@contextmanager
def cluster_of_two(place: Place, rules: Sequence[Rule]) -> Iterator[tuple[Cluster, FaultProxy]]:
    """A cluster of two hosts; its executors talk to S3 through a proxy of their own."""
    with tempfile.TemporaryDirectory(dir=place.folder, prefix="cluster-") as folder, ExitStack() as stack:
        proxy = stack.enter_context(FaultProxy(place.environment["AWS_ENDPOINT_URL_S3"], rules))
        environment = cluster_environment(place.environment) | {"AWS_ENDPOINT_URL_S3": proxy.endpoint, "HRNN_CHAOS": folder}
        yield stack.enter_context(standalone_cluster(environment, Path(folder), ("127.0.0.1", "127.0.0.2"))), proxy


def lost_executor(place: Place, calm: Batch) -> None:
    """SIGKILL an executor while a task has stored its part and not said so yet: in the third stage, a task a split."""
    rule = _straggling()
    with (
        cluster_of_two(place, [rule]) as (cluster, proxy),
        Batch(place, "executor-lost", calm.work, stages=3, cluster=cluster) as batch,
    ):
        batch.whole = calm.outputs()
        batch.begin()
        _wait_until(batch, lambda: rule.done == 1, "a task has stored its part and waits")
        split = _split(rule.struck)
        [executor] = [executor for task, executor in _running(cluster).items() if task.startswith(f"{split}.0 in stage")]
        [process] = [process for process, line in _executors(cluster).items() if f"--executor-id {executor} " in line]
        os.kill(process, signal.SIGKILL)
        seconds = batch.finish()
        # What the executor kept for others is gone too; so Spark does the task again, or with it the stages before.
        if _stored_splits(proxy).count(split) < 2:
            raise Broken(f"{batch.name}: split {split} was not done again")
        batch.compare(calm)
        print(f"{batch.name}: executor {executor} killed in split {split}; came to its end in {seconds:.1f} s more", flush=True)


def speculative_attempt(place: Place, calm: Batch) -> None:
    """A task that has stored its part waits and waits: Spark does it a second time, and one of the two counts."""
    rule = _straggling()
    with (
        cluster_of_two(place, [rule]) as (cluster, proxy),
        Batch(place, "speculation", calm.work, cluster=cluster, speculate=True) as batch,
    ):
        batch.whole = calm.outputs()
        batch.begin()
        seconds = batch.finish()
        splits = _stored_splits(proxy)
        twice = sorted({split for split in splits if splits.count(split) > 1})
        if len(twice) != 1 or not _attempts(cluster, f"{twice[0]}.1"):
            raise Broken(f"{batch.name}: one split should have been stored twice; stored: {sorted(splits)}")
        batch.compare(calm)
        print(f"{batch.name}: split {twice[0]} was done twice; came to its end in {seconds:.1f} s", flush=True)


def _stored_splits(proxy: FaultProxy) -> list[int]:
    """The splits whose parts were stored, as often as they were."""
    return [_split(seen.path) for seen in proxy.log if seen.method == "PUT" and _PARTS in seen.path]


def _split(path: str) -> int:
    """The split whose part a request is about."""
    match = re.search(r"part-(\d+)-", path)
    assert match is not None, path
    return int(match[1])


def _straggling() -> Rule:
    """The first look of a task at the part it has stored gets no answer."""
    return Rule("hang", method="HEAD", path=_PARTS, nth=1)


def _wait_until(batch: Batch, condition: Callable[[], bool], what: str) -> None:
    if batch.wait(seconds=240.0, until=condition) is not None or not condition():
        raise Broken(f"{batch.name}: it never came about that {what}:\n{batch.said()[-3000:]}")


def _executors(cluster: Cluster) -> dict[int, str]:
    """Process ids and command lines of the executors that live."""
    found = processes_with(f"HRNN_CHAOS={cluster.folder}")
    return {number: line for number, line in found.items() if "CoarseGrainedExecutorBackend" in line and "java" in line}


def _running(cluster: Cluster) -> dict[str, str]:
    """Tasks in the midst of which an executor is: `<task>.<attempt> in stage <stage>` -> number of the executor."""
    running: dict[str, str] = {}
    for log in cluster.folder.glob("worker-*/app-*/*/stderr"):
        text = log.read_text(errors="replace")
        over = set(re.findall(r"Finished task (\d+\.\d+ in stage \d+\.\d+)", text))
        begun = re.findall(r"Running task (\d+\.\d+ in stage \d+\.\d+)", text)
        running |= dict.fromkeys([task for task in begun if task not in over], log.parent.name)
    return running


def _attempts(cluster: Cluster, attempt: str) -> list[Path]:
    """Logs of the executors that began an attempt `<task>.<attempt>`."""
    logs = cluster.folder.glob("worker-*/app-*/*/stderr")
    return [log for log in logs if f"Running task {attempt} in stage" in log.read_text(errors="replace")]


def recommend_kills(kills: int, seed: int, folder: Path, *, speculate: bool = True, warm: bool = False) -> None:
    """Batch inference: killed runs, a lost executor and, where wanted, a speculative attempt."""
    work = recommend_work()
    with prepared(folder, work) as place, ExitStack() as stack:
        calm, seconds = undisturbed(place, work, stack)
        killed_runs(place, calm, seconds, kills, random.Random(seed), warm=warm)
        lost_executor(place, calm)
        if speculate:
            speculative_attempt(place, calm)


def segment_kills(kills: int, seed: int, folder: Path) -> None:
    """Batch segments: killed runs."""
    work = segment_work()
    with prepared(folder, work) as place, ExitStack() as stack:
        calm, seconds = undisturbed(place, work, stack)
        killed_runs(place, calm, seconds, kills, random.Random(seed))


def main() -> None:
    """Run all of it on a folder that goes afterwards."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=20, help="of batch inference; a quarter of it of segments")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    began = time.monotonic()
    print(f"seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="hrnn-kills-") as folder:
        try:
            recommend_kills(options.kills, options.seed, Path(folder))
            segment_kills(options.kills // 4, options.seed, Path(folder, "segments"))
        except Broken as broken:
            sys.exit(f"recommend_kills: seed {options.seed}: {broken}")
    print(f"all runs ended with the same bytes; nothing is left; {time.monotonic() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
