"""Weights that make up for a difference, where the module stays as it is.

An epsilon goes into the variance, the order of features into the columns of a matrix, the channels
of the input into a kernel, the older hard sigmoid into the layer before it. Only what leaves the
function right at inference for every input is here: what depends on the input (a LayerNorm's
epsilon, padding) is not, nor are weights that have to be converted again.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np

from converter.live.torch_module import to_array
from converter.tensors.dtype import Array
from converter.validation.causes.trial import Trial
from converter.validation.pairing import Pair

# Trials of these repair the weights of the copy that they are given.
_BY_TRIAL = frozenset(
    {
        "theano_flip",
        "kernel_transposed",
        "kernel_untransposed",
        "channel_order",
        "square_transpose",
        "flatten_order",
        "mean_variance_swapped",
        "gamma_beta_swapped",
        "deviation_for_variance",
        "variance_for_deviation",
        "padding_row",
    }
)
# Keras 2: clip(0.2 x + 0.5, 0, 1). Keras 3 and PyTorch: relu6(x + 3) / 6. The first of x is the
# second of 1.2 x, everywhere.
# Source: keras 2.15, backend.py; keras 3.15, activations/activations.py.
_OLD, _NEW = "hard_sigmoid clip(0.2 x + 0.5)", "hard_sigmoid relu6(x + 3) / 6"
_STEEPER = 1.2
_PROBES = np.linspace(-4.0, 4.0, 401, dtype=np.float32)


class Compensation:
    """The modules that need other weights, as copies that have them."""

    def __init__(self) -> None:
        self._pairs: dict[str, Pair] = {}
        self._copies: dict[str, Any] = {}
        self._done: set[tuple[str, str]] = set()

    def knows(self, pair: Pair, cause: str) -> bool:
        """Whether a cause in a module is compensated."""
        return (pair.name, cause) in self._done

    def add_trial(self, pair: Pair, trial: Trial) -> None:
        """Take the weights of the trial that repaired a module."""
        if trial.cause in _BY_TRIAL:
            self._change(pair, trial.cause, trial.run)
        elif trial.cause == "epsilon":
            self._change(pair, trial.cause, lambda module: _epsilon(module, pair.layer.epsilon))

    def add_channels(self, pair: Pair) -> bool:
        """Reverse the input channels of the first convolution; say whether it is one."""
        if not type(pair.module).__name__.startswith("Conv") or pair.module.groups != 1:
            return False
        axis = 0 if "Transpose" in type(pair.module).__name__ else 1

        def reverse(module: Any) -> None:
            module.weight.data = module.weight.data.flip(axis).contiguous()

        return self._change(pair, "channel_order", reverse)

    def add_hard_sigmoid(self, pair: Pair, keras: Callable[[Array], Array], found: str) -> bool:
        """Scale a layer whose activation is a hard sigmoid of the other generation.

        Args:
            pair: The layer that has the activation inside, and its module.
            keras: Keras' activation, wherever it runs.
            found: What PyTorch has.
        """
        factor = _factor(keras, found)
        if factor is None or not (
            type(pair.module).__name__ == "Linear" or type(pair.module).__name__.startswith("Conv")
        ):
            return False

        def scale(module: Any) -> None:
            for one in module.parameters():
                one.data = (one.data.double() * factor).to(one.dtype)

        return self._change(pair, "hard_sigmoid", scale)

    def changes(self) -> dict[str, Array]:
        """Return every tensor that is another, by its name in the whole state dict."""
        changed = {}
        for name, module in self._copies.items():
            before = self._pairs[name].module.state_dict()
            for key, value in module.state_dict().items():
                if not np.array_equal(_array(value), _array(before[key]), equal_nan=True):
                    changed[f"{name}.{key}"] = _array(value)
        return changed

    def _change(self, pair: Pair, cause: str, change: Callable[[Any], Any]) -> bool:
        """Change the copy of a module; a module that is called twice is changed once."""
        if (pair.name, cause) not in self._done:
            known = self._copies.get(pair.name)
            module = copy.deepcopy(pair.module if known is None else known).cpu()
            try:
                change(module)
            except Exception:  # a change that a foreign module does not take is none
                return False
            self._pairs[pair.name], self._copies[pair.name] = pair, module
            self._done.add((pair.name, cause))
        return True


def _epsilon(module: Any, epsilon: float) -> None:
    """Put the difference of two epsilons into the variance, or the gain where that is negative.

    ``v' + eps' = v + eps`` holds for every input at inference; in training the statistics of the
    batch take the variance's place, and it does not.
    """
    variance = module.running_var.detach().double()
    shifted = variance + epsilon - module.eps
    if float(shifted.min()) >= 0.0:
        module.running_var.data = shifted.to(module.running_var.dtype)
        return
    gain = ((variance + module.eps) / (variance + epsilon)).sqrt()
    module.weight.data = (module.weight.detach().double() * gain).to(module.weight.dtype)


def _factor(keras: Callable[[Array], Array], found: str) -> float | None:
    """Return by what a hard sigmoid's input is scaled to give Keras'; ``None`` where nothing is."""
    made = keras(_PROBES)
    old = np.clip(0.2 * _PROBES + 0.5, 0.0, 1.0)
    new = np.clip(_PROBES / 6.0 + 0.5, 0.0, 1.0)
    if found == _NEW and np.allclose(made, old, atol=1e-6):
        return _STEEPER
    return 1.0 / _STEEPER if found == _OLD and np.allclose(made, new, atol=1e-6) else None


def _array(value: Any) -> Array:
    return np.array(to_array(value, "a weight"))
