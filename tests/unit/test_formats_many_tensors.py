"""A hundred thousand tensors are read; a million cost an error, few steps and little memory."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import many_tensors as many

from converter.errors import CorruptFileError, UnsafeFileError
from converter.formats import (
    hdf5_direct,
    hdf5_walk,
    pickle_machine,
    shard_index,
    strict_json,
)
from converter.formats.registry import open_checkpoint

MAX_MEGABYTES = 400
# Opens every file that it is given, each time in a process of its own memory; says what came.
PROGRAM = """
import json, re, sys
from pathlib import Path
from converter.errors import ConverterError
from converter.formats.registry import open_checkpoint
try:
    with open_checkpoint(Path(sys.argv[1])) as found:
        names = list(found.manifest.tensors)
        for name in (names[0], names[-1]):
            found.read(name)
        said = len(names)
except ConverterError as error:
    said = str(error).splitlines()[0]
# What getrusage says would count the process that started this one.
peak = int(re.search("VmHWM:\\s*([0-9]+)", Path("/proc/self/status").read_text())[1]) / 1024
print(json.dumps([said, peak]))
"""


def opened(path: Path) -> int | str:
    """Open a file in a process of its own and bounded memory; return a count or a message.

    No time is asserted: what bounds it is the number of keys or steps, which the messages say.
    """
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(path)], capture_output=True, text=True, check=True
    )
    said, megabytes = json.loads(done.stdout)
    assert megabytes < MAX_MEGABYTES
    return said


def some(names: Iterable[str], *default: str) -> list[object]:
    """Return the names as parameters; all but a few take too long for every run."""
    return [pytest.param(name, marks=() if name in default else pytest.mark.long) for name in names]


@pytest.mark.parametrize("name", some(many.MAKERS, "a.safetensors", "a.pt"))
def test_a_hundred_thousand_are_read(tmp_path, name):
    assert opened(many.write(tmp_path, name, many.MAKERS[name](100_000))) == 100_000


KEYS = "the header is not valid JSON: it has more than 800,000 keys"
STEPS = "its pickle has more than 3,600,000 steps"
REFUSED = {
    "a.safetensors": (many.safetensors, KEYS),
    "b.safetensors": (many.safetensors_texts, KEYS),
    "a.pt": (many.torch, STEPS),
    "a.pkl": (many.numpy_pickle, STEPS),
    "a.onnx": (many.onnx, "it has more than 2,500,000 fields beside its weights"),
}


@pytest.mark.parametrize("name", some(REFUSED, "a.safetensors", "b.safetensors"))
def test_a_million_are_refused(tmp_path, name):
    make, why = REFUSED[name]
    said = opened(many.write(tmp_path, name, make(1_000_000)))
    assert said == f"cannot read '{name}': {why}"


def test_an_index_of_too_many_tensors_is_refused(tmp_path, monkeypatch):
    path = many.write(tmp_path, "a.safetensors.index.json", many.safetensors_index(300_000))
    with pytest.raises(UnsafeFileError, match="the index names 300,000 tensors"):
        open_checkpoint(path)
    monkeypatch.setattr(shard_index, "MAX_TENSORS", 300_000)
    with pytest.raises(Exception, match=r"a\.safetensors"):  # it is opened, and is not there
        open_checkpoint(path)


def test_a_million_members_are_refused_by_their_number(tmp_path):
    data = bytearray(many.npz(3))
    at = data.rindex(b"PK\5\6")
    locator = b"PK\6\7" + bytes(4) + at.to_bytes(8, "little") + b"\1\0\0\0"
    begin, size = int.from_bytes(data[at + 16 : at + 20], "little"), data[at + 12 : at + 16]
    end = b"PK\6\6" + (44).to_bytes(8, "little") + b"\x2d\0\x2d\0" + bytes(8)
    end += (1_000_000).to_bytes(8, "little") * 2 + size + bytes(4) + begin.to_bytes(8, "little")
    path = many.write(tmp_path, "a.npz", bytes(data[:at]) + end + locator + bytes(data[at:]))
    with pytest.raises(UnsafeFileError, match="it has 1,000,000 members"):
        open_checkpoint(path)


BOMBS = {  # a part of the pickle, and how often
    "dicts": (b"}", 50_000_000),
    "dicts to be used again": (b"}\x94", 25_000_000),
    "texts": (b"X\2\0\0\0\xc3\xa9", 8_000_000),
    "tuples of tuples": (b")\x85", 25_000_000),
    "calls": (b"ca\nb\n)R", 8_000_000),
}


@pytest.mark.parametrize("name", some(BOMBS, "dicts", "dicts to be used again"))
def test_a_pickle_that_inflates_to_very_many_values_is_refused(tmp_path, name):
    part, count = BOMBS[name]
    data = many.torch_archive(b"\x80\x04(" + part * count + b"l.")
    assert len(data) < 1_000_000
    said = opened(many.write(tmp_path, "a.pt", data))
    again = "its pickle has more than 1,200,000 values to be used again"
    assert said == f"cannot read 'a.pt': {again if 'again' in name else STEPS}"


def test_texts_of_a_pickle_are_bounded_together(tmp_path, monkeypatch):
    monkeypatch.setattr(pickle_machine, "MAX_TEXT_BYTES", 1000)
    for size, is_read in ((400, True), (600, False)):
        texts = (b"X" + size.to_bytes(4, "little") + bytes(size)) * 2
        path = many.write(tmp_path, "a.pt", many.torch_archive(b"\x80\x02(" + texts + b"l."))
        with pytest.raises(Exception, match="cannot read") as error:
            open_checkpoint(path)
        assert ("texts of more than 1,000 bytes" in str(error.value)) is not is_read


@pytest.mark.parametrize("module", [hdf5_direct, hdf5_walk])
def test_an_hdf5_file_of_too_many_objects_is_refused(tmp_path, monkeypatch, module):
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "a.weights.h5"
    with h5py.File(path, "w", libver="latest" if module is hdf5_walk else "earliest") as file:
        for number in range(30):
            file[f"layers/dense_{number}/vars/0"] = [1.0]
    open_checkpoint(path).close()
    for one in (hdf5_direct, hdf5_walk):
        monkeypatch.setattr(one, "_MAX_OBJECTS" if one is hdf5_direct else "MAX_OBJECTS", 50)
    with pytest.raises(UnsafeFileError, match="more than 50 objects"):
        open_checkpoint(path)


JSON = st.recursive(
    st.none() | st.integers(0, 99) | st.text(st.sampled_from('"\\[]{}:,a\u00e9\n')),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.sampled_from('"\\{a')), inner),
)


def measure(value: object) -> tuple[int, int]:
    """Return how deep a value is, and how many keys it has."""
    if not isinstance(value, dict | list):
        return 0, 0
    inner = list(map(measure, value.values() if isinstance(value, dict) else value))
    keys = len(value) if isinstance(value, dict) else 0
    return 1 + max((d for d, _ in inner), default=0), keys + sum(k for _, k in inner)


@given(JSON, st.integers(1, 9), st.booleans())
def test_the_outline_is_that_of_the_value_wherever_blocks_end(value, block, is_ascii):
    data = json.dumps(value, ensure_ascii=is_ascii).encode()
    depth, keys = measure(value)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(strict_json, "_BLOCK", block)
        patch.setattr(strict_json, "MAX_KEYS", keys)
        read = strict_json.strict_json
        assert read(data, what="it", path=Path("x"), max_depth=depth) == value
        if keys:
            patch.setattr(strict_json, "MAX_KEYS", keys - 1)
            with pytest.raises(CorruptFileError, match=r"more than .* keys"):
                read(data, what="it", path=Path("x"), max_depth=depth)
        if depth:
            with pytest.raises(CorruptFileError, match="nested more than"):
                read(data, what="it", path=Path("x"), max_depth=depth - 1)
