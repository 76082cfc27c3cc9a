"""The rules for strings, applied to a column's distinct values: each value is looked at once, however many rows hold it.

text   tags and white space go, then it is cut: "<p>A\\n  tale</p>" is "A tale"
list   categories or items joined by |: "drama | horror|" is "drama|horror"
id     taken as it is; not white space only, no keyword of Personalize
plain  taken as it is
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from hrnn.data.arrays import Flags
from jobs.validate.fields import KEYWORDS, longest_string, string_kind
from schemas import columns
from schemas.datasets import SchemaField

LONGEST_TEXT = 20_000  # characters
LONGEST_DENSE_TEXT = 7_000  # characters of a text that is mostly Chinese or Japanese

HAS_NUL = "holds a NUL character"
BLANK_ID = "white space only, which is no id"
KEYWORD = "a keyword of Personalize, not a value: is this a second header row?"
FAILS_THE_IMPORT = ": Personalize fails the whole import on it"  # end of the reason that a category is too long
ONLY_FILLING = "nothing but white space, tags or bars, but the schema does not allow null"

# What Python's str.isspace takes, without and with the plain space.
_ODD_SPACES = r"\t-\r\x1c-\x1f\x85\xa0\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000}"
SPACE = f"[ {_ODD_SPACES}]"
_TAG = r"<(?:/?|[!?])[A-Za-z][^<>]*>"  # a < b is none
_DENSE = (  # kana, then Chinese characters
    r"[\x{3040}-\x{30FF}\x{31F0}-\x{31FF}\x{FF66}-\x{FF9F}"
    r"\x{3400}-\x{4DBF}\x{4E00}-\x{9FFF}\x{F900}-\x{FAFF}\x{20000}-\x{3FFFF}]"
)
_BAR = ord("|")

# Bytes that may be a separator or part of white space: all of ASCII's, and whatever is not ASCII.
_SUSPECT = np.array([byte == _BAR or byte >= 0x80 or chr(byte).isspace() for byte in range(256)])

# Behind a byte-order mark where files that begin with one were put together.
_KEYWORDS = [spelling.encode() for keyword in sorted(KEYWORDS) for spelling in (keyword, f"\ufeff{keyword}")]
_KEYWORD_SET = pa.array([spelling.decode() for spelling in _KEYWORDS], pa.string())
_KEYWORD_FIRSTS = np.isin(np.arange(256), [spelling[0] for spelling in _KEYWORDS])
_KEYWORD_LENGTHS = np.isin(np.arange(max(map(len, _KEYWORDS)) + 2), [len(spelling) for spelling in _KEYWORDS])

# What programs write where there is no value, in small messages; as an id, each would be one busy user.
_NULL_WORDS = pa.array(["nan", "none", "null", "\\n", "n/a", "na", "nil", "undefined", "<na>", "<null>", "(null)", "#n/a"])
_LONGEST_NULL_WORD = 9


@dataclass
class Distinct:
    """Distinct values, checked.

    Attributes:
        values: String array without nulls: the values as they are kept. An empty one stands for null.
        wrong: Reasons with the masks of the values they are for; of several reasons the first counts.
        cleaned: The values that white space, tags or bars were taken from; None where there is none.
        truncated: The values that were cut at the limit; None where there is none.
    """

    values: Any
    wrong: list[tuple[str, Flags]] = field(default_factory=list)
    cleaned: Flags | None = None
    truncated: Flags | None = None


def check_strings(texts: Any, described: SchemaField) -> Distinct:
    """Clean and check the distinct values of a column.

    Args:
        texts: String array without nulls.
        described: What the schema says of the column.
    """
    distinct = Distinct(texts)
    kind = string_kind(described)
    if kind == "text":
        _clean(distinct, _plain_texts(texts))
        _truncate(distinct)
    elif kind == "list":
        _clean(distinct, _joined(texts))
    # Bytes are never fewer than characters, and a NUL is a zero byte: most columns pass without a string function.
    data, offsets = _bytes(distinct.values)
    if kind == "id":
        _check_ids(distinct, data, offsets)
    if (longest := longest_string(described)) is not None and np.diff(offsets).max(initial=0) > longest:
        too_long = _mask(pc.greater(pc.utf8_length(distinct.values), longest))
        distinct.wrong.append((_too_long(longest, described), too_long))
    if data.min(initial=1) == 0:
        distinct.wrong.append((HAS_NUL, _mask(pc.match_substring(distinct.values, "\0"))))
    # An empty cell has its own reason; here only what became empty by cleaning.
    if distinct.cleaned is not None and not described.nullable:
        is_empty = _mask(pc.equal(pc.binary_length(distinct.values), 0))
        distinct.wrong.append((ONLY_FILLING, is_empty & distinct.cleaned))
    return distinct


def null_words(texts: Any) -> Flags:
    """Which texts are what programs write for a null: nan, None, NULL, \\N, …"""
    _, offsets = _bytes(texts)
    short = np.flatnonzero(np.diff(offsets) <= _LONGEST_NULL_WORD)
    is_null_word = np.zeros(len(texts), np.bool_)
    is_null_word[short] = _mask(pc.is_in(pc.ascii_lower(texts.take(pa.array(short))), _NULL_WORDS))
    return is_null_word


def spaced_texts(texts: Any) -> Flags:
    """Which texts begin or end with white space."""
    data, offsets = _bytes(texts)
    is_spaced = np.zeros(len(texts), np.bool_)
    # First and last bytes exclude nearly all; the regular expression, which knows Unicode, decides about the rest.
    filled = np.flatnonzero(np.diff(offsets))
    suspects = filled[_SUSPECT[data[offsets[filled]]] | _SUSPECT[data[offsets[filled + 1] - 1]]]
    is_spaced[suspects] = _mask(pc.match_substring_regex(texts.take(pa.array(suspects)), f"^{SPACE}|{SPACE}$"))
    return is_spaced


def _too_long(longest: int, described: SchemaField) -> str:
    problem = f"longer than {longest} characters"
    if described.name == columns.IMPRESSION:
        return f"{problem}, bars included"
    return f"{problem}{FAILS_THE_IMPORT}" if described.categorical else problem


def _check_ids(distinct: Distinct, data: NDArray[np.uint8], offsets: NDArray[np.int32]) -> None:
    if not len(data):
        return
    firsts = data[np.minimum(offsets[:-1], len(data) - 1)]  # of an empty value some other's, which does no harm
    if _SUSPECT[firsts].any():
        distinct.wrong.append((BLANK_ID, _mask(pc.match_substring_regex(distinct.values, f"^{SPACE}+$"))))
    # First byte and length exclude nearly all; the comparison with the keywords decides about the rest.
    begins_so = _KEYWORD_FIRSTS[firsts]
    if begins_so.any() and _KEYWORD_LENGTHS[np.minimum(np.diff(offsets)[begins_so], len(_KEYWORD_LENGTHS) - 1)].any():
        distinct.wrong.append((KEYWORD, _mask(pc.is_in(distinct.values, _KEYWORD_SET))))


def _clean(distinct: Distinct, cleaned: Any) -> None:
    """Take values that were cleaned."""
    changed = _mask(pc.not_equal(distinct.values, cleaned))
    if changed.any():
        distinct.values, distinct.cleaned = cleaned, changed


def _plain_texts(texts: Any) -> Any:
    """Texts without tags, with single spaces for all runs of white space, none at the ends; a tag counts as a space."""
    if pc.any(pc.match_substring(texts, "<")).as_py():
        texts = pc.replace_substring_regex(_without_comments(texts), _TAG, " ")
    texts = pc.replace_substring_regex(texts, f"{SPACE}{{2,}}|[{_ODD_SPACES}]", " ")
    return pc.ascii_trim(texts, " ")


def _without_comments(texts: Any) -> Any:
    """Texts with a space for each `<!-- … -->`. A regular expression would look for the end of an open one again and again."""
    commented = pc.match_substring(texts, "<!--")
    if not pc.any(commented).as_py():
        return texts
    # Few texts have comments, so a loop over these alone costs little.
    rests = []
    for text in texts.filter(commented).to_pylist():
        kept, place = [], 0
        while (start := text.find("<!--", place)) >= 0 and (stop := text.find("-->", start + 4)) >= 0:
            kept.append(text[place:start])
            place = stop + 3
        rests.append(" ".join([*kept, text[place:]]))
    return pc.replace_with_mask(texts, commented, pa.array(rests, pa.string()))


def _truncate(distinct: Distinct) -> None:
    """Cut texts at 20,000 characters, or at 7,000 where more than half of them are Chinese characters or kana."""
    lengths = pc.utf8_length(distinct.values).to_numpy(zero_copy_only=False)
    long = np.flatnonzero(lengths > LONGEST_DENSE_TEXT)
    if not len(long):
        return
    # Which limit holds depends on the writing, and that is counted for long texts only.
    long_texts = distinct.values.take(pa.array(long))
    is_dense = 2 * pc.count_substring_regex(long_texts, _DENSE).to_numpy(zero_copy_only=False) > lengths[long]
    limits = np.where(is_dense, LONGEST_DENSE_TEXT, LONGEST_TEXT)
    cut = lengths[long] > limits
    if not cut.any():
        return
    pairs = zip(long_texts.filter(pa.array(cut)).to_pylist(), limits[cut].tolist(), strict=True)
    distinct.truncated = np.zeros(len(lengths), np.bool_)
    distinct.truncated[long[cut]] = True
    shortened = pa.array([text[:limit].rstrip(" ") for text, limit in pairs], pa.string())
    distinct.values = pc.replace_with_mask(distinct.values, pa.array(distinct.truncated), shortened)


def _joined(texts: Any) -> Any:
    """Values joined by bars, each trimmed, without empty ones."""
    suspects = _with_loose_bars(texts)
    if not suspects.any():
        return texts
    cleaned = [
        "|".join(part for part in map(str.strip, text.split("|")) if part)
        for text in texts.filter(pa.array(suspects)).to_pylist()
    ]
    return pc.replace_with_mask(texts, pa.array(suspects), pa.array(cleaned, pa.string()))


def _with_loose_bars(texts: Any) -> Flags:
    """Which values may have white space or a bar at an end, or beside a bar; few others."""
    data, offsets = _bytes(texts)
    suspects = np.zeros(len(texts), np.bool_)
    if not len(data):
        return suspects
    # A value may need trimming where its first or last byte, or a byte beside a bar, may be white space or a bar.
    filled = np.flatnonzero(np.diff(offsets))
    suspects[filled] = _SUSPECT[data[offsets[filled]]] | _SUSPECT[data[offsets[filled + 1] - 1]]
    bars = np.flatnonzero(data == _BAR)
    loose = _SUSPECT[data[np.maximum(bars - 1, 0)]] | _SUSPECT[data[np.minimum(bars + 1, len(data) - 1)]]
    suspects[np.searchsorted(offsets, bars[loose], side="right") - 1] = True
    return suspects


def _bytes(texts: Any) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """The bytes of all values, one after the other, and where each one begins in them, and the last one ends."""
    _, places, data = texts.buffers()
    if not len(texts) or data is None:
        return np.empty(0, np.uint8), np.zeros(len(texts) + 1, np.int32)
    # A slice shares its parent's buffers: only the part from `offset` on is its own.
    offsets = np.frombuffer(places, np.int32)[texts.offset : texts.offset + len(texts) + 1]
    return np.frombuffer(data, np.uint8)[offsets[0] : offsets[-1]], offsets - offsets[0]


def _mask(flags: Any) -> Flags:
    mask: Flags = flags.to_numpy(zero_copy_only=False)
    return mask
