"""How a command ends: its status, one clear line on stderr, and JSON as the last line of stdout, whatever happened."""

from __future__ import annotations

import errno
import importlib
import inspect
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from jobs.cli import main
from jobs.recipes import __main__ as recipes
from jobs.train.options import LaunchSettings
from schemas.errors import ConfigError, DataError
from schemas.settings import Settings
from schemas.solutions import TrainSettings
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


PLACES = ["--sequences", "a", "--output", "b"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["recipes", "--nonsense"], "no such option: --nonsense. See hrnn recipes --help."),
        (
            ["recipes", "--output", "yaml"],
            "--output: this is not one of the values (got 'yaml'). Allowed: text, json. See hrnn recipes --help.",
        ),
        (
            ["filter", "nope", "x"],
            "action: this is not one of the values (got 'nope'). Allowed: check. See hrnn filter --help.",
        ),
        (
            ["train", *PLACES, "--epochs", "x"],
            "--epochs: a whole number is needed (got 'x'). Allowed: 1 or more. See hrnn train",
        ),
        (
            ["train", *PLACES, "--hpo-jobs", "99"],
            "--hpo-jobs: the number is too large (got '99'). Allowed: 1 to 40.",
        ),
        (["train", *PLACES, "--seed", str(2**63)], f"(got '{2**63}'). Allowed: 0 to {2**63 - 1}. See hrnn train"),
        (["train", *PLACES, "--nproc-per-node", "1000000"], "(got '1000000'). Allowed: 1 to 1024. See hrnn train"),
        (["train", *PLACES, "--time-limit", "nan"], "--time-limit: a finite number is needed (got 'nan')"),
        (["train", *PLACES, "--time-limit", "a\nb"], r"(got 'a\nb')"),
        (["train", "--output", "b"], "missing option '--sequences'. See hrnn train --help."),
        (["train", *PLACES, "more\nwords"], r"unexpected extra argument(s) (more\x0awords). See hrnn train --help."),
        (["train", *PLACES, "--hpo=true"], "option '--hpo' does not take a value. See hrnn train --help."),
        (["gc", "--workspace"], "option '--workspace' requires an argument. See hrnn gc --help."),
        (["recipes", "--output"], "option '--output' requires an argument. See hrnn recipes --help."),
        (["filter"], "missing argument 'action'. Choose from: check. See hrnn filter --help."),
        (["filter", "check"], "give one expression, or --stdin. See hrnn"),
    ],
)
def test_wrong_usage_says_option_value_and_what_is_allowed(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    said, complained = capsys.readouterr()
    document = json.loads(said.splitlines()[-1])
    assert (document["job"], document["state"], document["kind"]) == (arguments[0], "failed", "usage")
    assert says in document["error"]
    assert complained == f"hrnn: {document['error']}\n"


def test_a_job_that_is_none_is_met_with_the_one_that_was_meant(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["trian"])
    assert capsys.readouterr() == ("", "hrnn: no such command 'trian'. Did you mean 'train'? See hrnn --help.\n")


def test_no_job_at_all_is_answered_with_help_and_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([])
    said, complained = capsys.readouterr()
    assert ("sessionize" in said, complained) == (True, "")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["train", "--sequences", "", "--output", "b"], "--sequences: the path is empty"),
        (["train", "--sequences", "a", "--output", ""], "--output: the path is empty"),
        (
            ["train", "--sequences", "hdfs://x/y", "--output", "b"],
            "--sequences: this kind of place is not known (got 'hdfs://x/y')",
        ),
        (["compare", "", "b"], "OLD.out: the path is empty"),
        (["gc", "--workspace", "s3:/x"], "--workspace: an S3 URI has two slashes"),
    ],
)
def test_a_place_that_is_none_is_named_by_its_option(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="1"):
        main(arguments)
    assert capsys.readouterr().err.startswith(f"hrnn: {says}")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            ["train", *PLACES, "--events-config", "[1]"],
            "--events-config[0]: this is no rule of events (got 1). Allowed: ",
        ),
        (["train", *PLACES, "--event-value-threshold", "x"], "--event-value-threshold: this is no threshold (got 'x')"),
        (
            ["train", *PLACES, "--nnodes", "2", "--rdzv-endpoint", "nohost:x"],
            "--rdzv-endpoint: this is no place to meet (got 'nohost:x')",
        ),
        (["train", *PLACES, "--node-rank", "5"], "--node-rank: there is no such node (got 5)"),
        (
            ["train", *PLACES, "--auto-ml", "--recipe", "aws-sims"],
            "--auto-ml: AutoML chooses the recipe itself (got 'aws-sims')",
        ),
        (["train", *PLACES, "--hpo-jobs", "8"], "--hpo-jobs: this says how --hpo is done, which is not asked for."),
        (
            ["train", *PLACES, "--hpo-ranges", "{}", "--hpo-parallel-jobs", "2"],
            "--hpo-parallel-jobs, --hpo-ranges: this says how --hpo is done",
        ),
        (
            ["train", *PLACES, "--variant", "one"],
            "--variant: there is no such variant of HRNN (got 'one'). Allowed: init, all.",
        ),
        (["train", *PLACES, "--recipe", "x"], "--recipe: there is no such recipe (got 'x')"),
        (
            ["train", *PLACES, "--hyperparameters", '{"bptt": 99}'],
            "--hyperparameters.bptt: the number is out of range (got 99)",
        ),
        (
            ["train", *PLACES, "--hpo", "--hpo-ranges", '{"bptt": [9, 2]}'],
            "--hpo-ranges.bptt: this is no range (got [9.0, 2.0]). Allowed: [least, most].",
        ),
        (["train", *PLACES, "--hpo", "--hpo-ranges", '{"bptt": 9}'], "--hpo-ranges.bptt: a list is needed (got 9)."),
        (["train", *PLACES, "--recipe", "aws-sims", "--hpo", "--epochs", "3"], "--epochs: this has no effect: aws-sims is"),
        (["train", *PLACES, "--recipe", "aws-sims", "--variant", "init"], "--variant: this has no effect: aws-sims is"),
        (["train", *PLACES, "--rdzv-backend", "c10d"], "--rdzv-backend: this says how several nodes meet, and there is one"),
        (["filter", "check", "x", "--values", "{}"], "--values: this says how a filter is tried on a solution version"),
        (
            ["filter", "check", "x", "--past-events", "5"],
            "--past-events: this says how a filter is tried on a solution version",
        ),
        (["gc", "--workspace", "w", "--older-than", "x"], "--older-than: this is no age (got 'x')"),
        (["delete-users", "--users", "u"], "--workspace: nothing to look through is named"),
        (
            ["validate", "--schema", "a", "--data", "b", "--output", "c", "--import-mode", "ALL"],
            "--import-mode: this import mode is not known (got 'ALL'). Allowed: FULL, INCREMENTAL.",
        ),
        (
            ["validate", "--schema", "a", "--data", "b", "--output", "c", "--import-mode", "x"],
            "--import-mode: this import mode is not known (got 'x'). Allowed: FULL, INCREMENTAL.",
        ),
        (
            ["validate", "--schema", "a", "--data", "b", "--output", "c", "--long-categories", "X"],
            "--long-categories: this is not known (got 'X'). Allowed: fail, reject.",
        ),
        (["train", *PLACES, "--recipe", "aws-item-affinity", "--split", "all_users"], "--split: this has no effect: aws-item-"),
        (
            ["sessionize", "--interactions", "a", "--output", "b", "--shards", "0"],
            "--shards: this number of shards is out of range (got 0). Allowed: a whole number from 1 to 10,000.",
        ),
        *(
            ([*command, "--master", "foo"], "--master: this is no Spark master (got 'foo'). Allowed: local, local[N]")
            for command in (
                ["validate", "--schema", "a", "--data", "b", "--output", "c"],
                ["sessionize", "--interactions", "a", "--output", "b"],
                ["recommend", "--solution", "s", "--input", "i", "--output", "o"],
                ["segment", "--solution", "s", "--input", "i", "--output", "o"],
                ["export", "--dataset", "a", "--output", "b"],
                ["nightly", "--config", "a"],
                ["demo"],
            )
        ),
        *(
            (
                ["recommend", "--solution", "s", "--input", "i", "--output", "o", "--max-error-fraction", value],
                f"--max-error-fraction: must be between 0 and 1 (got '{value}').",
            )
            for value in ("nan", "2", "True")
        ),
    ],
)
def test_an_option_that_makes_no_sense_is_refused_in_one_line(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="1"):
        main(arguments)
    complained = capsys.readouterr().err
    assert complained.startswith(f"hrnn: {says}")
    assert complained.count("\n") == 1


@pytest.mark.parametrize("job", ["recommend", "segment", "sessionize", "train", "validate"])
@pytest.mark.parametrize("settings", [None, {"recipe": "aws-hrnn"}, Settings()])
def test_a_job_that_python_calls_without_its_settings_says_which_they_are(job: str, settings: Any) -> None:
    function = getattr(importlib.import_module(f"jobs.{job}.job"), job)
    places = {name: "a" for name, each in inspect.signature(function).parameters.items() if each.default is each.empty}
    with pytest.raises(ConfigError, match=rf"^settings must be {job.capitalize()}Settings \(got .*\)"):
        function(**places | {"settings": settings})


@pytest.mark.parametrize("launch", [{"nnodes": 2}, LaunchSettings()])
def test_a_launch_that_is_none_is_refused(launch: Any) -> None:
    from jobs.train.job import train

    with pytest.raises(ConfigError, match=r"^launch must be Launch \(got"):
        train(sequences_uri="a", output_uri="b", settings=TrainSettings(), launch=launch)


def test_a_broken_connection_is_no_closed_output(end_of: Callable[[Run], Ended]) -> None:
    status, document, complained = end_of(raising(BrokenPipeError(errno.EPIPE, "Broken pipe")))
    assert (status, document["kind"], "BrokenPipeError" in complained) == (3, "BrokenPipeError", True)


def test_a_full_disk_is_the_users_to_mend(end_of: Callable[[Run], Ended]) -> None:
    status, _, complained = end_of(raising(OSError(errno.ENOSPC, "No space left on device", "/data/part")))
    assert (status, "/data/part: no space is left on the disk" in complained) == (1, True)


def test_a_log_level_that_is_none_is_named(monkeypatch: pytest.MonkeyPatch, end_of: Callable[[Run], Ended]) -> None:
    monkeypatch.setenv("HRNN_LOG_LEVEL", "LOUD")
    status, _, complained = end_of(lambda: {})
    assert (status, "HRNN_LOG_LEVEL" in complained, "'LOUD'" in complained) == (1, True, True)


def test_help_says_what_is_done_where_an_option_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["recipes", "--help"])
    assert "[default: (text on a terminal, else json)]" in capsys.readouterr().out


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


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"_HRNN_COMPLETE": "nonsense"}, "_HRNN_COMPLETE: "),
        ({"_HRNN_COMPLETE": "complete_csh"}, "_HRNN_COMPLETE: "),
        ({"_HRNN_COMPLETE": "complete_bash"}, "COMP_WORDS: "),
        ({"_HRNN_COMPLETE": "complete_bash", "COMP_WORDS": "hrnn rec"}, "COMP_CWORD: "),
        ({"_HRNN_COMPLETE": "complete_bash", "COMP_WORDS": "hrnn rec", "COMP_CWORD": "x"}, "COMP_CWORD: "),
    ],
)
def test_a_wrong_request_for_completion_is_named(
    settings: dict[str, str], named: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit, match="1"):
        main([])
    said, complained = capsys.readouterr()
    assert (said, complained.count("\n")) == ("", 1)
    assert complained.startswith(f"hrnn: {named}")


def test_completion_can_be_installed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("typer.completion._get_shell_name", lambda: "bash")
    with pytest.raises(SystemExit, match="0"):
        main(["--show-completion"])
    assert "complete -o default -F _hrnn_completion hrnn" in capsys.readouterr().out


PROGRAM = """
import sys
from jobs.platform.process.ending import run_to_end, print_result
run_to_end("night", lambda: (print("working", file=sys.stderr), print_result({"job": "night"})))
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
    assert "HRNN_SCRATCH" not in answer.stderr
    assert ("Traceback" in answer.stderr, "Exception ignored" in answer.stderr) == (False, False)
    assert answer.stderr.count("hrnn: ") == (1 if says else 0)


def hrnn_in_shell(line: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run a line of bash where `hrnn` is the command."""
    script = f'set -o pipefail; hrnn() {{ {sys.executable} -m hrnn "$@"; }}; {line}'
    return subprocess.run(["bash", "-c", script], capture_output=True, check=False, env=os.environ | environment)


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    "command", ["hrnn --help", "hrnn train --help", "hrnn --version", "hrnn recipes --output text", "hrnn recipes"]
)
@pytest.mark.parametrize(
    ("redirected", "says"), [("> /dev/full", b"stdout: no space is left"), ("| true", b"stdout: nobody reads")]
)
def test_all_that_is_printed_ends_alike_where_it_cannot_be(command: str, redirected: str, says: bytes, unbuffered: str) -> None:
    answer = hrnn_in_shell(f"{command} {redirected}", PYTHONUNBUFFERED=unbuffered)
    assert (answer.returncode, answer.stderr.count(b"\n"), b"HRNN_SCRATCH" in answer.stderr) == (1, 1, False), answer.stderr
    assert answer.stderr.startswith(b"hrnn: " + says)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
@pytest.mark.parametrize("command", ["hrnn recipes --output text", "hrnn train --help", "hrnn train --nonsense…"])
def test_every_encoding_can_be_printed_in(command: str, encoding: str) -> None:
    answer = hrnn_in_shell(command, PYTHONIOENCODING=encoding, LC_ALL="C")
    assert answer.returncode == (2 if "nonsense" in command else 0), answer.stderr
    assert len(answer.stdout.decode(encoding)) > 100


@pytest.mark.parametrize("name", ["COLUMNS", "TERMINAL_WIDTH"])
@pytest.mark.parametrize("width", ["0", "x", "-5", "1", "²", "1000000000", ""])
def test_a_width_that_no_terminal_has_is_not_taken(name: str, width: str) -> None:
    answer = hrnn_in_shell("hrnn --help", **{name: width})
    assert (answer.returncode, answer.stderr) == (0, b"")
    assert b"sessionize" in answer.stdout
    assert len(answer.stdout) < 20_000
