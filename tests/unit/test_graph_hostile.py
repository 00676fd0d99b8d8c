"""Configurations that say no graph, or lie, are refused with the reason and never followed."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest

from converter.errors import ConverterError, CorruptFileError, UnsupportedFileError
from converter.graph.reading import read_graph_text


def _layer(name: str, kind: str, nodes: list[Any], **config: Any) -> dict[str, Any]:
    return {
        "class_name": kind, "name": name, "config": {"name": name, **config}, "inbound_nodes": nodes
    }  # fmt: skip


def _input(name: str = "a") -> dict[str, Any]:
    return _layer(name, "InputLayer", [], batch_input_shape=[None, 7])


def _dense(name: str, *taken: str) -> dict[str, Any]:
    return _layer(name, "Dense", [[[one, 0, 0] for one in taken]], units=3)


def _network(*layers: Any, output: Any = None, inputs: Any = None) -> dict[str, Any]:
    config = {
        "name": "net",
        "layers": list(layers),
        "input_layers": inputs or [["a", 0, 0]],
        "output_layers": output or [["b", 0, 0]],
    }
    return {"class_name": "Model", "config": config}


def _refusal(config: Any) -> str:
    with pytest.raises((CorruptFileError, UnsupportedFileError)) as caught:
        read_graph_text(json.dumps(config), label="x.h5", version="2.4.0")
    return caught.value.summary


REFUSED = {
    "a cycle": (
        _network(_input(), _dense("b", "c"), _dense("c", "b")),
        "cannot read the graph of 'x.h5': its calls form a cycle, in which 'b' is",
    ),
    "a missing layer": (
        _network(_input(), _dense("b", "gone")),
        "cannot read the graph of 'x.h5': it takes a value of 'gone', which it does not have",
    ),
    "two layers of one name": (
        _network(_input(), _dense("b", "a"), _dense("b", "a")),
        "cannot read the graph of 'x.h5': two of its layers are named 'b'",
    ),
    "a call that is not there": (
        _network(_input(), _layer("b", "Dense", [[["a", 9, 0]]], units=3)),
        "cannot read the graph of 'x.h5': it takes output 0 of call 9 of 'a', which has 1 calls",
    ),
    "nodes of a wrong type": (
        _network(_input(), {**_dense("b", "a"), "inbound_nodes": 7}),
        "cannot read the graph of 'x.h5': layer 'b': its inbound_nodes are a int, not a list",
    ),
    "an input that is none": (
        _network(_input(), _dense("b", "a"), inputs=[["b", 0, 0]]),
        "cannot read the graph of 'x.h5': its input 'b' is no InputLayer",
    ),
    "layers of a wrong type": (
        _network(_input(), 7),
        "cannot read the graph of 'x.h5': one of its layers has no class_name",
    ),
    "units of a wrong type": (
        _network(_input(), _layer("b", "Dense", [[["a", 0, 0]]], units="many")),
        "cannot read the graph of 'x.h5': no shape fits b (Dense): its units is no size: 'many'",
    ),
    "a subclassed model": (
        {"class_name": "MyModel", "config": {"width": 3}},
        "cannot read the graph of 'x.h5': a model of class 'MyModel' is Python code, of which its "
        "configuration says no layers and no calls",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_it_is_refused_with_the_reason(case):
    config, expected = REFUSED[case]
    assert _refusal(config) == expected


def test_models_that_are_too_deep_in_each_other():
    config: Any = [{"class_name": "Dense", "config": {"units": 1, "batch_input_shape": [None, 2]}}]
    for _ in range(60):
        config = [{"class_name": "Sequential", "config": config}]
    with pytest.raises(ConverterError):
        read_graph_text(json.dumps({"class_name": "Sequential", "config": config}))


def test_many_layers_take_no_more_than_linear_work():
    layers = [_input(), _dense("b", "a")]
    layers += [_dense(f"b{n}", f"b{n - 1}" if n else "b") for n in range(20_000)]
    graph = read_graph_text(json.dumps(_network(*layers)), version="2.4.0")
    assert len(graph.calls) == 20_002


WRONG = (None, 7, -1, 1.5, "x", True, [], {}, [None], [[]], {"class_name": "A", "config": {}})


@pytest.mark.parametrize("key", ["units", "dtype", "activation", "name", "batch_input_shape"])
@pytest.mark.parametrize("value", WRONG)
def test_settings_of_wrong_types_are_read_or_refused(key, value):
    for where in (0, 1):
        config = _network(_input(), _dense("b", "a"))
        config["config"]["layers"][where]["config"][key] = value
        _read_or_refused(config)


@pytest.mark.parametrize("key", ["inbound_nodes", "config", "class_name", "name"])
@pytest.mark.parametrize("value", [*WRONG, [[["a", "0", 0]]], [[["a", 0, -1]]], [{"args": 1}]])
def test_parts_of_layers_of_wrong_types_are_read_or_refused(key, value):
    config = _network(_input(), _dense("b", "a"))
    config["config"]["layers"][1][key] = value
    _read_or_refused(config)


@pytest.mark.parametrize(
    "kind",
    ["Conv2D", "Conv2DTranspose", "MaxPooling2D", "ZeroPadding2D", "Reshape", "Permute", "Dot",
     "EinsumDense", "Concatenate", "LSTM", "RNN", "Bidirectional", "TimeDistributed", "Resizing",
     "MultiHeadAttention", "Cropping1D", "Lambda", "Merge", "BatchNormalization"],
)  # fmt: skip
@pytest.mark.parametrize("value", WRONG)
def test_every_setting_of_a_wrong_type_is_read_or_refused(kind, value):
    keys = ("filters", "kernel_size", "strides", "padding", "pool_size", "target_shape", "dims",
            "axes", "axis", "equation", "output_shape", "units", "cell", "layer", "merge_mode",
            "cropping", "height", "layers", "function", "mode", "data_format")  # fmt: skip
    for key in keys:
        _read_or_refused(_network(_input(), _layer("b", kind, [[["a", 0, 0]]], **{key: value})))


def _read_or_refused(config: Any) -> None:
    # Any other exception than one of ours fails the test.
    with contextlib.suppress(ConverterError):
        read_graph_text(json.dumps(config), version="2.4.0")
