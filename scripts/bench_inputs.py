"""The files that the benchmark converts, made without network: random values, real structures.

Each function writes into an empty folder and is run in a process of its own, so that what Keras
takes in memory is not counted for anybody.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from itertools import cycle, islice
from math import prod
from pathlib import Path

import numpy as np

Specs = Mapping[str, tuple[str, tuple[int, ...]]]

_WIDTH = {"F32": 4, "BF16": 2}
_BLOCK = 2**24  # bytes of random values, used again and again
_MAPPING = """schema = 1
name = "bench"
keras = "bench"
torch = "bench"
rules = [["dense", "layer{i}", "layer{i}"]]
"""

BERT = {
    "model_type": "bert",
    "architectures": ["BertModel"],
    "vocab_size": 30522,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "hidden_dropout_prob": 0.1,
    "max_position_embeddings": 512,
    "type_vocab_size": 2,
}


def vgg16(folder: Path, *, quick: bool) -> None:
    """Write ``vgg16.keras``, 553 MB: VGG16 built and saved by Keras, random weights."""
    import keras

    keras.utils.set_random_seed(1)
    size = 64 if quick else 224
    model = keras.applications.VGG16(weights=None, input_shape=(size, size, 3))
    model.save(folder / "vgg16.keras")


def bert(folder: Path, *, quick: bool) -> None:
    """Write ``hub/model.safetensors`` and its config, 438 MB, and ``like.weights.h5``."""
    import keras_hub

    config = {**BERT, "num_hidden_layers": 2} if quick else BERT
    backbone = keras_hub.models.BertBackbone(
        vocabulary_size=config["vocab_size"],
        num_layers=config["num_hidden_layers"],
        num_heads=config["num_attention_heads"],
        hidden_dim=config["hidden_size"],
        intermediate_dim=config["intermediate_size"],
        max_sequence_length=config["max_position_embeddings"],
    )
    backbone.save_weights(folder / "like.weights.h5")
    hub = folder / "hub"
    hub.mkdir()
    (hub / "config.json").write_text(json.dumps(config))
    write_safetensors(hub / "model.safetensors", dict(_bert_specs(config)))


def _bert_specs(config: Mapping[str, object]) -> Iterator[tuple[str, tuple[str, tuple[int, ...]]]]:
    """Yield the tensors of ``transformers.BertModel`` (5.23, models/bert/modeling_bert.py)."""
    width, inner = 768, 3072
    for name, rows in (("word", 30522), ("position", 512), ("token_type", 2)):
        yield f"embeddings.{name}_embeddings.weight", ("F32", (rows, width))
    norms = ["embeddings.LayerNorm"]
    for index in range(int(str(config["num_hidden_layers"]))):
        layer = f"encoder.layer.{index}"
        attention = [f"attention.self.{name}" for name in ("query", "key", "value")]
        for name in (*attention, "attention.output.dense"):
            yield f"{layer}.{name}.weight", ("F32", (width, width))
            yield f"{layer}.{name}.bias", ("F32", (width,))
        yield f"{layer}.intermediate.dense.weight", ("F32", (inner, width))
        yield f"{layer}.intermediate.dense.bias", ("F32", (inner,))
        yield f"{layer}.output.dense.weight", ("F32", (width, inner))
        yield f"{layer}.output.dense.bias", ("F32", (width,))
        norms += [f"{layer}.attention.output.LayerNorm", f"{layer}.output.LayerNorm"]
    for name in norms:
        yield f"{name}.weight", ("F32", (width,))
        yield f"{name}.bias", ("F32", (width,))
    yield "pooler.dense.weight", ("F32", (width, width))
    yield "pooler.dense.bias", ("F32", (width,))


def large(folder: Path, *, quick: bool) -> None:
    """Write a sharded checkpoint, 4 GB, with one tensor of 1.1 GB, in bfloat16 and float32."""
    scale = 8 if quick else 1
    rows: dict[str, tuple[str, tuple[int, ...]]] = {}
    for index in range(60 // scale):
        rows[f"layer{index}.weight"] = ("BF16", (4096, 4096))
        rows[f"layer{index}.bias"] = ("BF16", (4096,))
    for index in range(100, 100 + 13 // scale):
        rows[f"layer{index}.weight"] = ("F32", (4096, 4096))
    rows["layer200.weight"] = ("F32", (32768 // scale, 8704))
    shards: list[dict[str, tuple[str, tuple[int, ...]]]] = [{}]
    for name, row in rows.items():
        if sum(map(_nbytes, shards[-1].values())) + _nbytes(row) > 10**9 and shards[-1]:
            shards.append({})
        shards[-1][name] = row
    places: dict[str, str] = {}
    for number, shard in enumerate(shards, 1):
        file = f"model-{number:05}-of-{len(shards):05}.safetensors"
        write_safetensors(folder / file, shard)
        places |= dict.fromkeys(shard, file)
    index_text = json.dumps({"metadata": {}, "weight_map": places})
    (folder / "model.safetensors.index.json").write_text(index_text)
    (folder / "bench.toml").write_text(_MAPPING)


def small(folder: Path, *, quick: bool) -> None:
    """Write one file with 20,000 small tensors."""
    rows: dict[str, tuple[str, tuple[int, ...]]] = {}
    for index in range(1_000 if quick else 10_000):
        rows[f"layer{index}.weight"] = ("F32", (24, 10))
        rows[f"layer{index}.bias"] = ("F32", (24,))
    write_safetensors(folder / "small.safetensors", rows)
    (folder / "bench.toml").write_text(_MAPPING)


def write_safetensors(path: Path, rows: Specs) -> None:
    """Write random values in the safetensors format, without holding them in memory.

    Source: safetensors README, "Format".
    """
    header: dict[str, object] = {}
    position = 0
    for name, (dtype, shape) in rows.items():
        end = position + _nbytes((dtype, shape))
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [position, end]}
        position = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    # Exponents of small numbers in both types, so that no value is infinite or not a number.
    block = np.random.default_rng(1).integers(0, 2**16, _BLOCK // 2, dtype=np.uint16)
    block &= 0xBFFF
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for part in islice(cycle([block.tobytes()]), position // _BLOCK + 1):
            file.write(part[: position - (file.tell() - 8 - len(text))])


def _nbytes(row: tuple[str, tuple[int, ...]]) -> int:
    dtype, shape = row
    return _WIDTH[dtype] * prod(shape)


MAKERS = {"vgg16": vgg16, "bert": bert, "large": large, "small": small}


if __name__ == "__main__":
    os.environ.setdefault("KERAS_BACKEND", "torch")
    MAKERS[sys.argv[1]](Path(sys.argv[2]), quick="--quick" in sys.argv)
