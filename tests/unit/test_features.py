"""How many channels flattened features come from, read off layer graphs of both Keras dialects."""

from __future__ import annotations

import pytest

from converter.mapping.features import FeatureOrder, Unknown
from converter.tensors.spec import LayerSpec

Graph = list[tuple[str, str, dict, tuple[str, ...]]]

IMAGE: Graph = [("in", "InputLayer", {"batch_shape": [None, 9, 9, 3]}, ())]
CONV: Graph = [*IMAGE, ("conv", "Conv2D", {"filters": 5}, ("in",))]


def ask(graph: Graph, path: str = "out") -> int | Unknown | None:
    layers = [LayerSpec(name, kind, {}, config, inbound) for name, kind, config, inbound in graph]
    return FeatureOrder(layers).channels_before_flatten(path)


def chain(*layers: tuple[str, dict], start: Graph = CONV) -> Graph:
    """Return a graph in which each further layer takes the one before, then a Dense 'out'."""
    graph = list(start)
    for index, (kind, config) in enumerate(layers):
        graph.append((f"l{index}", kind, config, (graph[-1][0],)))
    return [*graph, ("out", "Dense", {"units": 2}, (graph[-1][0],))]


FLAT = ("Flatten", {})

KNOWN = {
    "conv": (chain(FLAT), 5),
    "input-alone": (chain(FLAT, start=IMAGE), 3),
    "through-what-keeps-channels": (
        chain(("MaxPooling2D", {}), ("BatchNormalization", {}), ("ReLU", {}), FLAT,
              ("Dropout", {}), ("Activation", {})), 5),
    "depthwise": (chain(("DepthwiseConv2D", {"depth_multiplier": 3}), FLAT), 15),
    "depthwise-default": (chain(("DepthwiseConv2D", {}), FLAT), 5),
    "transposed": (chain(("Conv2DTranspose", {"filters": 7}), FLAT), 7),
    "pooled-to-a-vector": (chain(("GlobalAveragePooling2D", {})), None),
    "flattened-twice": (chain(FLAT, FLAT), 5),
    "dense-in-between": (chain(FLAT, ("Dense", {"units": 9})), None),
    "channels-first": (
        [*IMAGE, ("conv", "Conv2D", {"filters": 5, "data_format": "channels_first"}, ("in",)),
         ("flat", "Flatten", {"data_format": "channels_first"}, ("conv",)),
         ("out", "Dense", {}, ("flat",))], 5),
    "channels-first-flattened-as-they-are": (
        [*IMAGE, ("conv", "Conv2D", {"filters": 5, "data_format": "channels_first"}, ("in",)),
         ("flat", "Flatten", {"data_format": "channels_last"}, ("conv",)),
         ("out", "Dense", {}, ("flat",))], None),
    "channels-first-pooled": (
        [*IMAGE, ("conv", "Conv2D", {"filters": 5, "data_format": "channels_first"}, ("in",)),
         ("pool", "MaxPooling2D", {"data_format": "channels_first"}, ("conv",)),
         ("flat", "Flatten", {"data_format": "channels_first"}, ("pool",)),
         ("out", "Dense", {}, ("flat",))], 5),
    "sequence": (
        chain(("Embedding", {"output_dim": 4}), FLAT, start=[("in", "InputLayer", {}, ())]), None),
    "recurrent": (chain(("LSTM", {"units": 4, "return_sequences": True}), FLAT,
                        start=[("in", "InputLayer", {"batch_shape": [None, 6, 2]}, ())]), None),
    "conv1d": (chain(("Conv1D", {"filters": 4}), FLAT,
                     start=[("in", "InputLayer", {"batch_shape": [None, 6, 2]}, ())]), 4),
    "reshaped-to-a-vector": (chain(("Reshape", {"target_shape": [-1]})), 5),
    "vector-to-image": (
        chain(("Dense", {"units": 12}), ("Reshape", {"target_shape": [3, 2, 2]}), FLAT,
              start=[("in", "InputLayer", {"batch_shape": [None, 6]}, ())]), 2),
    "joined": (
        [*CONV, ("other", "Conv2D", {"filters": 4}, ("in",)),
         ("join", "Concatenate", {"axis": -1}, ("conv", "other")), ("flat", *FLAT, ("join",)),
         ("out", "Dense", {}, ("flat",))], 9),
    "joined-with-what-it-was-made-from": (
        [*CONV, ("more", "Conv2D", {"filters": 4}, ("conv",)),
         ("join", "Concatenate", {"axis": -1}, ("conv", "more")), ("flat", *FLAT, ("join",)),
         ("out", "Dense", {}, ("flat",))], 9),
    "keras-1-names": (
        chain(FLAT, start=[("in", "InputLayer", {"batch_input_shape": [None, 9, 9, 3]}, ()),
                           ("conv", "Convolution2D", {"nb_filter": 6}, ("in",))]), 6),
    "nested": (
        [*IMAGE, ("model", "Sequential", {}, ("in",)),
         ("model/conv", "Conv2D", {"filters": 8}, ("in",)), ("flat", *FLAT, ("model",)),
         ("out", "Dense", {}, ("flat",))], 8),
}  # fmt: skip

UNKNOWN = {
    "custom": (chain(("Shuffled", {}), FLAT), "layer 'l0' (Shuffled) may reorder features"),
    "permute": (chain(("Permute", {}), FLAT), "layer 'l0' (Permute) may reorder features"),
    "mixing-reshape": (
        chain(("Reshape", {"target_shape": [9, 15]}), FLAT),
        "Reshape 'l0' mixes the channels of an image with its positions",
    ),
    "joined-vectors": (
        [*chain(FLAT)[:-1], ("join", "Concatenate", {}, ("l0", "l0")),
         ("out", "Dense", {}, ("join",))],
        "'join' joins flattened features with others",
    ),
    "channels-first-of-the-input": (
        [*IMAGE, ("flat", "Flatten", {"data_format": "channels_first"}, ("in",)),
         ("out", "Dense", {}, ("flat",))],
        "the number of channels before Flatten is not in the configuration",
    ),
    "no-graph": ([("out", "Dense", {}, ())], "the checkpoint holds no layer graph"),
    "cycle": (
        [("a", "ReLU", {}, ("b",)), ("b", "ReLU", {}, ("a",)), ("flat", *FLAT, ("a",)),
         ("out", "Dense", {}, ("flat",))],
        "the graph has a cycle at 'b'",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("graph", "channels"), KNOWN.values(), ids=list(KNOWN))
def test_channels_are_found(graph: Graph, channels: int | None) -> None:
    assert ask(graph) == channels


@pytest.mark.parametrize(("graph", "why"), UNKNOWN.values(), ids=list(UNKNOWN))
def test_what_is_not_known_is_said(graph: Graph, why: str) -> None:
    assert ask(graph) == Unknown(why)


def test_a_chain_of_100_000_layers_is_walked_without_recursion() -> None:
    assert ask(chain(*[("ReLU", {})] * 100_000, FLAT)) == 5
