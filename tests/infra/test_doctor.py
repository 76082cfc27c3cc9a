from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path
from types import SimpleNamespace

import pytest
import typer

from infra.doctor import job as doctor_job
from infra.doctor.__main__ import Output, run
from infra.doctor.job import (
    check_disk,
    check_folder,
    check_host,
    check_java,
    check_memory,
    check_python,
    check_s3,
    check_torch,
    doctor,
)
from schemas.errors import MachineError


def test_this_machine_can_run_a_night() -> None:
    summary = doctor()
    assert summary["ready"], summary
    assert [check["name"] for check in summary["checks"]] == [
        "python",
        "java",
        "packages",
        "torch",
        "memory",
        "disk",
        "host",
        "s3",
        "demo",
    ]
    for check in summary["checks"]:
        assert (check["remedy"] is None) == (check["state"] == "ok"), check


def test_a_missing_java_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_java() -> Path:
        raise MachineError("Spark needs Java 17 or 21; no java was found")

    monkeypatch.setattr(doctor_job, "java_home", no_java)
    check = check_java()
    assert (check.state, check.remedy) == ("missing", "pip install 'hrnn-platform[jre]'")


def test_an_old_python_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.python_version_tuple", lambda: ("3", "9", "2"))
    assert check_python().state == "missing"


def torch_of(monkeypatch: pytest.MonkeyPatch, cuda: str | None, starts: bool, driver: bool) -> doctor_job.Check:
    """What the doctor says of a build and a driver."""
    import sys

    cuda_module = SimpleNamespace(is_available=lambda: starts, device_count=lambda: 2, get_device_name=lambda _: "NVIDIA H100")
    fake = SimpleNamespace(__version__="2.13.0+cpu", version=SimpleNamespace(cuda=cuda), cuda=cuda_module)
    monkeypatch.setitem(sys.modules, "torch", fake)
    monkeypatch.setattr(doctor_job, "find_spec", lambda name: True)
    monkeypatch.setattr(doctor_job, "nvidia_driver", lambda: driver)
    return check_torch()


def test_a_cpu_build_on_a_gpu_machine_is_a_warning_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    check = torch_of(monkeypatch, cuda=None, starts=False, driver=True)
    assert (check.state, check.remedy) == ("warn", "pip install --force-reinstall torch==2.13.0")


def test_a_cuda_build_that_does_not_start_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    check = torch_of(monkeypatch, cuda="13.0", starts=False, driver=True)
    assert check.state == "warn"
    assert "CUDA 13.0 or newer" in str(check.remedy)


def test_gpus_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    check = torch_of(monkeypatch, cuda="13.0", starts=True, driver=True)
    assert (check.state, check.found) == ("ok", "2.13.0+cpu (CUDA 13.0), 2 × NVIDIA H100")


def test_no_gpu_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    assert torch_of(monkeypatch, cuda=None, starts=False, driver=False).state == "ok"


def test_little_memory_and_disk_are_warnings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sysconf", lambda name: 1024)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1 << 30))
    assert check_memory().state == "warn"
    assert check_disk().state == "warn"
    assert "HRNN_SCRATCH" in str(check_disk().remedy)


def test_a_scratch_folder_that_is_not_there_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HRNN_SCRATCH", str(tmp_path / "nowhere"))
    assert check_disk().state == "missing"


def test_credentials_are_found_but_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary-secret")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "CANARYKEY")
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.getsockname()[1]}")
        check = check_s3()
    assert (check.state, "credentials from env" in check.found) == ("ok", True)
    assert "canary" not in json.dumps(doctor()).lower()


def test_an_endpoint_that_takes_no_connection_is_a_warning(monkeypatch: pytest.MonkeyPatch, free_port: int) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port}")
    check = check_s3()
    assert (check.state, check.found) == ("warn", f"http://127.0.0.1:{free_port}: Connection refused")
    assert "AWS_ENDPOINT_URL" in str(check.remedy)


def test_the_proxy_on_the_way_is_what_must_answer(monkeypatch: pytest.MonkeyPatch, free_port: int) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://store.invalid")
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port}")
    assert f"Connection refused (proxy 127.0.0.1:{free_port})" in check_s3().found


def test_a_machine_whose_own_name_means_nothing_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "localhost")
    assert check_host().state == "ok"
    monkeypatch.setattr("socket.gethostname", lambda: "nobody.invalid")
    check = check_host()
    assert (check.state, "nobody.invalid" in check.found, "/etc/hosts" in str(check.remedy)) == ("warn", True, True)


def test_no_credentials_are_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    check = check_s3()
    assert (check.state, "no credentials" in check.found) == ("warn", True)


def test_a_profile_that_does_not_exist_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nowhere")
    check = check_s3()
    assert (check.state, "nowhere" in check.found) == ("warn", True)
    assert check.found.startswith("AWS_PROFILE: ")


def test_a_folder_is_tried_and_left_clean(tmp_path: Path) -> None:
    assert check_folder(str(tmp_path)).state == "ok"
    assert list(tmp_path.iterdir()) == []


def test_a_bucket_is_tried(s3: str) -> None:
    assert check_folder(s3 + "/workspace").state == "ok"
    missing = check_folder("s3://no-such-bucket-here/workspace")
    assert (missing.state, "bucket" in missing.found) == ("missing", True)


def test_a_store_that_ignores_conditions_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from jobs.platform.storage.local import LocalStore

    monkeypatch.setattr(LocalStore, "create", LocalStore.write)
    check = check_folder(str(tmp_path))
    assert (check.state, "ignores conditional writes" in check.found) == ("missing", True)


def test_a_machine_that_cannot_run_a_night_exits_with_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        doctor_job, "CHECKS", (lambda: doctor_job.Check(name="java", state="missing", found="none", remedy="Get one."),)
    )
    with pytest.raises(typer.Exit) as caught:
        run(Output.text)
    captured = capsys.readouterr()
    assert caught.value.exit_code == 1
    assert json.loads(captured.out.splitlines()[-1])["ready"] is False
    assert "Get one." in captured.err
    with pytest.raises(typer.Exit):
        run(Output.json)
    assert capsys.readouterr().err == ""
