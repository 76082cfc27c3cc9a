"""Lines of a batch output, Personalize's or ours, and both sides' lines in parts that are compared one at a time.

A line goes to a part by the hash of its input, so that a part of one side and the same part of the other hold all lines of the
same inputs, whatever the order in the files.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import orjson
import pyarrow as pa

from hrnn.data.hashing import hash64
from jobs.platform.storage import StoredFile, read_chunks, store_for
from jobs.platform.storage.gzipped import FOREIGN, MAGIC, refuse_foreign, unpack
from schemas.errors import DataError

LINES: Any = pa.schema(
    {
        "number": pa.int64(),  # rising through all files of a side
        "input": pa.string(),  # the file's name and a line feed before it
        "kind": pa.string(),  # as of an Answer
        "ids": pa.list_(pa.string()),
        "scores": pa.list_(pa.float32()),
    }
)
SEED = 11  # of the hashes of inputs

_LISTS = {"recommendedItems": "items", "usersList": "users", "recommendedUsers": "users"}
_ID_NAMES = ("userId", "itemId")
# What an input names, of which the guide's segments have one beside the output.
_INPUTS = frozenset({*_ID_NAMES, "itemAttributes"})
_SCORE_TYPES = (float, int, type(None))
_BLOCK_BYTES = 8 << 20
_PART_BYTES = 128 << 20  # of both sides' text that are compared at a time: about 600 MB of memory
_MOST_PARTS = 256
_HEAD_BYTES = max(map(len, (MAGIC, *FOREIGN)))
_PACKED_TIMES = 10  # so much smaller gzip makes such text, about
_REMEDY = "Name a file that a batch inference or segment job wrote; its name ends in .out."


@dataclass(frozen=True)
class Answer:
    """One line.

    Attributes:
        input: Ids in it are texts.
        kind: "items" or "users": what is listed; empty for an error line.
        ids: Best first, none twice.
        scores: As many, None where there is none.
    """

    input: Any
    kind: str
    ids: list[str]
    scores: list[float | None]


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
    request = document.get("input", document)  # the guide's segments have the input's members beside the output
    if request is document and not _INPUTS & request.keys():
        _refuse("the line is no answer: it has no input", line, where)
    if type(request) is dict:  # ids are often written without quotes
        request = {key: str(value) if key in _ID_NAMES and type(value) is int else value for key, value in request.items()}
    if error is not None or output is None:
        return Answer(request, "", [], [])
    member = next((name for name in _LISTS if type(output) is dict and name in output), None)
    if member is None:
        _refuse(f"the line's output has none of {', '.join(_LISTS)}", line, where)
    ids, scores = output[member], output.get("scores")
    if type(ids) is not list or not all(type(each) is str for each in ids):
        _refuse(f"{member} is not a list of texts", line, where)
    if scores is None:
        scores = [None] * len(ids)
    if type(scores) is not list or len(scores) != len(ids) or any(type(each) not in _SCORE_TYPES for each in scores):
        _refuse(f"scores is not a list of {len(ids)} numbers", line, where)
    if len(set(ids)) < len(ids):
        first = dict(zip(reversed(ids), reversed(scores), strict=True))
        ids = list(dict.fromkeys(ids))
        scores = [first[each] for each in ids]
    return Answer(request, _LISTS[member], ids, scores)


def _refuse(problem: str, line: bytes, where: str) -> NoReturn:
    raise DataError(problem, where=where, value=line[:120].decode(errors="replace"), remedy=_REMEDY)


def num_parts(files: Sequence[StoredFile]) -> int:
    """How many parts suit the files of both sides."""
    size = sum(file.size * (_PACKED_TIMES if _is_gzipped(file) else 1) for file in files)
    return min(_MOST_PARTS, 1 + size // _PART_BYTES)


def write_parts(files: Mapping[str, StoredFile], parts: int, folder: Path) -> list[Path]:
    """Read a side's files once and write their lines to parts, in their order; blank lines are left out.

    Args:
        files: By the name by which a file is matched with one of the other side.
        parts: How many.
        folder: An empty local one.

    Returns:
        One file of Arrow batches a part, with the columns of LINES.

    Raises:
        DataError: A line is none of a batch output.
        StorageError: A file cannot be read, or changed meanwhile.
    """
    paths, numbers = [folder / f"{part}.arrow" for part in range(parts)], itertools.count()
    with ExitStack() as stack:
        writers = [stack.enter_context(pa.ipc.new_stream(str(path), LINES)) for path in paths]
        for name, file in files.items():
            for table in _tables(name, file, numbers):
                part_of = hash64(table["input"], SEED) % np.uint64(parts)
                for part in np.unique(part_of).tolist():
                    writers[part].write_table(table.filter(pa.array(part_of == part)))
    return paths


def read_part(path: Path) -> pa.Table:
    """The lines of a part; they stay on disk until they are used."""
    with pa.memory_map(str(path)) as file, pa.ipc.open_stream(file) as reader:
        return reader.read_all()


def _tables(name: str, file: StoredFile, numbers: Iterator[int]) -> Iterator[pa.Table]:
    line_numbers = itertools.count(1)  # in the file
    for lines in _line_blocks(file):
        rows = []
        for line, at in zip(lines, line_numbers, strict=False):
            if line and not line.isspace():
                answer = read_answer(line.removeprefix(b"\xef\xbb\xbf") if at == 1 else line, f"{file.uri}, line {at}")
                key = f"{name}\n{orjson.dumps(answer.input, option=orjson.OPT_SORT_KEYS).decode()}"
                rows.append((next(numbers), key, answer.kind, answer.ids, answer.scores))
        if rows:
            yield pa.table(list(zip(*rows, strict=True)), schema=LINES)


def _line_blocks(file: StoredFile) -> Iterator[list[bytes]]:
    """All lines of a file without their line feeds, a few megabytes at a time."""
    rest = b""
    blocks = read_chunks(file, _BLOCK_BYTES)
    for data in unpack(blocks, file.uri) if _is_gzipped(file) else blocks:
        *lines, rest = (rest + data).split(b"\n")
        yield lines
    yield [rest]


def _is_gzipped(file: StoredFile) -> bool:
    """Whether a file is gzip data.

    Raises:
        DataError: It is of another format than text.
    """
    head = store_for(file.uri).read(file.uri, 0, min(_HEAD_BYTES, file.size), file.version)
    refuse_foreign(head, "JSON lines", file.uri, _REMEDY)
    return head.startswith(MAGIC)
