"""Files of very many tensors, as bytes: the smallest that each format can say them in."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np


def safetensors(count: int) -> bytes:
    entries = (
        b'"t%d":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}' % number
        for number in range(count)
    )
    header = b"{" + b",".join(entries) + b"}"
    return len(header).to_bytes(8, "little") + header


def safetensors_texts(count: int) -> bytes:
    """A header whose metadata are very many empty texts."""
    texts = b",".join(b'"%x":""' % number for number in range(count))
    header = b'{"__metadata__":{' + texts + b"}}"
    return len(header).to_bytes(8, "little") + header


def safetensors_index(count: int) -> bytes:
    names = b",".join(b'"t%d":"a.safetensors"' % number for number in range(count))
    return b'{"weight_map":{' + names + b"}}"


def _text(text: str) -> bytes:
    return b"X" + struct.pack("<I", len(text)) + text.encode()


def _torch_pickle(count: int) -> bytes:
    """Tensors of one storage at different places, what repeats taken from the memo."""
    storage = b"(" + _text("storage") + b"ctorch\nFloatStorage\n" + _text("0") + _text("cpu")
    storage += b"J" + struct.pack("<i", count) + b"tQ"
    named = [b"ctorch._utils\n_rebuild_tensor_v2\n", storage, b"ccollections\nOrderedDict\n"]
    parts = [b"\x80\x02", *(named[at] + b"q%c0" % at for at in range(3)), b"}("]
    for number in range(count):
        place = b"J" + struct.pack("<i", number)
        parts += [_text(f"t{number}"), b"h\0(h\1", place, b"(K\1t(K\1t\x89h\2)RtR"]
    return b"".join([*parts, b"u."])


def torch_archive(data: bytes, storage: bytes = b"") -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("a/data.pkl", data)
        archive.writestr("a/version", b"3\n")
        archive.writestr("a/data/0", storage, zipfile.ZIP_STORED)
    return file.getvalue()


def torch(count: int) -> bytes:
    return torch_archive(_torch_pickle(count), bytes(4 * count))


def numpy_pickle(count: int) -> bytes:
    return pickle.dumps([np.zeros(1, "f4") for _ in range(count)], protocol=2)


def _field(number: int, value: bytes) -> bytes:
    size, length = b"", len(value)
    while length > 127:
        size, length = size + bytes([length & 127 | 128]), length >> 7
    return bytes([number << 3 | 2]) + size + bytes([length]) + value


def onnx(count: int) -> bytes:
    tensors = b"".join(
        _field(5, b"\x08\x01\x10\x01" + _field(8, b"t%d" % number) + _field(9, bytes(4)))
        for number in range(count)
    )
    return b"\x08\x08" + _field(2, b"test") + _field(7, tensors) + _field(8, b"\x10\x0d")


def npz(count: int) -> bytes:
    array = io.BytesIO()
    np.save(array, np.zeros(1, "f4"))
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for number in range(count):
            archive.writestr(f"t{number}.npy", array.getvalue())
    return file.getvalue()


MAKERS: dict[str, Callable[[int], bytes]] = {
    "a.safetensors": safetensors,
    "a.pt": torch,
    "a.pkl": numpy_pickle,
    "a.onnx": onnx,
    "a.npz": npz,
}


def write(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path
