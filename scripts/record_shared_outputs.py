"""Record what Keras makes of the files of strangers: outputs that scaffolded models must give.

    python scripts/record_shared_outputs.py CHECKPOINTS tests/fixtures/shared_outputs [NAME ...]

Needs TensorFlow, tf_keras 2.21 (which is Keras 2) and Keras 3.15, none of this project. Files of
Keras 3 are run by Keras 3.15, all others by tf_keras. Where that refuses a file for what its
writer meant by leaving something out, it is told: entries of Keras 1 under their names of Keras 2
(its own loader translates the weights), ``reset_after`` of a GRU, backslashes in a weights file.

For each file a small ``.npz``: inputs as whole numbers (``index_0``) or as halves of them
(``real_0``: the value is half of it), and at most 3,000 values of each output (``output_0``), every
``step_0``-th of them flattened.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

LONGEST = 3000
BATCH = 3
OPEN_SIZES = (23, 17, 19)
# Its input has 256 ** 3 voxels: it is run elsewhere, on a smaller cube.
TOO_LARGE = frozenset({"brainchop-model11ae.h5"})

# Keras 1.2.2, keras/legacy of Keras 2.0 says the same: entries, and those of one class.
_KERAS_1 = {
    "bias": "use_bias",
    "inner_activation": "recurrent_activation",
    "nb_filter": "filters",
    "border_mode": "padding",
    "subsample": "strides",
}
_KEPT = frozenset(
    {
        "name",
        "trainable",
        "batch_input_shape",
        "epsilon",
        "axis",
        "momentum",
        "target_shape",
        "activation",
        "merge_mode",
    }
    | {"return_sequences", "go_backwards", "mask_zero"}
)


def from_keras_1(layer: Mapping[str, Any]) -> dict[str, Any]:
    """Return a layer of Keras 1 in the words of Keras 2; those of the shared files, no more."""
    class_name, old = layer["class_name"], layer["config"]
    names = {"output_dim": "output_dim" if class_name == "Embedding" else "units", **_KERAS_1}
    config = {names[key]: value for key, value in old.items() if key in names}
    config |= {key: value for key, value in old.items() if key in _KEPT}
    if class_name == "Embedding":
        config["input_dim"] = old["input_dim"]
    if class_name == "Convolution2D":
        config["kernel_size"] = [old["nb_row"], old["nb_col"]]
    if "layer" in old:
        config["layer"] = from_keras_1(old["layer"])
    return {"class_name": class_name.replace("Convolution2D", "Conv2D"), "config": config}


def _told(layer: dict[str, Any], version: str) -> dict[str, Any]:
    if version.startswith("1."):
        return from_keras_1(layer)
    if layer["class_name"] == "GRU":
        layer["config"].setdefault("reset_after", False)
    return layer


def from_hdf5(path: Path, folder: Path) -> Any:
    """Open a file of Keras 1 or 2 with tf_keras."""
    import h5py
    import tf_keras

    target = folder / "told.h5"
    shutil.copy(path, target)
    with h5py.File(target, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        version = str(file.attrs["keras_version"])
        inside = config["config"]
        layers = inside if isinstance(inside, list) else inside["layers"]
        layers[:] = [_told(layer, version) for layer in layers]
        file.attrs["model_config"] = json.dumps(config)
        # Where the loader looks for the version of the weights, which it compares with "1".
        weights = file["model_weights"].attrs
        weights.setdefault("keras_version", "1" if version.startswith("1.") else version)
    return tf_keras.models.load_model(target, compile=False)


def from_archive(path: Path, folder: Path) -> Any:
    """Open an archive: Keras 3 opens its own, tf_keras those of tf.keras."""
    import h5py
    import keras
    import tf_keras

    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder)
    metadata = json.loads((folder / "metadata.json").read_text())
    if metadata["keras_version"].startswith("3."):
        return keras.saving.load_model(path, compile=False)
    model = tf_keras.models.model_from_json((folder / "config.json").read_text())
    told = folder / "told.weights.h5"
    with h5py.File(folder / "model.weights.h5") as old, h5py.File(told, "w") as new:

        def copy(name: str, one: Any) -> None:
            if isinstance(one, h5py.Dataset):
                new[name.replace("\\", "/")] = one[()]
            else:
                new.require_group(name.replace("\\", "/"))

        old.visititems(copy)
    model.load_weights(told)
    return model


def inputs_of(model: Any) -> dict[str, Any]:
    """Return whole numbers for each input; steps that a Masking leaves out are among them."""
    random = np.random.default_rng(0)
    made = {}
    for place, one in enumerate(model.inputs):
        sizes = iter(OPEN_SIZES)
        batch, *others = tuple(one.shape)
        shape = (batch or BATCH, *(next(sizes) if size is None else size for size in others))
        first = model.layers[len(model.layers) > 1 and not model.layers[0].weights]
        if type(first).__name__ == "Embedding":
            made[f"index_{place}"] = random.integers(0, first.input_dim, shape, dtype=np.int16)
            continue
        made[f"real_{place}"] = random.integers(-3, 4, shape, dtype=np.int8)
        if any(type(layer).__name__ == "Masking" for layer in model.layers):
            made[f"real_{place}"][1, -4:] = 0
            made[f"real_{place}"][2, :2] = 0
    return made


def as_given(recorded: Mapping[str, Any]) -> list[Any]:
    """Return recorded inputs as a model takes them."""
    made = []
    for place in range(len(recorded)):
        if f"index_{place}" in recorded:
            made.append(recorded[f"index_{place}"].astype("int32"))
        if f"real_{place}" in recorded:
            made.append(recorded[f"real_{place}"].astype("float32") / 2)
    return made


def sampled(output: Any, step: int) -> Any:
    """Return the recorded values of an output."""
    return np.asarray(output).reshape(-1)[::step]


def record(path: Path, target: Path) -> str:
    """Record one file; return what ran it."""
    with tempfile.TemporaryDirectory() as folder:
        make = from_archive if zipfile.is_zipfile(path) else from_hdf5
        model = make(path, Path(folder))
    inputs = inputs_of(model)
    given = as_given(inputs)
    outputs = model(given if len(given) > 1 else given[0], training=False)
    arrays = dict(inputs)
    for place, one in enumerate(outputs if isinstance(outputs, list | tuple) else [outputs]):
        step = -(-int(np.prod(one.shape)) // LONGEST) | 1
        arrays |= {f"output_{place}": sampled(one, step), f"step_{place}": np.int32(step)}
    np.savez_compressed(target, **arrays)
    return type(model).__module__.partition(".")[0]


def main() -> None:
    """Record every file that holds a model, or those named."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    os.environ["KERAS_BACKEND"] = "tensorflow"
    source, target, *names = sys.argv[1:]
    Path(target).mkdir(parents=True, exist_ok=True)
    for path in sorted(Path(source).iterdir()):
        if (names and path.name not in names) or path.suffix not in (".h5", ".hdf5", ".keras"):
            continue
        if ".weights." in path.name or "inputs_and_outputs" in path.name or path.name in TOO_LARGE:
            continue
        try:
            by = record(path, Path(target) / f"{path.name}.npz")
        except Exception as error:  # whatever the frameworks raise for what they do not run
            by = f"not recorded: {type(error).__name__}: {' '.join(str(error).split())[:100]}"
        print(f"{path.name}: {by}")


if __name__ == "__main__":
    main()
