"""``edit`` in every format that is written: what was asked for changed, all else keeps its bits.

Oracles: each format's own library opens what was written, and where Keras has the format, Keras.
"""

from __future__ import annotations

import keras
import msgspec
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from support import onnx_files
from support.keras_files import small_network

import converter as package
from converter.cli.schema import Written

pytestmark = pytest.mark.frameworks
SHARD = 2500  # bytes: three files of the small network


def of_keras(model):
    return {one.path.removeprefix(f"{model.name}/"): one.numpy() for one in model.weights}


def loaded(path):
    """Return the values that Keras' own loader puts into a model of this architecture."""
    model = small_network()
    model.set_weights([np.zeros_like(one) for one in model.get_weights()])
    model.load_weights(path)
    return of_keras(model)


def opened(path):
    return of_keras(keras.models.load_model(path, compile=False))


def in_torch(path):
    return {name: one.numpy() for name, one in torch.load(path).items()}


def in_numpy(path):
    with np.load(path) as file:
        return {name: file[name] for name in file.files}


def make_onnx(folder, model):
    kernel, bias = model.get_weights()[6:]
    onnx_files.one_node(folder, "Gemm", {"head.weight": kernel.T, "head.bias": bias}, transB=1)


def converted(name, **options):
    def make(folder, model):
        package.convert(model, folder / name, to="torch", **options)

    return make


def second_of(path):
    """Return what the one shard that was written holds."""
    return load_file(path.with_name("b-00001-of-00001.safetensors"))


# What is edited: its format, what makes it, what opens what was written.
FORMATS = {
    "a.keras": ("keras", lambda folder, model: model.save(folder / "a.keras"), opened),
    "a.weights.h5": (
        "keras_weights",
        lambda folder, model: model.save_weights(folder / "a.weights.h5"),
        loaded,
    ),
    "a.h5": ("keras_legacy", lambda folder, model: model.save(folder / "a.h5"), opened),
    "a.weights.json": (
        "keras_sharded",
        lambda folder, model: model.save_weights(folder / "a.weights.json", max_shard_size=4e-6),
        loaded,
    ),
    "a.safetensors": ("safetensors", converted("a.safetensors"), load_file),
    "a.safetensors.index.json": (
        "safetensors_index",
        converted("a.safetensors", max_shard_size=SHARD),
        second_of,
    ),
    "a.pt": ("torch", converted("a.pt"), in_torch),
    "a.npz": ("npz", converted("a.npz"), in_numpy),
    "a.onnx": ("onnx", make_onnx, onnx_files.values_of),
}


def test_no_format_that_is_written_is_missing_above():
    writable = {form.id for form in package.list_formats() if form.writer is not None}
    assert {found for found, _, _ in FORMATS.values()} == writable


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
@pytest.mark.parametrize("name", FORMATS)
def test_what_is_chosen_changes_and_all_else_keeps_its_bits(converter, tmp_path, name):
    form, make, read = FORMATS[name]
    model = small_network()
    make(tmp_path, model)
    source, target = tmp_path / name, tmp_path / name.replace("a.", "b.", 1)
    with package.open(source) as checkpoint:
        assert checkpoint.format == form
        before = {one: np.array(checkpoint.read(one)) for one in checkpoint.manifest.tensors}
    bias = next(one for one in before if one.startswith("head") and one.endswith("bias"))
    kernel = next(one for one in before if one.startswith("head") and one != bias)
    outcome = converter(
        "edit", source, target, "--set", f"{bias}=0.5", "--scale", f"{kernel}=3", "--json"
    )
    assert (outcome.code, outcome.err) == (0, "")
    said = msgspec.json.decode(outcome.out, type=Written)
    assert (said.tensors, said.law) == (len(before), "rounded")
    assert str(target) in said.files
    found = read(target)
    assert sorted(found) == sorted(before)
    before[bias] = np.full_like(before[bias], 0.5)
    before[kernel] = (before[kernel].astype(np.float64) * 3).astype(np.float32)
    for one, array in before.items():
        assert found[one].dtype == array.dtype, one
        assert found[one].tobytes() == array.tobytes(), one


REFUSED = [
    (("--drop", "norm/**"), "4 of its places stay empty"),
    (("--rename", "head=tail"), "2 have no place in it, 2 of its places stay empty"),
    (("--scale", "tail=2"), "no tensor to scale"),
]


@pytest.mark.parametrize(("edit", "text"), REFUSED, ids=lambda value: str(value)[:20])
def test_what_a_format_has_no_place_for_is_refused_and_nothing_written(
    converter, small_keras, tmp_path, edit, text
):
    outcome = converter("edit", small_keras, tmp_path / "b.keras", *edit)
    assert (outcome.code, outcome.out) == (2, "")
    assert text in outcome.err
    assert "nothing" in outcome.err
    assert list(tmp_path.iterdir()) == []


def test_what_has_the_layouts_of_pytorch_is_no_keras_file(converter, small_keras, tmp_path):
    """The way there is a conversion, and the message says so."""
    for name in ("a.safetensors", "b.safetensors"):
        package.convert(small_keras, tmp_path / name)
    files = [tmp_path / "a.safetensors", tmp_path / "b.safetensors"]
    for command in (["average", *files, "--out", tmp_path / "c.keras"],
                    ["edit", files[0], tmp_path / "c.keras", "--scale", "head=2"]):  # fmt: skip
        outcome = converter(*command)
        assert (outcome.code, outcome.out) == (2, "")
        assert outcome.err == (
            "error: cannot write 'c.keras': the tensors have PyTorch's names and layouts\n"
            "  hint     write safetensors, and convert that: converter convert FILE 'c.keras' "
            "--like MODEL\n"
            "  written  nothing\n"
        )
