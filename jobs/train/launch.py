"""Start torchrun on this node, pass signals on, and turn a failed rank into one clear message."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch

from jobs.platform.process.children import same_modules, same_run
from jobs.platform.process.ending import TERMINATED
from jobs.platform.process.scratch import no_space
from jobs.train.options import LaunchSettings
from jobs.train.spec import NO_SPACE, WorkerSpec
from schemas.errors import ConfigError, MachineError

# Python runs a signal's handler in the main thread, when that next looks: one that waits without end does not where another
# thread received the signal.
NOTICED_SECONDS = 1.0
MEETING_SECONDS = 600  # in which all nodes must have come to the place where they meet
_MEETING = ("rdzv_endpoint", "rdzv_backend", "rdzv_id")  # torchrun's options that one node does without
MOST_PORT = 65_535
_PLACE = re.compile(r"(?:\[[0-9a-fA-F:.]+\]|[\w.-]+):([0-9]{1,5})")
_OF_OTHERS = re.compile(r"(?:PET|MASTER|TORCHELASTIC)_|(?:LOCAL_|GROUP_|ROLE_)?(?:RANK|WORLD_SIZE)$|ROLE_NAME$")


class Launch(LaunchSettings):
    """Where ranks run, seen to be possible on this machine.

    Raises:
        ConfigError: There are several nodes and no place to meet, or what is given is none; there is one node, and a place is
            given; this node is not one of them; or there are more ranks than GPUs.
    """

    def model_post_init(self, _: object) -> None:
        """See that there is a place to meet, and a GPU for each rank."""
        if self.nnodes > 1 and not self.rdzv_endpoint:
            raise ConfigError("several nodes need a place to meet", where="rdzv_endpoint", allowed="host:port")
        unused = [name for name in _MEETING if name in self.model_fields_set] if self.nnodes == 1 else []
        if unused:
            problem = "this says how several nodes meet, and there is one"
            raise ConfigError(
                problem, where=unused[0], value=getattr(self, unused[0]), remedy="Leave it out, or ask for several nodes."
            )
        place = _PLACE.fullmatch(self.rdzv_endpoint or "here:1")
        if place is None or not 1 <= int(place[1]) <= MOST_PORT:
            allowed = f"host:port, a port from 1 to {MOST_PORT}"
            raise ConfigError("this is no place to meet", where="rdzv_endpoint", value=self.rdzv_endpoint, allowed=allowed)
        if self.node_rank >= self.nnodes:
            allowed = "0" if self.nnodes == 1 else f"0 to {self.nnodes - 1}, for {self.nnodes} nodes"
            raise ConfigError("there is no such node", where="node_rank", value=self.node_rank, allowed=allowed)
        gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if 0 < gpus < (self.nproc_per_node or 1):
            raise ConfigError(
                "more ranks than GPUs",
                where="nproc_per_node",
                value=self.nproc_per_node,
                allowed=f"at most {gpus}, the GPUs of this node",
                remedy="Each rank needs a GPU of its own; with CUDA_VISIBLE_DEVICES= ranks run on this node's CPUs.",
            )

    @property
    def ranks_here(self) -> int:
        """Ranks on this node."""
        return self.nproc_per_node or max(1, torch.cuda.device_count())

    @property
    def cores(self) -> int:
        """Cores of this node that this process may use."""
        return len(os.sched_getaffinity(0))

    @property
    def threads(self) -> int:
        """CPU threads of each rank: beside GPUs this node's cores, shared out; on CPUs one.

        A step is made of kernels of microseconds. A second thread gains little on idle cores and, on busy ones, costs a
        factor of ten, because the threads wait for one another by spinning. More ranks use more cores.
        """
        return max(1, self.cores // self.ranks_here) if torch.cuda.is_available() else 1

    def command(self, answers: Path, spec_path: Path) -> list[str]:
        """The command line that starts the ranks; `answers` is where a failure is named."""
        # One node needs no name: this machine's own may mean no address.
        alone = ["--local-addr=127.0.0.1", "--rdzv-backend=c10d", "--rdzv-endpoint=127.0.0.1:0"]
        together = [
            f"--node-rank={self.node_rank}",
            f"--rdzv-backend={self.rdzv_backend}",
            f"--rdzv-endpoint={self.rdzv_endpoint}",
            f"--rdzv-id={self.rdzv_id}",
        ]
        where = [f"--nnodes={self.nnodes}", f"--rdzv-conf=join_timeout={MEETING_SECONDS}"]
        where += alone if self.nnodes == 1 else together
        ranks = f"--nproc-per-node={self.ranks_here}"
        worker = ["-m", "jobs.train.worker", "--spec", str(spec_path)]
        return [sys.executable, "-m", "jobs.train.torchrun", str(answers), *where, ranks, *worker]


def run_ranks(launch: Launch, spec: WorkerSpec, spec_path: Path) -> None:
    """Train on this node's ranks and wait for them.

    Raises:
        HrnnError: What a rank left behind.
        StorageError: A rank found the disk full.
        MachineError: Ranks died without a word.
        SystemExit: SIGTERM came; the checkpoint is written.
    """
    spec.save(spec_path)
    # Another launcher's variables would say where nodes meet, and how many there are; the options say it.
    environment = {name: value for name, value in os.environ.items() if not _OF_OTHERS.match(name)}
    environment |= {"OMP_NUM_THREADS": str(launch.threads)} | same_modules() | same_run()
    with stopping_on_sigterm() as stopping:
        command = launch.command(Path(spec.answers), spec_path)
        status = stopping.wait_for(subprocess.Popen(command, env=environment, stdout=sys.stderr, start_new_session=True))
    error = spec.reported_error()
    if error is not None:
        raise error
    if stopping.stopped:
        raise SystemExit(TERMINATED)
    if status == NO_SPACE:
        raise no_space(spec.answers)
    if status != 0:
        failure = Path(spec.answers) / "failure.txt"
        how = failure.read_text() if failure.is_file() else f"torchrun ended with status {status}"
        raise MachineError(
            f"training broke off: {how}", remedy="Run the same command again to go on from the newest checkpoint."
        )


class Stopping:
    """Whether this process received SIGTERM, and the torchruns that it must then end, whichever thread waits for them.

    Attributes:
        stopped: No torchrun is to run any more.
    """

    def __init__(self) -> None:
        self.stopped = False
        self._processes: set[subprocess.Popen[Any]] = set()

    def pass_on(self, _number: int, _frame: Any) -> None:
        """A handler of SIGTERM."""
        self.stop()

    def stop(self) -> None:
        """End every torchrun, those that are started later too."""
        self.stopped = True
        for process in list(self._processes):
            process.send_signal(signal.SIGTERM)

    def wait_for(self, process: subprocess.Popen[Any]) -> int:
        """The exit status of a torchrun; it never outlives this call."""
        self._processes.add(process)
        try:
            if self.stopped:  # before it was known here
                process.send_signal(signal.SIGTERM)
            while True:
                with suppress(subprocess.TimeoutExpired):
                    return process.wait(NOTICED_SECONDS)
        finally:
            self._processes.discard(process)
            if process.poll() is None:
                process.kill()


_CURRENT: list[Stopping] = []  # of the block that catches signals now


@contextmanager
def stopping_on_sigterm() -> Iterator[Stopping]:
    """Pass SIGTERM on to every torchrun that is started inside, by whichever thread; blocks inside one another are one."""
    if _CURRENT:
        yield _CURRENT[0]
        return
    stopping = Stopping()
    try:
        before = signal.signal(signal.SIGTERM, stopping.pass_on)
    except ValueError:  # not the main thread: a server that runs the job keeps its own handlers
        yield stopping
        return
    _CURRENT.append(stopping)
    try:
        yield stopping
    finally:
        _CURRENT.clear()
        signal.signal(signal.SIGTERM, before)
