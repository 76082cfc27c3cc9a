"""What other programs, the host and the user id leave around a run does not mislead it."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from hostile_surroundings import OF_ANOTHER_SPARK, run_there
from small_sequences import publish_sequences, random_histories, sequences_of
from small_shop import INTERACTIONS

from jobs.platform.process.scratch import run_folder
from jobs.platform.spark.errors import WorkerFault, spark_errors
from jobs.platform.spark.surroundings import java_surroundings
from schemas.errors import DataError, HrnnError, MachineError, StorageError

JAVA = Path("/java")


@pytest.fixture
def another_spark(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in OF_ANOTHER_SPARK.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("another_spark")
def test_what_another_spark_left_is_named_and_not_taken(capsys: pytest.CaptureFixture[str]) -> None:
    before = dict(os.environ)
    with java_surroundings(JAVA, local=True):
        found = dict(os.environ)
    assert {"SPARK_HOME", "PYSPARK_SUBMIT_ARGS", "SPARK_LOCAL_DIRS"}.isdisjoint(found)
    assert (found["PYSPARK_PYTHON"], found["JAVA_HOME"], found["PYTHONSAFEPATH"]) == (sys.executable, "/java", "1")
    assert found["TMPDIR"] == str(run_folder())
    assert f'"-Djava.io.tmpdir={run_folder()}"' in found["SPARK_SUBMIT_OPTS"]
    lines = capsys.readouterr().err.splitlines()
    assert sorted(line.split(" is not taken: ")[0] for line in lines) == sorted(
        f"hrnn: {name}={value}" for name, value in OF_ANOTHER_SPARK.items()
    )
    assert dict(os.environ) == before


@pytest.mark.usefixtures("another_spark")
def test_executors_of_a_cluster_take_the_python_that_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with java_surroundings(JAVA, local=False):
        assert os.environ["PYSPARK_PYTHON"] == "/nowhere/python"
        assert "SPARK_LOCAL_IP" not in os.environ
    assert "PYSPARK_PYTHON" not in capsys.readouterr().err


def test_our_own_spark_and_python_are_taken_without_a_word(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import pyspark

    monkeypatch.setenv("SPARK_HOME", str(Path(pyspark.__file__).parent))
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    with java_surroundings(JAVA, local=True):
        assert os.environ["SPARK_HOME"] == str(Path(pyspark.__file__).parent)
    assert capsys.readouterr().err == ""


def test_a_user_id_without_a_name_gets_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(_: int) -> None:
        raise KeyError

    monkeypatch.setattr("pwd.getpwuid", nobody)
    monkeypatch.setenv("HOME", "/nowhere")
    with java_surroundings(JAVA, local=True):
        assert (os.environ["SPARK_USER"], os.environ["HADOOP_USER_NAME"]) == ("hrnn", "hrnn")
        assert f'"-Duser.name=hrnn" "-Duser.home={run_folder()}"' in os.environ["SPARK_SUBMIT_OPTS"]


def test_a_host_whose_own_name_means_nothing_is_told_to_java(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "no-such-host.invalid")
    with java_surroundings(JAVA, local=True):
        assert f'"-Djdk.net.hosts.file={run_folder()}/hosts"' in os.environ["SPARK_SUBMIT_OPTS"]
    assert (run_folder() / "hosts").read_text() == "127.0.0.1 localhost no-such-host.invalid\n"


def in_a_worker(text: str) -> BaseException:
    """What a job raises where Spark says this."""
    from pyspark.errors import PySparkException

    with pytest.raises(Exception) as caught, spark_errors():  # noqa: PT011
        raise PySparkException(text)
    return caught.value


TRACEBACK = 'Traceback (most recent call last):\n  File "a.py", line 3\n{}\n\n\tat org.apache.spark.Task.run(T.scala:1)\n'


@pytest.mark.parametrize(
    ("last", "kind", "says"),
    [
        ("schemas.errors.DataError: a.csv: line 3 is odd.", DataError, "a.csv: line 3 is odd."),
        ("ZeroDivisionError: division by zero", WorkerFault, "a worker of Spark failed: ZeroDivisionError: division by zero"),
        ("ModuleNotFoundError: No module named 'jobs.sessionize'", MachineError, "No module named 'jobs.sessionize'"),
        ("OSError: [Errno 28] No space left on device", StorageError, ": no space is left on the disk"),
    ],
)
def test_the_last_line_of_what_a_worker_said_is_what_the_driver_says(last: str, kind: type[Exception], says: str) -> None:
    error = in_a_worker(TRACEBACK.format(last))
    assert (type(error), says in str(error)) == (kind, True), error


def test_a_worker_that_died_and_one_that_cannot_start_are_no_faults_of_the_platform(monkeypatch: pytest.MonkeyPatch) -> None:
    died = in_a_worker("org.apache.spark.SparkException: Python worker exited unexpectedly (crashed)\n\tat a.b(c:1)")
    assert isinstance(died, MachineError)
    assert "want of memory" in str(died)
    monkeypatch.setenv("PYSPARK_PYTHON", "/nowhere/python")
    absent = in_a_worker('java.io.IOException: Cannot run program "/nowhere/python": error=2, No such file or directory')
    assert isinstance(absent, HrnnError)
    assert str(absent).startswith("PYSPARK_PYTHON=/nowhere/python: Spark's workers can't run this program: ")


@pytest.mark.slow
def test_spark_starts_there(tmp_path: Path) -> None:
    schema, data = tmp_path / "schema.json", tmp_path / "data.csv"
    schema.write_text(json.dumps(INTERACTIONS))
    data.write_text("USER_ID,ITEM_ID,TIMESTAMP,EVENT_TYPE\n" + "".join(f"u{n},i1,{1_700_000_000 + n},view\n" for n in range(9)))
    arguments = ["validate", "--schema", str(schema), "--data", str(data), "--output", str(tmp_path / "typed")]
    answer = run_there(tmp_path / "there", arguments)
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout.splitlines()[-1])["rows_accepted"] == 9
    assert not (tmp_path / "there/executed").exists()
    assert [name for name in OF_ANOTHER_SPARK if f"hrnn: {name}=/nowhere" not in answer.stderr] == ["PYSPARK_SUBMIT_ARGS"]


@pytest.mark.slow
def test_ranks_meet_there(tmp_path: Path) -> None:
    publish_sequences(sequences_of(random_histories(60, 30)), str(tmp_path / "sequences"), tmp_path)
    places = ["--sequences", str(tmp_path / "sequences"), "--output", str(tmp_path / "solution")]
    options = ["--recipe", "aws-hrnn", "--epochs", "1", "--nproc-per-node", "2", "--no-gru-baseline"]
    answer = run_there(tmp_path / "there", ["train", *places, *options])
    assert answer.returncode == 0, answer.stderr
    assert not (tmp_path / "there/executed").exists()
