"""Every layer of Keras with weights is scaffolded in some small model, and gives its outputs."""

from __future__ import annotations

import inspect

import pytest
from support.scaffold_models import MODELS
from support.scaffold_weighted import WEIGHTED
from support.scaffolding import scaffold_and_compare

from converter.mapping.catalogue import load_catalogue

pytestmark = [
    pytest.mark.frameworks,
    # Keras recommends a power of two; another length shows that it is read.
    pytest.mark.filterwarnings("ignore:`fft_length` is recommended:UserWarning"),
]

# Classes with weights that no model of these can hold, and why.
WITHOUT_MODEL = {
    "FlaxLayer": "it runs Flax code",
    "JaxLayer": "it runs JAX code",
    "TorchModuleWrapper": "it is a PyTorch module already, kept as Python code",
    "Wrapper": "it is the base of wrappers and computes nothing of its own",
}


@pytest.fixture(autouse=True)
def _fresh_names():
    import keras

    keras.backend.clear_session()


@pytest.mark.parametrize("name", sorted(WEIGHTED))
def test_a_small_model_loads_strictly_and_gives_the_same_outputs(name):
    compared = scaffold_and_compare(WEIGHTED[name]())
    assert compared.source.stubs == {}
    assert compared.report.verdict == "pass", "\n".join(compared.report.lines())


def _weighted_classes() -> set[str]:
    """Classes of keras.layers whose code makes variables, or that our catalogue has."""
    import keras

    found = set()
    known = load_catalogue().classes
    for name in dir(keras.layers):
        one = getattr(keras.layers, name)
        if not isinstance(one, type) or not issubclass(one, keras.Layer) or one is keras.Layer:
            continue
        code = "".join(
            inspect.getsource(base)
            for base in one.__mro__
            if issubclass(base, keras.Layer) and base is not keras.Layer
        )
        if "self.add_weight(" in code or {name, one.__name__} & set(known):
            found.add(one.__name__)
    return found


def test_every_class_with_weights_is_in_a_model_or_named_with_its_reason():
    held = {
        type(layer).__name__
        for make in (MODELS | WEIGHTED).values()
        for layer in make()._flatten_layers()
    }
    every = _weighted_classes()
    assert len(every) > 40
    assert every - held == set(WITHOUT_MODEL)


def test_a_class_without_a_model_would_be_seen():
    """The census above finds classes by their code, whatever our own catalogue knows."""
    found = _weighted_classes()
    assert {"Dense", "PReLU", "Normalization", "ConvLSTM3D", "StackedRNNCells"} <= found
    assert found.isdisjoint({"Flatten", "Dropout", "MaxPooling2D", "Concatenate", "InputLayer"})
