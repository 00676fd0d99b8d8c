"""What the layers of Keras 1 computed, written down once more, and how a model gets its weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import converter


def loaded(model: Any, path: Path, **options: str | Path) -> Any:
    """Give a model what is read from a file, by name."""
    with converter.open(path, **options) as source:
        names = [weight.path.partition("/")[2] for weight in model.weights]  # without the model
        assert set(names) == set(source.manifest.tensors)
        model.set_weights([source.read(name) for name in names])
    return model


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def close(found: np.ndarray, expected: np.ndarray) -> bool:
    return np.abs(found - expected).max() <= 2e-6 * max(1, np.abs(expected).max())


def correlated(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Correlate images (n, c, h, w) with a kernel (o, c, h, w), without padding."""
    windows = np.lib.stride_tricks.sliding_window_view(x, kernel.shape[2:], axis=(2, 3))
    return np.einsum("nchwyx,ocyx->nohw", windows, kernel)
