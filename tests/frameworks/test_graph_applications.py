"""The graph of every model of keras.applications is Keras' own: calls, connections, shapes."""

from __future__ import annotations

import inspect

import pytest
from support.keras_graphs import of_graph, of_keras, outputs_of, paths_of

import converter
from converter.graph.reading import read_graph
from converter.live.factory import build

keras = pytest.importorskip("keras")
pytestmark = pytest.mark.frameworks

EVERY = sorted(
    name
    for name in dir(keras.applications)
    if inspect.isfunction(getattr(keras.applications, name))
)
ONE_OF_EACH = (
    "ConvNeXtTiny",
    "DenseNet121",
    "EfficientNetB0",
    "EfficientNetV2B0",
    "InceptionV3",
    "MobileNet",
    "MobileNetV2",
    "MobileNetV3Small",
    "ResNet50",
    "ResNet50V2",
    "VGG16",
    "Xception",
)


def _agrees(name: str, **arguments: object) -> None:
    model = build(
        f"keras.applications:{name}", {"weights": None, **arguments}, family="keras", meta=True
    )
    checkpoint = converter.open(model)
    graph = read_graph(checkpoint)
    assert len(graph.layers) == len(model.operations)
    assert of_graph(graph) == of_keras(model)
    assert outputs_of(graph) == [(tuple(one.shape), one.dtype) for one in model.outputs]
    held = {layer.path for layer in checkpoint.manifest.layers if layer.tensors}
    assert held == {path for path in paths_of(graph) if path in held}


def test_there_are_forty_constructors():
    assert len(EVERY) == 40


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_the_graph_of_one_of_each_family_is_that_of_keras(name):
    _agrees(name)


@pytest.mark.long
@pytest.mark.parametrize("name", EVERY)
def test_the_graph_of_every_constructor_is_that_of_keras(name):
    if name == "NASNetMobile" and keras.backend.backend() == "torch":
        pytest.skip("Keras does not build NASNetMobile on the torch backend")
    _agrees(name)


@pytest.mark.long
@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_with_open_and_odd_sizes_too(name):
    _agrees(name, include_top=False, input_shape=(None, None, 3))
    _agrees(name, include_top=False, input_shape=(203, 157, 3))
