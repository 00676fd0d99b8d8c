"""A checkpoint of 8 GB, with the widths of Llama 3 8B: there and back, bit for bit, in bounds."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import oracles
import pytest
from bench_inputs import write_safetensors
from bench_measure import Run, measure

import converter
from converter.formats.registry import create_writer
from converter.live.factory import build

pytestmark = [pytest.mark.frameworks, pytest.mark.oracles, pytest.mark.long]

LAYERS, WIDTH, INNER, VOCABULARY, HEADS, KV_HEADS = 14, 4096, 14336, 128256, 32, 8
SIZES = {
    "vocab_size": VOCABULARY,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "num_key_value_heads": KV_HEADS,
    "hidden_size": WIDTH,
    "intermediate_size": INNER,
    "rms_norm_eps": 1e-5,
    "rope_theta": 500000.0,
}
# The bounds that the README gives: blocks and mapped pages of all workers, and everything.
MOST_ANONYMOUS = 256 * 2**20
MOST = 400 * 10**6
SHARD = 2 * 10**9
NEEDED = 30 * 10**9


def _rows() -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield name and shape of each tensor of transformers' LlamaForCausalLM."""
    yield "model.embed_tokens.weight", (VOCABULARY, WIDTH)
    head = WIDTH // HEADS
    for index in range(LAYERS):
        layer = f"model.layers.{index}"
        for name, rows in (("q", HEADS * head), ("k", KV_HEADS * head), ("v", KV_HEADS * head)):
            yield f"{layer}.self_attn.{name}_proj.weight", (rows, WIDTH)
        yield f"{layer}.self_attn.o_proj.weight", (WIDTH, HEADS * head)
        for name in ("gate", "up"):
            yield f"{layer}.mlp.{name}_proj.weight", (INNER, WIDTH)
        yield f"{layer}.mlp.down_proj.weight", (WIDTH, INNER)
        for name in ("input", "post_attention"):
            yield f"{layer}.{name}_layernorm.weight", (WIDTH,)
    yield "model.norm.weight", (WIDTH,)
    yield "lm_head.weight", (VOCABULARY, WIDTH)


def _write_source(folder: Path) -> None:
    """Write the folder as Hugging Face has it: shards, an index, config.json."""
    shards: list[dict[str, tuple[str, tuple[int, ...]]]] = [{}]
    size = 0
    for name, shape in _rows():
        nbytes = 2 * shape[0] * (shape[1] if len(shape) > 1 else 1)
        if size + nbytes > SHARD and shards[-1]:
            shards.append({})
            size = 0
        shards[-1][name] = ("BF16", shape)
        size += nbytes
    folder.mkdir()
    places: dict[str, str] = {}
    for number, shard in enumerate(shards, 1):
        file = f"model-{number:05}-of-{len(shards):05}.safetensors"
        write_safetensors(folder / file, shard)
        places |= dict.fromkeys(shard, file)
    index = {"metadata": {}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    config = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], **SIZES}
    (folder / "config.json").write_text(json.dumps({**config, "tie_word_embeddings": False}))


def _write_preset(folder: Path) -> None:
    """Write the configuration of the Keras model, and a file of its structure without values."""
    import keras

    arguments = {
        "vocabulary_size": VOCABULARY,
        "num_layers": LAYERS,
        "num_query_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "hidden_dim": WIDTH,
        "intermediate_dim": INNER,
        "layer_norm_epsilon": 1e-5,
        "rope_max_wavelength": 500000.0,
        "tie_word_embeddings": False,
        "dtype": "bfloat16",
    }
    model = build("keras_hub.models:Llama3Backbone", arguments, family="keras", meta=True)
    folder.mkdir()
    config = keras.saving.serialize_keras_object(model)
    (folder / "config.json").write_text(json.dumps(config))
    found = converter.open(model)
    writer = create_writer(
        "keras_weights", folder, "like.weights.h5", found.manifest, structure=found.structure
    )
    writer.finish({})


_PROGRAM = """
import pathlib, re, sys
from converter.cli.app import main
try:
    main()
finally:
    peak = re.search(r"VmHWM:\\s*(\\d+)", pathlib.Path("/proc/self/status").read_text())[1]
    print(f"peak {int(peak) * 1024}", file=sys.stderr)
"""


def _run(*arguments: object) -> Run:
    """Run a conversion; the kernel's own peak would count the process that started it."""
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", _PROGRAM, "convert", *map(str, arguments)]
    found = measure(command, {**os.environ, "PYTHONPATH": str(root)})
    assert found.code == 0, found.said
    peak = int(found.said.rpartition("peak ")[2])
    said = f"{found.wall:.0f} s, {found.cpu:.0f} s of processor time, {peak / 1e6:.0f} MB at most, "
    print(f"{said}{found.anonymous / 1e6:.0f} MB of it anonymous")  # noqa: T201  # with -rP
    assert found.anonymous <= MOST_ANONYMOUS
    assert peak <= MOST
    return found


def _same(one: Path, other: Path) -> int:
    """Compare two sets of shards bit for bit with the reference reader; return their bytes."""
    import torch
    from safetensors import safe_open

    places = [
        json.loads((folder / "model.safetensors.index.json").read_text())["weight_map"]
        for folder in (one, other)
    ]
    assert places[0].keys() == places[1].keys()
    nbytes = 0
    for name in places[0]:
        values = []
        for folder, files in zip((one, other), places, strict=True):
            with safe_open(folder / files[name], framework="pt") as file:
                values.append(file.get_tensor(name).view(torch.int16))
        assert torch.equal(*values), name
        nbytes += values[0].nbytes
    return nbytes


def _check_kernel(preset: Path, source: Path) -> None:
    """Compare kernels that Keras has the other way round, read with h5py alone."""
    import h5py
    import torch
    from safetensors import safe_open

    files = json.loads((source / "model.safetensors.index.json").read_text())["weight_map"]
    store = converter.open(preset).structure.store
    last = f"transformer_layer_{LAYERS - 1}"
    pairs = {
        "self_attention/key": ("self_attn.k_proj", (WIDTH, KV_HEADS, WIDTH // HEADS)),
        "feedforward_output_dense": ("mlp.down_proj", (INNER, WIDTH)),
    }
    with h5py.File(preset / "model.weights.h5") as weights:
        for layer, (module, shape) in pairs.items():
            (place,) = (path for name, path in store.items() if name.startswith(f"{last}/{layer}/"))
            found = weights[place][()].view("int16")
            name = f"model.layers.{LAYERS - 1}.{module}.weight"
            with safe_open(source / files[name], framework="pt") as file:
                wanted = file.get_tensor(name).view(torch.int16).T.reshape(shape).numpy()
            assert found.shape == shape
            assert (found == wanted).all(), name


def test_eight_gigabytes_there_and_back(tmp_path):
    oracles.keras_hub()
    if shutil.disk_usage(tmp_path).free < NEEDED:
        pytest.skip("needs 30 GB of disk")
    source, preset, back = tmp_path / "source", tmp_path / "preset", tmp_path / "back"
    try:
        _write_source(source)
        _write_preset(preset)
        like = preset / "like.weights.h5"
        _run("--like", like, "--require", "exact", source, preset / "model.weights.h5")
        like.unlink()
        _check_kernel(preset, source)
        layout = ("--layout", "huggingface", "--max-shard-size", "2GB", "--require", "exact")
        _run(*layout, preset, back)
        assert _same(source, back) > 8 * 10**9
        config = json.loads((back / "config.json").read_text())
        assert {key: config[key] for key in SIZES} == SIZES
        assert config["dtype"] == "bfloat16"
    finally:
        shutil.rmtree(tmp_path)
