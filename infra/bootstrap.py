"""Make `.venv` with all that the platform needs, from nothing but Python 3.11 or newer: `python3 infra/bootstrap.py`.

Versions and hashes come from infra/locks/. uv installs, which pip brings from PyPI; where uv can't be had or reach what pip
does, pip does. A machine without an NVIDIA device gets torch's CPU build, never gigabytes of CUDA; a machine with one gets
the CUDA build. Where no Java 17 or 21 is found, a runtime from PyPI is added. Every failure is one message that says what to
do. Standard library only: this runs before anything is installed.
"""

from __future__ import annotations

import ast
import hashlib
import os
import platform
import re
import shutil
import ssl
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = ROOT / ".venv"
LOCKS = ROOT / "infra" / "locks"
CPU_INDEX = "https://download.pytorch.org/whl/cpu"

_LOG = "set-up.log"
# What pip and uv say where a file is another than the lock's, and where nothing answers.
_WRONG_HASH = re.compile(r"do not match the hashes|hash mismatch|no hashes? (?:match|provided)", re.I)
_NO_NETWORK = re.compile(
    r"dns error|name resolution|name or service not known|newconnectionerror|connection refused|network is unreachable"
    r"|max retries exceeded|error sending request|connect(?:ion)? ?timed? ?out|could not connect|proxyerror",
    re.I,
)
# A word such as http://user:password@host up to its host, and what of a password Python takes for a port.
_CREDENTIALS = re.compile(r"(?<=integer value as )\S+|[^\s'\"`(<]*:\S*@")
_EMPTY = re.compile(r"(?:error:?)? *(?:exception:)?", re.I)
# Into the environment whatever pip's variables and files say; an empty variable would not outweigh a file.
_HERE = ["--target=", "--no-user", "--root=/"]
_PROBE_SECONDS = 20


def main() -> None:
    """Bring `.venv` up to date; does nothing where it is."""
    if sys.version_info < (3, 11):  # noqa: UP036 - run by whatever python3 the user has
        stop(f"Python 3.11 or newer is needed; this is {platform.python_version()}. Run with a newer python3.")
    parts = ["platform", "dev"] + ([] if has_java() else ["jre"])
    stamp = ENVIRONMENT / "installed"
    made_of = [path.read_bytes() for path in (*sorted(LOCKS.glob("*.lock")), ROOT / "pyproject.toml")]
    wanted = hashlib.sha256(b"\0".join([*made_of, str(parts).encode(), sys.version.encode()])).hexdigest()
    if stamp.is_file() and stamp.read_text() == wanted and python().exists() and not moved():
        return
    say(f"making {ENVIRONMENT} (one to three minutes the first time)")
    make_environment()
    (ENVIRONMENT / _LOG).write_text("")
    installers = find_installers()
    install(installers, *locks("build"))
    install_torch(installers)
    install(installers, *locks(*parts))
    install(installers, "--no-deps", "--editable", str(ROOT))
    stamp.write_text(wanted)
    say("done; `.venv/bin/hrnn doctor` says what this machine has")


def python() -> Path:
    """The environment's Python."""
    return ENVIRONMENT / "bin" / "python"


def locks(*parts: str) -> list[str]:
    """The options that install parts of the lock, and nothing that no lock names."""
    return ["--require-hashes", "--no-deps", *(f"--requirement={LOCKS / part}.lock" for part in parts)]


def make_environment() -> None:
    """A virtual environment with pip: a new one, or the one that is there if it works."""
    if os.path.lexists(python()):
        if problem := broken():
            stop(f"{ENVIRONMENT} does not work ({problem}). Remove it and run again: rm -r {ENVIRONMENT}")
        return
    if problem := in_the_way():
        stop(f"{ENVIRONMENT} is {problem}. Move it away and run again: mv {ENVIRONMENT} {ENVIRONMENT}.old")
    there_before = os.path.lexists(ENVIRONMENT)
    answer = ask([sys.executable, "-m", "venv", str(ENVIRONMENT)])
    if answer.returncode:
        if not there_before:
            shutil.rmtree(ENVIRONMENT, ignore_errors=True)
        stop(
            "Python's venv module does not work here. On Debian and Ubuntu: apt install python3-venv.\n"
            + (answer.stderr or answer.stdout).strip()
        )


def in_the_way() -> str:
    """What lies where the environment is to be, if none can be made over it."""
    if not os.path.lexists(ENVIRONMENT) or (ENVIRONMENT / "pyvenv.cfg").is_file():
        return ""
    if not ENVIRONMENT.exists():
        return "a link to nothing"
    if not ENVIRONMENT.is_dir():
        return "a file"
    return "a folder with other files, no virtual environment" if any(ENVIRONMENT.iterdir()) else ""


def moved() -> str:
    """Where the environment was made, if not here: its commands would start the Python there, or none."""
    try:
        starts = (ENVIRONMENT / "bin" / "hrnn").read_text().partition("\n")[0]
    except (OSError, UnicodeDecodeError):
        return ""
    made_at = Path(starts.removeprefix("#!")).parent
    if made_at.name != "bin" or made_at.parent.name != ENVIRONMENT.name:
        return ""
    return "" if made_at.is_dir() and made_at.samefile(ENVIRONMENT / "bin") else str(made_at)


def broken() -> str:
    """What is wrong with the environment that is there; empty where nothing is."""
    if made_at := moved():
        return f"it was made at {made_at}"
    code = "import sys; assert sys.version_info >= (3, 11), 'its Python is ' + sys.version.split()[0]; import pip"
    try:
        answer = ask([python(), "-c", code])
    except OSError as error:
        return f"its Python does not start: {error.strerror}"
    return _last_line(answer.stderr) or "its Python does not start" if answer.returncode else ""


def ask(
    command: Sequence[str | Path], environment: dict[str, str] | None = None, seconds: float | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program and keep what it says, whatever bytes that is."""
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, errors="replace", timeout=seconds, check=False
    )


def probe(*command: str) -> subprocess.CompletedProcess[str] | None:
    """What a program of this machine says; none where it does not start, or, with a line that says so, does not end."""
    try:
        return ask(command, seconds=_PROBE_SECONDS)
    except OSError:
        return None
    except subprocess.TimeoutExpired:
        say(f"{' '.join(command)} gave no answer in {_PROBE_SECONDS} seconds; it counts as absent")
        return None


@dataclass(frozen=True)
class Installer:
    """A program that installs into the environment."""

    name: str
    command: Sequence[str]
    """Up to the arguments of an installation."""
    settings: dict[str, str] = field(default_factory=dict)
    """Environment variables, which no list of processes and no message shows: an index's address may hold a password."""

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run it; the environment's log keeps what it said."""
        answer = ask([*self.command, *arguments], os.environ | self.settings)
        if ENVIRONMENT.is_dir():
            with (ENVIRONMENT / _LOG).open("a", encoding="utf-8", errors="backslashreplace") as log:
                log.write(f"$ {self.name} {' '.join(arguments)}\n{_without_credentials(answer.stdout + answer.stderr)}")
        return answer


def find_installers() -> list[Installer]:
    """uv where it can be had, then pip."""
    options = ["--python=", "--quiet", "--disable-pip-version-check", "--retries", "1"]
    command = [str(python()), "-m", "pip", *options, "install", *_HERE, f"--prefix={ENVIRONMENT}"]
    pip = Installer("pip", command)
    answer = pip.run(*locks("installer"))
    if answer.returncode and _WRONG_HASH.search(answer.stdout + answer.stderr):
        stop(explain(answer))
    uv = ENVIRONMENT / "bin" / "uv"
    problem = _last_line(answer.stderr) if answer.returncode else does_not_run(uv)
    pip = Installer("pip", [*command, "--no-build-isolation"])
    if problem:
        say(f"uv can't be installed here ({problem}); pip installs, which takes longer")
        return [pip]
    # What every lock names by its hash is safe from any index, so the best version counts, as with pip, not the first index.
    # Without compiled files, a package's first import, which may be a test's, would compile it and show its warnings.
    options = ["--quiet", "--no-build-isolation", "--compile-bytecode", "--index-strategy", "unsafe-best-match"]
    config = pip_config()
    settings = {"UV_COMPILE_BYTECODE_TIMEOUT": "600"} | uv_settings(config)  # its minute is too short for a busy machine
    if _yes(config.get("no-index", "")):
        options.append("--no-index")  # it has no variable
    return [Installer("uv", [str(uv), "pip", "install", "--python", str(python()), *options], settings), pip]


def does_not_run(program: Path) -> str:
    """Why a program can't be run here (another libc, a folder without execution); empty where it can."""
    try:
        answer = ask([program, "--version"])
    except OSError as error:
        return f"it does not run: {error.strerror}"
    return f"it does not run: {_last_line(answer.stderr)}" if answer.returncode else ""


def pip_config() -> dict[str, str]:
    """pip's own settings here, of its files and of PIP_… variables: option -> value."""
    answer = ask([python(), "-m", "pip", "config", "list"])
    found: dict[str, dict[str, str]] = {"global": {}, "install": {}, ":env:": {}}
    for section, option, value in re.findall(r"^([^.\s]+)\.(\S+?)=(.*)$", answer.stdout, re.M):
        if section in found:
            found[section][option] = str(ast.literal_eval(value))
    return found["global"] | found["install"] | found[":env:"]


def uv_settings(config: dict[str, str]) -> dict[str, str]:
    """pip's settings as the variables of uv, which reads neither pip's files nor its variables; those that are set stay."""

    def listed(option: str, separator: str = " ") -> str:
        return separator.join(config.get(option, "").split())

    proxy = config.get("proxy", "")
    wanted = {
        "UV_DEFAULT_INDEX": config.get("index-url", ""),
        "UV_INDEX": listed("extra-index-url"),
        "UV_FIND_LINKS": listed("find-links", ","),
        "UV_INSECURE_HOST": listed("trusted-host"),
        "UV_HTTP_TIMEOUT": config.get("timeout", config.get("default-timeout", "")),
        "SSL_CERT_FILE": config.get("cert", ""),
        "SSL_CLIENT_CERT": config.get("client-cert", ""),
        "HTTP_PROXY": proxy,
        "HTTPS_PROXY": proxy,
        "UV_NO_CACHE": "1" if _yes(config.get("no-cache-dir", "")) else "",
        "UV_SYSTEM_CERTS": "" if "cert" in config or not has_certificates() else "1",
    }
    older = {"UV_DEFAULT_INDEX": "UV_INDEX_URL", "UV_INDEX": "UV_EXTRA_INDEX_URL"}
    # pip's own option outweighs a variable that both read; a variable of uv alone outweighs pip's option.
    shared = {"SSL_CERT_FILE", "SSL_CLIENT_CERT", "HTTP_PROXY", "HTTPS_PROXY"}
    return {
        name: value
        for name, value in wanted.items()
        if value and (name in shared or (name not in os.environ and older.get(name, name) not in os.environ))
    }


def has_certificates() -> bool:
    """True where the system has certificates of its own, a company's proxy's among them; slim images have none."""
    places = ssl.get_default_verify_paths()
    return sys.platform == "darwin" or bool(places.cafile or (places.capath and any(os.scandir(places.capath))))


def install(installers: list[Installer], *arguments: str) -> None:
    """Install by the first of the installers that can; stop with one line where none can, or where a hash is wrong."""
    for installer, following in zip(installers, [*installers[1:], None], strict=True):
        answer = installer.run(*arguments)
        if not answer.returncode:
            return
        if following is None or _WRONG_HASH.search(answer.stdout + answer.stderr):
            stop(explain(answer))
        say(f"{installer.name} failed ({_last_line(answer.stderr)}); {following.name} tries")


def explain(answer: subprocess.CompletedProcess[str]) -> str:
    """One line: what is wrong, and what to do."""
    said = answer.stdout + answer.stderr
    log = f"All that was said: {ENVIRONMENT / _LOG}"
    if _WRONG_HASH.search(said):
        name = re.search(r"mismatch for `([^`]+)`|^\s*([\w.-]+==\S+) from ", said, re.M)
        which = next(filter(None, name.groups())) if name else "wrong hash"
        return (
            f"a downloaded file is not the one that infra/locks/ names ({which}): "
            "it is damaged, or the index or a proxy serves another. It was not installed. Clear the caches "
            f"(.venv/bin/uv cache clean; pip cache purge) and run again; if it stays, use another index. {log}"
        )
    if _NO_NETWORK.search(said):
        return (
            "no package index answers. Check the network, or tell pip where packages are: PIP_INDEX_URL, PIP_FIND_LINKS, "
            f"HTTPS_PROXY. {log}"
        )
    return f"an installation failed: {_last_line(said)}. {log}"


def install_torch(installers: list[Installer]) -> None:
    """The locked torch: CUDA where there is an NVIDIA device, else the CPU build."""
    version = re.findall(r"^torch==([^\s+]+)", (LOCKS / "torch.lock").read_text(), re.M)[0]
    if installed_torch(version):
        return
    if has_gpu() or sys.platform == "darwin":
        install(installers, *locks("torch"))
        return
    say("no NVIDIA device: torch's CPU build")
    for installer in installers:
        for place in ([], ["--extra-index-url", CPU_INDEX]):
            answer = installer.run(*locks("torch-cpu"), *place)
            if not answer.returncode:
                return
            if _WRONG_HASH.search(answer.stdout + answer.stderr):
                stop(explain(answer))
    stop(
        f"torch {version}'s CPU build was not found, neither where pip looks nor at {CPU_INDEX}.\n"
        f"Give pip a place that has it (PIP_FIND_LINKS or PIP_EXTRA_INDEX_URL), or install any build of torch=={version} "
        f"into {ENVIRONMENT} yourself and run again."
    )


def has_gpu() -> bool:
    """True where an NVIDIA device answers."""
    if shutil.which("nvidia-smi") is None:
        return False
    answer = probe("nvidia-smi", "-L")
    return answer is not None and answer.returncode == 0 and "GPU" in answer.stdout


def has_java() -> bool:
    """True where $JAVA_HOME or PATH has a Java that Spark runs on."""
    home = os.environ.get("JAVA_HOME")
    for java in filter(None, [home and f"{home}/bin/java", shutil.which("java")]):
        answer = probe(java, "-version")
        if answer and re.search(r'version "(17|21)[."]', answer.stderr):
            return True
    return False


def installed_torch(version: str) -> bool:
    """True where the environment holds this version already, of whatever build."""
    code = f"import importlib.metadata as m; raise SystemExit(m.version('torch').split('+')[0] != '{version}')"
    return subprocess.run([python(), "-c", code], capture_output=True, check=False).returncode == 0


def say(text: str) -> None:
    """One line on stderr."""
    print(f"set-up: {text}", file=sys.stderr, flush=True)


def stop(text: str) -> NoReturn:
    """End with a message."""
    raise SystemExit(f"set-up: {text}")


def _without_credentials(text: str) -> str:
    return _CREDENTIALS.sub(lambda found: "…@" if found[0].endswith("@") else "…", text)


def _last_line(text: str) -> str:
    """The last line that says something, at most 200 characters of it; pip's notes come after its errors."""
    # Of a traceback that pip shows, the end says what is wrong.
    shown = _without_credentials(text).rpartition("ERROR: Exception:\n")[2]
    lines = [line.strip(" \t╰─▶├│×") for line in shown.splitlines()]
    lines = [line for line in lines if not _EMPTY.fullmatch(line)]
    errors = [line for line in lines if line.lower().startswith("error")]
    return (errors or lines or [""])[-1][:200].removeprefix("ERROR: ").rstrip(".")


def _yes(value: str) -> bool:
    return value.lower() in {"1", "true", "yes", "on"}


if __name__ == "__main__":
    main()
