"""The proxy does what its rules say, and nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from pathlib import Path

import fault_proxy
import pytest
from fault_proxy import FaultProxy, Rule

from jobs.platform.storage import join, store_for
from jobs.platform.storage.s3_client import client


def test_without_rules_it_passes_everything_on(s3: str, moto_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with FaultProxy(moto_endpoint) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        client.cache_clear()
        for size in (0, 1, 1 << 20):
            store_for(s3).write(join(s3, "file"), b"x" * size)
            assert store_for(s3).read(join(s3, "file")) == b"x" * size
        assert [(seen.method, seen.fault, seen.status) for seen in proxy.log] == [("PUT", None, 200), ("GET", None, 200)] * 3
    client.cache_clear()


def test_a_seed_gives_the_same_faults_again() -> None:
    def strikes(seed: int) -> list[bool]:
        proxy = FaultProxy("http://127.0.0.1:9", [Rule("hang", probability=0.3)], seed)
        return [proxy.rules[0].applies("GET", "/", proxy._dice) for _ in range(50)]

    assert strikes(1) == strikes(1) != strikes(2)


def test_an_unknown_fault_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown fault 'typo'; known: slow_down"):
        Rule("typo")  # type: ignore[arg-type]


def test_it_runs_as_a_program_whose_rules_can_be_changed(s3: str, moto_endpoint: str) -> None:
    path = s3.removeprefix("s3:/")
    command = [
        sys.executable,
        str(Path(fault_proxy.__file__)),
        moto_endpoint,
        "--rule",
        '{"fault": "slow_down"}',
        "--seed",
        "3",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        try:
            assert program.stdout is not None
            endpoint = program.stdout.readline().strip()
            with pytest.raises(urllib.error.HTTPError, match="503") as raised:
                urllib.request.urlopen(endpoint + path)
            raised.value.close()
            urllib.request.urlopen(urllib.request.Request(endpoint + "/_faults", data=b"[]", method="PUT")).close()
            with urllib.request.urlopen(endpoint + path) as answer:
                assert answer.status == 200
            with urllib.request.urlopen(endpoint + "/_faults") as answer:
                log = json.load(answer)
            assert [(seen["path"], seen["fault"]) for seen in log] == [(path, "slow_down"), (path, None)]
        finally:
            program.kill()
