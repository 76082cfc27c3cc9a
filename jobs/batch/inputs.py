"""The files of a batch input, their splits and bundles of splits, and the lines of a split."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from jobs.platform.storage import Store, StoredFile, folders_read, input_below, is_object, list_input, normalise, store_for
from schemas.batch import MOST_LINE_BYTES
from schemas.errors import ConfigError, DataError, StorageError
from schemas.uris import canonical, lies_in

_LEAST_SPLIT_BYTES = 64 << 10
_MOST_SPLIT_BYTES = 512 << 10  # about 20,000 lines, whose answers take about 20 MB: what a task holds, however long the input
_OPEN_BYTES = 16 << 10  # the cost of opening a file, in bytes that are read and answered in the same time
_READ_BYTES = 1 << 20  # read at a time where a line goes on behind its split
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, kw_only=True)
class Split:
    """A range of bytes of one input file: the lines that begin in it.

    Attributes:
        number: Position among the splits of all files, in the order of files and bytes.
        file: The file and its version; a file that changes meanwhile is an error.
        file_number: Position of the file.
        start: First byte.
        end: Byte after the last.
    """

    number: int
    file: StoredFile
    file_number: int
    start: int
    end: int

    @property
    def size(self) -> int:
        """Bytes."""
        return self.end - self.start

    def to_bytes(self) -> bytes:
        """JSON without line feeds, to be sent to a task."""
        file = [self.file.uri, self.file.size, self.file.version]
        return json.dumps([self.number, file, self.file_number, self.start, self.end]).encode()

    @classmethod
    def of_bytes(cls, line: bytes) -> Split:
        """What `to_bytes` wrote."""
        number, file, file_number, start, end = json.loads(line)
        return cls(number=number, file=StoredFile(*file), file_number=file_number, start=start, end=end)


def input_files(uri: str) -> list[StoredFile]:
    """The input files that a URI names, by Personalize's rules.

    On S3 a URI that names an object means that object; any other is a prefix, so `s3://bucket/folder` also takes
    `folder_test/…`, and `s3://bucket/folder/` doesn't. A local path is a file or a folder. What `input_below` leaves out
    is no input.

    Raises:
        StorageError: Nothing is there.
        DataError: Two files have the same name, so their answers would too.
    """
    uri = normalise(uri)
    if not is_object(uri):
        files = list_input(uri)
    else:
        file = None if uri.endswith("/") else store_for(uri).stat(uri)
        files = [file] if file else input_below(uri)
    if not files:
        raise StorageError(
            "Invalid S3 input path: no object's name begins with it", where=uri, remedy="Name an object, or a prefix of some."
        )
    names: dict[str, str] = {}
    for file in files:
        if file.name in names:
            raise DataError(
                f"two input files have the same name, so both would be answered in {file.name}.out",
                where=names[file.name],
                value=file.uri,
                remedy="Rename one, or end the input with / so that it names one folder.",
            )
        names[file.name] = file.uri
    return files


def check_places(files: Sequence[StoredFile], input_uri: str, output: str) -> None:
    """Refuse an output folder in which answers would be taken for input, now or by the next run.

    Raises:
        ConfigError: An input file lies in it, or it lies in the folder, or below the prefix, that the input names.
    """
    source, target = normalise(input_uri), canonical(output)
    is_one_file = any(file.uri == source for file in files)
    is_below = f"{target}/".startswith(source)
    if not is_object(source):
        is_below = any(lies_in(target, each) for each in folders_read(source))
    is_beside = any(canonical(file.uri).rpartition("/")[0] == target for file in files)
    if is_beside or (is_below and not is_one_file):
        raise ConfigError(
            "the output lies where the input is, so that answers would be taken for input",
            where="output",
            value=output,
            remedy="Name another folder, which the input's path does not include.",
        )


def cut(files: Sequence[StoredFile], parallelism: int, *, smallest: bool = False) -> list[Split]:
    """Splits of all files: small enough that every core has several, if the input is large enough for that.

    Args:
        files: In order.
        parallelism: Number of cores.
        smallest: Make splits of the least size whatever the number of cores: for answers that take more memory.
    """
    total = sum(file.size for file in files)
    size = min(_MOST_SPLIT_BYTES, max(_LEAST_SPLIT_BYTES, 0 if smallest else total // (4 * max(1, parallelism))))
    ranges = [(number, file, start) for number, file in enumerate(files) for start in range(0, file.size, size)]
    return [
        Split(number=number, file=file, file_number=file_number, start=start, end=min(start + size, file.size))
        for number, (file_number, file, start) in enumerate(ranges)
    ]


def bundle(splits: Sequence[Split], parallelism: int, *, smallest: bool = False) -> list[tuple[Split, ...]]:
    """Neighbouring splits, such as those of small files, put together: no more tasks than keep every core busy.

    Args:
        splits: In order.
        parallelism: Number of cores.
        smallest: As for `cut`. No bundle has more bytes than the largest split may have.
    """
    most_bytes = _LEAST_SPLIT_BYTES if smallest else _MOST_SPLIT_BYTES
    work = sum(_OPEN_BYTES + split.size for split in splits)
    most_work = max(_OPEN_BYTES + _LEAST_SPLIT_BYTES, work // (4 * max(1, parallelism)))
    bundles: list[list[Split]] = []
    # A bundle is full by its bytes, which bound a task's memory, or by its work, which counts the opening of files too.
    held_bytes = held_work = 0
    for split in splits:
        if not bundles or held_bytes + split.size > most_bytes or held_work + _OPEN_BYTES + split.size > most_work:
            bundles.append([])
            held_bytes = held_work = 0
        bundles[-1].append(split)
        held_bytes, held_work = held_bytes + split.size, held_work + _OPEN_BYTES + split.size
    return [tuple(bundled) for bundled in bundles]


def read_lines(split: Split) -> list[bytes]:
    """The lines that begin in a split, without their line feeds. A line that is too long comes cut off, but still too long."""
    store = store_for(split.file.uri)
    # One byte more in front: where it is a line feed, the split's first line is whole.
    data = _read(store, split, max(0, split.start - 1), split.end)
    if split.start > 0:
        _, feed, data = data.partition(b"\n")  # what begins before the split is its neighbour's
        if not feed:
            return []
    if not data:
        return []
    lines = data.split(b"\n")
    if data.endswith(b"\n"):
        lines.pop()
    else:
        lines[-1] += _rest_of_line(store, split)
    if split.start == 0:
        lines[0] = lines[0].removeprefix(_BYTE_ORDER_MARK)
    return lines


def _rest_of_line(store: Store, split: Split) -> bytes:
    """The bytes behind a split up to the next line feed; of a line that is too long only so many that it stays too long."""
    kept = b""
    for start in range(split.end, split.file.size, _READ_BYTES):
        piece, feed, _ = _read(store, split, start, min(start + _READ_BYTES, split.file.size)).partition(b"\n")
        kept += piece[: MOST_LINE_BYTES + 1 - len(kept)] if len(kept) <= MOST_LINE_BYTES else b""
        if feed:
            break
    return kept


def _read(store: Store, split: Split, start: int, end: int) -> bytes:
    return store.read(split.file.uri, start, end, split.file.version)
