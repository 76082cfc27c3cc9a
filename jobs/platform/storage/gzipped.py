"""Gzip data as a stream of bounded pieces, of one member or of several."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator

from schemas.errors import DataError

MAGIC = b"\x1f\x8b"
FOREIGN = {  # other formats that users pass by mistake, by their first bytes
    b"PAR1": "a Parquet file",
    b"PK\x03\x04": "a ZIP archive",
    b"BZh": "a bzip2 file",
    b"\xfd7zXZ": "an xz file",
    b"\x28\xb5\x2f\xfd": "a Zstandard file",
    b"Obj\x01": "an Avro file",
    b"ORC": "an ORC file",
    b"\xff\xfe": "UTF-16 text",
    b"\xfe\xff": "UTF-16 text",
}
PIECE_BYTES = 8 << 20  # unpacked bytes yielded at a time
BOMB_BYTES = 64 << 20  # unpacked; from here on data is refused that was packed more than
BOMB_RATIO = 200  # times smaller: rows of a dataset are 3 to 30 times smaller, never a hundred

_GZIP = 31  # zlib's name for "gzip header, largest window"


def unpack(chunks: Iterable[bytes], where: str, piece_bytes: int = PIECE_BYTES, may_end_early: bool = False) -> Iterator[bytes]:
    """The bytes that gzip data holds, in pieces of at most `piece_bytes`.

    Args:
        chunks: The packed bytes, in order, cut anywhere.
        where: Their source, for messages.
        piece_bytes: Largest piece; memory stays flat however well the data is packed.
        may_end_early: The chunks are only the beginning of the data.

    Raises:
        DataError: The data is damaged, ends too early, or is a bomb.
    """
    inflater = zlib.decompressobj(_GZIP)
    packed = unpacked = 0
    for chunk in chunks:
        waiting = chunk
        packed += len(chunk)
        while True:
            if inflater.eof:
                waiting = (inflater.unused_data + waiting).lstrip(b"\0")  # tapes and some tools pad with zeros
                if not waiting:
                    break
                inflater = zlib.decompressobj(_GZIP)
            try:
                piece = inflater.decompress(waiting, piece_bytes)
            except zlib.error as error:
                raise DataError(f"the gzip data is damaged ({error})", where=where, remedy="Pack or upload it again.") from None
            waiting = inflater.unconsumed_tail
            unpacked += len(piece)
            if unpacked > max(BOMB_BYTES, BOMB_RATIO * (packed - len(waiting))):
                raise DataError(
                    "the gzip data unpacks to far more than rows would",
                    where=where,
                    allowed=f"{BOMB_RATIO} times its size, beyond {BOMB_BYTES >> 20} MiB",
                    remedy="Unpack it, if it is right all the same.",
                )
            if piece:
                yield piece
            if not waiting and len(piece) < piece_bytes and not (inflater.eof and inflater.unused_data):
                break
    if not inflater.eof and not may_end_early:
        raise DataError("the gzip data ends too early", where=where, remedy="Pack or upload it again.")


def refuse_foreign(head: bytes, instead: str, where: str, remedy: str) -> None:
    """Refuse a file of another format than text.

    Args:
        head: Its first bytes, unpacked.
        instead: What is needed.
        where: The file, for messages.
        remedy: What to do.

    Raises:
        DataError: It is of another one.
    """
    for magic, what in FOREIGN.items():
        if head.startswith(magic):
            raise DataError(f"this is {what}, not {instead} in UTF-8", where=where, remedy=remedy)


def first_bytes(packed: bytes, limit: int, is_whole: bool, where: str) -> tuple[bytes, bool]:
    """The first unpacked bytes, at most `limit`, and whether they are all there are.

    Args:
        packed: The beginning of the gzip data.
        limit: Most unpacked bytes to return.
        is_whole: `packed` is all of the data.
        where: Its source, for messages.
    """
    unpacked = b""
    for piece in unpack([packed], where, piece_bytes=limit + 1, may_end_early=not is_whole):
        unpacked += piece
        if len(unpacked) > limit:
            return unpacked[:limit], False
    return unpacked, is_whole
