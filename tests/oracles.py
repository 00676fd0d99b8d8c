"""The models that mappings are compared with, built small and with random weights.

torchvision's wheel for this CPU build of torch lacks its compiled operators; two are looked up when
it is imported, and none of them is used by a classifier, so their names are declared here.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import importlib.util
import sys
import warnings
from typing import Any

import numpy as np
import pytest

from converter.proving.randomising import randomise_keras

__all__ = ["randomise_keras"]

_OPERATORS = ("nms", "qnms")
_SIGNATURE = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


def torchvision() -> Any:
    """Import torchvision, or skip the test."""
    _declare_operators()
    with warnings.catch_warnings():
        # torchvision warns that its image extension is missing; no image file is read here.
        warnings.filterwarnings("ignore", message="Failed to load image Python extension")
        return pytest.importorskip("torchvision")


def _declare_operators() -> None:
    torch = pytest.importorskip("torch")
    for name in _OPERATORS:
        if not hasattr(torch.ops.torchvision, name):
            torch.library.define(f"torchvision::{name}", _SIGNATURE)


def _import_sentencepiece() -> None:
    """Import what keras_hub and transformers import later, in a way that Python can end after it.

    sentencepiece 0.2.1 warns about its types while it is imported, and frees them at exit in an
    order that crashes Python 3.11 after a run of pytest; so what would free them is held for ever.
    """
    with warnings.catch_warnings(), contextlib.suppress(ImportError):
        warnings.simplefilter("ignore")
        importlib.import_module("sentencepiece")
    capsule = getattr(sys.modules.get("swig_runtime_data4"), "type_pointer_capsule", None)
    if capsule is not None:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(capsule))


def keras_hub() -> Any:
    """Import keras_hub, or skip the test."""
    _import_sentencepiece()
    with warnings.catch_warnings():
        # keras_hub warns on import that tensorflow-text is missing, which only tokenizers need.
        warnings.simplefilter("ignore")
        return pytest.importorskip("keras_hub")


def transformers() -> Any:
    """Import transformers, or skip the test."""
    _import_sentencepiece()
    if importlib.util.find_spec("torchvision") is not None:
        torchvision()  # which transformers imports where it is installed
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # notes on optional packages
        return pytest.importorskip("transformers")


def timm() -> Any:
    """Import timm, or skip the test."""
    torchvision()  # which timm imports
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("timm")


_LIBRARIES = {
    "torchvision": torchvision,
    "keras_hub": keras_hub,
    "transformers": transformers,
    "timm": timm,
}


def needed_by(models: object) -> list[str]:
    """Return the libraries that a proof case, or the sources of a variant, are built with."""
    return [name for name in _LIBRARIES if name in repr(models)]


def prepare(models: object) -> None:
    """Import what a proof case needs, or skip the test."""
    for name in needed_by(models):
        _LIBRARIES[name]()


def run_keras(model: Any, inputs: Any) -> Any:
    """Return the outputs of a Keras model as arrays, in inference."""
    import keras
    import torch

    with torch.no_grad():
        outputs = model(inputs, training=False)
    return keras.tree.map_structure(lambda one: one.detach().cpu().numpy(), outputs)


def relative_error(found: Any, wanted: Any) -> float:
    """Return the L2 norm of the difference, relative to that of ``wanted``."""
    found, wanted = np.asarray(found, dtype="float64"), np.asarray(wanted, dtype="float64")
    assert found.shape == wanted.shape
    assert np.linalg.norm(wanted) > 0
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))


def noise_floor(module: Any, *inputs: Any, **named: Any) -> tuple[Any, float]:
    """Return a module's output in float64, and how far its float32 output is from that."""
    import copy

    import torch

    module = module.eval()
    with torch.no_grad():
        single = _first(module(*inputs, **named))
        double = _first(
            copy.deepcopy(module).double()(
                *(_double(one) for one in inputs),
                **{name: _double(one) for name, one in named.items()},
            )
        )
    return single.numpy(), relative_error(single.numpy(), double.numpy())


def _first(output: Any) -> Any:
    return output[0] if isinstance(output, tuple) or hasattr(output, "to_tuple") else output


def _double(value: Any) -> Any:
    return value.double() if value.is_floating_point() else value
