"""The environment that Spark's Java starts in: ours, not what another Spark, an odd host or an unknown user id left there."""

from __future__ import annotations

import os
import pwd
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from jobs.platform.process.children import same_modules, same_run
from jobs.platform.process.scratch import run_folder, temporary_files_here

NOBODY = "hrnn"  # what a user is called whose id has no name on this machine

_OF_OTHERS = {
    "PYSPARK_SUBMIT_ARGS": "Spark's options go to spark-defaults.conf in SPARK_CONF_DIR",
    "SPARK_LOCAL_DIRS": "HRNN_SCRATCH says where temporary files go",
    "SPARK_REMOTE": "--master says where Spark runs",
    "SPARK_API_MODE": "jobs need Spark itself, not Spark Connect",
    "SPARK_CONNECT_MODE_ENABLED": "jobs need Spark itself, not Spark Connect",
}


@contextmanager
def java_surroundings(java: Path, local: bool) -> Iterator[None]:
    """Have a Java that starts in the body find what is ours; prints on stderr which variables it does not take.

    Args:
        java: Its home.
        local: Whether tasks run on this machine, in this environment.
    """
    foreign = _foreign(local)
    for name, reason in foreign.items():
        print(f"hrnn: {name}={os.environ[name]} is not taken: {reason}.", file=sys.stderr)
    variables = {"JAVA_HOME": str(java), "PYSPARK_DRIVER_PYTHON": sys.executable, **same_modules(), **same_run()}
    variables["SPARK_SUBMIT_OPTS"] = " ".join([os.environ.get("SPARK_SUBMIT_OPTS", ""), *_java_options(local)]).strip()
    if local:
        variables |= {
            "PYSPARK_PYTHON": sys.executable,
            "SPARK_LOCAL_IP": "127.0.0.1",
        }  # this machine's name may mean no address
    else:
        variables.setdefault("PYSPARK_PYTHON", os.environ.get("PYSPARK_PYTHON", sys.executable))
    if user_without_name():
        variables |= {"SPARK_USER": NOBODY, "HADOOP_USER_NAME": NOBODY}
    with _environment(variables, without=foreign), temporary_files_here():
        yield


def user_without_name() -> bool:
    """Whether this process's user id stands in no passwd, as OpenShift and `docker --user` give them."""
    try:
        pwd.getpwuid(os.getuid())
    except KeyError:
        return True
    return False


def own_spark_home() -> str | None:
    """SPARK_HOME where it holds the Spark that jobs run on; None where it is another's, or not set."""
    home = os.environ.get("SPARK_HOME")
    same = home is not None and list(Path(home, "jars").glob(f"spark-core_*-{version('pyspark')}.jar"))
    return home if same else None


def _foreign(local: bool) -> dict[str, str]:
    """Variables that another Spark left, and why they are not taken."""
    reasons = dict(_OF_OTHERS)
    if own_spark_home() is None:
        reasons["SPARK_HOME"] = f"jobs run on the Spark {version('pyspark')} that comes with the package, and that is another"
    python = os.environ.get("PYSPARK_PYTHON")
    if local and python is not None and not _same_python(python):
        reasons["PYSPARK_PYTHON"] = f"tasks on this machine need {sys.executable}"
    return {name: reason for name, reason in reasons.items() if os.environ.get(name)}


def _same_python(path: str) -> bool:
    try:
        return os.path.samefile(path, sys.executable) and Path(path).parent.resolve() == Path(sys.executable).parent.resolve()
    except OSError:
        return False


def own_address() -> str | None:
    """The address that this machine's own name means; None where it means none."""
    try:
        return socket.gethostbyname(socket.gethostname())
    except OSError:
        return None


def _java_options(local: bool) -> list[str]:
    """Java's options: temporary files in the run's folder; host and user by name, where the system can't look them up."""
    options = {"java.io.tmpdir": str(run_folder())}
    if local and own_address() is None:
        hosts = run_folder() / "hosts"  # Java looks nowhere else then; Spark on this machine has nobody else to find
        hosts.write_text(f"127.0.0.1 localhost {socket.gethostname()}\n")
        options["jdk.net.hosts.file"] = str(hosts)
    if user_without_name():
        home = os.environ.get("HOME", "")
        options |= {"user.name": NOBODY, "user.home": home if os.access(home, os.W_OK) else str(run_folder())}
    return [f'"-D{name}={value}"' for name, value in options.items()]


@contextmanager
def _environment(values: dict[str, str], without: dict[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    for name in without:
        os.environ.pop(name, None)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
