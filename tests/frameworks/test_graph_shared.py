"""Every shared model file has a graph or a named reason; where Keras opens it, the graph is its."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.keras_graphs import of_graph, of_keras
from support.shared_files import FOLDER, keras_files

import converter
from converter.errors import UnsupportedFileError
from converter.graph.reading import read_graph, read_graph_text

keras = pytest.importorskip("keras")

pytestmark = [
    pytest.mark.frameworks,
    pytest.mark.skipif(not FOLDER.is_dir(), reason="the shared checkpoints are not there"),
]

FILES = [path.name for path in keras_files()]
JSON = sorted(path.name for path in FOLDER.glob("*.json")) if FOLDER.is_dir() else []
NO_ARCHITECTURE = "it holds no architecture"


def _opened_by_keras(name: str):
    try:
        return keras.saving.load_model(FOLDER / name, compile=False)
    except Exception:  # whatever Keras raises for a file that it does not open
        return None


@pytest.mark.parametrize("name", FILES)
def test_a_file_has_a_graph_or_holds_weights_only(name):
    with converter.open(FOLDER / name) as checkpoint:
        if checkpoint.structure.config is None and checkpoint.structure.old_config is None:
            with pytest.raises(UnsupportedFileError) as caught:
                read_graph(checkpoint)
            assert caught.value.summary == f"cannot read the graph of '{name}': {NO_ARCHITECTURE}"
            return
        graph = read_graph(checkpoint)
        held = {layer.path for layer in checkpoint.manifest.layers}
    named = {layer.path for layer in graph.layers if layer.class_name != "InputLayer"}
    assert named <= held
    assert all(one.shape is not None for call in graph.calls for one in call.outputs)


@pytest.mark.parametrize("name", JSON)
def test_a_json_architecture_has_a_graph(name):
    graph = read_graph_text((FOLDER / name).read_text(), label=name)
    assert all(one.shape is not None for call in graph.calls for one in call.outputs)


@pytest.mark.filterwarnings("ignore")  # Keras' own, about old files
def test_where_keras_opens_a_file_the_graph_is_its():
    compared, misread = [], []
    for name in FILES:
        model = _opened_by_keras(name)
        if model is None:
            continue
        with converter.open(FOLDER / name) as checkpoint:
            graph = read_graph(checkpoint)
        said = graph.calls[0].outputs[0].shape
        if model.input_shape == (None, *said):  # Keras takes batch_input_shape for input_shape
            misread.append(name)
            continue
        network = getattr(model, "_functional", None) or model
        order = [operation.name for operation in network.operations]
        layers = sorted(graph.layers, key=lambda layer: order.index(layer.config["name"]))
        assert of_graph(replace(graph, layers=tuple(layers))) == of_keras(model), name
        compared.append(name)
    assert len(compared) == 14, compared
    assert misread == ["dl4j-ELU_0_model.h5"]  # whose recorded input is (2, 16), as we read it
