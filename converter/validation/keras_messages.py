"""What the two processes of a comparison say to each other: a line of JSON, then raw arrays.

Both ends are ours and of one version; nothing here reads a file or an object that could run code.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import IO, Any

import numpy as np

from converter.tensors.dtype import Array, get_dtype

Message = tuple[dict[str, Any], dict[str, Array]]


def send(
    stream: IO[bytes], header: Mapping[str, Any], arrays: Mapping[str, Array] | None = None
) -> None:
    """Write one message and flush.

    Args:
        stream: A pipe.
        header: What JSON can say.
        arrays: Name to array; any dtype that a tensor may have.
    """
    listed = [[name, get_dtype(one.dtype).name, one.shape] for name, one in (arrays or {}).items()]
    line = json.dumps({**header, "arrays": listed})
    stream.write(line.encode() + b"\n")
    for array in (arrays or {}).values():
        stream.write(np.ascontiguousarray(array).tobytes())
    stream.flush()


def receive(stream: IO[bytes]) -> Message | None:
    """Read one message; ``None`` where the other end is gone."""
    line = stream.readline()
    if not line.endswith(b"\n"):
        return None
    header = json.loads(line)
    arrays = {}
    for name, dtype, shape in header.pop("arrays"):
        kind = get_dtype(dtype).numpy
        data = bytearray(math.prod(shape) * kind.itemsize)
        if not _fill(stream, data):
            return None
        arrays[name] = np.frombuffer(data, kind).reshape(shape)
    return header, arrays


def _fill(stream: IO[bytes], data: bytearray) -> bool:
    view = memoryview(data)
    while view:
        # Of a buffered pipe, reading gives less only at its end.
        part = stream.read(min(len(view), 1 << 24))
        if not part:
            return False
        view[: len(part)] = part
        view = view[len(part) :]
    return True
