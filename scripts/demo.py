"""The main job on real data: a Keras model into PyTorch, and back, with proof at each step.

``python3 scripts/demo.py`` needs nothing but Python 3.11 and git. It trains a small network on
handwritten digits, converts it with the commands that it prints, and compares.

``digits.npz`` holds them: the 1,797 images of the test part of "Optical Recognition of Handwritten
Digits" (E. Alpaydin and C. Kaynak, UCI Machine Learning Repository, 1998, CC BY 4.0).
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import time
from typing import Any

import environment

OUTPUT = environment.ROOT / "demo_output"
DIGITS = environment.ROOT / "scripts" / "digits.npz"
NETWORK = environment.ROOT / "scripts" / "digits_network.py"
FOR_TESTS = 360
SEED = 1


def main() -> int:
    """Run the demo; return 0 when every comparison holds."""
    environment.enter()
    os.environ.setdefault("KERAS_BACKEND", "torch")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    shutil.rmtree(OUTPUT, ignore_errors=True)
    OUTPUT.mkdir()

    title("1  Train a Keras model on handwritten digits")
    images, labels = test_data()
    model = train()
    model.save(OUTPUT / "digits.keras")
    print(f"saved demo_output/digits.keras, {(OUTPUT / 'digits.keras').stat().st_size:,} bytes")

    title("2  What is in the file? No framework is needed to look")
    converter("inspect", "digits.keras")

    title("3  What would a conversion do? Nothing is written yet")
    converter("plan", "digits.keras", "digits.safetensors")

    title("4  Convert")
    converter("convert", "digits.keras", "digits.safetensors")

    title("5  Load it into a PyTorch module written by hand, and compare")
    agree = compare(model, images, labels)

    title("6  The same question, asked of the tool: random inputs, differences in noise floors")
    shutil.copy(NETWORK, OUTPUT / "network.py")
    converter("validate", "digits.keras", "digits.safetensors", "--torch", "network.py:build")

    title("7  Back to Keras")
    converter("convert", "digits.safetensors", "digits.weights.h5", "--like", "digits.keras")
    same = bit_equal(model)

    print()
    print("demo passed" if agree and same else "demo FAILED")
    return 0 if agree and same else 1


def title(text: str) -> None:
    """Print a heading."""
    print(f"\n{text}\n{'-' * len(text)}", flush=True)


def converter(*arguments: str) -> None:
    """Print a command as a user would type it, and run it in the output folder."""
    print(f"$ {shlex.join(('converter', *arguments))}", flush=True)
    command, variables = environment.our_command()
    if subprocess.run([*command, *arguments], check=False, cwd=OUTPUT, env=variables).returncode:
        sys.exit("demo FAILED")


def split_digits() -> tuple[Any, Any, Any, Any]:
    """Return training and test images of shape ``(images, 8, 8, 1)`` and their labels."""
    import numpy as np

    with np.load(DIGITS) as found:
        images = (found["images"][..., None] / 16).astype("float32")
        labels = found["labels"].astype("int64")
    order = np.random.default_rng(SEED).permutation(len(images))
    test, train = order[:FOR_TESTS], order[FOR_TESTS:]
    return images[train], images[test], labels[train], labels[test]


def test_data() -> tuple[Any, Any]:
    """Return the images and labels that no training saw."""
    _, images, _, labels = split_digits()
    return images, labels


def build_keras() -> Any:
    """Return the network of the demo, not trained yet."""
    import keras

    keras.utils.set_random_seed(SEED)
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(12, 3, padding="same", use_bias=False, name="stem"),
            keras.layers.BatchNormalization(name="stem_norm"),
            keras.layers.ReLU(),
            keras.layers.MaxPooling2D(),
            keras.layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2, name="depthwise"),
            keras.layers.Conv2D(32, 1, activation="relu", name="pointwise"),
            keras.layers.Flatten(),
            keras.layers.Dense(10, name="head"),
        ],
        name="digits",
    )


def train() -> Any:
    """Return a trained Keras model."""
    import keras

    model = build_keras()
    model.compile(
        keras.optimizers.Adam(3e-3),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    images, _, labels, _ = split_digits()
    begin = time.monotonic()
    model.fit(images, labels, batch_size=32, epochs=6, verbose=0)
    print(f"{len(images):,} images, 6 epochs, {time.monotonic() - begin:.1f} s")
    return model


def compare(model: Any, images: Any, labels: Any) -> bool:
    """Print how both frameworks do on the test images; return whether they agree."""
    import numpy as np
    import torch
    from digits_network import build
    from safetensors.torch import load_file

    network = build()
    print(">>> network.load_state_dict(load_file('digits.safetensors'), strict=True)")
    print(network.load_state_dict(load_file(OUTPUT / "digits.safetensors"), strict=True))
    batch = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
    with torch.no_grad():
        in_keras = np.asarray(model.predict(images, verbose=0))
        in_torch = network(batch).numpy()
        exact = network.double()(batch.double()).numpy()
    scale = np.abs(exact).max()
    difference = float(np.abs(in_keras - in_torch).max() / scale)
    floor = float(np.abs(in_torch - exact).max() / scale)
    print(f"test accuracy in Keras           {accuracy(in_keras, labels):7.2%}")
    print(f"test accuracy in PyTorch         {accuracy(in_torch, labels):7.2%}")
    print(f"largest relative difference      {difference:.1e}   of any of {in_keras.size:,} scores")
    print(f"noise floor                      {floor:.1e}   PyTorch in float32 against float64")
    agree = difference <= 30 * floor and bool((in_keras.argmax(1) == in_torch.argmax(1)).all())
    print(f"the outputs {'agree within rounding' if agree else 'DIFFER'}")
    return agree


def accuracy(scores: Any, labels: Any) -> float:
    """Return the part of the labels that has the highest score."""
    return float((scores.argmax(1) == labels).mean())


def bit_equal(model: Any) -> bool:
    """Load what came back with Keras' own loader; return whether every bit is the first one's."""
    fresh = build_keras()
    print(f"a new model: {count_equal(model, fresh)} of {len(model.weights)} arrays are the same")
    print(">>> model.load_weights('digits.weights.h5')")
    fresh.load_weights(OUTPUT / "digits.weights.h5")
    equal = count_equal(model, fresh)
    print(f"after that: {equal} of {len(model.weights)} arrays are the same, bit for bit")
    return equal == len(model.weights)


def count_equal(one: Any, other: Any) -> int:
    """Return how many weights of two models have the same shape and the same bits."""
    pairs = zip(one.get_weights(), other.get_weights(), strict=True)
    return sum(a.shape == b.shape and a.tobytes() == b.tobytes() for a, b in pairs)


if __name__ == "__main__":
    sys.exit(main())
