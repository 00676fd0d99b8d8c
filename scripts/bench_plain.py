"""What a person would write with Keras, torch and safetensors: the scripts to compare with.

``python bench_plain.py NAME SOURCE TARGET``; each does what one of the benchmark's conversions
does, in the way the frameworks' documentation shows.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any


def vgg_to_torch(source: Path, target: Path) -> None:
    """Load the model with Keras, permute with torch, save with safetensors."""
    import keras
    import torch
    from safetensors.torch import save_file

    model = keras.models.load_model(source, compile=False)
    state = {}
    for layer, name in _vgg_names(model):
        kernel, bias = (torch.from_numpy(array) for array in layer.get_weights())
        if kernel.ndim == 4:
            weight = kernel.permute(3, 2, 0, 1)
        elif name == "classifier.0":
            side = round((kernel.shape[0] / 512) ** 0.5)
            weight = kernel.reshape(side, side, 512, -1).permute(3, 2, 0, 1).flatten(1)
        else:
            weight = kernel.t()
        state[f"{name}.weight"] = weight.contiguous()
        state[f"{name}.bias"] = bias
    save_file(state, target)


def vgg_to_keras(source: Path, target: Path) -> None:
    """Load with safetensors, permute with torch, set the weights and save with Keras."""
    import keras
    from safetensors.torch import load_file

    state = load_file(source)
    side = round((state["classifier.0.weight"].shape[1] / 512) ** 0.5)
    model = keras.applications.VGG16(weights=None, input_shape=(32 * side, 32 * side, 3))
    for layer, name in _vgg_names(model):
        weight = state[f"{name}.weight"]
        if weight.ndim == 4:
            kernel = weight.permute(2, 3, 1, 0)
        elif name == "classifier.0":
            kernel = weight.reshape(-1, 512, side, side).permute(2, 3, 1, 0).flatten(0, 2)
        else:
            kernel = weight.t()
        layer.set_weights([kernel.numpy(), state[f"{name}.bias"].numpy()])
    model.save(target)


def _vgg_names(model: Any) -> Iterator[tuple[Any, str]]:
    convolutions = iter([0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28])
    dense = iter([0, 3, 6])
    for layer in model.layers:
        if layer.weights:
            is_conv = type(layer).__name__ == "Conv2D"
            name = f"features.{next(convolutions)}" if is_conv else f"classifier.{next(dense)}"
            yield layer, name


def dense_layers(source: Path, target: Path) -> None:
    """Load every tensor, transpose the kernels with torch, save with safetensors."""
    from safetensors import safe_open
    from safetensors.torch import save_file

    if source.suffix == ".json":
        names = json.loads(source.read_text())["weight_map"]
        files = [source.parent / name for name in sorted(set(names.values()))]
    else:
        files = [source]
    state = {}
    for path in files:
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 - not a dictionary
                layer, slot = name.split(".")
                tensor = file.get_tensor(name)
                if slot == "weight":
                    state[f"{layer}/kernel"] = tensor.t().contiguous()
                else:
                    state[f"{layer}/bias"] = tensor
    save_file(state, target)


def bert_by_keras_hub(source: Path, target: Path) -> None:
    """Load with the converter that keras_hub has for this architecture, save with Keras."""
    import keras_hub

    backbone = keras_hub.models.BertBackbone.from_preset(str(source.parent))
    backbone.save_weights(target)


SCRIPTS: dict[str, Callable[[Path, Path], None]] = {
    "vgg_to_torch": vgg_to_torch,
    "vgg_to_keras": vgg_to_keras,
    "dense_layers": dense_layers,
    "bert_by_keras_hub": bert_by_keras_hub,
}


if __name__ == "__main__":
    os.environ.setdefault("KERAS_BACKEND", "torch")
    SCRIPTS[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]))
