"""Lines of a batch output, Personalize's or ours, as columns: a hash of the input, and hashes of what is listed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import orjson
import pyarrow as pa

from hrnn.data.hashing import hash64
from jobs.platform.storage import StoredFile, store_for
from schemas.errors import DataError

KEY, FILE, START, SIZE, FAILED, IDS, SCORES = "key", "file", "start", "size", "failed", "ids", "scores"
LINES: Any = pa.schema(
    {
        KEY: pa.uint64(),  # hash of file name and input
        FILE: pa.int32(),
        START: pa.int64(),  # first byte in its file
        SIZE: pa.int64(),  # bytes
        FAILED: pa.bool_(),  # an error line
        IDS: pa.list_(pa.uint64()),
        SCORES: pa.list_(pa.float32()),
    }
)
LISTED = {"recommendedItems": "items", "usersList": "users", "recommendedUsers": "users"}

_BLOCK_BYTES = 8 << 20
_SEED = 11  # of the hashes of inputs
_ID_NAMES = ("userId", "itemId")
_REMEDY = "Name a file that a batch inference or segment job wrote; its name ends in .out."


@dataclass(frozen=True)
class Answer:
    """One line, read.

    Attributes:
        asked: The input, ids as texts.
        kind: "items" or "users": what is listed; empty for an error line.
        listed: Ids, best first, none twice.
        scores: Theirs; None where there is none.
        error: Why there is no list; None where there is one.
    """

    asked: Any
    kind: str
    listed: list[str]
    scores: list[float | None] | None
    error: str | None


@dataclass(frozen=True)
class Block:
    """Some lines of a file: `table` has the columns of LINES, `kinds` is what they list."""

    table: pa.Table
    kinds: set[str]


def read_blocks(file: StoredFile, number: int, name: str) -> Iterator[Block]:
    """All lines of a file in order, a few megabytes at a time; blank lines are left out.

    Args:
        file: The file.
        number: Of the file among those of its side.
        name: By which the file is matched with that of the other side.

    Raises:
        DataError: A line is none of a batch output.
        StorageError: The file cannot be read, or changed meanwhile.
    """
    store = store_for(file.uri)
    before = 0  # lines of earlier blocks
    carried = b""
    for start in range(0, file.size, _BLOCK_BYTES):
        end = min(start + _BLOCK_BYTES, file.size)
        data = carried + store.read(file.uri, start, end, file.version)
        first = start - len(carried)
        whole = len(data) if end == file.size else data.rfind(b"\n") + 1
        carried = data[whole:]
        lines = data[:whole].split(b"\n")
        yield _block(lines, first, file.uri, before, number, name)
        before += len(lines) - 1


def read_answer(line: bytes, where: str) -> Answer:
    """One line of a batch output.

    Raises:
        DataError: It is none.
    """
    try:
        document = orjson.loads(line)
    except orjson.JSONDecodeError as fault:
        _refuse(f"the line is not JSON ({fault.msg})", line, where)
    if type(document) is not dict or "output" not in document:
        _refuse("the line is no answer: it has no output", line, where)
    output, error = document.pop("output"), document.pop("error", None)
    asked = _canonical(document.get("input", document))  # the guide's segments have the input's members beside the output
    if error is not None or output is None:
        return Answer(asked, "", [], None, str(error or "no reason is given"))
    member = next((name for name in LISTED if type(output) is dict and name in output), None)
    if member is None:
        _refuse(f"the line's output has none of {', '.join(LISTED)}", line, where)
    listed, scores = output[member], output.get("scores")
    if type(listed) is not list or not all(type(each) is str for each in listed):
        _refuse(f"{member} is not a list of texts", line, where)
    if scores is not None and not (_are_numbers(scores) and len(scores) == len(listed)):
        _refuse(f"scores is not a list of {len(listed)} numbers", line, where)
    if len(set(listed)) < len(listed):
        places = {each: place for place, each in reversed(list(enumerate(listed)))}
        kept = sorted(places.values())
        listed, scores = [listed[place] for place in kept], scores and [scores[place] for place in kept]
    return Answer(asked, LISTED[member], listed, scores, None)


def input_text(asked: Any) -> str:
    """An input as one canonical line of JSON: `{"userId":"4638"}`."""
    return orjson.dumps(asked, option=orjson.OPT_SORT_KEYS).decode()


def _block(lines: list[bytes], first: int, uri: str, before: int, number: int, name: str) -> Block:
    texts: list[str] = []
    starts: list[int] = []
    sizes: list[int] = []
    failed: list[bool] = []
    lengths = [0]
    ids: list[str] = []
    scores: list[float | None] = []
    kinds: set[str] = set()
    for place, line in enumerate(lines):
        if line and not line.isspace():
            text = line.removeprefix(b"\xef\xbb\xbf") if first == 0 else line
            answer = read_answer(text, f"{uri}, line {before + place + 1}")
            texts.append(f"{name}\n{input_text(answer.asked)}")
            starts.append(first)
            sizes.append(len(line))
            failed.append(answer.error is not None)
            ids += answer.listed
            scores += answer.scores or [None] * len(answer.listed)
            lengths.append(len(ids))
            if answer.kind:
                kinds.add(answer.kind)
        first += len(line) + 1
    offsets = pa.array(lengths, pa.int32())
    columns = [
        pa.array(hash64(pa.array(texts, pa.large_string()), _SEED)),
        pa.array(np.full(len(starts), number, np.int32)),
        pa.array(starts, pa.int64()),
        pa.array(sizes, pa.int64()),
        pa.array(failed, pa.bool_()),
        pa.ListArray.from_arrays(offsets, pa.array(hash64(pa.array(ids, pa.large_string())))),
        pa.ListArray.from_arrays(offsets, pa.array(scores, pa.float32())),
    ]
    return Block(pa.Table.from_arrays(columns, schema=LINES), kinds)


def _canonical(asked: Any) -> Any:
    """An input whose ids are texts, as they are often written without quotes."""
    if type(asked) is not dict:
        return asked
    return {name: str(value) if name in _ID_NAMES and type(value) is int else value for name, value in asked.items()}


def _are_numbers(scores: Any) -> bool:
    return type(scores) is list and all(each is None or type(each) in (float, int) for each in scores)


def _refuse(problem: str, line: bytes, where: str) -> NoReturn:
    raise DataError(problem, where=where, value=line[:120].decode(errors="replace"), remedy=_REMEDY)
