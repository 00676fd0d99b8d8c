"""Damaged and hostile Keras files: a result or an error of our own, in little time and memory.

The known killers of HDF5 are written out one by one. Each test was seen to fail without its guard.
"""

import io
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.hanging import processor_seconds

import converter
from converter.errors import ConverterError, CorruptFileError, UnsafeFileError
from converter.formats.hdf5_probe import probe
from converter.formats.source_file import SourceFile

MAX_SECONDS = 10
MAX_BYTES = 400 * 2**20
ROOT = Path(__file__).resolve().parents[2]


def layer(file: h5py.Group, name: str = "dense") -> h5py.Group:
    group = file.create_group(f"layers/{name}/vars")
    group.attrs["name"] = name
    group["0"] = np.arange(6, dtype=np.float32).reshape(2, 3)
    return group


def small_weights() -> bytes:
    target = io.BytesIO()
    with h5py.File(target, "w") as file:
        file.create_group("vars")
        layer(file)
        chunked = layer(file, "dense_1")
        chunked.create_dataset("1", data=np.ones((30, 20)), chunks=(7, 11), compression="gzip")
    return target.getvalue()


def plain_weights() -> bytes:
    target = io.BytesIO()
    with h5py.File(target, "w") as file:
        file.create_group("vars")
        layer(file)
        layer(file, "dense_1")
    return target.getvalue()


def small_legacy() -> bytes:
    target = io.BytesIO()
    with h5py.File(target, "w") as file:
        file.attrs["layer_names"] = [b"dense_1", b"lstm_1"]
        file.create_group("dense_1").attrs["weight_names"] = [b"dense_1_W:0"]
        file["dense_1/dense_1_W:0"] = np.ones((2, 3), np.float32)
        names = [f"lstm_1_{letter}_{gate}:0" for gate in "icfo" for letter in "WUb"]
        file.create_group("lstm_1").attrs["weight_names"] = [name.encode() for name in names]
        for name in names:
            file[f"lstm_1/{name}"] = np.ones((3,) if "_b_" in name else (3, 3), np.float32)
    return target.getvalue()


def small_archive() -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("metadata.json", '{"keras_version": "3.6.0"}')
        archive.writestr("config.json", '{"class_name": "Sequential", "config": {"layers": []}}')
        archive.writestr("model.weights.h5", plain_weights())
    return target.getvalue()


FILES = {
    "a.weights.h5": small_weights,
    "plain.weights.h5": plain_weights,
    "a.h5": small_legacy,
    "a.keras": small_archive,
}


@cache
def content(name: str) -> bytes:
    return FILES[name]()


def read(path: Path, **options: str) -> None:
    with converter.open(path, **options) as found:
        for name in found.manifest.tensors:
            found.read(name).tobytes()


def survives(path: Path) -> None:
    """Read a file to its end or to an error of our own, in the time that it has."""
    started = processor_seconds()
    with suppress(ConverterError):
        read(path)
    assert processor_seconds() - started < MAX_SECONDS


FUZZ = settings(
    deadline=None,
    max_examples=settings().max_examples,  # 60, or as many as the profile says
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.mark.parametrize("name", FILES)
def test_the_file_that_is_damaged_below_is_sound(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content(name))
    read(path)


@pytest.mark.parametrize("name", FILES)
@FUZZ
@given(st.data())
def test_truncated_and_flipped_files_are_a_result_or_an_error(
    name: str, tmp_path: Path, data: st.DataObject
) -> None:
    damaged = bytearray(content(name))
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    if data.draw(st.booleans()):
        del damaged[data.draw(st.integers(0, len(damaged))) :]
    path = tmp_path / name
    path.write_bytes(damaged)
    survives(path)


KEYS = (
    *("name", "layers", "layer", "mode", "dim_ordering", "data_format", "nb_row", "nb_col"),
    *("dtype", "output_dim", "inbound_nodes", "lora_rank", "batch_input_shape", "concat_axis"),
)
CLASSES = ("Convolution2D", "Dense", "Flatten", "Merge", "Sequential", "Bidirectional", "CuDNNGRU")
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 99) | st.sampled_from(("th", "dense_1", "m", "")),
    lambda below: (
        st.lists(below, max_size=3)
        | st.dictionaries(st.sampled_from(KEYS), below, max_size=4)
        | st.builds(
            lambda name, config: {"class_name": name, "config": config},
            st.sampled_from(CLASSES),
            below,
        )
    ),
    max_leaves=12,
)


@pytest.mark.parametrize("version", [None, "2.2.4"])
@FUZZ
@given(st.lists(ANYTHING, max_size=4))
def test_any_architecture(version: str | None, tmp_path: Path, layers: list) -> None:
    """In an otherwise sound file; names in it are those of its layers now and then."""
    path = tmp_path / "a.h5"
    path.unlink(missing_ok=True)
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps({"class_name": "Sequential", "config": layers})
        group = file.create_group("model_weights/dense_1")
        group.parent.attrs["layer_names"] = [b"dense_1"]
        if version is not None:
            group.parent.attrs["keras_version"] = version
        group.attrs["weight_names"] = [b"dense_1_W", b"dense_1_b"]
        group["dense_1_W"] = np.ones((4, 3), np.float32)
        group["dense_1_b"] = np.ones(3, np.float32)
    survives(path)


@FUZZ
@given(st.binary(max_size=600))
def test_any_bytes_behind_the_signature(tmp_path: Path, tail: bytes) -> None:
    path = tmp_path / "a.h5"
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + tail)
    survives(path)


def external_link(file: h5py.File, folder: Path) -> None:
    with h5py.File(folder / "secret.h5", "w") as other:
        other["w"] = np.full((2, 3), 7.0)
    group = file.create_group("layers/dense_1/vars")
    group["0"] = h5py.ExternalLink(str(folder / "secret.h5"), "/w")


def external_link_on_the_way(file: h5py.File, folder: Path) -> None:
    with h5py.File(folder / "secret.h5", "w") as other:
        other["vars/0"] = np.full((2, 3), 7.0)
    file["layers/dense_1"] = h5py.ExternalLink(str(folder / "secret.h5"), "/")


def soft_link_cycle(file: h5py.File, folder: Path) -> None:
    file["layers/around"] = h5py.SoftLink("/layers")


def hard_link_cycle(file: h5py.File, folder: Path) -> None:
    file["layers/around"] = file["layers"]


def virtual_dataset(file: h5py.File, folder: Path) -> None:
    with h5py.File(folder / "secret.h5", "w") as other:
        other["w"] = np.full((4,), 7.0)
    layout = h5py.VirtualLayout((4,), "f8")
    layout[:] = h5py.VirtualSource(str(folder / "secret.h5"), "w", (4,))
    file.create_group("layers/dense_1/vars").create_virtual_dataset("0", layout)


def external_storage(file: h5py.File, folder: Path) -> None:
    (folder / "secret").write_bytes(bytes(range(64)))
    group = file.create_group("layers/dense_1/vars")
    group.create_dataset("0", (16,), "f4", external=[(str(folder / "secret"), 0, 64)])


def huge_shape(file: h5py.File, folder: Path) -> None:
    group = file.create_group("layers/dense_1/vars")
    group.create_dataset("0", (2**20, 2**20), "f4", chunks=(1024, 1024))


def deflate_bomb(file: h5py.File, folder: Path) -> None:
    group = file.create_group("layers/dense_1/vars")
    zeros = np.zeros(2**25, np.float32)
    group.create_dataset("0", data=zeros, chunks=(2**22,), compression="gzip")


def missing_chunks(file: h5py.File, folder: Path) -> None:
    group = file.create_group("layers/dense_1/vars")
    made = group.create_dataset("0", (40, 40), "f4", chunks=(10, 10))
    made[:10, :10] = 1


KILLERS = {
    external_link: "'layers/dense_1/vars/0' is an external link; weights files have none",
    external_link_on_the_way: "'layers/dense_1' is an external link; weights files have none",
    soft_link_cycle: "'layers/around' is a soft link; weights files have none",
    hard_link_cycle: "'layers/around' is a second name of an object met before",
    virtual_dataset: "is a virtual dataset: its values are in other datasets",
    external_storage: "keeps its values in another file",
    huge_shape: "'layers/dense_1/vars/0' claims 4,398,046,511,104 bytes and stores 0 bytes",
    deflate_bomb: "'layers/dense_1/vars/0' claims",
    missing_chunks: "'layers/dense_1/vars/0' stores 1 of 16 chunks",
}


@pytest.mark.parametrize(
    ("make", "why"), KILLERS.items(), ids=lambda one: getattr(one, "__name__", "")
)
def test_known_killers_are_refused_by_name(
    make: Callable[[h5py.File, Path], None], why: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.weights.h5"
    with h5py.File(path, "w") as file:
        layer(file)
        make(file, tmp_path)
    started = processor_seconds()
    with pytest.raises(UnsafeFileError) as refused:
        read(path)
    assert why in refused.value.summary
    assert processor_seconds() - started < MAX_SECONDS


PROGRAM = """
import re, resource, sys, converter
for path in sys.argv[1:]:
    try:
        with converter.open(path) as found:
            for name in found.manifest.tensors:
                found.read(name).tobytes()
    except converter.ConverterError:
        continue
status = open("/proc/self/status").read()
own = int(re.search(r"VmHWM:\\s+([0-9]+)", status)[1])
print(max(own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))
"""


def test_hostile_and_damaged_files_take_little_memory(tmp_path: Path) -> None:
    """In a fresh process: what a child has at its most counts what its parent had."""
    for make in KILLERS:
        with h5py.File(tmp_path / f"{make.__name__}.weights.h5", "w") as file:
            layer(file)
            make(file, tmp_path)
    random = np.random.default_rng(4)
    for number in range(20):
        damaged = bytearray(content("a.weights.h5"))
        for place in random.integers(0, len(damaged), 3):
            damaged[place] ^= 0xFF
        (tmp_path / f"{number}.weights.h5").write_bytes(damaged)
    files = [str(path) for path in tmp_path.glob("*.weights.h5")]
    command = [sys.executable, "-c", PROGRAM, *files]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True)
    assert len(files) == len(KILLERS) + 20
    assert int(ran.stdout) * 1024 < MAX_BYTES


def test_memory_that_hdf5_wants_is_limited_where_it_is_tried(tmp_path: Path) -> None:
    """Stands for damage that makes HDF5 allocate without end: the process that tries it may not."""
    path = tmp_path / "a.h5"
    path.write_bytes(small_weights())
    greedy = tmp_path / "h5py.py"
    greedy.write_text(
        "class Dataset: pass\nh5l = h5o = h5d = h5g = None\n"
        "def File(*_):\n    return [bytearray(2**27) for _ in range(99)]\n"
    )
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = str(tmp_path)
    try:
        with SourceFile(path) as source, pytest.raises(CorruptFileError) as refused:
            probe(source, 0, source.size)
    finally:
        os.environ.pop("PYTHONPATH")
        if before is not None:
            os.environ["PYTHONPATH"] = before
    assert str(refused.value) == "cannot read 'a.h5': HDF5 says: MemoryError"


def test_an_attribute_whose_name_is_no_utf_8_is_left_out(tmp_path: Path) -> None:
    from h5py import h5a, h5s, h5t

    path = tmp_path / "a.weights.h5"
    with h5py.File(path, "w") as file:
        layer(file)
        file.attrs["weightferry.version"] = "1"
        h5a.create(file.id, b"weightferry.\xff", h5t.C_S1, h5s.create(h5s.SCALAR))
    with converter.open(path) as found:
        assert dict(found.manifest.metadata) == {"version": "1"}
        assert list(found.manifest.tensors) == ["dense/kernel"]
