"""JSON records as the platform writes them, and damages of all kinds that disks, people and tools do to them."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

from schemas.checksums import DIGEST, with_checksum
from schemas.manifest import FileEntry, InputRef, Manifest

VALUES: tuple[Any, ...] = (None, True, 0, -1, 1.5, 10**30, "", "x", "../../victim", [], [1], {}, {"a": 1}, "\x00", "0" * 64)


def manifest() -> Manifest:
    """One with something of everything."""
    return Manifest(
        kind="solution_version",
        fingerprint="f" * 64,
        software="0.1.0",
        config={"recipe": "aws-hrnn", "settings": {"epochs": 3, "loss": 0.5}, "events": None},
        inputs=(InputRef(uri="s3://bucket/sequences", version="e" * 64),),
        files=tuple(FileEntry(path=f"data/part-{n}.parquet", size=n, sha256="a" * 64, rows=n) for n in range(3)),
        counts={"users": 7, "items": 9},
        metadata={"event_types": ["view", "purchase"], "shards": [{"states": "data/part-0.parquet", "num_users": 7}]},
    )


def records() -> dict[str, bytes]:
    """What of record -> its bytes."""
    step = {"job": "recommend", "name": "users", "folder": "/out/", "fingerprint": "f" * 64, "settings": {}, "inputs": {}}
    trial: dict[str, Any] = {"number": 0, "recipe": "aws-hrnn", "hyperparameters": {"bptt": 8}, "objective": 0.25}
    return {
        "manifest": manifest().to_bytes(),
        "claim": with_checksum({"generation": 3, "night": "a" * 64, "began": "2026-11-21", "software": "0.1.0"}),
        "summary": with_checksum({"job": "nightly", "steps": [step], "solutions": {"for-you": {"coverage": 0.3}}}),
        "trial": with_checksum(trial | {"best_epoch": 1, "epochs": 2, "seconds": 0.5}),
    }


def damage(data: bytes, chance: random.Random) -> bytes:
    """The bytes with one damage or several."""
    for _ in range(chance.choice((1, 1, 1, 2, 5))):
        data = chance.choice(_DAMAGES)(data, chance)
    return data


def _flip_bit(data: bytes, chance: random.Random) -> bytes:
    if not data:
        return b"\0"
    at = chance.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :]


def _cut(data: bytes, chance: random.Random) -> bytes:
    return data[: chance.randrange(len(data) + 1)]


def _lose(data: bytes, chance: random.Random) -> bytes:
    start = chance.randrange(len(data) + 1)
    return data[:start] + data[start + chance.randrange(1, 40) :]


def _repeat(data: bytes, chance: random.Random) -> bytes:
    start = chance.randrange(len(data) + 1)
    return data[:start] + data[max(0, start - chance.randrange(1, 40)) :]


def _put_in(data: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(data) + 1)
    odd = (b"\xff", b"\0", b'"', b"{", b"]", b",", b"9" * 5000, b"[" * 20_000, b"NaN", "é".encode("utf-16"), b"\xef\xbb\xbf")
    return data[:at] + chance.choice(odd) + data[at:]


def _other_text(data: bytes, chance: random.Random) -> bytes:
    pairs = (
        (b"purchase", b"purchasf"),
        (b"data/", b"../../"),
        (b"recommend", b"nobody"),
        (b"1", b"2"),
        (b"a", b"b"),
        (b":", b";"),
    )
    return data.replace(*chance.choice(pairs), chance.choice((1, -1)))


def _other_tree(data: bytes, chance: random.Random) -> bytes:
    """A value, a key or a list's length changed, the digest as it was."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return data
    place = document
    while isinstance(place, (dict, list)) and place:
        key = chance.choice(list(place) if isinstance(place, dict) else range(len(place)))  # type: ignore[arg-type]
        if not isinstance(place[key], (dict, list)) or not place[key] or chance.random() < 0.3:
            _change(place, key, chance)
            break
        place = place[key]
    return json.dumps(document).encode()


def _change(place: Any, key: Any, chance: random.Random) -> None:
    how = chance.randrange(3)
    if how == 0:
        del place[key]
    elif how == 1:
        place[key] = chance.choice(VALUES)
    elif isinstance(place, dict):
        place[f"{key}x"] = place.pop(key)
    else:
        place.append(place[key])


def _another_layout(data: bytes, chance: random.Random) -> bytes:
    """No damage: the same document written by another program."""
    try:
        return json.dumps(json.loads(data), indent=chance.choice((None, 4)), sort_keys=chance.random() < 0.5).encode()
    except (ValueError, RecursionError):
        return data


def _no_digest(data: bytes, chance: random.Random) -> bytes:
    return data.replace(DIGEST.encode(), b"disgust")


_DAMAGES: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    _flip_bit,
    _cut,
    _lose,
    _repeat,
    _put_in,
    _other_text,
    _other_tree,
    _other_tree,
    _another_layout,
    _no_digest,
)
