"""Storage on bad days: what a faulty network and a throttling store may never make us believe or leave behind."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from fault_proxy import Fault, FaultProxy, Rule
from staged_files import concatenate

from jobs.platform.storage import assembly, join, list_input, s3_client, store_for, transfers
from jobs.platform.storage.folders import StepFolder
from jobs.platform.storage.s3 import S3Store
from jobs.platform.storage.s3_client import ATTEMPTS, client
from schemas.errors import CommitLost, CommitUnknown, HrnnError, IntegrityError, StorageError

SEEDS = range(20)
PART = 2_000  # bytes; the mock takes such parts here, so that nights are short
ALL: tuple[Fault, ...] = (
    "slow_down",
    "internal_error",
    "reset_before",
    "truncate_request",
    "truncate_response",
    "drop_response",
    "error_after_success",
)
LOST: tuple[Fault, ...] = ("drop_response", "error_after_success")
BEFORE: tuple[Fault, ...] = ("slow_down", "internal_error", "reset_before", "truncate_request", "conflict")
Through = Callable[..., FaultProxy]


@pytest.fixture
def bucket(s3: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A bucket of the mock, which takes small parts; clients wait no more than they must."""
    monkeypatch.setattr("moto.s3.models.S3_UPLOAD_PART_MIN_SIZE", PART)
    monkeypatch.setattr(assembly, "SMALLEST_PART", PART)
    monkeypatch.setattr(assembly, "SENT_PART", 2 * PART)
    monkeypatch.setattr(s3_client, "time", SimpleNamespace(sleep=lambda _: None, monotonic=time.monotonic))
    monkeypatch.setattr(s3_client, "READ_TIMEOUT_SECONDS", 1)
    return s3


@pytest.fixture
def through(bucket: str, moto_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Through]:
    """Puts a proxy with these rules before the store, for the rest of the test or until the next one."""
    proxies: list[FaultProxy] = []

    def begin(*rules: Rule, seed: int = 0) -> FaultProxy:
        proxies.append(FaultProxy(moto_endpoint, rules, seed).__enter__())
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxies[-1].endpoint)
        client.cache_clear()
        return proxies[-1]

    yield begin
    for proxy in proxies:
        proxy.__exit__()
    client.cache_clear()


@pytest.fixture
def truth(moto_endpoint: str) -> Any:
    """A client that goes past the proxy."""
    return boto3.client("s3", endpoint_url=moto_endpoint)


def _content(truth: Any, uri: str) -> bytes | None:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    found = truth.list_objects_v2(Bucket=bucket, Prefix=key).get("Contents", [])
    return truth.get_object(Bucket=bucket, Key=key)["Body"].read() if found else None


def _uploads(truth: Any, uri: str) -> int:
    return len(truth.list_multipart_uploads(Bucket=uri.removeprefix("s3://").split("/")[0]).get("Uploads", []))


@pytest.mark.parametrize("fault", ALL)
def test_every_operation_survives_a_few_faults(bucket: str, through: Through, tmp_path: Path, fault: Fault) -> None:
    """Up to five faults in a row, of any kind, cost time only."""
    store, proxy = store_for(bucket), through(Rule(fault, probability=0.5, times=5))
    (tmp_path / "source").write_bytes(b"uploaded" * 1000)
    for number in range(3):
        store.write(join(bucket, f"parts/{number}"), b"%d" % number * (PART * number + 10))
    store.upload(tmp_path / "source", join(bucket, "uploaded"))
    for rules in proxy.rules, [Rule(fault, probability=0.5, times=5)], [Rule(fault, probability=0.5, times=5)]:
        proxy.rules = list(rules)
        sources = store.list(join(bucket, "parts/"))
        assert [file.size for file in sources] == [10, PART + 10, 2 * PART + 10]
        concatenate(store, sources, join(bucket, "whole"))
        assert store.read(join(bucket, "whole")) == b"".join(b"%d" % n * (PART * n + 10) for n in range(3))
        assert store.read(join(bucket, "parts/2"), 5, 15) == b"2" * 10
        store.download(join(bucket, "uploaded"), tmp_path / "back")
        assert (tmp_path / "back").read_bytes() == b"uploaded" * 1000
        store.delete([join(bucket, "whole")])
        assert store.stat(join(bucket, "whole")) is None
    assert proxy.count(fault) >= 5


@pytest.mark.parametrize("seed", SEEDS)
def test_of_several_creators_one_wins_and_knows_it(bucket: str, through: Through, truth: Any, seed: int) -> None:
    """Lost answers and refusals in any order: no false failure, no false success."""
    through(*(Rule(fault, method="PUT", probability=0.12) for fault in (*ALL, "conflict")), seed=seed)
    store = store_for(bucket)

    def create(racer: int, uri: str) -> int | None:
        try:
            store.create(uri, b"racer %d" % racer)
        except CommitLost:
            return None
        return racer

    for key in range(3):
        uri = join(bucket, f"manifest-{key}.json")
        with ThreadPoolExecutor(6) as pool:
            winners = [racer for racer in pool.map(create, range(6), [uri] * 6) if racer is not None]
        assert [b"racer %d" % racer for racer in winners] == [_content(truth, uri)], f"seed {seed}"


def test_creators_that_meet_within_the_mock_are_told_apart(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests' S3 is honest: between looking for an object and writing it, it lets nobody else look."""
    from moto.s3.models import S3Backend

    meeting, put = threading.Barrier(2), S3Backend.put_object

    def put_together(*arguments: Any, **named: Any) -> Any:
        with suppress(threading.BrokenBarrierError):
            meeting.wait(1)
        return put(*arguments, **named)

    monkeypatch.setattr(S3Backend, "put_object", put_together)

    def create(racer: int) -> bool:
        with suppress(CommitLost):
            store_for(s3).create(join(s3, "manifest.json"), b"racer %d" % racer)
            return True
        return False

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(create, range(2))) == [False, True]


@pytest.mark.parametrize("fault", LOST)
def test_a_lost_answer_to_a_commit_is_success(bucket: str, through: Through, truth: Any, fault: Fault) -> None:
    store, uri = store_for(bucket), join(bucket, "manifest.json")
    proxy = through(Rule(fault, method="PUT", times=2))
    store.create(uri, b"first")
    assert [(seen.fault, seen.status) for seen in proxy.log if seen.method == "PUT"][:2] == [(fault, 200), (fault, 412)]
    seen = store.stat(uri)
    assert seen is not None
    proxy.rules = [Rule(fault, method="PUT", nth=1)]
    store.replace(uri, b"second", seen.version)
    assert _content(truth, uri) == b"second"


def test_without_reading_the_token_back_a_success_would_be_called_lost(
    bucket: str, through: Through, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The test above bites: it fails once the token is no longer read."""
    head = S3Store._head
    monkeypatch.setattr(S3Store, "_head", lambda self, uri: (head(self, uri) or {}) | {"Metadata": {}})
    through(Rule("drop_response", method="PUT", nth=1))
    with pytest.raises(CommitLost):
        store_for(bucket).create(join(bucket, "manifest.json"), b"mine")


@pytest.mark.parametrize("fault", BEFORE)
def test_a_commit_that_never_arrives_is_unknown_and_a_rerun_settles_it(
    bucket: str, through: Through, truth: Any, fault: Fault
) -> None:
    store, uri = store_for(bucket), join(bucket, "manifest.json")
    proxy = through(Rule(fault, method="PUT"))
    with pytest.raises(CommitUnknown, match=r"was not acknowledged and is not visible\. Run again\."):
        store.create(uri, b"first")
    assert _content(truth, uri) is None
    proxy.rules = []
    store.create(uri, b"first")
    proxy.rules = [Rule(fault, method="PUT")]
    seen = store.stat(uri)
    assert seen is not None
    with pytest.raises(CommitUnknown):
        store.replace(uri, b"second", seen.version)
    assert _content(truth, uri) == b"first"


def test_when_the_store_falls_silent_the_commit_is_unknown(bucket: str, through: Through) -> None:
    through(Rule("drop_response", path="manifest"))
    with pytest.raises(CommitUnknown, match=r"did not say whether the commit landed; nothing was deleted"):
        store_for(bucket).create(join(bucket, "manifest.json"), b"first")


STEPS = {
    "begin": ("POST", r"\?uploads"),
    "part": ("PUT", "partNumber"),
    "complete": ("POST", "uploadId"),
    "any": (".*", "whole"),
}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("fault", [*ALL, "ok_with_error"])
@pytest.mark.parametrize("times", [1, None], ids=["once", "always"])
def test_a_concatenation_appears_whole_or_not_at_all(
    bucket: str, through: Through, truth: Any, step: str, fault: Fault, times: int | None
) -> None:
    store, uri, proxy = store_for(bucket), join(bucket, "out/whole"), through()
    contents = [b"%d" % number * size for number, size in enumerate([3 * PART, 10, PART, 2 * PART, 1])]
    for number, content in enumerate(contents):
        store.write(join(bucket, f"parts/{number}"), content)
    sources = store.list(join(bucket, "parts/"))
    method, path = STEPS[step]
    proxy.rules = [Rule(fault, method=method, path=path, times=times)]
    try:
        concatenate(store, sources, uri)
        assert _content(truth, uri) == b"".join(contents)
    except HrnnError:
        assert _content(truth, uri) in (None, b"".join(contents))
    proxy.rules = []
    concatenate(store, sources, uri)
    assert _content(truth, uri) == b"".join(contents)
    store.abort_uploads(join(bucket, "out/"), datetime.now(UTC) + timedelta(hours=1))
    assert _uploads(truth, bucket) == 0


def test_a_lost_answer_to_completion_is_success(bucket: str, through: Through, truth: Any) -> None:
    store = store_for(bucket)
    store.write(join(bucket, "part"), b"x" * PART * 5)
    proxy = through(Rule("drop_response", method="POST", path="uploadId"))
    concatenate(store, store.list(join(bucket, "part")), join(bucket, "whole"))
    assert _content(truth, join(bucket, "whole")) == b"x" * PART * 5
    assert proxy.count("drop_response") == ATTEMPTS


def test_another_runs_object_is_not_taken_for_ours(bucket: str, through: Through, truth: Any) -> None:
    """A completion that never arrives is a failure, though an object of yesterday lies there."""
    store = store_for(bucket)
    store.write(join(bucket, "part"), b"x" * PART * 5)
    store.write(join(bucket, "whole"), b"yesterday")
    through(Rule("reset_before", method="POST", path="uploadId"))
    with pytest.raises(StorageError):
        concatenate(store, store.list(join(bucket, "part")), join(bucket, "whole"))
    assert _content(truth, join(bucket, "whole")) == b"yesterday"
    assert _uploads(truth, bucket) == 0


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
@pytest.mark.parametrize("kind", ["object", "range", "listing", "download"])
def test_a_body_that_breaks_off_is_asked_for_again(
    bucket: str, through: Through, tmp_path: Path, share: float, kind: str
) -> None:
    store, uri = store_for(bucket), join(bucket, "folder/file")
    store.write(uri, bytes(range(250)) * 40)
    proxy = through(Rule("truncate_response", method="GET", times=3, share=share))
    if kind == "object":
        assert store.read(uri) == bytes(range(250)) * 40
    elif kind == "range":
        assert store.read(uri, 100, 9000) == (bytes(range(250)) * 40)[100:9000]
    elif kind == "listing":
        assert [file.uri for file in store.list(join(bucket, "folder/"))] == [uri]
    else:
        store.download(uri, tmp_path / "file")
        assert (tmp_path / "file").read_bytes() == bytes(range(250)) * 40
    assert proxy.count("truncate_response") == 3


@pytest.mark.parametrize("kind", ["object", "listing", "download"])
def test_a_body_that_always_breaks_off_is_one_clear_error(bucket: str, through: Through, tmp_path: Path, kind: str) -> None:
    store, uri = store_for(bucket), join(bucket, "folder/file")
    store.write(uri, b"x" * 1000)
    through(Rule("truncate_response", method="GET"))
    calls: dict[str, Callable[[], object]] = {
        "object": lambda: store.read(uri),
        "listing": lambda: store.list(join(bucket, "folder/")),
        "download": lambda: store.download(uri, tmp_path / "file"),
    }
    with pytest.raises(StorageError, match=r"network"):
        calls[kind]()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("seed", SEEDS)
def test_a_flipped_bit_is_never_taken_for_data(bucket: str, through: Through, tmp_path: Path, seed: int) -> None:
    """Of our own files every byte is checked: by S3's checksum on the way, by SHA-256 against the manifest in the end."""
    folder = StepFolder(join(bucket, "step"))
    entry = folder.put(folder.attempt_path("data/part.parquet"), bytes(range(256)) * 20)
    folder.publish("dataset", "f", {}, [], [entry])
    proxy = through(Rule("flip_byte", method="GET", path="part"), seed=seed)
    with pytest.raises((IntegrityError, StorageError)):
        folder.read(entry)
    with pytest.raises((IntegrityError, StorageError)):
        folder.fetch(entry, tmp_path)
    proxy.rules = [Rule("flip_byte", method="GET", path="manifest")]
    with pytest.raises((IntegrityError, StorageError)):
        StepFolder(join(bucket, "step")).manifest()
    proxy.rules = [Rule("flip_byte", method="GET", path="part", nth=1)]
    assert folder.read(entry) == bytes(range(256)) * 20


def test_a_store_that_hangs_once_costs_one_timeout(bucket: str, through: Through) -> None:
    store = store_for(bucket)
    store.write(join(bucket, "file"), b"x")
    proxy = through(Rule("hang", method="GET", nth=1), Rule("hang", method="PUT", nth=1))
    assert store.read(join(bucket, "file")) == b"x"
    store.create(join(bucket, "manifest.json"), b"x")
    assert proxy.count("hang") == 0  # logged when it ends
    assert [seen.method for seen in proxy.log] == ["GET", "PUT"]


@pytest.fixture
def hurried(bucket: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The bucket, for requests that have a second in all."""
    monkeypatch.setattr(s3_client, "BUDGET_SECONDS", 1.0)
    store_for(bucket).write(join(bucket, "folder/file"), b"x" * 1000)
    return bucket


SILENT: dict[str, Callable[[str], object]] = {
    "list": lambda place: store_for(place).list(place + "/"),
    "stat": lambda place: store_for(place).stat(join(place, "folder/file")),
    "read": lambda place: store_for(place).read(join(place, "folder/file")),
    "write": lambda place: store_for(place).write(join(place, "folder/other"), b"y" * 1000),
}


@pytest.mark.parametrize("fault", ["hang", "drip"])
@pytest.mark.parametrize("call", SILENT.values(), ids=SILENT.keys())
def test_a_store_that_never_ends_its_answer_costs_one_budget(
    hurried: str, through: Through, fault: Fault, call: Callable[[str], object]
) -> None:
    """One policy repeats requests: as many as fit into the budget, and not seven times seven."""
    proxy = through(Rule(fault))
    with pytest.raises(StorageError, match=r"Check AWS_ENDPOINT_URL and the network\."):
        call(hurried)
    assert proxy.rules[0].seen <= 2


def test_a_budget_grows_with_the_bytes_that_are_carried(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    deadlines: list[float] = []
    within = s3_client._within

    def noting(until: float, work: Callable[[], Any]) -> Any:
        deadlines.append(until)
        return within(until, work)

    monkeypatch.setattr(s3_client, "_within", noting)
    monkeypatch.setattr(s3_client, "LEAST_RATE", 10)
    began = time.monotonic()
    store_for(bucket).write(join(bucket, "file"), b"x" * 10_000)
    assert deadlines[0] - began > 1000 + s3_client.BUDGET_SECONDS
    store_for(bucket).read(join(bucket, "file"))
    assert deadlines[2] - deadlines[1] == pytest.approx(1000)


@pytest.mark.parametrize("fault", ["flip_byte", "truncate_response", "internal_error"])
@pytest.mark.parametrize("whole", [True, False], ids=["whole", "in parts"])
def test_a_download_is_asked_for_again_as_a_read_is(
    bucket: str, through: Through, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Fault, whole: bool
) -> None:
    monkeypatch.setattr(transfers, "WHOLE_BYTES", 1 << 20 if whole else 1)
    monkeypatch.setattr(transfers, "PART_BYTES", PART)
    folder = StepFolder(join(bucket, "step"))
    data = bytes(range(256)) * 40
    entry = folder.put(folder.attempt_path("data/part.parquet"), data)
    proxy = through(Rule(fault, method="GET", path="part", times=1))
    assert folder.fetch(entry, tmp_path).read_bytes() == data
    assert proxy.count(fault) == 1


@pytest.mark.parametrize("fault", ALL)
def test_a_large_file_is_copied_in_parts_whatever_happens(
    bucket: str, through: Through, truth: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Fault
) -> None:
    monkeypatch.setattr(transfers, "WHOLE_BYTES", PART)
    monkeypatch.setattr(transfers, "PART_BYTES", PART)
    data = bytes(range(250)) * 45
    (tmp_path / "source").write_bytes(data)
    store, uri, proxy = store_for(bucket), join(bucket, "uploaded"), through(Rule(fault, probability=0.5, times=5))
    store.upload(tmp_path / "source", uri)
    assert (_content(truth, uri), _uploads(truth, bucket)) == (data, 0)
    proxy.rules = [Rule(fault, probability=0.5, times=5)]
    store.download(uri, tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == data
    assert proxy.count(fault) >= 5


def test_parts_of_any_name_are_put_together(bucket: str, truth: Any) -> None:
    """The server copies what it finds under a key: the key's own spelling must reach it."""
    store = store_for(bucket)
    names = ["a b+c", "100%25&=", "ü/日本", "d//e", "#?.csv"]
    for name in names:
        store.write(f"{bucket}/parts/{name}", name.encode() * PART)
    sources = [store.stat(f"{bucket}/parts/{name}") for name in names]
    staged = store.stage([source for source in sources if source is not None], f"{bucket}/out ü+/d//whole")
    claim = store.stat(f"{bucket}/parts/d//e")
    assert claim is not None
    store.reveal(staged, None, claim)
    assert _content(truth, f"{bucket}/out ü+/d//whole") == b"".join(name.encode() * PART for name in names)


def test_a_copy_in_parts_that_fails_leaves_nothing(
    bucket: str, through: Through, truth: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfers, "WHOLE_BYTES", PART)
    monkeypatch.setattr(transfers, "PART_BYTES", PART)
    (tmp_path / "source").write_bytes(b"x" * PART * 4)
    store, uri, proxy = store_for(bucket), join(bucket, "uploaded"), through(Rule("internal_error", path="partNumber=3"))
    with pytest.raises(StorageError, match="the store failed"):
        store.upload(tmp_path / "source", uri)
    assert (_content(truth, uri), _uploads(truth, bucket)) == (None, 0)
    proxy.rules = []
    store.upload(tmp_path / "source", uri)
    proxy.rules = [Rule("access_denied", method="GET", nth=3)]
    with pytest.raises(StorageError, match="access is denied"):
        store.download(uri, tmp_path / "back")
    assert not (tmp_path / "back").exists()


@pytest.fixture
def pages(bucket: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Seven objects, which the mock lists two at a time."""
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "2")
    uris = [join(bucket, f"in/part {number}+ü.csv") for number in range(7)]
    for uri in uris:
        store_for(bucket).write(uri, b"x")
    return uris


@pytest.mark.parametrize("fault", ALL)
def test_a_listing_of_many_pages_is_whole(bucket: str, pages: list[str], through: Through, fault: Fault) -> None:
    proxy = through(Rule(fault, method="GET", path="list-type", probability=0.5, times=4))
    assert [file.uri for file in list_input(join(bucket, "in/"))] == pages
    assert len(proxy.log) >= 4
    assert proxy.count(fault) >= 2


def test_a_listing_that_is_refused_in_the_middle_is_an_error(bucket: str, pages: list[str], through: Through) -> None:
    proxy = through(Rule("access_denied", method="GET", path="continuation-token", nth=2))
    with pytest.raises(StorageError, match=r"in/: access is denied\. Grant these credentials"):
        list_input(join(bucket, "in/"))
    assert [seen.fault for seen in proxy.log if "list-type" in seen.path] == [None, None, "access_denied"]


def test_a_store_that_only_throttles_is_given_up_with_a_clear_message(bucket: str, through: Through) -> None:
    proxy = through(Rule("slow_down"))
    with pytest.raises(StorageError, match=r"the store is throttling and did not recover\. Run again later\."):
        store_for(bucket).read(join(bucket, "file"))
    assert proxy.count("slow_down") == ATTEMPTS


def _night(place: str, number: int) -> None:
    """A small night: files of a step, its manifest, and one output assembled of three parts."""
    folder = StepFolder(join(place, "step"))
    manifest = folder.manifest()
    if manifest is None or manifest.fingerprint != f"night {number}":
        entries = [
            folder.put(folder.attempt_path(f"data/part-{n}.bin"), b"%d" % (number * 10 + n) * PART, rows=n) for n in range(3)
        ]
        manifest = folder.publish("dataset", f"night {number}", {}, [], entries)
    store = store_for(place)
    sources = [store.stat(folder.uri_of(file.path)) for file in manifest.files]
    concatenate(store, [source for source in sources if source is not None], join(place, "out/users.json.out"))
    store.abort_uploads(join(place, "out/"), datetime.now(UTC) + timedelta(hours=1))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_night_rerun_until_done_gives_the_same_bytes(bucket: str, through: Through, truth: Any, seed: int) -> None:
    """Everything goes wrong a sixth of the time; what is visible is whole at every moment, and in the end right."""
    rules = [Rule(fault, probability=0.02 + 0.002 * seed) for fault in ALL]
    through(*rules, Rule("ok_with_error", method="POST", probability=0.1), seed=seed)
    whole = {n: b"".join(b"%d" % (n * 10 + part) * PART for part in range(3)) for n in (1, 2)}
    for number in (1, 2):
        for _ in range(20):
            try:
                _night(bucket, number)
                break
            except HrnnError:
                assert _content(truth, join(bucket, "out/users.json.out")) in (None, *whole.values()), f"seed {seed}"
        assert _content(truth, join(bucket, "out/users.json.out")) == whole[number], f"seed {seed}"
    assert _uploads(truth, bucket) == 0
