from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import warm_python
from killed_run import processes_of

TELL = """if True:
    import json, os, sys
    threads = len(os.listdir("/proc/self/task"))
    leads = os.getsid(0) == os.getpid() == os.getpgid(0)
    files = sorted(os.listdir("/proc/self/fd"))
    print(json.dumps([sys.argv[1:], dict(os.environ), "colorsys" in sys.modules, threads, leads, files]))
    sys.exit(3)
"""


def test_a_fork_is_what_a_fresh_python_would_be_but_for_its_modules(tmp_path: Path) -> None:
    log = tmp_path / "log"
    fresh = warm_python.WarmPython()  # that of the other tests has imported what they asked for
    for modules in ([], ["colorsys"]):
        fork = fresh.start(["-c", TELL, "one", "two"], modules, {"MARK": "x"}, log)
        assert (fork.wait(), fork.poll()) == (3, 3)
    told = [json.loads(line) for line in log.read_text().splitlines()]
    assert told == [[["one", "two"], {"MARK": "x"}, imported, 1, True, ["0", "1", "2", "3"]] for imported in (False, True)]


def test_the_end_of_a_fork_is_told_as_that_of_a_child(tmp_path: Path) -> None:
    lasting = warm_python.start(["-c", "import time; time.sleep(600)"], [], {}, tmp_path / "log")
    module = warm_python.start(["-m", "compileall", "-q", str(tmp_path)], [], {}, tmp_path / "log")
    assert module.wait() == 0
    assert lasting.poll() is None
    assert list(processes_of(lasting.pid)) == [lasting.pid]
    os.killpg(lasting.pid, signal.SIGKILL)
    assert lasting.wait() == -signal.SIGKILL
    assert processes_of(lasting.pid) == {}
    broken = warm_python.start(["-c", "raise ValueError('told')"], [], {}, tmp_path / "log")
    assert broken.wait() == 1
    assert "ValueError: told" in (tmp_path / "log").read_text()
