"""How a command ends: its status, one clear line on stderr, and JSON as the last line of stdout, whatever happened."""

from __future__ import annotations

import errno
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from jobs.cli import main
from jobs.commands import recipes
from schemas.errors import DataError
from schemas.version import VERSION

Run = Callable[[], dict[str, Any]]
Ended = tuple[int, dict[str, Any], str]


@pytest.fixture
def end_of(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[[Run], Ended]:
    """Runs a job as the command `hrnn recipes`: its status, the last line of stdout, and stderr."""

    def ended(run: Run) -> Ended:
        monkeypatch.setattr(recipes, "run", run)
        with pytest.raises(SystemExit) as caught:
            main(["recipes"])
        said, complained = capsys.readouterr()
        assert isinstance(caught.value.code, int)
        return caught.value.code, json.loads(said.splitlines()[-1]), complained

    return ended


def raising(error: BaseException) -> Run:
    def run() -> dict[str, Any]:
        raise error

    return run


def test_success_is_told_in_one_line_of_json(end_of: Callable[[Run], Ended]) -> None:
    assert end_of(lambda: {"job": "recipes", "number": 3}) == (0, {"job": "recipes", "number": 3}, "")


def test_a_job_behind_a_dash_is_run(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--", "recipes"])
    assert json.loads(capsys.readouterr().out)["job"] == "recipes"


def test_a_failed_command_says_so_in_its_last_line(end_of: Callable[[Run], Ended]) -> None:
    status, document, complained = end_of(raising(DataError("no row is right", where="a.csv")))
    assert status == 1
    assert document.pop("seconds") >= 0
    assert document == {"job": "recipes", "state": "failed", "kind": "DataError", "error": "a.csv: no row is right."}
    assert complained == "hrnn: a.csv: no row is right.\n"


def test_a_fault_of_the_platform_says_so_too(end_of: Callable[[Run], Ended]) -> None:
    status, document, complained = end_of(raising(KeyError("users")))
    assert (status, document["kind"]) == (3, "KeyError")
    assert complained == "hrnn: a fault of the platform: KeyError: 'users'. HRNN_DEBUG=1 shows where.\n"


@pytest.mark.parametrize(("number", "status", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "SIGTERM")])
def test_ctrl_c_and_sigterm_say_how_to_go_on(
    end_of: Callable[[Run], Ended], number: signal.Signals, status: int, word: str
) -> None:
    def run() -> dict[str, Any]:
        signal.raise_signal(number)
        raise AssertionError("the signal was not heard")

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
    try:
        ended, document, complained = end_of(run)
    finally:
        signal.signal(signal.SIGINT, before)
    assert (ended, document["state"]) == (status, "interrupted")
    assert word in complained
    assert complained.count("\n") == 1
    assert "run the same command again to go on" in complained


def test_an_interruption_stays_one_where_ending_what_was_started_fails(end_of: Callable[[Run], Ended]) -> None:
    def run() -> dict[str, Any]:
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            raise ConnectionRefusedError("Java has ended before")

    ended, document, complained = end_of(run)
    assert (ended, document["state"], complained.count("\n")) == (143, "interrupted", 1)


def test_wrong_usage_says_so_too(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["recipes", "--nonsense"])
    document = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (document["job"], document["state"], document["kind"]) == ("recipes", "failed", "usage")


def test_a_full_disk_is_the_users_to_mend(end_of: Callable[[Run], Ended]) -> None:
    status, _, complained = end_of(raising(OSError(errno.ENOSPC, "No space left on device", "/data/part")))
    assert (status, "/data/part: no space is left on the disk" in complained) == (1, True)


def test_a_log_level_that_is_none_is_named(monkeypatch: pytest.MonkeyPatch, end_of: Callable[[Run], Ended]) -> None:
    monkeypatch.setenv("HRNN_LOG_LEVEL", "LOUD")
    status, _, complained = end_of(lambda: {})
    assert (status, "HRNN_LOG_LEVEL" in complained, "'LOUD'" in complained) == (1, True, True)


def test_help_says_what_is_done_where_an_option_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["demo", "--help"])
    assert "[default: (this machine)]" in capsys.readouterr().out


@pytest.mark.parametrize("option", ["--version", "-V"])
def test_the_version_is_told(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main([option])
    assert capsys.readouterr() == (f"hrnn-platform {VERSION}\n", "")


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("hrnn rec", ["recommend", "recipes"]),
        ("hrnn train --hpo-", ["--hpo-jobs", "--hpo-parallel-jobs", "--hpo-ranges"]),
        ("hrnn recipes --output t", ["text"]),
    ],
)
def test_the_shell_completes_jobs_options_and_values(
    typed: str, offered: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {"_HRNN_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(len(typed.split()) - 1)}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit, match="0"):
        main([])
    assert capsys.readouterr() == ("\n".join(offered) + "\n", "")


def test_completion_can_be_installed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("typer.completion._get_shell_name", lambda: "bash")
    with pytest.raises(SystemExit, match="0"):
        main(["--show-completion"])
    assert "complete -o default -F _hrnn_completion hrnn" in capsys.readouterr().out


PROGRAM = """
import sys
from jobs.ending import run_to_end, tell
run_to_end("night", lambda: (print("working", file=sys.stderr), tell({"job": "night"})))
"""


@pytest.mark.parametrize(
    ("redirected", "status", "says"),
    [
        ("> /dev/full", 1, "stdout: no space is left"),
        (">&-", 1, "stdout: it is closed"),
        ("| true", 1, "stdout: nobody reads it"),
        ("2>&-", 0, ""),
        ("2> /dev/full", 1, ""),
        (">&- 2>&-", 1, ""),
    ],
)
def test_an_output_that_cannot_be_written_is_the_users_to_mend(redirected: str, status: int, says: str) -> None:
    script = f"set -o pipefail; {sys.executable} -c '{PROGRAM}' {redirected}"
    answer = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert answer.returncode == status, answer.stderr
    assert says in answer.stderr
    assert ("Traceback" in answer.stderr, "Exception ignored" in answer.stderr) == (False, False)
    assert answer.stderr.count("hrnn: ") == (1 if says else 0)
