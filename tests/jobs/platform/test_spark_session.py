"""Where Spark runs: what the caller says, else what spark-submit or spark-defaults.conf says, else this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from jobs.platform.spark.session import _configured, _reason, spark_session
from schemas.errors import ConfigError

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MASTER", "SPARK_HOME", "SPARK_CONF_DIR", "PYSPARK_GATEWAY_PORT"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("defaults", "configured"),
    [
        ("spark.master yarn\n", True),
        ("# spark.master yarn\n", False),
        ("spark.executor.memory=4g\nspark.master=yarn", True),
        ("spark.master nonsense\nspark.master: yarn\n", True),
        ("spark.master \\\r\n  yarn\r\n", True),
        ("# a comment goes on nowhere \\\nspark.master k8s\\://h\\:1", True),
        ("spark.app.name spark\\\nspark.master nonsense\n", False),
        ("spark.masters nonsense\n", False),
        ("# Käse\nspark.master yarn\n", True),
    ],
)
def test_spark_defaults_may_name_the_master(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, defaults: str, configured: bool
) -> None:
    (tmp_path / "spark-defaults.conf").write_bytes(defaults.encode("latin-1"))
    assert not _configured()
    monkeypatch.setenv("SPARK_CONF_DIR", str(tmp_path))
    assert _configured() is configured


def test_defaults_of_another_spark_do_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf/spark-defaults.conf").write_text("spark.master yarn\n")
    monkeypatch.setenv("SPARK_HOME", str(tmp_path))
    assert not _configured()
    (tmp_path / "jars").mkdir()
    (tmp_path / f"jars/spark-core_2.13-{version('pyspark')}.jar").touch()
    assert _configured()


def test_a_setting_without_a_value_does_not_take_the_next_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "spark-defaults.conf").write_text("spark.master\nspark.ui.enabled false\n")
    monkeypatch.setenv("SPARK_CONF_DIR", str(tmp_path))
    with pytest.raises(ConfigError, match=r"spark-defaults\.conf: this is no Spark master \(got ''\)"):
        _configured()


def test_settings_in_the_working_folder_do_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf/spark-defaults.conf").write_text("spark.master nonsense\n")
    monkeypatch.chdir(tmp_path)
    assert not _configured()


def test_of_the_file_and_the_environment_the_file_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASTER", "nonsense")
    monkeypatch.setenv("SPARK_CONF_DIR", str(tmp_path))
    (tmp_path / "spark-defaults.conf").write_text("spark.master yarn\n")
    assert _configured()
    monkeypatch.setenv("MASTER", "yarn")
    (tmp_path / "spark-defaults.conf").write_text("spark.master nonsense\n")
    with pytest.raises(ConfigError, match=r"spark-defaults\.conf: .*nonsense"):
        _configured()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "An error occurred while calling X.\n: org.apache.spark.SparkException: no\n\tat a.B.c(B.java:1)\n"
            "Caused by: java.net.BindException: in use.\n\tat java.base/java.lang.Thread.run(Unknown Source)\n\t... 12 more\n",
            "java.net.BindException: in use",
        ),
        ("An error occurred\n: java.io.IOException: no\n\tat a.B.c(B.java:1)\n", "java.io.IOException: no"),
        ("at last (it fails)", "at last (it fails)"),
        ("", "ValueError"),
    ],
)
def test_the_reason_of_a_failed_start_is_no_frame_of_javas_stack(text: str, reason: str) -> None:
    assert _reason(ValueError(text)) == reason


def test_the_environment_may_name_the_master(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASTER", "yarn")
    assert _configured()


@pytest.mark.parametrize(
    "master",
    [
        *(
            "local",
            "local[1]",
            "local[16]",
            "local[*]",
            "local[4,3]",
            "local[*, 2]",
            "local[02]",
            "local-cluster[2,1,1024]",
            "yarn",
        ),
        *("spark://host:7077", "spark://a.b:7077,10.0.0.1:7078", "spark://[::1]:7077", "k8s://https://host:6443", "k8s://h:1"),
        *("k8s://https://user:pw@host:1", "spark://h:65535"),
    ],
)
def test_a_master_that_spark_knows_is_taken(monkeypatch: pytest.MonkeyPatch, master: str) -> None:
    monkeypatch.setenv("MASTER", master)
    assert _configured()


NO_MASTERS = [
    "foo",
    "",
    "LOCAL",
    "local[]",
    "local[0]",
    "local[x]",
    "local[2",
    "local[2,0]",
    "spark://host",
    "spark://",
    "yarn-cluster",
]


@pytest.mark.parametrize(
    "master",
    [
        *NO_MASTERS,
        "k8s://",
        "mesos://host:5050",
        "local\n",
        "spark://host:7077,",
        "spark://h:7077/x",
        "spark://a:99999",
        "k8s://h:65536",
    ],
)
def test_a_master_that_spark_does_not_know_is_refused_before_java_starts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, master: str
) -> None:
    said = r"this is no Spark master \(got .*\)\. Allowed: local, local\[N\], .*yarn"
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))  # it is not even looked at
    with pytest.raises(ConfigError, match=f"^master: {said}"):
        spark_session(master)
    if master.strip():
        monkeypatch.setenv("MASTER", master)
        with pytest.raises(ConfigError, match=f"^MASTER: {said}"):
            spark_session()
        monkeypatch.delenv("MASTER")
        (tmp_path / "spark-defaults.conf").write_text(f"spark.master {master.strip()}[\n")
        monkeypatch.setenv("SPARK_CONF_DIR", str(tmp_path))
        with pytest.raises(ConfigError, match=f"spark-defaults.conf: {said}"):
            spark_session()


@pytest.mark.slow
@pytest.mark.parametrize(("asked", "expected"), [("None", "local[3]"), ("'local[1]'", "local[1]")])
def test_under_spark_submit_its_master_stands_unless_the_caller_names_another(
    tmp_path: Path, asked: str, expected: str
) -> None:
    import pyspark

    script = tmp_path / "where.py"
    script.write_text(
        f"from jobs.platform.spark.session import spark_session\nprint('master', spark_session({asked}).sparkContext.master)\n"
    )
    submit = Path(pyspark.__file__).parent / "bin" / "spark-submit"
    from jobs.platform.spark.java import java_home

    environment = os.environ | {"JAVA_HOME": str(java_home()), "PYSPARK_PYTHON": sys.executable, "PYTHONPATH": str(ROOT)}
    answer = subprocess.run(
        [submit, "--master", "local[3]", script], env=environment, capture_output=True, text=True, check=False
    )
    assert f"master {expected}" in answer.stdout, answer.stderr[-2000:]


@pytest.mark.slow
def test_shuffles_lie_in_the_runs_folder_whatever_sparks_settings_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "spark-defaults.conf").write_text(f"spark.local.dir {tmp_path}/elsewhere\n")
    monkeypatch.setenv("SPARK_CONF_DIR", str(tmp_path))
    script = """if True:
        from jobs.platform.process.scratch import run_folder
        from jobs.platform.spark.session import spark_session
        spark_session("local[1]").range(9).repartition(2).count()
        print("shuffles:", len([path for path in run_folder().glob("blockmgr-*") if any(path.rglob("shuffle_*"))]))
    """
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert ended.stdout == "shuffles: 1\n", ended.stderr
    assert not (tmp_path / "elsewhere").exists()


def test_java_does_not_outlive_a_run_that_is_interrupted_while_it_starts() -> None:
    """It would wait for ever: the place where it says its port is gone by then."""
    script = """if True:
        import os, types
        from pyspark import java_gateway
        from jobs.platform.spark.session import spark_session
        def interrupted(_seconds):
            raise KeyboardInterrupt
        java_gateway.time = types.SimpleNamespace(sleep=interrupted)
        try:
            spark_session("local[1]")
        except KeyboardInterrupt:
            left = open(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read().split()
            print("left:", len(left))
            for process in left:
                os.kill(int(process), 9)
    """
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert ended.stdout == "left: 0\n", ended.stderr


def test_what_java_no_longer_answers_is_told_without_a_traceback() -> None:
    """As where SIGTERM ends a process group: Java is gone before Spark is stopped, and py4j logs each try."""
    script = """if True:
        import signal, threading
        from contextlib import suppress
        from jobs.cli import main
        from jobs.recipes import __main__ as recipes
        from jobs.platform.spark.session import spark_session
        def run():
            spark = spark_session("local[1]")
            java = spark.sparkContext._gateway.proc
            java.send_signal(signal.SIGSTOP)  # so that a command lies unread where Java ends, which resets the connection
            threading.Timer(1.0, java.kill).start()
            with suppress(Exception):
                spark.range(1).count()
            raise SystemExit(143)
        recipes.run = run
        main(["recipes"])
    """
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert (ended.returncode, "Traceback" in ended.stderr) == (143, False), ended.stderr
    assert ended.stderr.splitlines()[-1] == "hrnn: ended by SIGTERM; run the same command again to go on"
