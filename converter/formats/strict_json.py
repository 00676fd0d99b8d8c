"""JSON as a border accepts it: one meaning for every text, and no surprise while parsing.

Python's own reader takes duplicate keys (the last wins), NaN, and texts that no other program can
encode. Two readers that pick different copies of a key are how a file passes one check and is
used by another program differently, so all of that is refused here.

Source: RFC 8259 sections 4 and 6; CPython 3.11 ``json`` and CVE-2020-10735 (long integers).
"""

from __future__ import annotations

import codecs
import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from converter.errors import CorruptFileError
from converter.formats.wording import cannot_read, quoted
from converter.tensors.dtype import Array

MAX_JSON_DEPTH = 64
MAX_DIGITS = 20  # 2**64 has 20
# What a text becomes takes up to 400 bytes for each key, and 40 for each further value: a header of
# 200,000 tensors has four keys and some ten values for each.
MAX_KEYS = 800_000
MAX_VALUES = 4_000_000
_BLOCK = 2**20

_ESCAPES = re.compile(rb"\\.", re.DOTALL)
_ESCAPED_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


class _RefusedError(ValueError):
    """A value that JSON allows, or that Python's reader does, and we do not."""


def strict_json(data: bytes, *, what: str, path: Path, max_depth: int = MAX_JSON_DEPTH) -> Any:
    """Parse JSON and refuse what has more than one reading.

    Args:
        data: The text, UTF-8 without a byte order mark.
        what: What the text is, for messages (``"the header"``).
        path: The file it comes from, for messages.
        max_depth: How many lists and objects may be inside each other.

    Returns:
        The value: ``dict``, ``list``, ``str``, ``int``, ``float``, ``bool`` or ``None``.

    Raises:
        CorruptFileError: If the text is not UTF-8, not JSON, nested too deeply, has a key twice
            in one object, a number without a finite value or of more than 20 digits, or a text
            that is not Unicode (a lone surrogate), or absurdly many keys or values.

    Examples:
        >>> strict_json(b'{"a": [1, 2.5, null]}', what="the header", path=Path("x"))
        {'a': [1, 2.5, None]}
    """
    try:
        _check_outline(data, max_depth)
        text = data.decode("utf-8")
        value = json.loads(
            text,
            object_pairs_hook=_object,
            parse_int=_integer,
            parse_float=_float,
            parse_constant=_constant,
        )
        if _ESCAPED_SURROGATE.search(data):
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeDecodeError as error:
        why = f"it is not UTF-8 at byte {error.start:,}"
    except UnicodeEncodeError:
        why = "a text in it is not Unicode"
    except json.JSONDecodeError as error:
        why = f"{error.msg} at character {error.pos:,}"
    except (_RefusedError, RecursionError) as error:
        why = str(error)
    else:
        return value
    raise CorruptFileError(cannot_read(path, f"{what} is not valid JSON: {why}"))


def _check_outline(data: bytes, max_depth: int) -> None:
    """Refuse what would take much memory or time, from the marks between the texts."""
    if data.startswith(codecs.BOM_UTF8):
        raise _RefusedError("it starts with a byte order mark")
    deepest, depth, keys, values = 0, 0, 0, 0
    for marks in _marks(data):
        keys += int(np.count_nonzero(marks == ord(":")))
        values += int(np.count_nonzero(marks == ord(",")))
        opened = (marks == ord("{")) | (marks == ord("["))
        closed = (marks == ord("}")) | (marks == ord("]"))
        depths = depth + np.cumsum(opened.astype(np.int8) - closed.astype(np.int8), dtype=np.int64)
        deepest = max(deepest, int(depths.max(initial=0)))
        depth = int(depths[-1]) if depths.size else depth
    if deepest > max_depth:
        raise _RefusedError(f"it is nested more than {max_depth} levels deep")
    for found, most, what in ((keys, MAX_KEYS, "keys"), (values, MAX_VALUES, "values")):
        if found > most:
            raise _RefusedError(f"it has more than {most:,} {what}")


def _marks(data: bytes) -> Iterator[Array]:
    """Yield the bytes that are outside of texts, some at a time."""
    start, is_inside = 0, 0
    while start < len(data):
        block = data[start : start + _BLOCK]
        if (len(block) - len(block.rstrip(b"\\"))) % 2:  # it ends within an escape
            block = data[start : start + _BLOCK + 1]
        start += len(block)
        found = np.frombuffer(_ESCAPES.sub(b"__", block), dtype=np.uint8)
        quotes = found == ord('"')
        inside = (is_inside + np.cumsum(quotes)) % 2
        is_inside = int(inside[-1])
        yield found[(inside == 0) & ~quotes]


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise _RefusedError(f"the key {quoted(twice)} is there twice")
    return value


def _integer(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise _RefusedError(f"a number has {len(text):,} digits")
    return int(text)


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise _RefusedError("a number is too large")
    return value


def _constant(text: str) -> NoReturn:
    raise _RefusedError(f"it holds {text}")
