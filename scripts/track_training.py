"""What the weights do while a model is trained: the callback, its warnings, and the plots.

``python3 scripts/track_training.py`` trains the digits network of the demo and leaves in
``training_output/`` the record of every epoch, the best epoch as safetensors, and the plots. Then
it trains at a rate a thousand times too high, and the callback says so after a few steps.
"""

from __future__ import annotations

import os
import shutil
import sys
import warnings
from pathlib import Path
from typing import Any

import environment

OUTPUT = environment.ROOT / "training_output"


def main() -> int:
    """Train, record and plot; return 0 when all is there."""
    environment.enter()
    os.environ.setdefault("KERAS_BACKEND", "torch")
    shutil.rmtree(OUTPUT, ignore_errors=True)
    OUTPUT.mkdir(parents=True)
    record, best = OUTPUT / "training.jsonl", OUTPUT / "best.safetensors"

    model = compiled()
    fit(model, record, best, epochs=6)
    plot(record, OUTPUT / "training.png")
    plot(best, OUTPUT / "best.html")

    print("the best epoch, in PyTorch:", in_torch(best))
    for sentence in train_too_fast(model):
        print(f"warned: {sentence}")
    return 0


def compiled() -> Any:
    """Return the network of the demo, ready to be trained."""
    import demo
    import keras

    model = demo.build_keras()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(3e-3), loss, metrics=["accuracy"])
    return model


def fit(model: Any, record: Path, best: Path, epochs: int) -> None:
    """Train with both callbacks: one writes JSON lines, one the best epoch for PyTorch."""
    import demo

    from converter.callbacks import SafetensorsCheckpoint, WeightWatcher

    images, test_images, labels, test_labels = demo.split_digits()
    watcher = WeightWatcher(record)
    saver = SafetensorsCheckpoint(best, monitor="val_accuracy", mode="max")
    model.fit(
        images,
        labels,
        batch_size=32,
        epochs=epochs,
        validation_data=(test_images, test_labels),
        verbose=0,
        callbacks=[watcher, saver],
    )
    print(f"{epochs} epochs, best accuracy {saver.best:.2%}")
    for point in watcher.moments[-1].points:
        far = "from zero" if point.distance is None else f"{point.distance:.1%} from the start"
        print(f"  {point.name:<24} norm {point.norm:8.3f}  {far}")


def plot(source: Path, target: Path) -> None:
    """Draw one file with the command, as you would in a terminal."""
    import subprocess

    command, variables = environment.our_command()
    arguments = ["plot", str(source), "--out", str(target)]
    subprocess.run([*command, *arguments], check=True, env=variables)


def in_torch(weights: Path) -> str:
    """Return how well a PyTorch module does with the weights of the best epoch."""
    import demo
    import numpy as np
    import torch
    from digits_network import build

    import converter

    network = build()
    converter.load(network, weights)
    images, labels = demo.test_data()
    with torch.no_grad():
        scores = network(torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))))
    return f"accuracy {demo.accuracy(scores.numpy(), labels):.2%}"


def train_too_fast(model: Any) -> list[str]:
    """Train at a rate that no network survives; return what is warned of."""
    import demo

    from converter.callbacks import WeightWarning, WeightWatcher

    model.optimizer.learning_rate = 3.0
    images, _, labels, _ = demo.split_digits()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(images, labels, epochs=1, verbose=0, callbacks=[WeightWatcher(every=5)])
    return [str(one.message) for one in caught if issubclass(one.category, WeightWarning)]


if __name__ == "__main__":
    sys.exit(main())
